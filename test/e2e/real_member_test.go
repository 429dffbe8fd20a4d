//go:build vm

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// tellReal is a story on a real machine that runs, in a cluster that gives Nodes addresses for their pods. What its kubelet
// registers waits for a cloud controller, so a run holds it for all of --hold.
func tellReal(t *testing.T) *bootedStory {
	t.Helper()
	s := tellBootedIn(t, withPodCIDRs(), testbed.BootedOptions{CNI: true, KubeletArgs: []string{"--cloud-provider=external"}})
	s.startCluster()
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WriteFile(tokenFile, s.token, 0o600))
	return s
}

// A machine that QEMU translates on a busy host may need more than one kubeadm: its checks have their own time-outs.

// begin starts a join in the background, and returns when its Node is there and Ready.
func (s *bootedStory) begin(more ...string) (*testbed.Proc, *core.Node) {
	s.Helper()
	p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout(append([]string{"--token-file", tokenFile}, more...)...)})
	s.must(err)
	n, err := s.cp.WaitNode(s.ctx, s.node.Hostname, testbed.Ready)
	if err != nil {
		s.Fatalf("%v\n%s", err, p.Stderr)
	}
	return p, n
}

// over waits for the end of a join in the background.
func (s *bootedStory) over(p *testbed.Proc, code int, reason string) ended {
	s.Helper()
	exit := p.Wait()
	e := ended{s: s.story, code: exit.Code, stdout: p.Stdout.String(), stderr: p.Stderr.String()}
	e.report, e.hasReport = s.status()
	s.Logf("it ended with %d\n%s%s", e.code, e.stderr, e.stdout)
	return e.is(code, reason)
}

// again is a join on what should be a member.
func (s *bootedStory) again(more ...string) ended {
	s.Helper()
	return s.run(s.argsWithout(append([]string{"--token-file", tokenFile, "--hold", "0"}, more...)...)...)
}

// kept sees that the Node is the one that it was.
func (s *bootedStory) kept(was *core.Node) {
	s.Helper()
	if is := s.nodeNamed(was.Name); is.UID != was.UID {
		s.Errorf("Node %s has UID %s, it had %s", was.Name, is.UID, was.UID)
	}
}

func (s *bootedStory) clock(change string) {
	s.Helper()
	_, err := s.node.Run(s.ctx, "date", "--set", change)
	s.must(err)
}

// comesBack is back for a machine that may have to do without the host's help.
func (s *bootedStory) comesBack(was *core.Node, p *testbed.Proc) *core.Node {
	s.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Minute)
	defer cancel()
	n, err := s.cp.WaitNode(ctx, was.Name, func(n *core.Node) bool { return n.UID != was.UID })
	if err != nil {
		s.Fatalf("%v\n%s", err, p.Stderr)
	}
	s.Logf("measured: back %.1f s after its deletion", time.Since(began).Seconds())
	return n
}

