package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// files are all that nodejoin and kubeadm could have touched, with what it holds.
func (s *story) files() string {
	s.Helper()
	var b strings.Builder
	for _, folder := range []string{"/etc/kubernetes", "/run/nodejoin", "/var/lib/kubelet/pki"} {
		_ = filepath.WalkDir(s.node.Path(folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			info, err := d.Info()
			s.must(err)
			b.WriteString(path + " " + info.Mode().String())
			if d.Type().IsRegular() {
				raw, err := os.ReadFile(path)
				s.must(err)
				b.WriteString(" " + info.ModTime().Format(time.RFC3339Nano) + " " + string(raw))
			}
			b.WriteString("\n")
			return nil
		})
	}
	return b.String()
}

// acts are the calls that change a machine, so far.
func (s *story) acts() (acts []string) {
	s.Helper()
	kubeadm, err := s.node.KubeadmCalls()
	s.must(err)
	systemctl, err := s.node.SystemctlCalls()
	s.must(err)
	for _, call := range append(kubeadm, systemctl...) {
		if slices.ContainsFunc(call.Args, func(arg string) bool {
			return slices.Contains([]string{"join", "reset", "restart", "start", "stop"}, arg)
		}) {
			acts = append(acts, strings.Join(call.Args, " "))
		}
	}
	return acts
}

// dryRun asks what join would do, and sees that nothing was done.
func (s *story) dryRun(code int, words ...string) {
	s.Helper()
	disk, acts := s.files(), s.acts()
	p, err := s.node.Start(s.ctx, testbed.Command{Args: s.args("--dry-run")})
	s.must(err)
	if got := p.Wait().Code; got != code {
		s.Errorf("exit status %d, wanted %d", got, code)
	}
	s.Logf("%s%s", p.Stderr, p.Stdout)
	for _, w := range words {
		if !p.Stdout.Contains(w) {
			s.Errorf("it does not say %q", w)
		}
	}
	if after := s.files(); after != disk {
		s.Errorf("the disk was\n%s\nand is\n%s", disk, after)
	}
	if after := s.acts(); !slices.Equal(after, acts) {
		s.Errorf("it has done %q", after[len(acts):])
	}
}

func TestADryRunTellsWhatJoinWouldDoAndTouchesNothing(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	s.dryRun(0, "WouldJoin: dry run: would run kubeadm join as Node \"w1\"")
	if s.node.Exists("/run/nodejoin") {
		t.Error("/run/nodejoin was made")
	}
	s.leftover()
	s.dryRun(0, "would run kubeadm reset and then kubeadm join", "without credentials that load: /etc/kubernetes/kubelet.conf")
	s.must(s.node.WriteFile("/etc/kubernetes/manifests/proxy.yaml", "", 0o600))
	s.dryRun(10, "Refused: ", "proxy.yaml")
	s.must(os.Remove(s.node.Path("/etc/kubernetes/manifests/proxy.yaml")))

	p := s.start(s.node, s.args("--hold", "20s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "holding it"))
	if e, err := s.node.Start(s.ctx, testbed.Command{Args: s.args("--dry-run")}); err != nil || e.Wait().Code != 11 {
		t.Errorf("beside a nodejoin at work: %v, %s", err, e.Stderr)
	}
	p.end().is(0, "Joined")
	s.dryRun(0, "AlreadyJoined: dry run: nothing would be done")
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.dryRun(0, "would restart the kubelet, which disturbs no pod: the API server has no Node \"w1\"")
	s.must(s.cp.Stop())
	s.dryRun(6, "dry run: would wait, up to 30m0s in all", "gives no useful answer", "nothing is done to it while the API server does not answer")
}
