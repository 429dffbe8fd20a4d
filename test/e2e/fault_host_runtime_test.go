package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestContainerRuntimeThatIsFifteenSecondsLateIsWaitedFor(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{CNI: true, NoRuntime: true})
	s.fault(24)
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "CRI"))
	s.sleep(15 * time.Second)
	s.must(s.node.StartUnit("containerd"))
	e := p.end().is(0, "Joined").counts(some, 0, 0, 0).says("CRI").within(2 * time.Minute)
	if n := e.report.Counts.Attempts; n < 2 || n > 8 {
		t.Errorf("%d attempts", n)
	}
	s.member(e)
}

// kubeadm reset exits 0 though it could not ask the runtime.
func TestResetWithoutARuntimeIsJudgedByWhatIsLeftOnDisk(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{CNI: true, NoRuntime: true})
	s.fault(44)
	s.leftover()
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	if s.node.Exists("/etc/kubernetes/kubelet.conf") {
		t.Error("kubeadm join ran though the leftover is still there")
	}
	s.must(p.Stderr.WaitFor(s.ctx, "CRI"))
	s.must(s.node.StartUnit("containerd"))
	s.member(p.end().is(0, "Joined").counts(some, 1, 0, 0).says("CRI"))
}

// A broken runtime at its worst: a reset that exits with 0 and has done nothing.
func TestResetThatDoesNothingAndSucceedsIsNotBelieved(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(44)
	s.leftover()
	s.must(s.node.WrapKubeadm(instead("reset", "exit 0")))
	e := s.join(s.args("--timeout", "15s", "--hold", "5s")...).is(7, "JoinFailed").counts(0, some, 0, 0).
		says("kubeadm reset succeeded, but /etc/kubernetes/kubelet.conf still there")
	if e.report.Counts.Resets < 2 {
		t.Errorf("%d resets", e.report.Counts.Resets)
	}
}

// As Docker's package configures it: it runs, and pods cannot.
func TestContainerRuntimeWithoutTheKubeletsInterfaceIsAPersonsJob(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{CNI: true, NoRuntime: true})
	const path = "/etc/containerd/config.toml"
	config, err := s.node.ReadFile(path)
	s.must(err)
	const with = `disabled_plugins = [`
	s.must(s.node.WriteFile(path, strings.Replace(string(config), with, with+`"io.containerd.grpc.v1.cri", `, 1), 0o644))
	s.must(s.node.StartUnit("containerd"))
	s.must(s.node.WaitRuntime(s.ctx))
	s.join(s.args()...).is(3, "HostUnfit").counts(some, 0, 0, 0).says("Unimplemented", "disabled_plugins").within(100 * time.Second)

	t.Log("mended")
	s.must(s.node.StopUnit("containerd"))
	s.must(s.node.WriteFile(path, string(config), 0o644))
	s.must(s.node.StartUnit("containerd"))
	s.must(s.node.WaitRuntime(s.ctx))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
}
