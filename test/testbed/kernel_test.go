package testbed

import (
	"strings"
	"testing"
)

func TestContainersOfOneKernelDifferInTheirMachineIDsAlone(t *testing.T) {
	t.Parallel()
	tb := New(t)
	first := must(tb.Node(t.Context(), "n1", NodeOptions{NoRuntime: true}))(t)
	second := must(tb.Node(t.Context(), "n2", NodeOptions{NoRuntime: true, KernelOf: first}))(t)
	for path, same := range map[string]bool{
		"/proc/sys/kernel/random/boot_id": true, firmwareUUID: true, "/etc/machine-id": false,
	} {
		if !second.Exists(path) {
			continue // not every machine has a DMI table
		}
		a, b := must(first.Run(t.Context(), "cat", path))(t), must(second.Run(t.Context(), "cat", path))(t)
		if (a == b) != same {
			t.Errorf("%s is %q and %q", path, a, b)
		}
	}
}

func TestLateDiskIsMissingUntilItIsAttached(t *testing.T) {
	t.Parallel()
	tb := New(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{NoRuntime: true}))(t)
	ok(t, n.WriteFile("/var/lib/kubelet/precious", "", 0o600))
	if err := n.PutOnLateDisk("/var/lib/kubelet"); err == nil {
		t.Error("the disk of a running machine was changed")
	}
	n.PowerOff()
	ok(t, n.PutOnLateDisk("/var/lib/kubelet"))
	ok(t, n.Reboot())
	if n.Exists("/var/lib/kubelet/precious") {
		t.Error("it is there before its disk")
	}
	if fstab := must(n.Run(t.Context(), "cat", "/etc/fstab"))(t); !strings.Contains(fstab, "\t/var/lib/kubelet\t") {
		t.Errorf("/etc/fstab is %q", fstab)
	}
	ok(t, n.AttachDisk("/var/lib/kubelet"))
	if !n.Exists("/var/lib/kubelet/precious") {
		t.Error("the disk is attached, and it is not there")
	}
}
