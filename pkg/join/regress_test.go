package join

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

func TestTokenCommandThatFailsOnceIsRunAgain(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{Command: "x"} }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		reads := 0
		s.token = func() (string, error) {
			reads++
			if reads == 1 {
				return "", errors.New("--token-command: exit status 1")
			}
			return simToken, nil
		}
		r, err := start()
		t.Logf("reads %d", reads)
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestSilenceDoesNotProveATwinAlive(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-before") // ours, of the boot before, say
		s.after(5*time.Second, func() { s.down = true })
		s.after(5*time.Minute, func() { s.down = false })
		s.after(5*time.Minute+30*time.Second, func() { s.node.Ready = "Unknown" })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func otherCA() []byte { return simCA2 }

var simCA2 = newCA()

func TestEvidenceDoesNotOverrideOtherClustersCredentials(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.creds.CA = otherCA()
		s.node, s.policy = nil, true
		r, err := start()
		wanted{reason: Refused, restarts: -1}.check(t, r, err)
	})
}

func TestTwoLone401AreNotARefusal(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		rejected := cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
		s.verdict = rejected
		s.after(2*time.Second, func() { s.down = true })                        // crashes in its first seconds
		s.after(70*time.Second, func() { s.down = false })                      // back: 401 for 2.3 s as measured
		s.after(72300*time.Millisecond, func() { s.verdict = cluster.Probe{} }) // then fine
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

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

// Evidence (b), then the API server goes away for ten minutes before the reset.
func TestEvidenceGrowsOld(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.mute, s.fitTakes = nil, true, 5*time.Second
		s.after(62*time.Second, func() { s.down = true }) // while kubeadm says its version
		s.after(11*time.Minute, func() { s.down = false })
		s.after(11*time.Minute+3*time.Second, func() { s.mute = false }) // the kubelet asks again every 7 s at most
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(t, r, err)
	})
}

func TestSilenceIsNoReasonForAnotherRestart(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout = 4 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.policy = nil, true
		var blip func()
		blip = func() {
			s.down = true
			s.after(2*time.Second, func() { s.down = false })
			s.after(25*time.Second, blip)
		}
		s.after(10*time.Second, blip)
		s.after(3*time.Minute, func() { s.policy = false })
		r, _ := start()
		t.Logf("reason %s, restarts at %v, resets %d", r.Reason, s.restarts, r.Counts.Resets)
		if len(s.restarts) > 1 {
			t.Errorf("%d kubelet restarts for one missing Node", len(s.restarts))
		}
	})
}

// The third deletion; silence once every 20 s; back-off 30 s: the restart never comes.
func TestSilenceDoesNotStarveTheRestart(t *testing.T) {
	simulate(t, func(c *Config) { c.BackoffInitial, c.BackoffMax = 30*time.Second, 30*time.Second }, func(s *sim, start func() (Report, error)) {
		s.ready, s.tainted = true, true
		s.joined()
		s.after(5*time.Second, s.deleteNode)
		s.after(15*time.Second, s.deleteNode)
		var blip func()
		blip = func() {
			s.down = true
			s.after(2*time.Second, func() { s.down = false })
			s.after(20*time.Second, blip)
		}
		s.after(16*time.Second, blip)
		r, err := start()
		wanted{reason: Recovered, restarts: -1, back: -1, deletions: 2}.check(t, r, err)
	})
}

// rotateCertificates: false: kubelet.conf comes with the certificate; nodejoin itself took bootstrap-kubelet.conf away.
func TestPendingRequestIsNotThrownAway(t *testing.T) {
	for name, running := range map[string]bool{"no kubelet.conf, kubelet runs": true, "kubelet.conf, own key on disk, kubelet down": false} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
				s.ready, s.running = true, running
				s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
				if !running {
					s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
				}
				s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
				r, _ := start()
				if r.Counts.Resets > 0 {
					t.Errorf("reset while our CSR is pending (%v)", s.log)
				}
			})
		})
	}
}

