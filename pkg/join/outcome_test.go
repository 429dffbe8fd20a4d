package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

func TestReasonAtTheDeadlineIsNotAnOldObstacle(t *testing.T) {
	hang := func(ctx context.Context) error {
		<-ctx.Done()
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: context.Cause(ctx), Tail: []string{"still working"}}
	}
	t.Run("unsigned for 3 s at first", func(t *testing.T) {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = 5*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed")}
			s.after(3*time.Second, func() { s.verdict = cluster.Probe{} })
			s.join = hang
			r, err := start()
			t.Log(r.Message)
			wanted{reason: JoinFailed, joins: 1}.check(t, r, err)
		})
	})
	t.Run("a twin that died", func(t *testing.T) {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = 5*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.addNode("boot-of-another")
			s.after(20*time.Second, func() { s.node.Ready = "Unknown" })
			s.join = hang
			r, err := start()
			t.Log(r.Message)
			wanted{reason: JoinFailed, joins: 1}.check(t, r, err)
		})
	})
}

func TestWhatKubeadmRefusesIsUsageBeforeAnythingIsDone(t *testing.T) {
	c := Defaults()
	c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
	c.IgnorePreflightErrors = []string{"all", "Swap"}
	p, err := c.plan()
	if err == nil {
		if _, renderErr := p.render(p.options(registration{name: "w1"}, simToken, simToken)); renderErr != nil {
			t.Errorf("flags pass Validate, and every attempt fails after its reset with: %v", renderErr)
		}
	}
	file := filepath.Join(t.TempDir(), "c.yaml")
	_ = os.WriteFile(file, []byte(`apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {bootstrapToken: {apiServerEndpoint: "cp:6443", token: abcdef.0123456789abcdef, unsafeSkipCAVerification: true}}
nodeRegistration: {kubeletExtraArgs: [{name: hostname-override, value: n2}]}
`), 0o600)
	c = Defaults()
	c.ConfigFile, c.NodeName = file, "n1"
	p, err = c.plan()
	if err == nil {
		if _, renderErr := p.render(p.options(registration{name: "n1"}, simToken, simToken)); renderErr != nil {
			t.Errorf("config passes Validate, and every attempt fails after its reset with: %v", renderErr)
		}
	}
}

func TestEndpointOfAReportIsFreeOfSecrets(t *testing.T) {
	c := Defaults()
	c.Endpoint, c.ConfigFile = simToken, "/nowhere"
	r, err := Run(context.Background(), c)
	t.Logf("endpoint %q message %q err %v", r.Endpoint, r.Message, err)
	if r.Endpoint == simToken {
		t.Error("token in the report's endpoint")
	}
}

func TestSignalDuringResetStartsNoJoin(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.resetFail = func() error {
			s.interrupt() // kubeadm is ended; it had removed everything
			s.change(func() { s.disk = host.Disk{} })
			return context.Canceled
		}
		r, _ := start()
		t.Log(s.log, r.Reason, r.Counts)
		if r.Counts.Joins > 0 {
			t.Error("a join began after the signal")
		}
	})
}

func TestHungSystemctlIsBounded(t *testing.T) {
	simulateWorld(t, nil, func(s *sim) world { return hungWorld{s} }, func(s *sim) {}, func(r Report, err error) {
		if r.LastError == "" || r.Duration > Seconds(20*time.Minute) && r.Counts.Attempts == 0 && len(r.Attempts) == 0 {
			t.Logf("%s after %v: %s", r.Reason, time.Duration(r.Duration), r.Message)
		}
	})
}

func TestErrorThatLeavesIsRedacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		s.token = func() (string, error) { return "", errors.New("--token-command: exit status 1: bad " + simToken) }
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Command = "cp:6443", true, "x"
		p, _ := c.plan()
		r, err := newRun(p, s, simID, "w1", kubeadm.NewRedactor(simToken).Redact).run(t.Context())
		t.Logf("report %q; error %q", r.Message, err)
		if strings.Contains(err.Error(), simToken[7:]) {
			t.Error("token in the error that Run returns")
		}
	})
}

func TestOneAttemptIsBoundedOnce(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.resetFail = func() error {
			time.Sleep(6*time.Minute - time.Second)
			s.change(func() { s.disk = host.Disk{} })
			return nil
		}
		s.join = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		r, _ := start()
		if d := time.Duration(r.Attempts[0].Duration); d > 6*time.Minute+10*time.Second {
			t.Errorf("attempt 1 took %s with --attempt-timeout 6m", d)
		}
	})
}

// What is known to be wrong reaches the report with its remedy, also where the deadline falls into the next attempt.
func TestHintOfTheKnownCauseReachesTheReport(t *testing.T) {
	failed := &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "CRI", Message: "runtime not up"}}}
	for name, then := range map[string]func(ctx context.Context) error{
		"between attempts": func(context.Context) error { return failed },
		"in an attempt": func(ctx context.Context) error {
			<-ctx.Done()
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: context.Cause(ctx), Tail: []string{"[preflight] Running pre-flight checks"}}
		},
	} {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
			join := then
			s.join = func(context.Context) error { s.join = join; return failed }
			r, err := start()
			wanted{reason: JoinFailed, joins: -1}.check(t, r, err)
			if !strings.Contains(r.Message, "runtime not up") || !strings.Contains(r.Hint, "start the container runtime") {
				t.Errorf("%s: message %q, hint %q", name, r.Message, r.Hint)
			}
		})
	}
}

// The server in cluster-info may be a load balancer that nobody has put into the certificate, or that has one of its own.
func TestServerOfAnotherCertificateIsNotTakenForOneThatIsDown(t *testing.T) {
	r := &run{plan: &plan{Config: Config{Endpoint: "cp:6443"}}}
	for want, err := range map[string]error{
		`names "lb"`: x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"cp"}}, Host: "lb"},
		"ends TLS":   x509.UnknownAuthorityError{},
		"newer Go":   &cluster.AlgorithmError{What: "it is signed with an algorithm", Err: x509.UnknownAuthorityError{}},
	} {
		err = &url.Error{Op: "Get", URL: "https://lb:6443", Err: &tls.CertificateVerificationError{Err: err}}
		if hint := r.whySilent(fmt.Errorf("asking: %w", err)); !strings.Contains(hint, want) {
			t.Errorf("hint %q, wanted %q in it", hint, want)
		}
	}
}
