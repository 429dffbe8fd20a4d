package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestSecondNodejoinSaysWhoIsAtWork(t *testing.T) {
	s := tell(t, ready())
	s.fault(9)
	s.token = testbed.NewToken()
	first := s.start(s.node, s.args()...)
	s.must(first.Stderr.WaitFor(s.ctx, "waiting"))

	s.join(s.args()...).is(11, "Locked").counts(0, 0, 0, 0).says("another nodejoin is at work", fmt.Sprintf("(process %d)", first.PID))
	if raw, err := s.node.ReadFile("/run/nodejoin/status.json"); err != nil || !strings.Contains(string(raw), fmt.Sprintf(`"pid": %d`, first.PID)) {
		t.Errorf("the status file is not the first one's: %s %v", raw, err)
	}
	s.checks(s.node, 20) // a question takes no lock

	t.Log("killed: the kernel gives the lock back, whatever stands in the file")
	s.must(first.Signal(syscall.SIGKILL))
	first.Wait()
	if raw, err := s.node.ReadFile("/run/nodejoin/lock"); err != nil || strings.TrimSpace(string(raw)) != fmt.Sprint(first.PID) {
		t.Errorf("the lock of the killed one says %q, %v", raw, err)
	}
	s.must(s.cp.Start(s.ctx))
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
}

// Killed in the middle of its work, while kubeadm runs; what it leaves is in nobody's way.
func TestNodejoinKilledWhileKubeadmRunsDoesNotBlockTheNext(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(9)
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Command: []string{"sleep", "1000"}}))
	first := s.start(s.node, s.args()...)
	s.must(first.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.must(first.Signal(syscall.SIGKILL))
	first.Wait()
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{}))
	s.must(s.node.StopUnit("kubelet"))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, anyNumber, 0, 0).says("is Ready and accepted"))
	if kubeadm, err := s.node.Running("kubeadm"); err != nil || len(kubeadm) > 0 {
		t.Errorf("left behind: %v %v", kubeadm, err)
	}
}