// The token is deleted while our stale Node is waited out; the source has a new one.
func TestTokenThatDiesDuringTheWaitForAName(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{Command: "x"}; c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode(simBoot) // stale, the disk is empty
		s.stopKubelet()
		reads, dead := 0, false
		s.token = func() (string, error) {
			reads++
			if dead {
				s.change(func() { s.verdict = cluster.Probe{} }) // the new one is signed
			}
			return simToken, nil
		}
		// awaitName before the reset is left at once for an own Node; kubelet down. Expires at 20 s.
		s.after(20*time.Second, func() {
			dead = true
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Pinned: true, Err: errors.New("not signed"), Node: cluster.Sighting{Answer: cluster.Unauthorized}}
		})
		r, err := start()
		t.Logf("reads %d", reads)
		wanted{reason: Joined, joins: 1}.check(t, r, err)
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

// kubeadm reset by hand between evidence and reset; later trouble must find new evidence.
func TestEvidenceEndsWithTheLeftovers(t *testing.T) {
	simulate(t, func(c *Config) { c.BackoffInitial, c.BackoffMax = 5*time.Second, 5*time.Second }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.mute, s.fitTakes = nil, true, 5*time.Second
		s.after(62*time.Second, func() { // by hand, while kubeadm says its version
			s.do("by hand")
			s.disk, s.creds, s.mute = host.Disk{}, nil, false
			s.stopKubelet()
		})
		s.after(80*time.Second, func() { s.node = nil; s.restart = errors.New("job failed") }) // deleted; one restart fails
		s.after(90*time.Second, func() { s.restart = nil })
		r, err := start()
		t.Log(s.log)
		wanted{reason: Recovered, joins: 1, restarts: -1, back: -1, deletions: 1}.check(t, r, err)
	})
}

type askedWorld struct {
	*sim
	shown int
}

func (w *askedWorld) AskWithToken(ctx context.Context, c *cluster.Credentials, bearer string) cluster.Sighting {
	w.shown++
	return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
}

func simulateWorld(t *testing.T, change func(*Config), world func(*sim) world, story func(s *sim), check func(Report, error)) {
	simulate(t, change, func(s *sim, _ func() (Report, error)) {
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
		if change != nil {
			change(&c)
		}
		c.Observe = func(e Event) {
			if testing.Verbose() && e.Severity != Detail {
				t.Logf("%s %-8s %s", e.Time.Format("04:05.000"), e.Phase, e.Message)
			}
		}
		p, err := c.plan()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		story(s)
		s.book()
		r, err := newRun(p, world(s), simID, "w1", kubeadm.NewRedactor(simToken).Redact).run(ctx)
		check(r, err)
	})
}

func TestTokenIsNotShownToAServerThatNothingHasProven(t *testing.T) {
	var w *askedWorld
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim) world { w = &askedWorld{sim: s}; return w },
		func(s *sim) {
			s.joined()
			s.creds.CA, s.creds.Server = otherCA(), "https://old-cluster:6443"
			s.refuses = true
		}, func(r Report, err error) {
			if w.shown > 0 {
				t.Errorf("the token went %d times to a server proven by kubelet.conf alone, which is not the token's cluster", w.shown)
			}
		})
}

func TestMemberIsNotBlockedByItsTokenSource(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{File: "-"}; c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.refuses = true
		s.after(17*time.Second, func() { s.refuses = false })
		born := time.Now()
		s.token = func() (string, error) { // nobody types
			time.Sleep(9*time.Minute - time.Since(born))
			return "", errors.New("nothing came from standard input")
		}
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		took(t, r, 17*time.Second, 40*time.Second)
		time.Sleep(10 * time.Minute) // the reader gives up, too
	})
}

// forbiddenWorld does not let the token ask for Nodes.
type forbiddenWorld struct {
	*sim
	still func() bool
}

func (w forbiddenWorld) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	p := w.sim.Probe(ctx, token, bearer)
	if w.still() {
		p.Node = cluster.Sighting{Answer: cluster.Forbidden, Err: errors.New("403")}
	}
	return p
}

func TestLostCredentialsOfALivingMemberWhenTheTokenMayNotAsk(t *testing.T) {
	simulateWorld(t, nil, func(s *sim) world { return forbiddenWorld{s, func() bool { return len(s.log) == 0 }} }, // until something is done
		func(s *sim) { s.ready = true; s.joined(); s.creds = nil },
		func(r Report, err error) {
			if r.Counts.Resets > 0 {
				t.Errorf("a running kubelet's member was reset without the API server's word about its Node")
			}
		})
}

