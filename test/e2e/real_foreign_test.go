//go:build vm

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/packages"
	"github.com/nodejoin/nodejoin/test/testbed"
)

// A machine as Graviton's: Debian's kernel, UEFI, systemd and cgroup v2; its kubeadm, kubelet, containerd and runc are compiled
// for it with a newer Go than the control plane's.
func TestRealMachineWithArm64IsAMemberByTheReleasedPackage(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{Arch: "arm64", CNI: true})
	deb, err := packages.Deb(s.ctx, filepath.Join(t.TempDir(), "work"), "arm64")
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
		return strings.TrimSpace(out)
	}
	for command, want := range map[string]string{
		"uname -m": "aarch64", "dpkg --print-architecture": "arm64", "stat -fc %T /sys/fs/cgroup": "cgroup2fs",
		"cat /sys/class/dmi/id/sys_vendor": "Amazon EC2", "systemctl is-active containerd": "active",
	} {
		if got := do("sh", "-c", command); got != want {
			t.Errorf("%s: %q, wanted %q", command, got, want)
		}
	}

	t.Log("the package's unit joins")
	do("apt-get", "install", "--yes", "/root/nodejoin.deb")
	s.must(s.node.WriteFile("/etc/nodejoin/token", s.token+"\n", 0o600))
	s.must(s.node.WriteFile("/etc/nodejoin/nodejoin.env", "NODEJOIN_ENDPOINT="+s.cp.Endpoint()+"\nNODEJOIN_UNTIL=ready\n"+
		"NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH="+s.cp.CAHash()+"\n", 0o600))
	do("systemctl", "enable", "--now", "nodejoin")
	first := s.ended(0, "Joined").counts(1, 0, 0, 0)
	s.isArm64(first)

	t.Log("its Node is deleted, and the next run brings it back")
	s.must(s.cp.DeleteNode(s.ctx, first.report.Node.Name))
	do("systemctl", "restart", "nodejoin")
	back := s.ended(0, "Recovered").counts(0, 0, 1, 0)
	s.isArm64(back)
	if back.report.Node.UID == first.report.Node.UID {
		t.Errorf("the Node has the UID that it had before its deletion: %s", first.report.Node.UID)
	}

	t.Log("a reboot changes nothing")
	do("rm", "/etc/nodejoin/token")
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	again := s.ended(0, "AlreadyJoined").counts(0, 0, 0, 0)
	s.isArm64(again)
	if again.report.Node.UID != back.report.Node.UID {
		t.Errorf("the Node has UID %s, it had %s", again.report.Node.UID, back.report.Node.UID)
	}
}

// isArm64 checks that the Node is the machine's, with the architecture and the identity that its kubelet tells, and that
// nodejoin finds nothing wrong.
func (s *bootedStory) isArm64(e ended) {
	s.Helper()
	s.member(e)
	node := s.nodeNamed(e.report.Node.Name)
	uuid, err := s.node.ReadFile("/sys/class/dmi/id/product_uuid")
	s.must(err)
	if info := node.Status.NodeInfo; info.Architecture != "arm64" || !strings.EqualFold(info.SystemUUID, strings.TrimSpace(string(uuid))) {
		s.Errorf("the Node is %+v", info)
	}
	// A processor that is translated may want more than check's 10 s for a TLS handshake.
	if checked := s.run("nodejoin", "check", "--timeout", "2m"); checked.code != 0 || len(checked.report.ownWarnings()) > 0 {
		s.Errorf("check: exit %d, warnings %q", checked.code, checked.report.Warnings)
	}
}
