package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The cluster gets another CA while the machine is a member. Whoever was told the new one's pin, and sees the kubelet's own
// server present it, knows that it is the same cluster.
func TestMemberOfBeforeTheRotationOfTheCABootstrapsAgainOnceTheNewOneIsPinned(t *testing.T) {
	s := tellImpatient(t)
	s.fault(22)
	m := s.memberOn(s.node)
	s.must(s.cp.RotateCA(s.ctx))
	s.must(s.cp.WaitSigned(s.ctx, s.token))
	was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")

	t.Log("without a pin: its API server's name belongs to a stranger")
	unpinned := slices.Concat([]string{"nodejoin", "join", s.cp.Endpoint(), "--token", s.token, "--discovery-token-unsafe-skip-ca-verification",
		"--timeout", "10s", "--hold", "1s"}, testbed.PreflightArgs())
	s.join(unpinned...).is(6, "Unreachable").counts(0, 0, 0, 0).says("certificate signed by unknown authority")
	s.untouched(s.node, was)

	t.Log("with the new one's")
	m.renewed(s.join(s.args()...).is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).
		says("the cluster has another CA than the kubelet's credentials").within(70 * time.Second))
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
}
