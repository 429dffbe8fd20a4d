package e2e

import (
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A Node that looks alive gets pods. The last thing that was seen of each of these is that it was Ready.
func TestNodeWhoseKubeletIsDeadIsNeverPutBackAsReady(t *testing.T) {
	s := tellLive(t, readyExternal())
	s.fault(60)
	held := func(n *testbed.Node) (*running, *core.Node, *viewer) {
		s.Helper()
		p := s.start(n, s.args("--hold", "8s")...)
		p.until("holding it")
		was, err := s.cp.WaitNode(s.ctx, n.Name, testbed.Ready)
		s.must(err)
		s.sleep(2 * time.Second)
		return p, was, s.views(n.Name, nil)
	}
	neverReady := func(seen []sighting) {
		s.Helper()
		for _, x := range seen {
			if testbed.Ready(x.node) {
				s.Errorf("without a kubelet that works the Node was seen so: %s", x)
			}
		}
	}

	t.Log("a signal has stopped it: it is brought to run, and speaks for itself")
	p, _, _ := held(s.node)
	s.must(s.node.Pause("kubelet"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.member(p.end().is(0, "Recovered").counts(1, 0, 1, 1).says("restarting the kubelet"))

	t.Log("it is killed, and comes back by itself")
	p, was, view := held(s.node)
	var seen []sighting
	killed := s.mainPID(s.node)
	s.must(s.node.SignalUnit("kubelet", syscall.SIGKILL))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.eventually(30*time.Second, func() bool {
		seen = view.after(was)
		now := s.mainPID(s.node)
		return now != 0 && now != killed
	}, "the kubelet does not come back")
	neverReady(seen)
	s.member(p.end().is(0, "Recovered").returned(atMostOne).counts(0, 0, anyNumber, 1).says("was deleted"))

	t.Log("it is stopped, and nobody may start it")
	p, was, view = held(s.node)
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Masked: true}))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	p.end().is(3, "HostUnfit").counts(0, 0, 0, 1).says("masked")
	neverReady(view.after(was))
}

// The API server takes the deletion and dies, and nobody collects what was the Node's. Nobody knows either who came and went
// meanwhile, so who gives out the addresses, here by hand, has to say that they are free.
func TestControlPlaneThatDiesRightAfterADeletionGetsTheNodeBackOnceItLives(t *testing.T) {
	s := tellLive(t, readyExternal())
	s.fault(10)
	p := s.start(s.node, s.args("--hold", "10s")...)
	p.until("holding it")
	s.change("w1", func(n *core.Node) { n.Spec.PodCIDR, n.Spec.PodCIDRs = "10.9.0.0/24", []string{"10.9.0.0/24"} })
	was := s.mark("w1")
	kubelet := s.mainPID(s.node)
	s.eventually(10*time.Second, func() bool { return s.csiNode("w1").UID != "" }, "the kubelet makes no CSINode")
	s.sleep(4 * time.Second) // enough to be seen
	s.must(s.cp.StopUnit(testbed.ControllerManager))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.must(s.cp.Kill())
	s.sleep(5 * time.Second)
	s.must(s.cp.Start(s.ctx))
	e := p.end().is(0, "Recovered").returned(1).counts(1, 0, 0, 1).says("was deleted")
	s.member(e)
	if all := lost(was, s.nodeNamed("w1")); len(all) != 1 { // the podCIDR
		t.Errorf("lost is %q", all)
	}
	if owners := s.csiNode("w1").OwnerReferences; len(owners) != 1 || string(owners[0].UID) != e.report.Node.UID {
		t.Errorf("CSINode of %+v, the Node is %s", owners, e.report.Node.UID)
	}
	e.does("kubectl patch node ")
	s.asItWas(was, s.nodeNamed("w1"))
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
}
