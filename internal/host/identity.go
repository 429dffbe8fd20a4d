package host

import (
	"os"
	"strings"
)

// Identity is what the kubelet reports of this machine in its Node's status.nodeInfo. A value that cannot be read is empty,
// and an empty value must never be taken for equal to anything.
type Identity struct {
	BootID     string // new at every boot, and different on a cloned machine
	MachineID  string // the same on machines cloned from an image that was not cleaned
	SystemUUID string // in lower case; the kubelet reports it as the firmware writes it
}

// Identity reads what the kubelet reads, in the order in which the kubelet's cAdvisor does (machine/info.go,
// utils/sysfs/sysfs.go): the first file that can be read counts, even if it is empty.
func (h Host) Identity() Identity {
	return Identity{
		BootID:    h.first("/proc/sys/kernel/random/boot_id"),
		MachineID: h.first("/etc/machine-id", "/var/lib/dbus/machine-id"),
		SystemUUID: strings.ToLower(h.first("/sys/class/dmi/id/product_uuid",
			"/proc/device-tree/system-id", "/proc/device-tree/vm,uuid", "/etc/machine-id")),
	}
}

func (h Host) first(files ...string) string {
	for _, f := range files {
		if b, err := os.ReadFile(h.Path(f)); err == nil {
			return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
		}
	}
	return ""
}
