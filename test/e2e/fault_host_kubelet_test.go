package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// kubeadm gives up soon here, and does not say why.
func TestKubeletInACrashLoopIsReportedWithItsLastWords(t *testing.T) {
	opts := ready()
	opts.KubeletArgs = []string{"--no-such-flag"}
	s := tellLive(t, opts)
	s.fault(25)
	e := s.join(s.args("--attempt-timeout", "30s")...).is(3, "HostUnfit").counts(some, anyNumber, 0, 0).
		says("unknown flag: --no-such-flag", "/etc/default/kubelet").within(75 * time.Second)
	if !strings.Contains(strings.Join(e.report.LogTail.Kubelet[:1], ""), "unknown flag: --no-such-flag") {
		t.Errorf("the kubelet's log tail is %q", e.report.LogTail.Kubelet)
	}
	s.must(s.node.SetKubeletArgs())
	s.member(s.join(s.args()...).is(0, "Joined").counts(some, anyNumber, 0, 0))
}

// By itself it waits four minutes: the kubelet is heard meanwhile.
func TestKubeletThatNeverStartsEndsTheRunWithItsLastWords(t *testing.T) {
	opts := ready()
	opts.KubeletArgs = []string{"--node-labels=kubernetes.io/role=worker"}
	s := tellLive(t, opts)
	s.fault(25)
	e := s.join(s.args()...).is(3, "HostUnfit").counts(1, 0, 0, 0).
		says("unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels", "/etc/default/kubelet").within(75 * time.Second)
	s.nothingRuns("kubeadm")
	if !strings.Contains(strings.Join(e.report.LogTail.Kubelet[:1], ""), "command failed") {
		t.Errorf("the kubelet's log tail is %q", e.report.LogTail.Kubelet)
	}
}

// The kubelet keeps the credentials that it has read; a reset would kill the pods of a healthy Node.
func TestTornKubeletConfUnderALivingMemberIsRefused(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(40)
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	pod, kubelet, before := s.loaded(s.node, "w1"), s.mainPID(s.node), s.nodeNamed("w1")
	raw, err := s.node.ReadFile("/etc/kubernetes/kubelet.conf")
	s.must(err)
	s.must(s.node.WriteFile("/etc/kubernetes/kubelet.conf", string(raw[:len(raw)/2]), 0o600))
	s.join(s.args()...).is(10, "Refused").counts(0, 0, 0, 0).says("this machine and its kubelet runs", "restore /etc/kubernetes/kubelet.conf")
	pod.lives()
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
	s.undisturbed(before)
	if after := s.nodeNamed("w1"); !testbed.Ready(after) {
		t.Errorf("the Node was disturbed: %+v", after.Status.Conditions)
	}
}

func TestKubeletUnitThatAPersonMustMendEndsTheRun(t *testing.T) {
	s := tell(t, ready())
	s.fault(43)
	s.token = testbed.NewToken()
	s.leftover()
	for name, c := range map[string]struct {
		fault testbed.KubeletFault
		says  []string
	}{
		"missing": {testbed.KubeletFault{Missing: true}, []string{`no service "kubelet"`, "install the kubelet"}},
		"masked":  {testbed.KubeletFault{Masked: true}, []string{`"kubelet" is masked`, "systemctl unmask kubelet"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.must(s.node.SetKubeletFault(c.fault))
			s.join(s.args("--timeout", "20s", "--hold", "5s")...).is(3, "HostUnfit").counts(0, 0, 0, 0).says(c.says...).within(10 * time.Second)
		})
	}
}

func TestDisabledKubeletJoinsWithAWarning(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(43)
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Disabled: true}))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says("will not come back after a reboot"))
}

// The Node is gone and stays away, which alone would be a reason for a reset; but the kubelet was never restarted.
func TestRestartThatFailsNeverLeadsToAReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(43)
	s.join(s.args()...).is(0, "Joined")
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Fail: map[string]string{"restart": "Job for kubelet.service failed: dependency missing"}}))
	p := s.start(s.node, s.args("--timeout", "75s", "--hold", "5s", "--backoff-max", "5s")...)
	e := p.end().is(7, "JoinFailed").counts(0, 0, 0, 0).says("restarting the kubelet", "dependency missing")
	if !s.node.Exists("/etc/kubernetes/kubelet.conf") || s.node.KubeadmCount("reset") != 0 {
		t.Error("the machine was reset")
	}
	if e.report.Counts.Deletions > 0 {
		t.Errorf("a deletion that nobody saw was counted: %+v", e.report.Deletions)
	}
	t.Log("once the restart works, the Node is back without a reset")
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{}))
	s.member(s.join(s.args()...).is(0, "Recovered").counts(0, 0, 1, 0))
}

// eventually waits for what another process or goroutine is about to do.
func (s *story) eventually(most time.Duration, done func() bool, otherwise string) {
	s.Helper()
	for end := time.Now().Add(most); !done(); {
		if time.Now().After(end) {
			s.Fatal(otherwise)
		}
		s.sleep(100 * time.Millisecond)
	}
}
