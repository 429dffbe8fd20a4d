package e2e

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	event "k8s.io/apimachinery/pkg/watch"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// slowWay leads to an API server: questions pass at once, answers a moment later, unless they are lost.
type slowWay struct {
	net.Listener
	loses atomic.Bool
}

// answerLate is long enough for a watching client to see what a question has done before its answer is there.
const answerLate = 250 * time.Millisecond

func (s *story) slowWay() *slowWay {
	s.Helper()
	listener, err := s.tb.Listen("")
	s.must(err)
	s.Cleanup(func() { listener.Close() })
	w := &slowWay{Listener: listener}
	go func() {
		for {
			asking, err := listener.Accept()
			if err != nil {
				return
			}
			go w.lead(s, asking)
		}
	}()
	return w
}

func (w *slowWay) lead(s *story, asking net.Conn) {
	defer asking.Close()
	answering, err := s.cp.DialContext(s.ctx, "tcp", s.cp.Endpoint())
	if err != nil {
		return
	}
	defer answering.Close()
	go pass(asking, answering, func() bool { return true })
	pass(answering, asking, func() bool {
		time.Sleep(answerLate)
		return !w.loses.Load() // the connection ends: a silent one would be waited for
	})
}

func pass(from, to net.Conn, goesOn func() bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !goesOn() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// The Node is made, and who made it never hears of it. So its CSINode is still to be put back.
func TestNodeWhoseReturnIsNotHeardOfIsTakenUpWithItsDrivers(t *testing.T) {
	s := tell(t, readyExternal())
	s.fault(15)
	slow, err := s.tb.ControlPlane(s.ctx, testbed.ControlPlaneOptions{Name: "slow", ExtraSANs: []string{s.tb.HubIP()}})
	s.must(err)
	s.cp = slow
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	way := s.slowWay()
	s.rewrite(s.node, "/etc/kubernetes/kubelet.conf", s.cp.Endpoint(), way.Addr().String())
	_, err = s.node.Run(s.ctx, "systemctl", "restart", "kubelet")
	s.must(err)
	s.eventually(30*time.Second, func() bool { return s.csiNode("w1").UID != "" }, "the kubelet makes no CSINode")
	s.drive(s.node, "w1")
	p := s.start(s.node, s.argsWithout("--token-file", "/root/deleted", "--hold", "15s")...)
	p.until("holding it")
	was := s.change("w1", func(n *core.Node) { n.Spec.Unschedulable, n.Labels[roleLabel] = true, "" })
	s.sleep(4 * time.Second) // enough to be seen
	s.views("w1", func(kind event.EventType, n *core.Node) {
		if kind == event.Added && n.UID != was.UID {
			way.loses.Store(true)
			time.Sleep(2 * answerLate)
			way.loses.Store(false)
		}
	})
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.must(p.Stderr.WaitFor(s.ctx, "whether the Node was put back is not known"))
	e := p.end().is(0, "Recovered").returned(1).counts(0, 0, 0, 1).says("whether the Node was put back is not known", "kubectl label node w1 "+roleLabel+"=")
	s.member(e)
	delete(was.Labels, roleLabel)
	s.asItWas(was, s.nodeNamed("w1"))
	if now := s.csiNode("w1"); !slices.Contains(driversOf(now), driverName) || string(now.OwnerReferences[0].UID) != e.report.Node.UID {
		t.Errorf("CSINode %+v", now)
	}
}
