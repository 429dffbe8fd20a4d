package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// wanted is how a story must end. Counts left at -1 are not looked at.
type wanted struct {
	reason                             Reason
	joins, resets, restarts, deletions int
	back                               int // Nodes put back as they were
	again                              int // new certificates in place
}

func (w wanted) check(t *testing.T, r Report, err error) {
	t.Helper()
	t.Attr("outcome", fmt.Sprintf("- %s %d %d %d %d %d %d", w.reason, w.joins, w.resets, w.restarts, w.deletions, w.back, w.again)) // for `make faults`
	if r.Reason != w.reason {
		t.Fatalf("reason %s (%s), wanted %s", r.Reason, r.Message, w.reason)
	}
	success := w.reason == Joined || w.reason == Recovered || w.reason == AlreadyJoined
	if (err == nil) != success || (*r.Result == Success) != success {
		t.Errorf("error %v and result %s with reason %s", err, *r.Result, r.Reason)
	}
	for name, n := range map[string][2]int{
		"joins": {r.Counts.Joins, w.joins}, "resets": {r.Counts.Resets, w.resets},
		"kubelet restarts": {r.Counts.KubeletRestarts, w.restarts}, "deletions": {r.Counts.Deletions, w.deletions}, "Nodes put back": {r.Counts.NodesPutBack, w.back},
		"bootstraps": {r.Counts.Bootstraps, w.again},
	} {
		if n[1] >= 0 && n[0] != n[1] {
			t.Errorf("%d %s, wanted %d", n[0], name, n[1])
		}
	}
}

func took(t *testing.T, r Report, least, most time.Duration) {
	t.Helper()
	if d := time.Duration(r.Duration); d < least || d > most {
		t.Errorf("took %s, wanted %s to %s", d, least, most)
	}
}

func TestCleanHostJoinsAndHoldsForTheWholeTime(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, 60*time.Second, 64*time.Second)
		if len(r.Attempts) != 1 || r.Attempts[0].Phases[len(r.Attempts[0].Phases)-1].Phase != Hold {
			t.Errorf("attempts %+v", r.Attempts)
		}
	})
}

func TestHoldEndsOnceReadyAndAccepted(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, 0, 5*time.Second)
	})
}

func TestMemberIsNotTouched(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.token = func() (string, error) { t.Error("the token was read"); return "", errors.New("no") }
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		if len(s.log) > 0 {
			t.Errorf("done to a member: %v", s.log)
		}
	})
}

func TestControlPlaneTenMinutesLateIsNoticedWithinSeconds(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.down, s.ready = true, true
		s.after(10*time.Minute, func() { s.down = false })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, 10*time.Minute, 10*time.Minute+5*time.Second)
		if r.Counts.Attempts != 1 {
			t.Errorf("%d attempts", r.Counts.Attempts)
		}
	})
}

func TestSilenceUntilTheDeadline(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 5*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.down = true
		r, err := start()
		wanted{reason: Unreachable}.check(t, r, err)
		took(t, r, 5*time.Minute, 5*time.Minute+time.Second)
		if !strings.Contains(r.Message, "connection refused") {
			t.Errorf("message %q does not tell the network's error", r.Message)
		}
	})
}

// The failure this project exists for: kubernetes/kubernetes 58334 and many more.
func TestDeletedSecondsAfterTheJoinIsPutBack(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.after(4*time.Second, s.deleteNode)
		r, err := start()
		wanted{reason: Recovered, joins: 1, back: 1, deletions: 1}.check(t, r, err)
		if len(r.Deletions) != 1 || r.Deletions[0].UID != "uid-1" || r.Node.UID != "uid-2" {
			t.Errorf("deletions %+v, node %+v", r.Deletions, r.Node)
		}
		took(t, r, 64*time.Second, 70*time.Second) // held anew under the new UID
	})
}

func TestGoneAndBackBetweenTwoLooksIsADeletion(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.after(10*time.Second, func() { s.addNode(simBoot) })
		r, err := start()
		wanted{reason: Recovered, joins: 1, deletions: 1}.check(t, r, err)
	})
}

