//go:build vm

package testbed

import (
	"strings"
	"testing"
	"time"
)

func TestRealMachineBootsRebootsAndIsReached(t *testing.T) {
	ctx := within(t, 15*time.Minute)
	tb := New(t)
	cp := must(tb.NewControlPlane(ctx, ControlPlaneOptions{}))(t)
	b := must(tb.NewBooted(ctx, "b1", BootedOptions{Real: true, UserData: "#!/bin/sh\necho ran >> /root/user-data\n"}))(t)
	ok(t, b.WriteFile("/etc/before", "boot", 0o644))
	began := time.Now()
	ok(t, b.Boot(ctx))
	t.Logf("reached after %s", time.Since(began).Round(time.Millisecond))
	ok(t, b.WaitBoot(ctx))
	t.Logf("booted in %s", time.Since(began).Round(time.Millisecond))
	for command, want := range map[string]string{
		"hostname": "b1", "cat /etc/before": "boot", "cat /root/user-data": "ran", "pwd": "/root", "stat -fc %T /sys/fs/cgroup": "cgroup2fs",
		"cat /proc/sys/net/ipv4/ip_forward": "1", "getent hosts b1": b.IP, "cat /sys/class/dmi/id/sys_vendor": "Amazon EC2",
		"cat /sys/class/dmi/id/product_uuid": "ec2", "ip -br address show eth0": "eth0 ", "systemctl is-active containerd": "active",
		"curl -sk --max-time 20 -o /dev/null https://" + cp.Endpoint() + "/livez; echo $?": "7",
	} {
		if out := must(b.Run(ctx, "sh", "-c", command))(t); !strings.HasPrefix(out, want) {
			t.Errorf("%s: %q, wanted %q", command, out, want)
		}
	}
	if exit := must(b.Start(ctx, Command{Args: []string{"sh", "-c", "exit 7"}}))(t).Wait(); exit.Code != 7 {
		t.Error(exit)
	}
	ssh := must(b.SSH(cp.Machine, "echo", "$SSH_CONNECTION"))(t)
	if out := must(cp.Run(ctx, ssh...))(t); !strings.HasPrefix(out, cp.IP+" ") {
		t.Errorf("ssh: %q", out)
	}

	id := b.BootID()
	began = time.Now()
	ok(t, b.Reboot(ctx))
	t.Logf("rebooted in %s", time.Since(began).Round(time.Millisecond))
	if b.BootID() == id || len(b.BootID()) != len(id) {
		t.Errorf("boot_id %q after %q", b.BootID(), id)
	}
	if out := must(b.ReadFile("/root/user-data"))(t); string(out) != "ran\n" {
		t.Errorf("user data: %q", out)
	}

	id = b.BootID()
	b.PowerOff()
	ok(t, b.Boot(ctx))
	if b.BootID() == id || !b.Exists("/root/user-data") {
		t.Errorf("after a cut of the power: boot_id %q after %q", b.BootID(), id)
	}
}
