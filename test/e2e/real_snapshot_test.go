//go:build vm

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The snapshot is of a machine whose clock is an hour behind, which stands for the hour that a real one lies in a drawer.
func TestRealMachineThatIsRestoredOrCloned(t *testing.T) {
	s := tellReal(t)
	p, was := s.begin("--hold", "0")
	s.member(s.over(p, 0, "Joined").counts(some, 0, anyNumber, 0))
	s.clock("-1 hour")
	snapshot, err := s.node.Snapshot(s.ctx)
	s.must(err)
	s.clock("+1 hour")

	t.Log("restored with its memory, an hour later, it has the boot_id that its Node has, and is a member")
	id := s.node.BootID()
	s.must(s.node.Restore(s.ctx, snapshot))
	if is := s.node.BootID(); is != id {
		t.Errorf("boot_id %s after %s", is, id)
	}
	s.member(s.again("--timeout", "10m").is(0, "AlreadyJoined").counts(0, 0, 0, 0))
	s.clock("+1 hour") // as a time service does in the end
	s.member(s.again().is(0, "AlreadyJoined").counts(0, 0, 0, 0))
	s.kept(was)

	t.Log("restored after its Node was deleted, it is back by a kubelet restart, as a new Node")
	s.node.PowerOff()
	s.must(s.cp.DeleteNode(s.ctx, was.Name))
	s.must(s.node.Restore(s.ctx, snapshot))
	s.clock("+1 hour")
	e := s.again("--timeout", "10m").is(0, "Recovered").counts(0, 0, some, 0)
	s.member(e)
	before := s.nodeNamed(was.Name)

	t.Log("a clone of its disk, with its name, machine-id and credentials, beside it: another boot_id and UUID")
	clone, err := s.node.Clone(s.ctx, snapshot, "b2")
	s.must(err)
	beside := &bootedStory{s.story, clone}
	// Its kubelet would speak as the original's from the first second on; whoever makes clones masks it.
	s.must(clone.WriteFile("/etc/systemd/system/kubelet.service", "", 0o644))
	s.must(clone.Boot(s.ctx))
	for path, same := range map[string]bool{
		"/etc/machine-id": true, "/proc/sys/kernel/random/boot_id": false, "/sys/class/dmi/id/product_uuid": false,
	} {
		ours, theirs := strings.TrimSpace(s.do("cat", path)), strings.TrimSpace(beside.do("cat", path))
		if (ours == theirs) != same {
			t.Errorf("%s: %q here, %q in the clone", path, ours, theirs)
		}
	}
	beside.do("sh", "-c", "rm /etc/systemd/system/kubelet.service; systemctl daemon-reload")
	beside.again("--timeout", "3m").is(9, "NameTaken").counts(0, 0, anyNumber, 0)
	s.undisturbed(before)

	t.Log("with a name of its own it is reset once and joins")
	beside.do("sh", "-c", "hostnamectl set-hostname b2; echo "+clone.IP+" b2 >>/etc/hosts")
	own := beside.again("--timeout", "15m").is(0, "Joined").counts(some, 1, anyNumber, 0)
	if own.report.Node.Name != "b2" {
		t.Errorf("it joined as %q", own.report.Node.Name)
	}
	beside.member(own)
	s.undisturbed(before)
	s.sleep(time.Second)
	s.member(s.again().is(0, "AlreadyJoined").counts(0, 0, 0, 0))
	_ = testbed.Ready
}
