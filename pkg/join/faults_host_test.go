package join

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// With the defaults and under a strict cloud: every five seconds it deletes what is there.
func TestReturnsAfterDeletionsBackOffUpToTheMost(t *testing.T) {
	t.Attr("fault", "38")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		var strike func()
		strike = func() { s.node = nil; s.after(5*time.Second, strike) }
		s.after(5*time.Second, strike)
		r, err := start()
		wanted{reason: KeepsBeingDeleted, joins: 1, back: 10, deletions: 11}.check(t, r, err)
		for i, at := range s.putBacks {
			pause := at.Sub(r.Deletions[i].At)
			// The first at once, then 1, 2, 4, 8, 16 and at the most 25 s, or its pods are dead, each give or take a quarter, and a tick.
			middle := time.Duration(0)
			if i > 0 {
				middle = min(time.Second<<(i-1), 30*time.Second)
			}
			middle = min(middle, 25*time.Second)
			if pause < middle*3/4-time.Second || pause > middle*5/4+2*time.Second {
				t.Errorf("return %d came %s after the deletion, wanted about %s", i+1, pause, middle)
			}
		}
	})
}

// With the field's 90 s.
func TestCloudControllerThatIsNinetySecondsLate(t *testing.T) {
	t.Attr("fault", "41")
	late := func(s *sim) {
		s.tainted = true
		s.after(90*time.Second, func() { s.deleteNode() })
		s.after(100*time.Second, func() {
			s.tainted = false
			if s.node != nil {
				s.node.Uninitialized = false
			}
		})
	}
	simulate(t, func(c *Config) { c.Until = Initialized }, func(s *sim, start func() (Report, error)) {
		late(s)
		r, err := start()
		wanted{reason: Recovered, joins: 1, back: 1, deletions: 1}.check(t, r, err)
		took(t, r, 150*time.Second, 3*time.Minute)
		if len(r.Warnings) > 0 {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		late(s)
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, 60*time.Second, 65*time.Second)
		if len(r.Warnings) != 1 {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
}

// A machine on which a run was killed in the middle of its join: the kubelet got its credentials, nobody looked.
func TestRunAfterAKilledOneNeedsNoResetWhenTheKubeletHasCredentials(t *testing.T) {
	t.Attr("fault", "35")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.disk.BootstrapConf = true
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		if s.disk.BootstrapConf {
			t.Error("bootstrap-kubelet.conf, which holds the token, is left")
		}
	})
}

// On a slow host the kubelet has got its certificate by the time when it looks at swap: the join looks well until then.
func TestKubeletThatRefusesSwapIsAPersonsJob(t *testing.T) {
	t.Attr("fault", "30")
	dies := func(s *sim) { s.running, s.waiting, s.swap, s.policy, s.dies = false, true, true, true, "swap is on" }
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = func(ctx context.Context) error {
			s.change(func() { s.joined(); s.node = nil; dies(s) })
			time.Sleep(7 * time.Second)
			return failingJoin(ctx)
		}
		r, err := start()
		wanted{reason: HostUnfit, joins: 1}.check(t, r, err)
		took(t, r, 0, 10*time.Second)
	})
	t.Run("a member after a reboot", func(t *testing.T) { // what its log says is believed after a restart of our own
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.node.Ready = "Unknown"
			dies(s)
			r, err := start()
			wanted{reason: HostUnfit, restarts: 1}.check(t, r, err)
		})
	})
	t.Run("without credentials, its log is of another boot", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.mended = true, true
			s.running, s.swap = true, true
			s.join = func(context.Context) error { // the container runtime is late
				s.change(func() { s.join = nil })
				return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1}
			}
			r, err := start()
			wanted{reason: Joined, joins: 2}.check(t, r, err)
		})
	})
	t.Run("a member is one whatever the log says", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.join = func(ctx context.Context) error {
				s.change(func() { s.joined(); s.swap = true })
				time.Sleep(2 * time.Second)
				return failingJoin(ctx)
			}
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
		})
	})
	t.Run("mended meanwhile", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.joined()
			s.node = nil
			dies(s)
			s.unit.Failing, s.mended = true, true
			r, err := start()
			wanted{reason: Recovered, restarts: 1}.check(t, r, err)
		})
	})
}

// kubeadm is asked for its version while the rest is found out. What it says ends any waiting, and counts more.
func TestUnfitKubeadmEndsWhatIsDoneMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(*sim){
		"nothing answers": func(s *sim) { s.down = true },
		"the token fails": func(s *sim) {
			s.token = func() (string, error) { return "", &Error{Reason: Usage, Message: "no token"} }
		},
		"all goes well":      func(*sim) {},
		"the token hangs":    func(s *sim) { s.token = func() (string, error) { time.Sleep(time.Minute); return "", nil } },
		"the unit is masked": func(s *sim) { s.unit.Masked = true },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.fit = &Error{Reason: HostUnfit, Message: "kubeadm is too old"}
				meanwhile(s)
				r, err := start()
				wanted{reason: HostUnfit}.check(t, r, err)
				took(t, r, 0, time.Second)
				if r.Message != "kubeadm is too old" {
					t.Errorf("message %q", r.Message)
				}
				time.Sleep(2 * time.Minute) // for the token that hangs
			})
		})
	}
}

// A disk may be cold: what was found out while kubeadm said its version is found out again.
func TestWhatWasFoundOutDuringALongWaitForKubeadmIsOld(t *testing.T) {
	t.Run("our Node comes back", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.fitTakes = true, 20*time.Second
			s.joined()
			s.node, s.mute = nil, true
			s.after(66*time.Second, func() { s.mute = false })
			r, err := start()
			wanted{reason: Recovered, restarts: 1}.check(t, r, err)
		})
	})
	t.Run("another machine takes the name", func(t *testing.T) {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.fitTakes = true, 20*time.Second
			s.after(10*time.Second, func() { s.addNode("another-boot") })
			s.after(10*time.Minute, func() { s.deleteNode() })
			r, err := start()
			if r.Counts.Joins > 0 && r.Duration < Seconds(time.Minute) {
				t.Errorf("joined beside it: %s, %v", r.Message, err)
			}
		})
	})
}

// Another cluster stays another one, whatever keeps kubeadm from saying its version this time.
func TestFailureThatPassesDoesNotHideAnEnd(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.fit, s.fitTakes = errors.New("no answer within 30 s"), 30*time.Second
		s.verdict = cluster.Probe{Verdict: cluster.WrongCA, Err: errors.New("another CA")}
		r, err := start()
		wanted{reason: WrongCluster}.check(t, r, err)
	})
}

// Where hundreds join at once, a certificate takes a minute.
func TestCertificateThatIsLateIsLookedForOnceASecond(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.join = func(context.Context) error {
			s.change(func() { s.looks = 0 })
			time.Sleep(time.Minute)
			s.change(func() {
				if s.looks < 60 || s.looks > 120 {
					t.Errorf("looked for it %d times in a minute, wanted ten times a second for 5 s and once a second then", s.looks)
				}
				s.joined()
			})
			return nil
		}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

// What nodejoin sees in kubeadm's place is no run of kubeadm's.
func TestAJoinWithoutARuntimeIsCountedOnlyOnceKubeadmIsRun(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = func(context.Context) error {
			return kubeadm.Version{}.NoRuntime(errors.New("no such file or directory"))
		}
		s.after(15*time.Second, func() { s.join = nil })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if r.Counts.Attempts < 2 {
			t.Errorf("%d attempts", r.Counts.Attempts)
		}
		took(t, r, 15*time.Second, 2*time.Minute)
	})
}
