package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// cloud-init and a service, or a person and a service, may both want to join. Not even a reset that was asked for is done meanwhile.
func TestSomebodyElsesKubeadmIsWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(56)
	// Nobody answers there: kubeadm is at work for minutes.
	other, err := s.node.Start(s.ctx, testbed.Command{Args: append([]string{"kubeadm", "join", s.tb.BlackholeIP() + ":6443", "--token", "aaaaaa.0123456789abcdef",
		"--discovery-token-unsafe-skip-ca-verification"}, testbed.PreflightArgs()...)})
	s.must(err)
	s.must(other.Stdout.WaitFor(s.ctx, "[preflight]"))
	s.sleep(2 * time.Second) // its own checks are over
	s.must(s.node.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
	p := s.start(s.node, s.args("--reset=always")...)
	p.waits(10 * time.Second)
	p.until(fmt.Sprintf("process %d", other.PID))
	s.must(other.SignalGroup(syscall.SIGKILL))
	<-other.Done()
	s.member(p.end().is(0, "Joined").counts(1, 1, 0, 0).says("kubeadm join", fmt.Sprintf("process %d", other.PID)))
}

// A kubeadm in a container has files of its own. One that has a mount namespace of its own and our files, as a unit with
// PrivateTmp= has, would be waited for.
func TestKubeadmInAContainerIsNotWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	other, err := s.node.Start(s.ctx, testbed.Command{Args: append([]string{"unshare", "--mount", "sh", "-c",
		`mount -t tmpfs none /etc/kubernetes && mount -t tmpfs none /var/lib/kubelet && exec "$@"`, "sh", "kubeadm", "join", s.tb.BlackholeIP() + ":6443",
		"--token", "aaaaaa.0123456789abcdef", "--discovery-token-unsafe-skip-ca-verification"}, testbed.PreflightArgs()...)})
	s.must(err)
	s.must(other.Stdout.WaitFor(s.ctx, "[preflight]"))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).within(30 * time.Second))
	s.must(other.SignalGroup(syscall.SIGKILL))
	<-other.Done()
}
