package join

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// Rule 17: what time does not cure ends within about a minute with its remedy; what it may cure is waited for.

const unknownFlag = "unknown flag: --gone"

// startsInVain is a kubeadm join that writes the kubelet's configuration, starts it and waits for it, for so long.
func (s *sim) startsInVain(patience time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		s.change(func() { s.disk.Configured = true; s.startKubelet() })
		if err := wait(ctx, patience); err != nil {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: err, Said: "The kubelet is not healthy"}
		}
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Phase: "kubelet-wait-bootstrap", Said: "failed while waiting for the kubelet to start: refused"}
	}
}

func TestKubeletThatRefusesToRunIsAPersonsJob(t *testing.T) {
	for name, patience := range map[string]time.Duration{"kubeadm waits": 90 * time.Second, "kubeadm gives up soon": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.dies = unknownFlag
				s.join = s.startsInVain(patience)
				r, err := start()
				wanted{reason: HostUnfit, joins: -1}.check(t, r, err)
				took(t, r, 10*time.Second, time.Minute)
				if !strings.Contains(r.Message, unknownFlag) || r.Hint != "mend "+unknownFlag {
					t.Errorf("message %q, hint %q", r.Message, r.Hint)
				}
			})
		})
	}
	t.Run("once is not enough", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.dies = true, unknownFlag
			s.join = func(ctx context.Context) error {
				s.change(func() { s.join = nil; s.after(8*time.Second, func() { s.dies = "" }) })
				return s.startsInVain(5 * time.Second)(ctx)
			}
			r, err := start()
			wanted{reason: Joined, joins: 2}.check(t, r, err)
			if !strings.Contains(r.FirstError, "the kubelet says: "+unknownFlag) {
				t.Errorf("first error %q", r.FirstError)
			}
		})
	})
	t.Run("what time cures", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.passes, s.dies = true, true, "validate service connection"
			s.join = s.startsInVain(90 * time.Second)
			s.after(3*time.Minute, func() { s.dies, s.join = "", nil })
			r, err := start()
			wanted{reason: Joined, joins: -1}.check(t, r, err)
			took(t, r, 3*time.Minute, 6*time.Minute)
		})
	})
	t.Run("what time cures, of a member", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.joined()
			s.end(false)
			s.node, s.passes, s.dies = nil, true, "validate service connection"
			s.startKubelet()
			s.after(3*time.Minute, func() { s.dies = "" })
			r, err := start()
			wanted{reason: Recovered, restarts: -1}.check(t, r, err)
		})
	})
	t.Run("time is up before the second", func(t *testing.T) {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = 13*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
			s.dies = unknownFlag
			s.join = s.startsInVain(90 * time.Second)
			r, err := start()
			wanted{reason: JoinFailed, joins: 1}.check(t, r, err)
			if !strings.Contains(r.Message, "the kubelet refuses to run: "+unknownFlag) || r.Hint != "mend "+unknownFlag {
				t.Errorf("message %q, hint %q", r.Message, r.Hint)
			}
		})
	})
}

// containerd of Docker's package, until its configuration is written anew.
func TestRuntimeThatServesNoKubeletsIsAPersonsJobIfItStaysSo(t *testing.T) {
	unserved := func(context.Context) error {
		return kubeadm.Version{}.NoRuntime(errors.New("rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService"))
	}
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = unserved
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		took(t, r, unservedPatience, 75*time.Second)
		if !strings.Contains(r.Hint, "disabled_plugins") {
			t.Errorf("hint %q", r.Hint)
		}
	})
	for name, mends := range map[string]func(*sim){
		"mended at once": func(s *sim) { s.after(20*time.Second, func() { s.join = nil }) },
		"cloud-init is at work": func(s *sim) {
			s.clouding = true
			s.after(3*time.Minute, func() { s.join, s.clouding = nil, false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.join = unserved
				mends(s)
				r, err := start()
				wanted{reason: Joined, joins: 1}.check(t, r, err)
			})
		})
	}
}

// It installs packages, loads modules and sets what kubeadm checks.
func TestWhatCloudInitMayYetMendIsWaitedFor(t *testing.T) {
	for name, broken := range map[string]func(*sim){
		"no kubeadm yet": func(s *sim) { s.fit = &Error{Reason: HostUnfit, Message: "no kubeadm"} },
		"no forwarding yet": func(s *sim) {
			s.join = func(context.Context) error {
				return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "FileContent--proc-sys-net-ipv4-ip_forward", Message: "not set to 1"}}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.clouding = true
				broken(s)
				s.after(2*time.Minute, func() { s.fit, s.join = nil, nil })
				r, err := start()
				wanted{reason: Joined, joins: -1}.check(t, r, err)
			})
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.clouding = true
				broken(s)
				s.after(2*time.Minute, func() { s.clouding = false })
				r, err := start()
				wanted{reason: HostUnfit, joins: -1}.check(t, r, err)
				took(t, r, 2*time.Minute, 4*time.Minute)
			})
		})
	}
}

