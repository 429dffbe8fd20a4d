package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// keeper is a finalizer, as Karpenter and backup tools put it on Nodes.
const keeper = "example.com/drain-first"

// lingers deletes a Node that stays until its finalizer is gone (aws/karpenter-provider-aws 2169, 2467).
func (s *story) lingers(name string) {
	s.Helper()
	s.must(s.cp.AddFinalizer(s.ctx, name, keeper))
	s.must(s.cp.DeleteNode(s.ctx, name))
	if n := s.nodeNamed(name); n.DeletionTimestamp == nil {
		s.Fatalf("Node %q is not being deleted", name)
	}
}

// It is there, for now: the kubelet goes on reporting, and never registers again.
func TestNodeThatIsBeingDeletedDuringHoldIsNotHeld(t *testing.T) {
	s := tellLive(t, external())
	s.fault(58)
	p := s.start(s.node, s.args("--hold", "15s")...)
	p.until("holding it")
	first := s.nodeNamed("w1")
	s.lingers("w1")
	p.waits(20 * time.Second)
	p.until(keeper)
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, keeper) })
	s.must(s.cp.RemoveFinalizers(s.ctx, "w1"))
	e := p.end().is(0, "Recovered").returned(1).counts(1, 0, 0, 1).says(keeper, "was deleted")
	if e.report.Deletions[0].UID != string(first.UID) || e.report.Node.UID == string(first.UID) {
		t.Errorf("deletions %+v, node %+v, first UID %s", e.report.Deletions, e.report.Node, first.UID)
	}
	s.member(e)
}

// Ready all the while, so nothing but its own word tells.
func TestReadyMemberWhoseNodeIsBeingDeletedIsNoMember(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(58)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	first := s.nodeNamed("w1")
	s.lingers("w1")
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, keeper) })
	again := s.argsWithout("--token-file", "/root/deleted")

	t.Log("until the deadline")
	e := s.join(append(again, "--timeout", "15s", "--hold", "5s")...)
	pod.lives()
	if e.code == 8 {
		e.is(8, "KeepsBeingDeleted")
	} else {
		e.is(7, "JoinFailed")
	}
	e.counts(0, 0, 0, anyNumber).says(keeper)

	t.Log("until it is gone")
	p := s.start(s.node, again...)
	p.waits(10 * time.Second)
	s.must(s.cp.RemoveFinalizers(s.ctx, "w1"))
	e = p.end()
	pod.lives()
	s.member(e.is(0, "Recovered").returned(1).counts(0, 0, 0, 1).says(keeper))
	if e.report.Node.UID == string(first.UID) {
		t.Errorf("the Node still has UID %s", first.UID)
	}
}

// A machine is replaced under its old name. kubeadm adopts the Node as it is, and with it its end.
func TestNodeThatIsBeingDeletedIsNotMovedInto(t *testing.T) {
	s := tellIn(t, testbed.ControlPlaneOptions{ControllerArgs: []string{"--node-monitor-grace-period=20s"}}, ready()).live()
	s.fault(59)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	s.node.PowerOff()
	old, err := s.cp.WaitNode(s.ctx, "w1", testbed.Unknown) // dead, so the name is free
	s.must(err)
	s.lingers("w1")
	other := s.twinOf("w1", "other")
	p := s.start(other, s.args()...)
	p.waits(15 * time.Second)
	p.until(keeper)
	s.must(s.cp.RemoveFinalizers(s.ctx, "w1"))
	e := p.end().is(0, "Joined").counts(1, 0, 0, 0).says(keeper)
	if e.report.Node.UID == string(old.UID) {
		t.Errorf("the Node still has UID %s", old.UID)
	}
	s.member(e)
}
