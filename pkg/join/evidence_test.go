package join

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

func TestEvidenceDoesNotOverrideOtherClustersCredentials(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.creds.CA = otherCA()
		s.node, s.policy = nil, true
		r, err := start()
		wanted{reason: Refused, restarts: -1}.check(t, r, err)
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

// What was found out before a reset says nothing about the machine after it, even if that reset failed: here somebody mends the
// API server meanwhile, and the kubelet, back as a member, is just being restarted by hand.
func TestEvidenceAllowsOneReset(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.creds.NotAfter = time.Now().Add(-time.Hour)
		s.refuses, s.node, s.asksForNothing = true, nil, true
		s.resetFail = func() error {
			s.change(func() { s.refuses = false; s.addNode(simBoot); s.stopKubelet() })
			s.after(20*time.Second, s.startKubelet)
			return errors.New("device or resource busy")
		}
		r, err := start()
		wanted{reason: Recovered, resets: 1, restarts: 1, again: 1}.check(t, r, err)
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
