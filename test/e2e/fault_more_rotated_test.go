package e2e

import (
	"slices"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The cluster gets another CA while the machine is a member: its credentials are of a cluster that is no more, and
// only a person can know that.
func TestMemberOfBeforeTheRotationOfTheCAIsLeftAloneUntilTold(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(22)
	s.join(s.args()...).is(0, "Joined")
	s.must(s.cp.RotateCA(s.ctx))
	s.must(s.cp.WaitSigned(s.ctx, s.token))
	was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")

	s.join(s.args()...).is(10, "Refused").counts(0, 0, 0, 0).
		says("credentials of another cluster", "its CA is not the pinned one", "--reset=always")
	s.untouched(s.node, was)

	t.Log("without a pin: its API server's name belongs to a stranger")
	unpinned := slices.Concat([]string{"nodejoin", "join", s.cp.Endpoint(), "--token", s.token, "--discovery-token-unsafe-skip-ca-verification",
		"--timeout", "10s", "--hold", "1s"}, testbed.PreflightArgs())
	s.join(unpinned...).is(6, "Unreachable").counts(0, 0, 0, 0).says("certificate signed by unknown authority")
	s.untouched(s.node, was)

	s.member(s.join(s.args("--reset=always")...).is(0, "Joined").counts(1, 1, 0, 0))
}