// do runs a command that must not fail.
func (s *bootedStory) do(args ...string) string {
	s.Helper()
	out, err := s.node.Run(s.ctx, args...)
	if err != nil {
		s.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

func TestRealMachineStaysAMember(t *testing.T) {
	s := tellReal(t)
	part := func(name string, f func(s *bootedStory)) {
		if !t.Failed() {
			t.Run(name, func(t *testing.T) { f(&bootedStory{s.in(t), s.node}) })
		}
	}
	part("deleted", func(s *bootedStory) {
		p, n := s.begin("--hold", "60s")
		was := s.mark(n.Name)
		s.sleep(5 * time.Second) // it is seen with its marks
		s.must(s.cp.DeleteNode(s.ctx, n.Name))
		s.asItWas(was, s.comesBack(was, p))
		e := s.over(p, 0, "Recovered").returned(1).counts(some, 0, anyNumber, 1)
		s.member(e)
		if id := s.node.BootID(); e.report.Node.BootID != id {
			s.Errorf("the Node's bootID is %s, the machine's %s", e.report.Node.BootID, id)
		}
	})
	part("rebooted", func(s *bootedStory) {
		was := s.nodeNamed(s.node.Hostname)
		s.must(s.node.Reboot(s.ctx))
		e := s.again().is(0, "AlreadyJoined").counts(0, 0, 0, 0)
		s.member(e)
		s.kept(was)
		if e.report.Node.BootID == was.Status.NodeInfo.BootID || e.report.Node.BootID != s.node.BootID() {
			s.Errorf("bootID %s after %s, the machine's is %s", e.report.Node.BootID, was.Status.NodeInfo.BootID, s.node.BootID())
		}
	})
	part("expired while it was off", func(s *bootedStory) {
		was := s.nodeNamed(s.node.Hostname)
		s.do("systemctl", "stop", "kubelet")
		pair, err := s.cp.ExpiredPair(s.node.Hostname)
		s.must(err)
		s.do("rm", currentPair)
		s.must(s.node.WriteFile(currentPair, pair, 0o600))
		s.do("sync")
		s.node.PowerOff()
		s.noticed(was.Name)
		s.must(s.node.Boot(s.ctx))
		s.member(s.again().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0))
		s.kept(was)
		if left := s.do("sh", "-c", "find /etc/kubernetes /var/lib/kubelet/pki -name bootstrap-kubelet.conf -o -name '*.before-nodejoin'"); left != "" {
			s.Errorf("left behind: %s", left)
		}
	})
	part("clock an hour forth and back", func(s *bootedStory) {
		for _, change := range []string{"+1 hour", "-1 hour"} {
			was := s.nodeNamed(s.node.Hostname)
			p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout("--token-file", tokenFile, "--hold", "40s")})
			s.must(err)
			s.must(p.Stderr.WaitFor(s.ctx, "hold"))
			s.clock(change)
			s.sleep(3 * time.Second)
			s.member(s.over(p, 0, "AlreadyJoined").counts(0, 0, 0, 0))
			s.member(s.again().is(0, "AlreadyJoined").counts(0, 0, 0, 0))
			s.kept(was)
		}
	})
	part("clock of the future while the Node is deleted", func(s *bootedStory) {
		s.clock("+1 hour")
		p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout("--token-file", tokenFile, "--hold", "60s")})
		s.must(err)
		s.must(p.Stderr.WaitFor(s.ctx, "hold"))
		was := s.nodeNamed(s.node.Hostname)
		s.must(s.cp.DeleteNode(s.ctx, was.Name))
		s.sleep(time.Second)
		s.clock("-1 hour")
		s.asItWas(was, s.comesBack(was, p))
		s.member(s.over(p, 0, "Recovered").returned(1).counts(0, 0, anyNumber, 1))
	})
}

// A clock that is behind: to this machine the cluster's certificates are of the future until its clock is set.
func TestRealMachineWhoseClockIsAnHourBehindJoinsOnceItIsSet(t *testing.T) {
	s := tellReal(t)
	s.clock("-1 hour")
	p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout("--token-file", tokenFile, "--hold", "20s")})
	s.must(err)
	s.must(p.Stderr.WaitFor(s.ctx, "clock"))
	s.sleep(5 * time.Second)
	s.clock("+1 hour")
	s.member(s.over(p, 0, "Joined").counts(some, 0, anyNumber, 0))
}

// A volume that is attached late is mounted over what a join has written.
func TestRealMachineWhoseKubeletFolderIsOnALateDisk(t *testing.T) {
	s := tellReal(t)
	s.do("sh", "-c", "echo LABEL=late /var/lib/kubelet ext4 nofail,x-systemd.device-timeout=1s 0 2 >>/etc/fstab; systemctl daemon-reload")
	p, n := s.begin("--hold", "60s")
	s.must(s.node.AttachDisk(s.ctx))
	s.eventually(time.Minute, func() bool {
		out, _ := s.node.Run(s.ctx, "sh", "-c", "systemctl start var-lib-kubelet.mount; findmnt --noheadings --output SOURCE /var/lib/kubelet")
		return strings.TrimSpace(out) == "/dev/vdb"
	}, "the disk is not mounted")
	exit := p.Wait()
	e, there := s.status()
	s.Logf("it ended with %d, %v %+v\n%s", exit.Code, there, e, p.Stderr)
	kubelet, _ := s.node.Run(s.ctx, "systemctl", "is-active", "kubelet")
	s.Logf("the kubelet is %s; Node %s", kubelet, n.UID)

	t.Log("the kubelet's next start finds an empty folder, as at the next boot")
	s.must(s.node.Reboot(s.ctx))
	s.do("findmnt", "/var/lib/kubelet")
	again := s.again("--until", "ready", "--timeout", "10m")
	s.Logf("%+v", again.report)
	again.is(0, "Recovered", "Joined")
	s.member(again)
}
