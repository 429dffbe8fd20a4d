package e2e

import (
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A pod runs, in a sandbox, when the runtime goes down. kubeadm reset cannot ask it, and exits with 0: the pod has
// outlived that. Nobody takes the machine for empty: there is no join before the runtime is back.
func TestPodThatOutlivesAResetWithoutARuntimeIsTheKubeletsToEnd(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(44)
	s.must(s.node.ImportPause(s.ctx))
	s.join(s.args()...).is(0, "Joined")
	s.runPod("w1")
	before := s.pids("pause")
	if len(before) != 2 {
		t.Fatalf("%d processes of the pod, wanted its sandbox and its container", len(before))
	}
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	now := int64(0)
	s.must(s.cp.Client().CoreV1().Pods("default").Delete(s.ctx, "precious-w1", meta.DeleteOptions{GracePeriodSeconds: &now}))
	s.must(s.node.StopUnit("containerd"))

	p := s.start(s.node, s.args("--reset=always")...)
	s.must(p.Stderr.WaitFor(s.ctx, "CRI"))
	if after := s.pids("pause"); len(after) != 2 {
		t.Errorf("%d processes of the pod are left: something has ended it without the runtime", len(after))
	}
	if n := s.node.KubeadmCount("reset"); n != 1 {
		t.Errorf("%d resets", n)
	}
	s.must(s.node.StartUnit("containerd"))
	s.member(p.end().is(0, "Joined").counts(some, 1, 0, 0).says("CRI"))
	for len(s.pids("pause")) > 0 { // the new kubelet finds a pod that no API server knows, and ends it
		s.sleep(time.Second)
	}
}

// The contrary: with its runtime a reset ends the pod, so that the one above does see something.
func TestResetWithARuntimeEndsThePod(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(44)
	s.must(s.node.ImportPause(s.ctx))
	s.join(s.args()...).is(0, "Joined")
	s.runPod("w1")
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	p := s.start(s.node, s.args("--reset=always")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	if left := s.pids("pause"); len(left) != 0 {
		t.Errorf("the reset has left %v", left)
	}
	s.member(p.end().is(0, "Joined").counts(1, 1, 0, 0).says("kubeadm reset"))
}

// runPod runs a pod on a Node and returns when it does.
func (s *story) runPod(node string) {
	s.Helper()
	s.must(s.cp.RunPod(s.ctx, node))
}

// pids lists the processes of a program on the node.
func (s *story) pids(name string) []int {
	s.Helper()
	return s.pidsOn(s.node, name)
}

func (s *story) pidsOn(n *testbed.Node, name string) []int {
	s.Helper()
	all, err := n.Running(name)
	s.must(err)
	var pids []int
	for _, p := range all {
		pids = append(pids, p.PID)
	}
	return pids
}
