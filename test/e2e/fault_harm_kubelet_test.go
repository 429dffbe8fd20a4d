package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// An upgrade of the image has left a flag behind that the new kubelet has no more. A reset would not take it away.
func TestMemberWhoseKubeletDoesNotKnowAFlagKeepsItsPods(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(48)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	s.must(s.node.SetKubeletArgs("--no-such-flag"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	e := s.join(s.args("--timeout", "100s")...)
	pod.lives()
	e.is(3, "HostUnfit").counts(0, 0, some, 0).says("unknown flag: --no-such-flag").within(75 * time.Second)

	t.Log("mended")
	s.must(s.node.SetKubeletArgs())
	s.member(s.join(s.args()...).is(0, "Recovered", "AlreadyJoined").counts(0, 0, atMostOne, 0))
}

// A webhook that is down, or a policy: the kubelet's log says that its Node is refused, and a new kubelet's would be too.
func TestMemberWhoseNodeIsRefusedKeepsItsPodsUntilItIsLetIn(t *testing.T) {
	s := tellIn(t, testbed.ControlPlaneOptions{ControllerArgs: testbed.WithoutPodGC()}, ready()).live()
	s.fault(57)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	s.must(s.cp.RefuseNodes(s.ctx))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	p := s.start(s.node, s.args("--hold", "5s")...) // it is not Ready for another 80 s: the kubelet has backed off
	p.waits(75 * time.Second)
	s.must(s.cp.AllowNodes(s.ctx))
	e := p.end()
	pod.lives()
	s.member(e.is(0, "Recovered").counts(0, 0, some, anyNumber).says(testbed.RefusalMessage))
}
