package join

import (
	"context"
	"testing"
	"time"
)

// Karpenter, backup tools: a finalizer holds up a Node that somebody deletes, and nobody registers it again once it is gone.
func TestNodeThatIsBeingDeletedDuringTheHoldIsNoSuccess(t *testing.T) { // B1
	t.Run("it goes after minutes", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.tainted = true
			s.after(5*time.Second, s.finalized)
			s.after(4*time.Minute, s.unfinalized)
			r, err := start()
			wanted{reason: Recovered, joins: 1, back: 1, deletions: 1}.check(s.t, r, err)
			if s.node.UID != "uid-2" || time.Duration(r.Duration) < 4*time.Minute {
				s.t.Errorf("Node %s after %s", s.node.UID, time.Duration(r.Duration))
			}
		})
	})
	t.Run("it stays to the deadline", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.tainted = true
			s.after(5*time.Second, s.finalized)
			r, err := start()
			wanted{reason: JoinFailed, joins: 1}.check(s.t, r, err)
			says(s.t, r, "example.com/termination")
		})
	})
	t.Run("a member that is being deleted", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.finalized()
			life := s.life
			r, err := start()
			wanted{reason: JoinFailed}.check(s.t, r, err)
			s.untouched(life)
		})
	})
	t.Run("whose kubelet stops meanwhile", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.finalized()
			s.after(5*time.Second, s.stopKubelet)
			s.after(3*time.Minute, s.unfinalized)
			r, err := start()
			wanted{reason: Recovered, restarts: 1, deletions: 1}.check(s.t, r, err)
		})
	})
}

// A machine is replaced under its old name.
func TestNodeThatIsBeingDeletedBeforeAJoinIsWaitedOut(t *testing.T) { // B2
	for name, boot := range map[string]string{"of an earlier boot": "boot-before", "of another machine": "boot-of-another", "of ours": simBoot} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.addNode(boot)
				s.finalized()
				s.after(3*time.Minute, s.unfinalized)
				r, err := start()
				wanted{reason: Joined, joins: 1}.check(s.t, r, err)
				if s.node.UID != "uid-2" {
					s.t.Errorf("Node %s", s.node.UID)
				}
				took(s.t, r, 3*time.Minute, 3*time.Minute+10*time.Second)
			})
		})
	}
}

func TestKubeletThatIsStoppedIsNoMemberThoughItsNodeIsReady(t *testing.T) { // B3
	for name, stop := range map[string]func(*sim){
		"stopped by hand": func(s *sim) { s.end(false) },
		"dead":            func(s *sim) { s.end(false); s.node.Ready = "Unknown" },
		"not understood":  func(s *sim) { s.end(false); s.torn = s.oddConf() },
		"suspended":       func(s *sim) { s.suspended = "stopped by SIGSTOP" },
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				stop(s)
				r, err := start()
				wanted{reason: Recovered, restarts: 1}.check(s.t, r, err)
				if !s.running || s.pods != 2 {
					s.t.Errorf("the kubelet runs: %t; %d pods", s.running, s.pods)
				}
			})
		})
	}
	t.Run("stopped during the hold", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.tainted = true
			s.after(20*time.Second, s.stopKubelet)
			r, err := start()
			wanted{reason: Recovered, joins: 1, restarts: 1}.check(s.t, r, err)
		})
	})
}

// Its Node looks Ready for most of a minute.
func TestKubeletInACrashLoopIsNoMemberThoughItsNodeIsReady(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.end(false)
		s.dies = "unknown flag: --gone"
		s.startKubelet()
		r, err := start()
		wanted{reason: HostUnfit, restarts: -1}.check(s.t, r, err)
		says(s.t, r, "unknown flag: --gone")
		if s.pods != 2 {
			s.t.Errorf("%d pods", s.pods)
		}
	})
	t.Run("mended by whoever has broken it", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.end(false)
			s.dies = "unknown flag: --gone"
			s.startKubelet()
			s.after(15*time.Second, func() { s.dies = "" })
			r, err := start()
			if err != nil || !s.running {
				s.t.Errorf("%s: %v", r.Message, err)
			}
		})
	})
}

// Two kubelets write into one Node by turns: whose it is at a moment says little.
func TestNodeIntoWhichAnotherMachineWritesIsNoMembersForLong(t *testing.T) {
	for name, boot := range map[string]string{"another kernel": "boot-of-another", "the same kernel": simBoot} {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *Config) { c.Until = Initialized }, func(s *sim, start func() (Report, error)) {
				s.tainted = true
				s.joined()
				life := s.life
				s.after(12*time.Second, func() { s.neighbourComes(neighbour{boot, "machine-of-another", "w1"}) })
				r, err := start()
				if err == nil || r.Counts.Resets > 0 {
					s.t.Errorf("%s: %s", r.Reason, r.Message)
				}
				s.untouched(life)
			})
		})
	}
}

// A copy of the same name is not the original, whatever the Node's boot ID says.
func TestCopyOfALivingContainersNameIsNotItsSuccess(t *testing.T) {
	live(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.clone(neighbour{simBoot, "machine-of-golden", "w1"})
		s.end(false)
		r, err := start()
		if err == nil && !s.ours() || r.Counts.Resets > 0 {
			s.t.Errorf("%s: %s", r.Reason, r.Message)
		}
	})
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

func TestOneUIDIsDeletedOnce(t *testing.T) {
	simulateWorld(t, func(c *Config) { c.Timeout = 61 * time.Second }, func(s *sim) world { return lateWorld{s} },
		func(s *sim) { s.joined(); s.broken = nil }, // what is told is not what is
		func(r Report, err error) {
			if r.Counts.Deletions != 1 {
				t.Errorf("%d deletions: %+v", r.Counts.Deletions, r.Deletions)
			}
		})
}
