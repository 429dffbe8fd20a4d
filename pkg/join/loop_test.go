package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
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
	t.Attr("outcome", fmt.Sprintf("- %s %d %d %d %d %d", w.reason, w.joins, w.resets, w.restarts, w.deletions, w.back)) // for `make faults`
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

func TestOwnStaleNodeIsWaitedOut(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode(simBoot)
		s.stopKubelet()
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, judge.GracePeriod, judge.GracePeriod+10*time.Second)
	})
}

func TestAnotherMachinesLiveNodeIsNotTakenOver(t *testing.T) {
	for name, story := range map[string]struct {
		beat time.Duration
		want Reason
	}{"heartbeat moves": {70 * time.Second, NameTaken}, "stays Ready, and nobody is heard of": {time.Hour, JoinFailed}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.ready = true
				s.addNode("boot-of-another")
				s.after(story.beat, func() { s.node.Heartbeat = time.Now() })
				r, err := start()
				wanted{reason: story.want}.check(t, r, err)
				took(t, r, time.Minute, Defaults().Timeout)
			})
		})
	}
}

func TestAnotherMachinesDeadNodeIsTakenOver(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		s.node.Unschedulable = true
		s.after(30*time.Second, func() { s.node.Ready = "Unknown" })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "cordon") {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
}

func TestNodeThatMerelyStaysReadyIsNotATakenNameAtTheDeadline(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
		if !strings.Contains(r.Message, "is not known to be dead") {
			t.Errorf("message %q", r.Message)
		}
	})
}

func TestUnknownTokenIsRejectedAfterAMinute(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		took(t, r, judge.TokenPatience, 90*time.Second)
	})
}

func TestTokenFileIsReadAgainAfterARefusal(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{File: "/token"} }, func(s *sim, start func() (Report, error)) {
		born := time.Now()
		s.token = func() (string, error) {
			if time.Since(born) > 2*time.Minute {
				return simToken, nil
			}
			return "abcdef.ffffffffffffffff", nil
		}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestWrongCAStopsAtOnce(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.verdict = cluster.Probe{Verdict: cluster.WrongCA, Err: errors.New("another CA")}
		r, err := start()
		wanted{reason: WrongCluster}.check(t, r, err)
		took(t, r, 0, time.Second)
	})
}

func TestBadSignatureIsLookedAtTwice(t *testing.T) {
	for pinned, reason := range map[bool]Reason{true: TokenRejected, false: WrongCluster} {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.verdict = cluster.Probe{Verdict: cluster.BadSignature, Pinned: pinned, Err: errors.New("bad signature")}
			r, err := start()
			wanted{reason: reason}.check(t, r, err)
			took(t, r, judge.SignatureAgain, 10*time.Second)
		})
	}
}

func TestBadSignatureThatIsMendedIsForgotten(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.verdict = cluster.Probe{Verdict: cluster.BadSignature, Err: errors.New("bad signature")}
		s.after(3*time.Second, func() { s.verdict = cluster.Probe{} })
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
		s.refuses, s.node = true, nil
		s.resetFail = func() error { // a good one: the next certificate is taken
			s.change(func() { s.disk, s.creds, s.refuses = host.Disk{}, nil, false; s.stopKubelet() })
			return nil
		}
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
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

func TestPendingRequestIsWaitedFor(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true}
		s.after(5*time.Minute, func() { s.joined() })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		took(t, r, 5*time.Minute, 5*time.Minute+5*time.Second)
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

func TestHandMadeNodeIsNotOurs(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 30*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node.BootID, s.node.Ready = "", ""
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
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

func TestWaitThatGoesOnIsToldEverMoreSeldom(t *testing.T) {
	lines := 0
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Hour, 0; c.Observe = func(Event) { lines++ } }, func(s *sim, start func() (Report, error)) {
		s.down = true
		r, err := start()
		wanted{reason: Unreachable}.check(t, r, err)
	})
	if lines < 5 || lines > 25 {
		t.Errorf("%d events in an hour of silence", lines)
	}
}

func TestErrorThatRunReturnsIsRedacted(t *testing.T) {
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim) world { return s }, func(s *sim) {
		s.join = func(context.Context) error { return errors.New("kubeadm printed " + simToken) }
	}, func(r Report, err error) {
		if err == nil || strings.Contains(err.Error(), simToken[7:]) || strings.Contains(r.LastError, simToken[7:]) {
			t.Errorf("error %v, last error %q", err, r.LastError)
		}
	})
}

func TestFirstAndLastErrorAreBothKept(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.join = func(context.Context) error { return errors.New("the cause") }
		s.after(10*time.Second, func() {
			s.join = func(context.Context) error { return errors.New("what came of it") }
		})
		r, err := start()
		wanted{reason: JoinFailed, joins: -1}.check(t, r, err)
		if !strings.Contains(r.FirstError, "the cause") || !strings.Contains(r.LastError, "what came of it") {
			t.Errorf("first error %q, last error %q", r.FirstError, r.LastError)
		}
	})
}
