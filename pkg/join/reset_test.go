package join

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

func TestLeftoversWithoutCredentialsAreResetOnce(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
	})
}

// What a join leaves that never got to a certificate hinders the next one only while a kubelet needs it.
func TestWhatADeadJoinLeftNeedsNoReset(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.caFile = true, simCA
		s.disk = host.Disk{BootstrapConf: true, Leftovers: []string{"/etc/kubernetes/bootstrap-kubelet.conf", "/etc/kubernetes/pki/ca.crt"}}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestResetNeverRefusesInsteadOfResetting(t *testing.T) {
	simulate(t, func(c *Config) { c.Reset = ResetNever }, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
}

func TestResetAlwaysStartsWithOneEvenOnAMember(t *testing.T) {
	simulate(t, func(c *Config) { c.Reset = ResetAlways }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
	})
}

func TestResetThatLeavesFilesIsNotBelieved(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.resetFail = func() error { return nil }
		r, err := start()
		wanted{reason: JoinFailed, resets: -1}.check(t, r, err)
		if !strings.Contains(r.LastError, "still there") {
			t.Errorf("last error %q", r.LastError)
		}
	})
}

// A reset cannot help where the cluster refuses the Node; the kubelet's own words say so.
func TestRefusedNodeIsNoReasonForAReset(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.policy = true
		r, err := start()
		wanted{reason: JoinFailed, joins: 1, restarts: -1}.check(t, r, err)
		if !strings.Contains(r.Message, "refused by policy") {
			t.Errorf("message %q", r.Message)
		}
		if len(r.LogTail.Kubelet) == 0 {
			t.Error("the kubelet's own words are missing")
		}
	})
}

func TestRefusedNodeComesOnceThePolicyIsLifted(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.policy = true
		s.after(12*time.Second, func() { s.policy = false })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestKubeletRefusedForTwentySecondsIsNoEvidence(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.refuses = true
		s.after(20*time.Second, func() { s.refuses = false })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
	})
}

func TestKubeletRefusedForGoodIsResetOnlyWhenItsNodeIsLost(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.creds.NotAfter = time.Now().Add(-time.Hour)
		s.refuses, s.node, s.asksForNothing = true, nil, true
		s.resetFail = func() error { // a good one: the next certificate is taken
			s.change(func() { s.disk, s.creds, s.refuses = host.Disk{}, nil, false; s.stopKubelet() })
			return nil
		}
		r, err := start()
		wanted{reason: Recovered, joins: 1, resets: 1, restarts: 1, again: 1}.check(t, r, err)
		took(t, r, judge.RefusedPatience, 3*time.Minute)
	})
	// The refusal itself makes its Node look dead: the certificate must be useless by itself.
	offBeat := func(c *Config) { c.Timeout += 71 * time.Millisecond } // no question is on its way then
	simulate(t, offBeat, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.refuses, s.node.Ready = true, "Unknown"
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
		if !strings.Contains(r.Hint, "--client-ca-file") {
			t.Errorf("hint %q", r.Hint)
		}
	})
	for name, running := range map[string]bool{"the kubelet runs": true, "the kubelet does not run": false} {
		t.Run("its Node is Ready, "+name, func(t *testing.T) {
			simulate(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
				s.ready = true
				s.joined()
				s.refuses, s.running = true, running
				r, err := start()
				wanted{reason: JoinFailed}.check(t, r, err)
			})
		})
	}
}

func TestLostCredentialsOfALivingMemberAreRefused(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.creds = nil
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
		took(t, r, 0, 5*time.Second)
	})
}

func TestNodeGoneForGoodIsRestartedThenResetOnce(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.mute = nil, true
		r, err := start()
		wanted{reason: JoinFailed, joins: 1, resets: 1, restarts: -1}.check(t, r, err)
	})
}

func TestFailedRestartNeverLeadsToAReset(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node, s.restart = nil, errors.New("job failed")
		r, err := start()
		wanted{reason: JoinFailed, restarts: -1}.check(t, r, err)
		if !strings.Contains(r.LastError, "job failed") {
			t.Errorf("last error %q", r.LastError)
		}
	})
}

func TestClonedImageJoinsUnderItsOwnName(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, false
		s.joined()
		s.running = false
		s.creds.NodeName, s.node.Name, s.node.BootID = "golden", "golden", "boot-of-golden"
		s.judge = func(n cluster.Node) bool { return n.BootID == "boot-of-golden" }
		// the sim has one Node only: once reset, it answers for w1
		s.resetFail = func() error {
			s.change(func() { s.disk, s.creds, s.node = host.Disk{}, nil, nil })
			return nil
		}
		s.hideFromToken = true
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
	})
}

func TestControlPlaneHostIsRefusedWithNoOverride(t *testing.T) {
	simulate(t, func(c *Config) { c.Reset = ResetAlways }, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{ControlPlane: "/etc/kubernetes/manifests/kube-apiserver.yaml", Leftovers: []string{"x"}}
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
}

func TestStaticPodsAreOnlyLostToResetAlways(t *testing.T) {
	disk := host.Disk{StaticPods: []string{"/etc/kubernetes/manifests/proxy.yaml"}, Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = disk
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
	simulate(t, func(c *Config) { c.Reset = ResetAlways }, func(s *sim, start func() (Report, error)) {
		s.disk = disk
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
	})
}

func TestMemberUnderAnotherNameIsRefused(t *testing.T) {
	simulate(t, func(c *Config) { c.NodeName = "other" }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
}
