package e2e

import (
	"testing"
	"time"
)

// The failure this project exists for: kubernetes/kubernetes 58334, 71398, 115761, 123535, 127424, 81636, 64036, 28519;
// kubernetes/cloud-provider-aws 384, 1024.
func TestNodeThatTheCloudControllerDeletesComesBackAndStays(t *testing.T) {
	s := tellLive(t, external())
	cloud, err := s.cp.Cloud(s.ctx)
	s.must(err)
	p := s.start(s.node, s.args()...)
	first, err := s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	time.AfterFunc(15*time.Second, func() { cloud.Know(s.node) })
	e := p.end().is(0, "Recovered")
	restarts := 0
	if s.minorOf(s.node) < 35 { // a CSINode that nobody had seen before it went with its Node comes by a restart of its kubelet alone
		restarts = 1
	}
	if c := e.report.Counts; c.Resets != 0 || c.KubeletRestarts > restarts || c.Joins != 1 || c.NodesPutBack < 1 || c.NodesPutBack != c.Deletions || c.Deletions != len(e.report.Deletions) {
		t.Errorf("counts %+v", c)
	}
	if e.report.Deletions[0].UID != string(first.UID) {
		t.Errorf("deletions %+v, the first Node's UID was %s", e.report.Deletions, first.UID)
	}
	s.sleep(time.Minute)
	s.member(e)
}

func TestNodeDeletedDuringHoldIsCountedByItsUID(t *testing.T) {
	s := tellLive(t, external())
	p := s.start(s.node, s.args("--hold", "20s")...)
	first, err := s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	s.sleep(5 * time.Second)
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	e := p.end().is(0, "Recovered").returned(1).counts(1, 0, 0, 1)
	if e.report.Deletions[0].UID != string(first.UID) || e.report.Node.UID == string(first.UID) {
		t.Errorf("deletions %+v, node %+v, first UID %s", e.report.Deletions, e.report.Node, first.UID)
	}
	s.member(e)
}

func TestCloudThatNeverLearnsEndsTheRunAtTheBudget(t *testing.T) {
	s := tellLive(t, external())
	s.fault(38)
	_, err := s.cp.Cloud(s.ctx)
	s.must(err)
	s.join(s.args("--max-deletions", "2")...).is(8, "KeepsBeingDeleted").returned(2).counts(1, 0, 0, 3).
		says(`Node name "w1"`, `hostname "w1"`, "FQDN", "private DNS name", "DeletingNode")
}

// kubeadm exits 0, and there is no Node: the API server's word counts.
func TestRefusedNodeIsNoSuccess(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.cp.RefuseNodes(s.ctx))
	e := s.join(s.args("--timeout", "150s")...).is(7, "JoinFailed").counts(some, 0, anyNumber, 0)
	found := false
	for _, line := range e.report.LogTail.Kubelet {
		found = found || len(line) > 0
	}
	if !found {
		t.Error("the kubelet's own words are missing")
	}
}

func TestRefusedNodeComesOnceThePolicyIsLifted(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.cp.RefuseNodes(s.ctx))
	p := s.start(s.node, s.args()...)
	s.sleep(10 * time.Second)
	s.must(s.cp.AllowNodes(s.ctx))
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}

// An API server restarted with a wrong client CA refuses every kubelet; nothing is wrong with this machine.
func TestKubeletRefusedForTwentySecondsIsNotReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(12)
	s.join(s.args()...).is(0, "Joined")
	s.must(s.cp.RestartAPIServer(s.ctx, s.cp.OtherClientCA()...))
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "401"))
	s.sleep(20 * time.Second)
	s.must(s.cp.RestartAPIServer(s.ctx))
	s.member(p.end().is(0, "AlreadyJoined", "Recovered").counts(0, 0, anyNumber, 0).says("refuses the kubelet's credentials (401)"))
}

func TestAnotherMachinesNameIsNotTakenOver(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(1)
	s.join(s.args()...).is(0, "Joined")
	before, err := s.cp.GetNode(s.ctx, "w1")
	s.must(err)
	twin := ready()
	twin.Hostname = "w1"
	other := s.newNode("twin", twin)
	s.reportOften(s.node) // as a rule a kubelet whose status stays the same reports every 5 minutes
	s.start(other, s.args()...).end().is(9, "NameTaken").counts(0, 0, 0, 0).within(150*time.Second).
		says("--node-name", s.node.BootID())
	after, err := s.cp.GetNode(s.ctx, "w1")
	s.must(err)
	if after.UID != before.UID || after.Status.NodeInfo.BootID != before.Status.NodeInfo.BootID {
		t.Errorf("the first Node was disturbed: %s %s", after.UID, after.Status.NodeInfo.BootID)
	}
	if n := other.KubeadmCount("join"); n != 0 {
		t.Errorf("kubeadm join ran %d times on the second machine", n)
	}
}
