package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// instead is a script in kubeadm's place that does something else for one of its verbs.
func instead(verb, script string) string {
	return "#!/bin/sh\nif [ \"$1\" = " + verb + " ]; then\n" + script + "\nfi\nexec " + testbed.RealKubeadm + " \"$@\"\n"
}

// deaf ignores SIGTERM, and so does the process it leaves behind in its group.
const deaf = "trap '' TERM\nsleep 1000 &\nwhile :; do sleep 1; done"

// leftover is what nothing gentler than a reset takes away: a kubelet.conf that is torn, of a kubelet that does not run.
func (s *story) leftover() {
	s.Helper()
	s.must(s.node.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
}

// alive lists the processes with one of these names, scripts included.
func (s *story) alive(names ...string) []testbed.Process {
	s.Helper()
	all, err := s.node.Processes()
	s.must(err)
	return slices.DeleteFunc(all, func(p testbed.Process) bool {
		return !slices.ContainsFunc(p.Args[:min(2, len(p.Args))], func(arg string) bool { return slices.Contains(names, filepath.Base(arg)) })
	})
}

// nothingRuns checks that no process with one of these names is left on the node.
func (s *story) nothingRuns(names ...string) {
	s.Helper()
	if left := s.alive(names...); len(left) > 0 {
		s.Errorf("left behind: %v", left)
	}
}

func TestKubeadmThatHangsAndIgnoresSIGTERMIsKilledWithItsGroup(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(26)
	s.must(s.node.WrapKubeadm(instead("join", deaf)))
	p := s.start(s.node, s.args("--attempt-timeout", "30s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.must(p.Stderr.WaitFor(s.ctx, "--attempt-timeout has passed"))
	s.nothingRuns("sleep", "kubeadm-script")
	s.must(s.node.WrapKubeadm(""))
	s.member(p.end().is(0, "Joined").counts(2, 0, 0, 0).says("--attempt-timeout has passed").within(2 * time.Minute))
}

// A network plugin's DEL that never returns does this (kubernetes/kubeadm 2828).
func TestResetThatHangsIsKilledAndTriedAgain(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(27)
	s.leftover()
	s.must(s.node.WrapKubeadm(instead("reset", deaf)))
	p := s.start(s.node, s.args("--attempt-timeout", "30s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm reset"))
	s.must(p.Stderr.WaitFor(s.ctx, "still there"))
	s.nothingRuns("sleep", "kubeadm-script")
	s.must(s.node.WrapKubeadm(""))
	s.member(p.end().is(0, "Joined").counts(1, 2, 0, 0).says("still there"))
}

func TestResetThatFailsHalfWayOnABusyMountIsNotBelieved(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(27)
	s.leftover()
	busy := s.start(s.node, "sh", "-c", "mkdir -p /var/lib/kubelet/pods/p/volume && mount -t tmpfs volume /var/lib/kubelet/pods/p/volume && "+
		"cd /var/lib/kubelet/pods/p/volume && echo busy && exec sleep 1000")
	s.must(busy.Stdout.WaitFor(s.ctx, "busy"))
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "still there"))
	if n := s.node.KubeadmCount("join"); n != 0 {
		t.Errorf("%d joins on leftovers", n)
	}
	s.must(busy.Signal(9))
	busy.Wait()
	s.member(p.end().is(0, "Joined").counts(1, anyNumber, 0, 0).says("kubelet.conf"))
	if s.node.Exists("/var/lib/kubelet/pods/p/volume") {
		t.Error("the mount point is still there")
	}
}

func TestKubeadmThatCannotWorkIsAPersonsJob(t *testing.T) {
	s := tell(t, ready())
	s.fault(32)
	s.token = testbed.NewToken()
	for name, c := range map[string]struct {
		fault func() error
		says  []string
	}{
		"missing":        {func() error { return s.node.RemoveProgram("kubeadm") }, []string{`"kubeadm" is not there or not executable`, "install kubeadm"}},
		"not executable": {func() error { return os.Chmod(s.kubeadmPath(), 0o644) }, []string{`"kubeadm" is not there or not executable`, "install kubeadm"}},
		"too old":        {func() error { return s.node.WrapKubeadm("#!/bin/sh\necho v1.30.4\n") }, []string{"kubeadm is v1.30.4", "needs v1.31.0 or newer", "install a kubeadm"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.must(s.node.WrapKubeadm(""))
			s.must(c.fault())
			s.join(s.args("--timeout", "20s", "--hold", "5s")...).is(3, "HostUnfit").counts(0, 0, 0, 0).says(c.says...).within(10 * time.Second)
		})
	}
}

// kubeadmPath is where the host finds the program that the node runs as kubeadm.
func (s *story) kubeadmPath() string {
	s.Helper()
	out, err := s.node.Run(s.ctx, "sh", "-c", "command -v kubeadm")
	s.must(err)
	return s.node.Path(strings.TrimSpace(out))
}

func TestKubeadmThatFailsThoughTheNodeIsOursIsOnlyAWarning(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(33)
	s.must(s.node.WrapKubeadm(instead("join", testbed.RealKubeadm+` "$@"; echo "error: could not upload a label" >&2; exit 1`)))
	e := s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says("kubeadm join failed, but the Node is a member all the same")
	if len(e.report.ownWarnings()) != 1 || !strings.Contains(e.report.ownWarnings()[0], "could not upload a label") {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	s.member(e)
}
