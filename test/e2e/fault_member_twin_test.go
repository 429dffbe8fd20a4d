package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// TestAnotherMachinesNameIsNotTakenOver waits until the Node has stayed alive long enough; here its kubelet reports meanwhile.
func TestNameOfAMachineThatHasJustReportedIsTaken(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{}) // no network plugin: alive, though not Ready
	s.fault(1)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	before := s.nodeNamed("w1")
	twin := s.twinOf("w1", "twin")
	p := s.start(twin, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "is not known to be dead"))
	s.sleep(3 * time.Second) // a heartbeat has whole seconds
	s.must(s.node.AddCNI())  // a change of its condition makes the kubelet report at once
	p.end().is(9, "NameTaken").counts(0, 0, 0, 0).says("its kubelet has just reported", "--node-name", s.node.BootID())
	s.undisturbed(before)
	if n := twin.KubeadmCount("join"); n != 0 {
		t.Errorf("kubeadm join ran %d times on the second machine", n)
	}
}

// kubeadm takes over a Node that is not Ready as it is, with what people have put on it.
func TestNameOfADeadMachineIsTakenOverWithAWarning(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(2)
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.Kubectl(s.ctx, "cordon", "w1")
	s.must(err)
	_, err = s.cp.Kubectl(s.ctx, "taint", "node", "w1", "team=red:NoExecute")
	s.must(err)
	before := s.nodeNamed("w1")
	other := s.twinOf("w1", "other")
	s.node.PowerOff()

	e := s.start(other, s.args()...).end().is(0, "Joined").counts(1, 0, 0, 0).within(150*time.Second).
		says("is not known to be dead", "will be taken over", "team=red:NoExecute", "cordon (true)")
	s.member(e)
	after := s.nodeNamed("w1")
	if after.UID != before.UID || after.Status.NodeInfo.BootID != other.BootID() {
		t.Errorf("UID %s, bootID %s; wanted the old Node with UID %s and this machine's bootID %s",
			after.UID, after.Status.NodeInfo.BootID, before.UID, other.BootID())
	}
	if !after.Spec.Unschedulable {
		t.Error("the cordon is gone: who lifted it?")
	}
	for _, phase := range e.report.Attempts[len(e.report.Attempts)-1].Phases {
		if phase.Phase == "verify" && phase.DurationSeconds > 60 {
			t.Errorf("ours only %.0f s after kubeadm had done its part", phase.DurationSeconds)
		}
	}
}

func TestRebootedHostIsAMemberOnceItsKubeletHasPosted(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(3)
	s.join(s.args()...).is(0, "Joined")
	uid := s.nodeNamed("w1").UID
	again := s.argsWithout("--token-file", "/root/deleted")

	t.Log("the kubelet has posted already")
	s.must(s.node.Reboot())
	_, err := s.cp.WaitNode(s.ctx, "w1", func(n *core.Node) bool { return n.Status.NodeInfo.BootID == s.node.BootID() })
	s.must(err)
	s.member(s.join(again...).is(0, "AlreadyJoined").counts(0, 0, 0, 0).within(20 * time.Second))

	t.Log("nodejoin comes first")
	s.must(s.node.Reboot())
	s.must(s.node.Pause("kubelet"))
	if bootID := s.nodeNamed("w1").Status.NodeInfo.BootID; bootID == s.node.BootID() {
		t.Fatal("the kubelet was faster than the story")
	}
	s.checks(s.node, 20, "of this machine's last boot")
	p := s.start(s.node, again...)
	s.must(p.Stderr.WaitFor(s.ctx, "our kubelet is to report"))
	s.sleep(5 * time.Second)
	s.must(s.node.Resume("kubelet"))
	e := p.end().is(0, "AlreadyJoined").counts(0, 0, 0, 0).says("our kubelet is to report")
	s.member(e)
	if e.report.Node.UID != string(uid) {
		t.Errorf("UID %s, before the reboots it was %s", e.report.Node.UID, uid)
	}
}

