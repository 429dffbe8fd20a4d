package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What everybody can read is no secret any more; on a member the file is not even looked at.
func TestWorldReadableTokenFileIsWarnedOf(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/token", s.token+"\n", 0o644)
	args := s.argsWithout("--token-file", "/root/token", "--hold", "5s")
	e := s.join(args...).is(0, "Joined").says("--token-file", "/root/token", "everybody")
	if len(e.report.ownWarnings()) != 1 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	if e := s.join(args...).is(0, "AlreadyJoined"); len(e.report.ownWarnings()) != 0 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	s.must(os.Chmod(s.node.Path("/root/token"), 0o640))
	other := s.newNode("w2", ready())
	s.source(other, "/root/token", s.token+"\n", 0o640)
	if e := s.start(other, args...).end().is(0, "Joined"); len(e.report.ownWarnings()) != 0 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
}

// A pipe is what a shell makes of <(...), and a secret's agent may be late.
func TestTokenFileThatIsAPipeWithoutAWriterEndsAtTheDeadline(t *testing.T) {
	s := tellLive(t, ready())
	s.must(syscall.Mkfifo(s.node.Path("/root/pipe"), 0o600))
	if code, said := s.runs(s.node, s.argsWithout("--token-file", "/root/pipe", "--timeout", "10s", "--hold", "1s")...); code != 5 {
		t.Errorf("exit %d, wanted 5\n%s", code, said)
	}
	p := s.start(s.node, s.argsWithout("--token-file", "/root/pipe")...)
	s.sleep(2 * time.Second)
	s.must(p.Signal(syscall.SIGTERM))
	select {
	case <-p.Done():
		p.end().is(143, "Interrupted")
	case <-time.After(15 * time.Second):
		_ = p.Signal(syscall.SIGKILL)
		t.Error("SIGTERM does not end it")
	}
}

// The lock refuses such a folder; the status file must not be written there either.
func TestStatusFileIsNotWrittenIntoAFolderOfOthers(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	for name, prepare := range map[string]func(dir string) error{
		"a link":           func(dir string) error { return os.Symlink("/srv", dir) },
		"writable for all": func(dir string) error { return mkdir(dir, 0o777, 0) },
		"somebody else's":  func(dir string) error { return mkdir(dir, 0o755, 65534) },
	} {
		dir := s.node.Path("/run/nodejoin")
		s.must(os.RemoveAll(dir))
		s.must(prepare(dir))
		code, said := s.runs(s.node, s.args("--timeout", "3s", "--hold", "1s")...)
		if code != 3 || !strings.Contains(said, "writing the status file") {
			t.Errorf("%s: exit %d, wanted 3 and a word about the status file\n%s", name, code, said)
		}
		for _, path := range []string{"/run/nodejoin/status.json", "/srv/status.json"} {
			if s.node.Exists(path) {
				t.Errorf("%s: %s was written", name, path)
			}
		}
	}
}

// With the original's machine-id in the image as well. Where the firmware has no UUID, as in a container or on
// some boards, only the heartbeats tell the two apart: one machine has one boot.
func TestClonedImageWithTheOriginalsMachineIDJoinsUnderItsOwnName(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{Hostname: "golden"})
	s.fault(4)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	before := s.nodeNamed("golden")
	clone := s.newNode("clone", ready())
	s.clone(s.node, clone)
	s.must(copyFile(filepath.Join(s.node.Root(), "etc/machine-id"), filepath.Join(clone.Root(), "etc/machine-id")))
	s.must(clone.StartUnit("kubelet"))
	time.AfterFunc(70*time.Second, func() { _ = s.node.AddCNI() }) // the original's kubelet reports
	e := s.start(clone, s.args()...).end().is(0, "Joined").counts(1, 1, anyNumber, 0).says("a cloned image", `Node "golden"`)
	s.member(e)
	if e.report.Node.Name != "clone" {
		t.Errorf("joined as %q", e.report.Node.Name)
	}
	s.undisturbed(before)
}
