package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// In this cluster the kubelets' certificates are of another CA, and a restart of the API server has lost it. All the rest works,
// tokens too; each kubelet is refused, so its Node turns Unknown. Reset, every machine of the cluster would lose its pods.
func TestKubeletsOfACAThatTheAPIServerForgotAreNotReset(t *testing.T) {
	s := tellIn(t, testbed.ControlPlaneOptions{OwnKubeletCA: true, ControllerArgs: []string{"--node-monitor-grace-period=20s"}}, ready()).live()
	s.fault(54)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	s.must(s.cp.RestartAPIServer(s.ctx, s.cp.ForgetKubeletCA()...))
	p := s.start(s.node, s.args()...)
	p.until("401")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Unknown)
	s.must(err)
	p.waits(105 * time.Second)
	s.must(s.cp.RestartAPIServer(s.ctx))
	e := p.end()
	pod.lives()
	s.member(e.is(0, "AlreadyJoined", "Recovered").counts(0, 0, anyNumber, 0).says("refuses the kubelet's credentials (401)"))
}