// What proves a server does not prove that it may be joined: a reset waits for that, too.
func TestClonedImageIsNotResetUntilItsTokenMayAskForNodes(t *testing.T) {
	for name, story := range map[string]struct {
		late time.Duration
		want wanted
	}{
		"late":  {30 * time.Second, wanted{reason: Joined, joins: 1, resets: 1}},
		"never": {time.Hour, wanted{reason: JoinFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			simulateWorld(t, func(c *Config) { c.Timeout = 5 * time.Minute },
				func(s *sim) world {
					allowed := time.Now().Add(story.late)
					return forbiddenWorld{s, func() bool { return time.Now().Before(allowed) }}
				},
				func(s *sim) { s.cloneOf("golden"); s.roomForOurs() },
				func(r Report, err error) {
					story.want.check(t, r, err)
					if story.want.reason == JoinFailed && !strings.Contains(r.Message+r.LastError, "403") {
						t.Errorf("message %q, last error %q: what is it that must be waited for?", r.Message, r.LastError)
					}
				})
		})
	}
}

func TestSuccessNeedsAFreshAnswer(t *testing.T) {
	for name, hold := range map[string]time.Duration{"--hold 0": 0, "accepted": time.Minute} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(c *Config) { c.Hold = hold; c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
				s.ready = true
				s.join = func(ctx context.Context) error {
					s.change(s.joined)
					time.Sleep(3 * time.Second)
					s.mu.Lock()
					s.node = nil // the watch is dead and says nothing
					s.mu.Unlock()
					time.Sleep(2 * time.Second)
					return nil
				}
				r, err := start()
				s.mu.Lock()
				defer s.mu.Unlock()
				if err == nil && s.node == nil {
					t.Errorf("%s after %.1f s (%s), and there is no Node", r.Reason, time.Duration(r.Duration).Seconds(), r.Message)
				}
			})
		})
	}
}

func TestNodeWithoutReadyIsNotUnknown(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.creds, s.node.Ready = nil, ""
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
}

type oldCluster struct{ *sim }

func (w oldCluster) Ask(context.Context, *cluster.Credentials) cluster.Sighting {
	return cluster.Sighting{Err: errors.New("connection refused")}
}
func (w oldCluster) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out := make(chan cluster.Sighting)
	go func() {
		defer close(out)
		for {
			select {
			case out <- w.Ask(ctx, c):
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func TestCredentialsOfAClusterThatIsGone(t *testing.T) {
	simulateWorld(t, nil, func(s *sim) world { return oldCluster{s} },
		func(s *sim) {
			s.joined()
			s.creds.CA, s.creds.Server = otherCA(), "https://old-cluster:6443"
		},
		func(r Report, err error) {
			wanted{reason: Refused}.check(t, r, err)
		})
}

func TestNameIsAskedForAgainAfterTheWaitForACertificate(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.running = true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true}
		s.after(2*time.Minute, func() { s.addNode("boot-of-another") }) // alive, not Ready
		var beat func()
		beat = func() {
			if s.node.BootID == "boot-of-another" {
				s.node.Heartbeat = time.Now()
				s.after(10*time.Second, beat)
			}
		}
		s.after(121*time.Second, beat)
		s.after(5*time.Minute, func() { s.request = nil })
		r, err := start()
		t.Log(s.log)
		wanted{reason: NameTaken}.check(t, r, err)
	})
}

func TestCredentialsWithoutATokenGoOnWaiting(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.policy = nil, true
		s.after(3*time.Minute, func() { s.policy = false })
		s.token = func() (string, error) { return "", errNoToken }
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(t, r, err)
	})
}

type lateWorld struct{ *sim }

func (w lateWorld) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out := make(chan cluster.Sighting)
	go func() {
		defer close(out)
		send := func(s cluster.Sighting) {
			select {
			case out <- s:
			case <-ctx.Done():
			}
		}
		a := w.see("w1")
		send(a)
		<-time.After(5 * time.Second)
		send(cluster.Sighting{Answer: cluster.Absent})
		send(a) // late news from before
		send(cluster.Sighting{Answer: cluster.Absent})
		<-ctx.Done()
	}()
	return out
}

func TestOneUIDIsDeletedOnce(t *testing.T) {
	simulateWorld(t, func(c *Config) { c.Timeout = 61 * time.Second }, func(s *sim) world { return lateWorld{s} },
		func(s *sim) { s.joined(); s.broken = nil }, // what is told is not what is
		func(r Report, err error) {
			if r.Counts.Deletions != 1 {
				t.Errorf("%d deletions: %+v", r.Counts.Deletions, r.Deletions)
			}
		})
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

func TestEvidenceByAnExpiredTokenEndsTheRun(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.policy = nil, true
		s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")} // weeks after the join
		s.after(5*time.Minute, func() { s.policy = false })
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(t, r, err)
	})
}

func TestCheckDoesNotSayNotMemberInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		s.ready = true
		s.joined()
		p := &plan{Config: Config{DiscoveryFile: "/nowhere"}}
		r := newRun(p, noFile{s}, simID, "w1", func(m string) string { return m })
		_, err := r.check(t.Context())
		var e *Error
		if errors.As(err, &e) && e.Reason == NotMember {
			t.Errorf("%s: %v", e.Reason, err)
		}
	})
}

type noFile struct{ *sim }

func (noFile) DiscoveryCA() ([]byte, error) { return nil, errors.New("permission denied") }

// systemctl that hangs (D-Bus is dead): the machine bounds it, and the loop does not depend on that.
type hungWorld struct{ *sim }

func (w hungWorld) Kubelet(ctx context.Context) (host.Unit, error) {
	<-ctx.Done()
	return host.Unit{}, context.Cause(ctx)
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

// A kubelet cannot report to an API server that is silent: that time is not counted against it.
func TestSilenceIsNotCountedAgainstAKubelet(t *testing.T) {
	for name, c := range map[string]struct {
		begins func(*sim)
		silent time.Duration // from then, for two minutes
		want   wanted
	}{
		"restarted because it stopped reporting": {func(s *sim) { s.joined(); s.stopKubelet(); s.node.Ready = "Unknown" },
			time.Second, wanted{reason: Recovered, restarts: 1}},
		"of a join that takes over our dead Node": {func(s *sim) { s.addNode(simBoot); s.node.Ready = "Unknown" },
			2 * time.Second, wanted{reason: Joined, joins: 1}},
		"of a member whose network was cut": {func(s *sim) {
			s.joined()
			s.after(time.Minute, func() { s.node.Ready = "Unknown" })
			s.after(2*time.Minute+6*time.Second, func() { s.node.Ready = "True" })
		}, 100 * time.Millisecond, wanted{reason: AlreadyJoined}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.ready, s.tainted = true, true
				c.begins(s)
				s.after(c.silent, func() { s.down = true })
				s.after(c.silent+2*time.Minute, func() { s.down = false })
				r, err := start()
				c.want.check(s.t, r, err)
				if r.FirstError != "" {
					s.t.Errorf("first error %q", r.FirstError)
				}
			})
		})
	}
}

// What was found out before a reset says nothing about the machine after it, even if that reset failed: here somebody mends the
// API server meanwhile, and the kubelet, back as a member, is just being restarted by hand.
func TestEvidenceAllowsOneReset(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.creds.NotAfter = time.Now().Add(-time.Hour)
		s.refuses, s.node = true, nil
		s.resetFail = func() error {
			s.change(func() { s.refuses = false; s.addNode(simBoot); s.stopKubelet() })
			s.after(20*time.Second, s.startKubelet)
			return errors.New("device or resource busy")
		}
		r, err := start()
		wanted{reason: Recovered, resets: 1, restarts: 1}.check(t, r, err)
	})
}

// The same between evidence and reset: the Node that came back outweighs it, whether or not its kubelet runs at this moment.
func TestNodeThatCameBackOutweighsTheEvidence(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node, s.mute, s.fitTakes = nil, true, 5*time.Second
		s.after(61*time.Second+offBeat(0), func() { s.mute = false; s.addNode(simBoot); s.stopKubelet() }) // while kubeadm says its version
		s.after(80*time.Second, s.startKubelet)
		r, err := start()
		wanted{reason: Recovered, restarts: 2}.check(t, r, err)
	})
}

func TestCredentialsThatBecomeWholeMeanwhileAreNoReasonToRefuse(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		whole := s.creds
		s.creds = nil
		s.after(time.Second, func() { s.creds = whole })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
	})
}

// A unit is not started again after exit 9, so a name is taken only if the API server says so to the end.
func TestSilenceAtTheDeadlineIsNotATakenName(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.addNode("boot-of-another")
		s.after(10*time.Second, func() { s.down = true })
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		if !strings.Contains(r.Message, "does not answer") {
			s.t.Errorf("message %q", r.Message)
		}
	})
}

