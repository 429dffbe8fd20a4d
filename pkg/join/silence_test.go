package join

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

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

func TestProgramsAreReadOnceWhileAControlPlaneIsWaitedFor(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.down = true // and not ready, so its Node is held for long
		s.after(10*time.Minute, func() {
			s.down = false
			if len(s.reads) != 1 || s.reads[0].Err() != nil {
				t.Errorf("%d reads", len(s.reads))
			}
		})
		s.after(10*time.Minute+20*time.Second, func() {
			if len(s.reads) != 1 || s.reads[0].Err() == nil {
				t.Errorf("%d reads, or it goes on while a join wants the disk", len(s.reads))
			}
		})
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(s.reads) != 1 {
			t.Errorf("%d reads", len(s.reads))
		}
	})
}

func TestProgramsAreNotReadWhereNobodyWaitsOrAMemberDoes(t *testing.T) {
	for about, world := range map[string]struct {
		change func(*Config)
		set    func(*sim)
	}{
		"a live cluster": {nil, func(*sim) {}},
		"a member whose API server is away": {nil, func(s *sim) {
			s.joined()
			s.down = true
			s.after(10*time.Minute, func() { s.down = false })
		}},
		"a member whose credentials are not understood": {func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim) {
			s.joined()
			s.torn, s.down = cluster.ErrNotUnderstood, true
		}},
		"a member whose certificate has expired": {func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim) {
			s.joined()
			s.creds.NotAfter, s.down = time.Now().Add(-time.Hour), true
		}},
		"a dry run": {func(c *Config) { c.DryRun, c.Timeout = true, 5*time.Minute }, func(s *sim) { s.down = true }},
	} {
		t.Run(about, func(t *testing.T) {
			simulate(t, world.change, func(s *sim, start func() (Report, error)) {
				s.ready = true
				world.set(s)
				_, _ = start()
				if len(s.reads) != 0 {
					t.Errorf("%d reads", len(s.reads))
				}
			})
		})
	}
}
