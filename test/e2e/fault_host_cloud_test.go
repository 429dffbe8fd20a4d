package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What ends it is TestCloudThatNeverLearnsEndsTheRunAtTheBudget; here is the patience on the way.
func TestNodeThatKeepsBeingDeletedIsBroughtBackEverMoreSeldom(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	s.fault(38)
	for _, c := range []struct {
		restore           string
		returns, restarts int
	}{{"auto", 3, 0}, {"never", 0, 3}} {
		t.Run(c.restore, func(t *testing.T) {
			s := s.in(t)
			s.node = s.newNode("restore-"+c.restore, testbed.NodeOptions{})
			p := s.start(s.node, s.args("--max-deletions", "3", "--backoff-initial", "3s", "--restore", c.restore)...)
			var deleted, back []time.Time
			for range 4 {
				n, err := s.cp.WaitNode(s.ctx, s.node.Name, nil)
				s.must(err)
				back = append(back, time.Now())
				s.sleep(time.Second) // long enough to be seen
				s.must(s.cp.DeleteNode(s.ctx, n.Name))
				deleted = append(deleted, time.Now())
			}
			p.end().is(8, "KeepsBeingDeleted").returned(c.returns).counts(1, 0, c.restarts, 4).says("backing off before it is brought back")
			// 3 s and 6 s, less a quarter of jitter
			for i, least := range []time.Duration{0, 2 * time.Second, 4 * time.Second} {
				pause := back[i+1].Sub(deleted[i])
				t.Logf("deletion %d, back %s later", i+1, pause.Round(time.Millisecond))
				if pause < least {
					t.Errorf("return %d came %s after the deletion, wanted at least %s", i+1, pause, least)
				}
			}
		})
	}
}

// A run that has ended well watches nothing any more: who deletes the Node then means it.
func TestNodeDeletedOnPurposeAfterTheEndStaysDeleted(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(39)
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says("is Ready and accepted"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.sleep(20 * time.Second)
	if n, err := s.cp.GetNode(s.ctx, "w1"); err == nil {
		t.Errorf("the Node is back: UID %s", n.UID)
	}
	s.nothingRuns("nodejoin", "kubeadm")
}

// The field's 90 s are 30 s here.
func TestLateCloudControllerIsWaitedForUntilInitialized(t *testing.T) {
	s := tellLive(t, external())
	s.fault(41)
	cloud, err := s.cp.NewCloud()
	s.must(err)
	p := s.start(s.node, s.args("--until", "initialized", "--hold", "5s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "no cloud controller has accepted it yet"))
	s.sleep(30 * time.Second)
	select {
	case <-p.Done():
		t.Fatalf("ended before there was a cloud controller:\n%s", p.Stderr)
	default:
	}
	s.must(cloud.Start(s.ctx))
	s.must(p.Stderr.WaitFor(s.ctx, "was deleted"))
	cloud.Know(s.node)
	s.member(p.end().is(0, "Recovered").returned(some).counts(1, 0, 0, some).says("no cloud controller has accepted it yet", "was deleted"))
}

// The other half: who asks for less is told what may still come, and it does come.
func TestSuccessBeforeTheCloudControllerWarnsOfIt(t *testing.T) {
	s := tellLive(t, external())
	s.fault(41)
	cloud, err := s.cp.NewCloud()
	s.must(err)
	e := s.join(s.args("--hold", "10s")...).is(0, "Joined").counts(1, 0, 0, 0).
		says("no cloud controller has accepted", "it may still be deleted; --until initialized waits for that")
	if len(e.report.ownWarnings()) != 1 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	s.must(cloud.Start(s.ctx))
	s.must(s.cp.WaitNoNode(s.ctx, "w1"))
}

// Without anonymous access nobody can read cluster-info, so a bare token is not enough.
func TestAnonymousAccessOffIsSaidWithTheWayAround(t *testing.T) {
	s := tell(t, ready())
	s.fault(42)
	closed, err := s.tb.ControlPlane(s.ctx, testbed.ControlPlaneOptions{Name: "closed", APIServerArgs: []string{"--anonymous-auth=false"}})
	s.must(err)
	s.cp = closed
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	s.join(s.args("--timeout", "15s", "--hold", "5s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says("does not serve cluster-info", "anonymous access is off", "--discovery-file").within(30 * time.Second)
	s.source(s.node, "/root/discovery.conf", s.cp.DiscoveryFile(s.token), 0o600)
	s.member(s.join(slices.Concat([]string{"nodejoin", "join", "--discovery-file", "/root/discovery.conf"}, testbed.PreflightArgs())...).
		is(0, "Joined").counts(1, 0, 0, 0))
}
