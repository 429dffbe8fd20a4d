//go:build vm

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestRealMachineWithOpenRC(t *testing.T) {
	s := tellBootedIn(t, withPodCIDRs(), testbed.BootedOptions{CNI: true, OpenRC: true, KubeletArgs: []string{"--cloud-provider=external"}})
	s.startCluster()
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WriteFile(tokenFile, s.token, 0o600))
	status := func() string {
		out, _ := s.node.Run(s.ctx, "rc-service", "kubelet", "status")
		return strings.TrimSpace(out)
	}
	if out := s.do("cat", "/proc/1/comm"); out != "openrc-init\n" {
		t.Fatalf("process 1 is %s", out)
	}
	t.Log("before the join:", status())

	t.Log("a join, and a deletion while it is held")
	p, n := s.begin("--hold", "60s")
	was := s.mark(n.Name)
	s.sleep(5 * time.Second)
	s.must(s.cp.DeleteNode(s.ctx, n.Name))
	s.asItWas(was, s.comesBack(was, p))
	s.member(s.over(p, 0, "Recovered").returned(1).counts(some, 0, anyNumber, 1))

	t.Log("a Node that was gone before comes by a restart of the service")
	s.must(s.cp.DeleteNode(s.ctx, n.Name))
	s.sleep(3 * time.Second)
	s.member(s.again().is(0, "Recovered").counts(0, 0, 1, 0))

	t.Log("a service that was stopped is started")
	s.do("rc-service", "kubelet", "stop")
	t.Log(status())
	s.member(s.again().is(0, "Recovered").counts(0, 0, 1, 0))
	if is := status(); !strings.Contains(is, "started") {
		t.Errorf("the service is: %s", is)
	}

	t.Log("one that was killed with its supervisor is restarted; OpenRC calls it unsupervised, as if it ran")
	s.do("sh", "-c", "kill -9 $(pidof supervise-daemon); kill -9 $(pidof kubelet)")
	s.eventually(30*time.Second, func() bool { return strings.Contains(status(), "unsupervised") }, "its end is not noticed")
	s.member(s.again().is(0, "Recovered").counts(0, 0, 1, 0))

	t.Log("what the kubelet says when it cannot start is in the report")
	s.must(s.node.WriteFile("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--no-such-flag\n", 0o644))
	s.do("rc-service", "kubelet", "restart")
	e := s.again("--timeout", "3m")
	t.Log(e.code, e.report.Reason, e.report.Message, e.report.Hint)
	if e.code == 0 || !strings.Contains(strings.Join(e.report.LogTail.Kubelet, "\n")+e.report.Message, "no-such-flag") {
		t.Errorf("exit %d, and nothing says %q: %q", e.code, "no-such-flag", e.report.LogTail.Kubelet)
	}
	s.must(s.node.WriteFile("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--cloud-provider=external\n", 0o644))
	s.member(s.again().is(0, "Recovered", "AlreadyJoined"))
}