func TestDeletedAgainAndAgainStopsAtTheBudgetWithBackOffBetween(t *testing.T) {
	simulate(t, func(c *Config) { c.MaxDeletions = 4 }, func(s *sim, start func() (Report, error)) {
		var strike func()
		strike = func() { s.node = nil; s.after(5*time.Second, strike) }
		s.after(5*time.Second, strike)
		r, err := start()
		wanted{reason: KeepsBeingDeleted, joins: 1, back: 4, deletions: 5}.check(t, r, err)
		for _, word := range []string{"w1", "w1.example", "DeletingNode"} {
			if !strings.Contains(r.Hint, word) {
				t.Errorf("hint %q lacks %q", r.Hint, word)
			}
		}
	})
}

func TestKubeletInACrashLoopIsNoMember(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.stopKubelet()
		s.running, s.unit.Failing, s.creds, s.mended = true, true, nil, true
		r, err := start()
		wanted{reason: Recovered, again: 1}.check(t, r, err)
	})
}

func TestUnitThatAPersonMustMendEndsTheRun(t *testing.T) {
	for name, unit := range map[string]host.Unit{"missing": {Missing: true}, "masked": {Masked: true}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.unit = unit
				r, err := start()
				wanted{reason: HostUnfit}.check(t, r, err)
			})
		})
	}
}

func TestKubeletThatStoppedReportingIsRestarted(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node.Ready, s.running = "Unknown", false
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(t, r, err)
	})
}

func TestRebootedHostIsRecognisedOnceItsKubeletReports(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node.BootID = "boot-before"
		s.after(20*time.Second, func() { s.node.BootID = simBoot })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
	})
}

func TestUnfitHostEndsTheRunAndRetryableFailuresDoNot(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = func(context.Context) error {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "SystemVerification", Message: "cgroups missing"}}}
		}
		r, err := start()
		wanted{reason: HostUnfit, joins: 1}.check(t, r, err)
	})
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.join = func(context.Context) error {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "CRI", Message: "runtime not up"}}}
		}
		s.after(15*time.Second, func() { s.join = nil })
		r, err := start()
		wanted{reason: Joined, joins: -1}.check(t, r, err)
		if r.Counts.Joins < 3 || r.Counts.Joins > 8 {
			t.Errorf("%d joins in 15 s", r.Counts.Joins)
		}
	})
}

func TestKubeadmThatFailsThoughTheNodeIsOursIsAWarning(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.join = func(context.Context) error {
			s.change(s.joined)
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Tail: []string{"timed out"}}
		}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
}

func TestHangingKubeadmIsEndedAtTheAttemptsDeadline(t *testing.T) {
	simulate(t, func(c *Config) { c.AttemptTimeout = time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.join = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		s.after(30*time.Second, func() { s.join = nil })
		r, err := start()
		wanted{reason: Joined, joins: 2}.check(t, r, err)
		took(t, r, time.Minute, 70*time.Second)
	})
}

func TestCancelledContextIsInterrupted(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		s.after(10*time.Second, s.interrupt)
		r, err := start()
		wanted{reason: Interrupted, joins: 1}.check(t, r, err)
		took(t, r, 10*time.Second, 11*time.Second)
	})
}

func TestUntilReadyWaitsAndSaysWhatReadySays(t *testing.T) {
	simulate(t, func(c *Config) { c.Until, c.Timeout = Ready, 5*time.Minute }, func(s *sim, start func() (Report, error)) {
		r, err := start()
		wanted{reason: JoinFailed, joins: 1}.check(t, r, err)
	})
	simulate(t, func(c *Config) { c.Until, c.Timeout = Ready, 5*time.Minute }, func(s *sim, start func() (Report, error)) {
		s.after(2*time.Minute, func() { s.node.Ready = "True" })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestTaintThatNobodyLifts(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.tainted, s.ready = true, true
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "uninitialized") {
			t.Errorf("warnings %q", r.Warnings)
		}
		took(t, r, 60*time.Second, 65*time.Second)
	})
	simulate(t, func(c *Config) { c.Until, c.Timeout = Initialized, 5*time.Minute }, func(s *sim, start func() (Report, error)) {
		s.tainted, s.ready = true, true
		r, err := start()
		wanted{reason: JoinFailed, joins: 1}.check(t, r, err)
	})
}
