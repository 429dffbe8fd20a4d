package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// Certificates live for a minute: the kubelet gets the next one by itself within seconds, and the first has expired
// before the hold is over, also on connections that were made with it.
func TestKubeletCertificateThatRotatesAndExpiresDuringHoldDisturbsNothing(t *testing.T) {
	s := tell(t, external())
	s.fault(16)
	var err error
	s.cp, err = s.tb.ControlPlane(s.ctx, testbed.ControlPlaneOptions{Name: "hasty", ControllerArgs: []string{"--cluster-signing-duration=60s"}})
	s.must(err)
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	p := s.start(s.node, s.args("--hold", "80s", "--timeout", "3m")...)
	s.must(p.Stderr.WaitFor(s.ctx, "holding it"))
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0).says("has stayed for").within(2 * time.Minute))
	// kubelet-client-<date>.pem of each certificate, beside the link kubelet-client-current.pem
	certs, err := filepath.Glob(s.node.Path("/var/lib/kubelet/pki/kubelet-client-2*.pem"))
	s.must(err)
	if len(certs) < 2 {
		t.Errorf("nothing was rotated: %v", certs)
	}
}
