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

// Its unit says where its credentials are, and nobody runs who could be asked. Where kubeadm puts them there is nothing, which
// would be reason enough for a reset.
func TestMemberWhoseStoppedKubeletKeepsItsCredentialsElsewhereKeepsItsPods(t *testing.T) {
	s := tellLive(t, ready())
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	s.must(s.node.StopUnit("kubelet"))
	_, err := s.node.Run(s.ctx, "sh", "-c", "mkdir /etc/other && mv /etc/kubernetes/kubelet.conf /etc/other/")
	s.must(err)
	s.must(s.node.SetKubeletArgs("--kubeconfig=/etc/other/kubelet.conf"))
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, "does not run") })
	e := s.join(s.args("--timeout", "60s")...)
	pod.lives()
	s.member(e.is(0, "Recovered").counts(0, 0, 1, 0).says("does not run"))

	t.Log("where a script decides, nothing is done until somebody starts it")
	s.must(s.node.WrapKubelet("--kubeconfig=/etc/other/kubelet.conf"))
	s.must(s.node.SetKubeletArgs())
	s.must(s.node.StopUnit("kubelet"))
	p := s.start(s.node, s.args("--timeout", "60s", "--hold", "5s")...)
	p.waits(5 * time.Second)
	s.must(s.node.StartUnit("kubelet"))
	e = p.end()
	pod.lives()
	s.member(e.is(0, "AlreadyJoined").counts(0, 0, 0, 0).says("start-kubelet"))
}
