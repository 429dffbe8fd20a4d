package e2e

import (
	"testing"
	"time"
)

// The first address of the API server's name swallows every packet: no refusal, no reset, no "no route to host".
// nodejoin gives each address 2 s. What remains is kubeadm's and the kubelet's own, which give it 15 s (half of client-go's 30 s)
// each time they dial, some five times in a join.
func TestEndpointWithAnAddressThatSwallowsPacketsIsJoinedSoon(t *testing.T) {
	s := tellNamed(t)
	s.fault(14)
	s.resolve(s.node, s.tb.BlackholeIP(), s.cp.IP)
	p := s.start(s.node, s.argsAt(apiName+":6443")...)
	s.must(p.Stderr.WaitFor(s.ctx, "is proven and takes our token"))
	if d := time.Since(p.began); d > 15*time.Second {
		t.Errorf("it took %s to discover the cluster", d)
	}
	s.member(p.end().is(0, "Joined").counts(1, 0, anyNumber, 0).says("is proven and takes our token").within(3 * time.Minute))

	t.Log("a member")
	s.member(s.join(s.argsAt(apiName+":6443")...).is(0, "AlreadyJoined").counts(0, 0, 0, 0).within(20 * time.Second))
}
