package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// For 50 s its Node looks as if it lived.
func TestKubeletThatWasStoppedIsStarted(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(60)
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	pod := s.loaded(s.node, "w1")
	_, err = s.node.Run(s.ctx, "systemctl", "stop", "kubelet")
	s.must(err)
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, "kubelet") })
	e := s.join(s.argsWithout("--token-file", "/root/deleted")...)
	pod.lives()
	s.member(e.is(0, "Recovered").counts(0, 0, 1, 0).says("kubelet"))
	if s.mainPID(s.node) == 0 {
		t.Error("the kubelet does not run")
	}

	t.Log("where it cannot be started there is no success, though the Node is Ready")
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Fail: map[string]string{"start": "Job for kubelet.service failed", "restart": "Job for kubelet.service failed"}}))
	s.must(s.node.StopUnit("kubelet"))
	e = s.join(s.argsWithout("--token-file", "/root/deleted", "--timeout", "15s", "--hold", "5s")...)
	pod.lives()
	e.is(7, "JoinFailed").counts(0, 0, 0, 0).says("Job for kubelet.service failed").within(30 * time.Second)
}

// It counts as running for whoever would reset, and its Node looks Ready for 50 s.
func TestKubeletThatIsSuspendedIsBroughtToRun(t *testing.T) {
	s := tellLive(t, ready())
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	pod := s.loaded(s.node, "w1")
	s.must(s.node.Pause("kubelet"))
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, "does not run", "SIGSTOP", "kill -CONT") })
	e := s.join(s.argsWithout("--token-file", "/root/deleted")...)
	pod.lives()
	s.member(e.is(0, "Recovered").counts(0, 0, 1, 0).says("SIGSTOP"))
	t.Run("check again", func(t *testing.T) { s.in(t).checks(s.node, 0) })

	t.Log("where it cannot be started again there is no success, and no reset")
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Fail: map[string]string{"restart": "Job for kubelet.service failed"}}))
	s.must(s.node.Pause("kubelet"))
	e = s.join(s.argsWithout("--token-file", "/root/deleted", "--timeout", "15s", "--hold", "5s")...)
	pod.lives()
	e.is(7, "JoinFailed").counts(0, 0, 0, 0).says("Job for kubelet.service failed").within(30 * time.Second)
}

// Between two of its starts there is a Node that is Ready, and nobody who would keep it so.
func TestKubeletInACrashLoopUnderAReadyNodeIsNoMember(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(60)
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	pod := s.loaded(s.node, "w1")
	s.must(s.node.SetKubeletArgs("--no-such-flag"))
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.node.StartUnit("kubelet"))
	s.sleep(2 * time.Second)
	t.Run("check", func(t *testing.T) { s.in(t).checks(s.node, 20, "kubelet") })
	e := s.join(s.args("--timeout", "100s")...)
	pod.lives()
	e.is(3, "HostUnfit").counts(0, 0, anyNumber, 0).says("unknown flag: --no-such-flag").within(75 * time.Second)
}
