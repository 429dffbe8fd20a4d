package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// An image made of a machine that had joined, with its certificate and its kubelet's configuration.
func TestClonedImageIsResetOnceAndJoinsUnderItsOwnName(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{CNI: true, Hostname: "golden"})
	s.fault(4)
	s.join(s.args()...).is(0, "Joined")
	before := s.nodeNamed("golden")
	for name, kubelet := range map[string]string{"clone1": "does not run", "clone2": "runs on the original's credentials"} {
		t.Log(name, "whose kubelet", kubelet)
		clone := s.newNode(name, ready())
		s.clone(s.node, clone)
		if name == "clone2" {
			s.must(clone.StartUnit("kubelet"))
			s.sleep(3 * time.Second)
		}
		e := s.start(clone, s.args()...).end().is(0, "Joined").counts(1, 1, 0, 0).says("a cloned image", `Node "golden"`)
		s.member(e)
		if e.report.Node.Name != name {
			t.Errorf("joined as %q", e.report.Node.Name)
		}
		s.undisturbed(before)
	}
	s.checks(s.node, 0)
}

// Where the clone was not even given a hostname of its own.
func TestClonedImageWithTheSameNameIsRefusedTheName(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{Hostname: "golden"})
	s.fault(4)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	before := s.nodeNamed("golden")
	clone := s.twinOf("golden", "clone")
	s.clone(s.node, clone)
	was := s.traceOf(clone, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")
	p := s.start(clone, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "is not known to be dead"))
	s.sleep(3 * time.Second)
	s.must(s.node.AddCNI()) // the original's kubelet reports
	p.end().is(9, "NameTaken").counts(0, 0, 0, 0).says("its kubelet has just reported")
	s.untouched(clone, was)
	s.undisturbed(before)
}

// clone copies what makes a machine a Node to another one, which is switched on but whose kubelet does not run. The
// machine-id stays its own, as with an image that was cleaned that far.
func (s *story) clone(from, to *testbed.Node) {
	s.Helper()
	s.must(to.StopUnit("kubelet"))
	for _, folder := range []string{"/etc/kubernetes", "/var/lib/kubelet/pki"} {
		s.must(filepath.WalkDir(filepath.Join(from.Root(), folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			target := filepath.Join(to.Root(), strings.TrimPrefix(path, strings.TrimSuffix(from.Root(), "/")))
			switch {
			case d.IsDir():
				return os.MkdirAll(target, 0o755)
			case d.Type()&fs.ModeSymlink != 0: // kubelet-client-current.pem
				link, err := os.Readlink(path)
				if err != nil {
					return err
				}
				return os.Symlink(link, target)
			}
			return copyFile(path, target)
		}))
	}
	for _, file := range []string{"/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"} {
		s.must(copyFile(filepath.Join(from.Root(), file), filepath.Join(to.Root(), file)))
	}
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, info.Mode().Perm())
}
