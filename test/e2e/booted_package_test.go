package e2e

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/packages"
	"github.com/nodejoin/nodejoin/test/testbed"
)

// noticed turns a Node Unknown whose kubelet has stopped, as the cluster does after its grace period.
func (s *story) noticed(name string) {
	s.Helper()
	n := s.nodeNamed(name)
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == core.NodeReady {
			n.Status.Conditions[i].Status = core.ConditionUnknown
		}
	}
	_, err := s.cp.Client().CoreV1().Nodes().UpdateStatus(s.ctx, n, meta.UpdateOptions{})
	s.must(err)
}

const leftVolume = "/var/lib/kubelet/pods/left/volumes/v"

func TestTheDebsUnitJoinsAtBootAndAPurgeLeavesTheMember(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	deb, err := packages.Deb(s.ctx, filepath.Join(t.TempDir(), "work"), runtime.GOARCH)
	s.must(err)
	s.startCluster()
	s.must(s.node.Install(deb, "/root/nodejoin.deb", 0o644))
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	do := func(args ...string) string {
		t.Helper()
		out, err := s.node.Run(s.ctx, args...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	property := func(name string) string {
		return strings.TrimSpace(do("systemctl", "show", "nodejoin", "--value", "-p", name))
	}

	files := func() string {
		return do("sh", "-c", "find /etc/kubernetes /var/lib/kubelet/config.yaml -type f -exec sha256sum {} + | sort")
	}
	unit := func(want string, properties ...string) {
		t.Helper()
		var got []string
		for _, name := range properties {
			got = append(got, property(name))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q of the unit are %q, wanted %q", properties, got, want)
		}
	}

	t.Log("installing neither enables nor starts it")
	do("apt-get", "install", "--yes", "/root/nodejoin.deb")
	unit("disabled inactive", "UnitFileState", "ActiveState")
	if out := do("systemd-analyze", "verify", "--man=no", "nodejoin.service"); out != "" {
		t.Error(out)
	}

	env := func(pin string, more ...string) {
		t.Helper()
		lines := append([]string{"NODEJOIN_ENDPOINT=" + s.cp.Endpoint(), "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH=" + pin, "NODEJOIN_UNTIL=ready"}, more...)
		for _, arg := range testbed.PreflightArgs() {
			lines = append(lines, "NODEJOIN_IGNORE_PREFLIGHT_ERRORS="+strings.TrimPrefix(arg, "--ignore-preflight-errors="))
		}
		s.must(s.node.WriteFile("/etc/nodejoin/nodejoin.env", strings.Join(lines, "\n")+"\n", 0o600))
	}
	for _, tc := range []struct{ about, token, pin, ended, word, unit string }{
		{"without a token", "", s.cp.CAHash(), "TokenRejected (exit status 5): ", "/etc/nodejoin/token", "activating 5"},
		{"with a malformed pin", s.token + "\n", "sha256:xyz", "Usage (exit status 2): ", "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH", "failed 2"},
	} {
		t.Logf("%s the status line says what is wrong, and systemd tries again only with what may come yet", tc.about)
		env(tc.pin)
		if tc.token != "" {
			s.must(s.node.WriteFile("/etc/nodejoin/token", tc.token, 0o600))
		}
		if _, err := s.node.Run(s.ctx, "systemctl", "start", "nodejoin"); err == nil {
			t.Errorf("it started %s", tc.about)
		}
		if line := property("StatusText"); !strings.HasPrefix(line, tc.ended) || !strings.Contains(line, tc.word) {
			t.Errorf("the status line is %q", line)
		}
		unit(tc.unit, "ActiveState", "ExecMainStatus")
		do("systemctl", "stop", "nodejoin")
	}

	t.Log("a failure that time may cure is tried again")
	do("rm", "/run/nodejoin/status.json") // of the run without a token
	s.must(s.cp.Stop())
	env(s.cp.CAHash(), "NODEJOIN_TIMEOUT=5s", "NODEJOIN_HOLD=5s")
	do("systemctl", "start", "--no-block", "nodejoin")
	s.ended(6, "Unreachable").counts(0, 0, 0, 0)
	for property("NRestarts") == "0" { // the story's own limit ends this
		s.sleep(500 * time.Millisecond)
	}
	do("systemctl", "stop", "nodejoin")
	env(s.cp.CAHash())

	t.Log("enabled, it starts at the next boot, and does not hold that up while the control plane is away")
	do("systemctl", "enable", "nodejoin")
	s.must(s.node.Reboot(s.ctx))
	for range 600 { // the test's own limit is longer
		if state, _ := s.node.Run(s.ctx, "systemctl", "is-active", "multi-user.target"); strings.TrimSpace(state) == "active" {
			break
		}
		s.sleep(100 * time.Millisecond)
	}
	for !strings.HasPrefix(property("StatusText"), "discover: ") {
		s.sleep(100 * time.Millisecond)
	}
	if state := strings.TrimSpace(do("systemctl", "is-active", "multi-user.target")); state != "active" {
		t.Errorf("multi-user.target is %s", state)
	}
	unit("activating", "ActiveState")
	s.must(s.cp.Start(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	e := s.ended(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)
	if line := property("StatusText"); !strings.HasPrefix(line, "Joined (exit status 0): ") {
		t.Errorf("the status line is %q", line)
	}
	if out := do("systemctl", "status", "--no-pager", "--full", "nodejoin"); !strings.Contains(out, "Status: \"Joined (exit status 0): ") {
		t.Errorf("systemctl status does not tell how it ended:\n%s", out)
	}

	t.Log("a member needs no token, and after a reboot nothing is touched")
	do("rm", "/etc/nodejoin/token")
	before := files()
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.member(s.ended(0, "AlreadyJoined").counts(0, 0, 0, 0))
	unit("active success 0 0", "ActiveState", "Result", "ExecMainStatus", "NRestarts")
	if after := files(); after != before {
		t.Errorf("kubeadm's files were\n%sand are\n%s", before, after)
	}

	t.Log("a certificate that has expired while the machine was off is another one after the boot")
	s.must(s.node.WriteFile("/etc/nodejoin/token", s.token+"\n", 0o600))
	do("systemctl", "stop", "kubelet")
	pair, err := s.cp.ExpiredPair(s.node.Hostname)
	s.must(err)
	do("rm", currentPair)
	s.must(s.node.WriteFile(currentPair, pair, 0o600))
	s.noticed(e.report.Node.Name)
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	anew := s.ended(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0)
	s.member(anew)
	if anew.report.Node.UID != e.report.Node.UID {
		t.Errorf("the Node has UID %s, it had %s", anew.report.Node.UID, e.report.Node.UID)
	}
	if left := do("sh", "-c", "find /etc/kubernetes /var/lib/kubelet/pki -name bootstrap-kubelet.conf -o -name '*.before-nodejoin'"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	if state := strings.TrimSpace(do("systemctl", "is-active", "kubelet")); state != "active" {
		t.Errorf("the kubelet is %s", state)
	}

	t.Log("what a reset unmounts in the unit is unmounted on the host")
	s.must(s.node.WriteFile("/etc/nodejoin/token", s.token+"\n", 0o600))
	do("systemctl", "stop", "kubelet")
	s.must(s.node.WriteFile("/etc/kubernetes/kubelet.conf", "apiVersion: v1\n", 0o600)) // torn: no kubelet could use it
	do("rm", "-r", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")              // nor can any bootstrap again
	do("mkdir", "-p", leftVolume)
	do("mount", "-t", "tmpfs", "tmpfs", leftVolume)
	s.must(s.cp.DeleteNode(s.ctx, e.report.Node.Name))
	do("systemctl", "restart", "nodejoin")
	again := s.ended(0, "Joined").counts(1, 1, 0, 0)
	s.member(again)
	if strings.Contains(do("cat", "/proc/1/mounts"), leftVolume) {
		t.Error("the volume is still mounted")
	}

	t.Log("a purge takes what is nodejoin's and leaves the member alone")
	before = files()
	do("apt-get", "purge", "--yes", "nodejoin")
	unit("not-found", "LoadState")
	if after := files(); after != before {
		t.Errorf("kubeadm's files were\n%sand are\n%s", before, after)
	}
	for _, path := range []string{"/etc/nodejoin", "/run/nodejoin", "/usr/bin/nodejoin", "/etc/systemd/system/multi-user.target.wants/nodejoin.service"} {
		if s.node.Exists(path) {
			t.Errorf("%s is left", path)
		}
	}
	if state := strings.TrimSpace(do("systemctl", "is-active", "kubelet")); state != "active" {
		t.Errorf("the kubelet is %s", state)
	}
	s.member(again)
}