// The Lease of a Node that is gone proves nothing, whoever renewed it.
func TestLeaseWithoutANodeIsNoMember(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(5)
	s.join(s.args()...).is(0, "Joined")
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.must(s.cp.WaitNoNode(s.ctx, "w1"))
	lease := func() {
		s.Helper()
		now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
		s.apply(`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"w1","namespace":"kube-node-lease"},` +
			`"spec":{"holderIdentity":"w1","leaseDurationSeconds":40,"renewTime":"` + now + `"}}`)
	}
	s.sleep(2 * time.Second) // the Node's own Lease goes with it
	lease()
	if !slices.Contains(s.leases(), "w1") {
		t.Error("there is no Lease to be fooled by")
	}
	s.checks(s.node, 20, `no Node "w1"`)
	lease()
	s.member(s.join(s.argsWithout("--token-file", "/root/deleted")...).is(0, "Recovered").counts(0, 0, 1, 0).says(`no Node "w1"`))
}

func TestNodeMadeByHandIsOursOnlyOnceTheKubeletHasPosted(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(6)
	byHand := func() types.UID {
		s.Helper()
		s.apply(`{"apiVersion":"v1","kind":"Node","metadata":{"name":"w1","labels":{"made":"by-hand"}}}`)
		return s.nodeNamed("w1").UID
	}
	t.Log("before the join: the kubelet moves in")
	uid := byHand()
	e := s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)
	if e.report.Node.UID != string(uid) {
		t.Errorf("UID %s, made by hand was %s", e.report.Node.UID, uid)
	}

	t.Log("in place of a Node that was deleted: not ours while the kubelet is silent")
	s.must(s.node.Pause("kubelet"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	uid = byHand()
	s.checks(s.node, 20, `bootID ""`)
	p := s.start(s.node, s.argsWithout("--token-file", "/root/deleted")...)
	s.must(p.Stderr.WaitFor(s.ctx, `another bootID ("")`))
	s.sleep(5 * time.Second)
	select {
	case <-p.Done():
		t.Errorf("it ended before the kubelet had posted")
	default:
	}
	s.must(s.node.Resume("kubelet"))
	e = p.end().is(0, "AlreadyJoined", "Recovered").counts(0, 0, anyNumber, anyNumber).says(`another bootID ("")`)
	if e.report.Node.UID != string(uid) {
		t.Errorf("UID %s, made by hand was %s", e.report.Node.UID, uid)
	}
	s.member(e)
}

// twinOf is another machine with a hostname that is in use.
func (s *story) twinOf(hostname, name string) *testbed.Node {
	s.Helper()
	opts := ready()
	opts.Hostname = hostname
	return s.newNode(name, opts)
}

func (s *story) nodeNamed(name string) *core.Node {
	s.Helper()
	n, err := s.cp.GetNode(s.ctx, name)
	s.must(err)
	return n
}

// undisturbed sees that a Node is still the same machine's, and that this machine lives.
func (s *story) undisturbed(before *core.Node) {
	s.Helper()
	after := s.nodeNamed(before.Name)
	is, was := after.Status.NodeInfo, before.Status.NodeInfo
	if after.UID != before.UID || is.BootID != was.BootID || is.MachineID != was.MachineID {
		s.Errorf("Node %q was disturbed: UID %s, bootID %s, machineID %s; before %s, %s, %s",
			before.Name, after.UID, is.BootID, is.MachineID, before.UID, was.BootID, was.MachineID)
	}
	if testbed.Unknown(after) {
		s.Errorf("the kubelet of Node %q is not heard of any more", before.Name)
	}
}

// apply makes an object as an administrator would.
func (s *story) apply(object string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	s.must(s.cp.WriteFile("/root/object.json", object, 0o600))
	_, err := s.cp.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", "/root/object.json")
	s.must(err)
}

// leases are the names of the Nodes that somebody renews.
func (s *story) leases() []string {
	s.Helper()
	list, err := s.cp.Client().CoordinationV1().Leases("kube-node-lease").List(s.ctx, meta.ListOptions{})
	s.must(err)
	var names []string
	for _, l := range list.Items {
		names = append(names, l.Name)
	}
	return names
}

// checks runs nodejoin check, which leaves the status file as the last run has written it.
func (s *story) checks(n *testbed.Node, code int, words ...string) {
	s.Helper()
	s.start(n, "nodejoin", "check").end().is(code).says(words...)
}