// The API server falls silent while our request is pending and the kubelet, whose key is on disk, is being restarted.
func TestSilenceIsNoWordAboutAPendingRequest(t *testing.T) {
	simulate(t, func(c *Config) { c.Hold = 0 }, func(s *sim, start func() (Report, error)) {
		s.running = true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
		s.after(500*time.Millisecond, func() { s.down, s.running = true, false })
		s.after(30*time.Second, func() { s.down, s.running = false, true })
		s.after(70*time.Second, s.kubeletJoins) // no crash loop: more than a minute after the first one's end
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
	})
}

// Another machine takes the name between evidence and reset, and dies: 404 has not stayed, and our kubelet may just move in.
func TestEvidenceGrowsOldWhileATwinIsWaitedFor(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node, s.mute, s.fitTakes = nil, true, 5*time.Second
		s.after(61*time.Second, func() { s.addNode("boot-of-another") })
		s.after(90*time.Second, func() { s.node.Ready, s.mute = "Unknown", false })
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(s.t, r, err)
	})
}

// Another machine takes the name while we wait for our certificate, which is then given up: all in one second.
func TestNameThatIsTakenWithinASecondIsNoticed(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.running = true
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
		s.after(200*time.Millisecond, func() { s.addNode("boot-of-another") })
		s.after(4*time.Minute, s.twinReports)
		s.after(300*time.Millisecond, s.wipe)
		r, err := start()
		wanted{reason: NameTaken}.check(s.t, r, err)
	})
}

// Our kubelet asks for its certificate anew while we wait for the token to be taken: that request is ours, too.
func TestRequestThatComesDuringTheWaitForTheTokenIsNotThrownAway(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
		s.after(9500*time.Millisecond, func() {
			s.request = nil
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed")}
		})
		s.after(20*time.Second, func() { s.request = &cluster.Request{Name: "csr-2", Pending: true, Own: true} })
		s.after(30*time.Second, func() { s.verdict = cluster.Probe{} })
		s.after(time.Minute, s.kubeletJoins)
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
	})
}

// A name that is ours again is not taken, however little time is left.
func TestNameThatIsOursAtTheDeadlineIsNotTaken(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.addNode("boot-of-another")
		s.after(55500*time.Millisecond, s.kubeletJoins)
		r, _ := start()
		if r.Reason == NameTaken {
			s.t.Errorf("%s: %s", r.Reason, r.Message)
		}
	})
}

// The kubelet's request comes while the name is waited for, after it was looked for.
func TestRequestThatComesDuringTheWaitForTheNameIsNotThrownAway(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.addNode("boot-before")
		s.after(10*time.Second, func() { s.request = &cluster.Request{Name: "csr-1", Pending: true} })
		s.after(30*time.Second, func() { s.node.Ready = "Unknown" })
		s.after(2*time.Minute, func() { // approved
			s.request = nil
			s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: "w1"}
			s.startKubelet()
		})
		r, err := start()
		t.Log(s.log)
		if err != nil || r.Counts.Resets > 0 {
			t.Errorf("%d resets; %v", r.Counts.Resets, err)
		}
	})
}

type brokenDisk struct{ *sim }

func (brokenDisk) Credentials() (*cluster.Credentials, error) {
	return nil, &fs.PathError{Op: "read", Path: kubeletConf, Err: syscall.EIO}
}

// A disk that gives read errors is no machine without credentials.
func TestCredentialsThatCannotBeReadAreNoReasonForAReset(t *testing.T) {
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = 10*time.Minute, 0 }, func(s *sim) world { return brokenDisk{s} },
		func(s *sim) { s.joined(); s.stopKubelet() },
		func(r Report, err error) {
			wanted{reason: JoinFailed}.check(t, r, err)
			if !strings.Contains(r.Message, "input/output error") {
				t.Errorf("message %q", r.Message)
			}
		})
}

// The kubelet ends between the two looks at whether it runs, and with it what was seen before them.
func TestNameThatIsTakenDuringTheLooksAtTheKubeletIsNoticed(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.creds = nil
		s.after(700*time.Millisecond, func() { s.wipe(); s.addNode("boot-of-another") })
		s.after(4*time.Minute, s.twinReports)
		r, err := start()
		wanted{reason: NameTaken}.check(s.t, r, err)
	})
}