func TestWhatKubeadmWarnsOfIsInTheReport(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.warned = []string{"kubeadm warns of Hostname: it is long"}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "Hostname") {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
	m := &machine{plan: &plan{Config: Config{IgnorePreflightErrors: []string{"Swap"}}}, warned: make(chan string, warnedMost)}
	for _, name := range []string{"Swap", "Hostname", "FileAvailable--etc-kubernetes-pki-ca.crt"} {
		m.keepWarning(kubeadm.Check{Name: name, Message: "words"})
	}
	if got := m.Warned(); len(got) != 1 || got[0] != "kubeadm warns of Hostname: words" {
		t.Errorf("kept %q", got)
	}
}

// cloud-init or DHCP has called it otherwise at a reboot. A kubelet that is restarted cannot report under its old name.
func TestHostThatHasAnotherNameNowIsNotRestartedInVain(t *testing.T) {
	for name, story := range map[string]struct {
		prepare        func(*sim)
		reason         Reason
		restarts, back int
		least, most    time.Duration
	}{
		"for good":              {func(*sim) {}, HostUnfit, 0, 0, time.Minute, 3 * time.Minute},
		"and its Node deleted":  {func(s *sim) { s.node = nil }, HostUnfit, 0, 0, time.Minute, 3 * time.Minute},
		"cloud-init is at work": {func(s *sim) { s.clouding = true; s.after(5*time.Minute, func() { s.clouding = false }) }, HostUnfit, 0, 0, 5 * time.Minute, 7 * time.Minute},
		"until DHCP answers":    {func(s *sim) { s.after(40*time.Second, func() { s.override = "w0"; s.end(false) }) }, Recovered, 1, 0, 40 * time.Second, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.ready = true
				s.joined()
				s.alive, s.called = true, ""
				s.renameHost()
				if story.prepare(s); s.node != nil {
					s.after(judge.GracePeriod, func() { s.node.Ready = "Unknown" })
				}
				r, err := start()
				wanted{reason: story.reason, restarts: story.restarts, back: story.back}.check(t, r, err)
				took(t, r, story.least, story.most)
				if story.reason == HostUnfit && (!strings.Contains(r.Message, `"w0"`) || !strings.Contains(r.Message, `"w1"`) || !strings.Contains(r.Hint, "set-hostname")) {
					t.Errorf("message %q, hint %q", r.Message, r.Hint)
				}
			})
		})
	}
}

func TestTokenThatIsNotForSigningIsSaid(t *testing.T) {
	unsigned := cluster.Probe{Verdict: cluster.Unsigned, Signers: 1, Err: errors.New("not signed"), Node: cluster.Sighting{Answer: cluster.Absent}}
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.verdict = unsigned
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		took(t, r, judge.TokenPatience, judge.TokenPatience+10*time.Second)
		if !strings.Contains(r.Hint, "--usages signing") {
			t.Errorf("hint %q", r.Hint)
		}
	})
	t.Run("nobody's is signed for", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.verdict, s.ready = unsigned, true
			s.verdict.Signers = 0
			s.after(3*time.Minute, func() { s.verdict = cluster.Probe{} })
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
		})
	})
	t.Run("its source may have another", func(t *testing.T) {
		simulate(t, func(c *Config) { c.Token = Token{Command: "x"}; c.Timeout = 5 * time.Minute; c.Hold = 0 }, func(s *sim, start func() (Report, error)) {
			s.verdict = unsigned
			r, err := start()
			wanted{reason: TokenRejected}.check(t, r, err)
			took(t, r, 5*time.Minute, 5*time.Minute+time.Second)
			if !strings.Contains(r.Hint, "--usages signing") {
				t.Errorf("hint %q", r.Hint)
			}
		})
	})
}

func TestKubeletThatIsToStartAfterUsEndsTheRun(t *testing.T) {
	for name, prepare := range map[string]func(*sim){
		"before a join":  func(*sim) {},
		"of a member":    func(s *sim) { s.joined(); s.stopKubelet() },
		"its Node apart": func(s *sim) { s.joined(); s.stopKubelet(); s.node = nil },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				prepare(s)
				s.unit.Blocked = "cloud-final.service"
				r, err := start()
				wanted{reason: HostUnfit}.check(t, r, err)
				took(t, r, 0, 2*time.Minute)
				if !strings.Contains(r.Message, "cloud-final.service") || !strings.Contains(r.Hint, "nodejoin.service") {
					t.Errorf("message %q, hint %q", r.Message, r.Hint)
				}
			})
		})
	}
}
