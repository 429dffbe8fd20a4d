package e2e

import (
	"syscall"
	"testing"
	"time"
)

// Nobody is left to send a kubeadm that ignores SIGTERM anything harder, and it holds the token.
func TestDeafKubeadmDoesNotOutliveAKilledRun(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(26)
	s.fault(35)
	s.must(s.node.WrapKubeadm(instead("join", "trap '' TERM\nwhile :; do sleep 1; done")))
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.eventually(10*time.Second, func() bool { return len(s.alive("kubeadm-script")) > 0 }, "kubeadm does not run")
	s.must(p.Signal(syscall.SIGKILL))
	p.Wait()
	s.eventually(10*time.Second, func() bool { return len(s.alive("kubeadm-script")) == 0 }, "kubeadm is left behind")
	s.must(s.node.WrapKubeadm(""))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says("is Ready and accepted"))
}
