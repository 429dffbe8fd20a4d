package testbed

import (
	"strings"
	"testing"
	"time"
)

func TestBootedNodeBootsRebootsAndIsReached(t *testing.T) {
	t.Parallel()
	ctx := within(t, 5*time.Minute)
	tb := New(t)
	cp := must(tb.NewControlPlane(ctx, ControlPlaneOptions{}))(t)
	b := must(tb.NewBooted(ctx, "b1", BootedOptions{UserData: "#!/bin/sh\necho ran >> /root/user-data\n"}))(t)
	ok(t, b.WriteFile("/etc/before", "boot", 0o644))
	began := time.Now()
	ok(t, b.Boot(ctx))
	ok(t, b.WaitBoot(ctx))
	t.Logf("booted in %s", time.Since(began).Round(time.Millisecond))

	if out := must(b.Run(ctx, "cloud-init", "status", "--wait", "--long"))(t); !strings.Contains(out, "status: done") {
		t.Error(out)
	}
	for _, unit := range []string{"network-online.target", "containerd.service", "ssh.service"} {
		if out, err := b.Run(ctx, "systemctl", "is-active", unit); err != nil {
			t.Error(out, err)
		}
	}
	for command, want := range map[string]string{
		"hostname": "b1", "cat /etc/before": "boot", "cat /root/user-data": "ran", "cat /proc/sys/vm/overcommit_memory": "1", "pwd": "/root",
		"cat /proc/sys/net/ipv4/ip_forward": "1", "getent hosts b1": b.IP, "mkdir /sys/fs/cgroup/memory/x && rmdir /sys/fs/cgroup/memory/x; echo $?": "0",
	} {
		if out := must(b.Run(ctx, "sh", "-c", command))(t); !strings.HasPrefix(out, want) {
			t.Errorf("%s: %q, wanted %q", command, out, want)
		}
	}
	if _, err := b.Run(ctx, "sh", "-c", "echo 2 > /proc/sys/kernel/randomize_va_space"); err == nil {
		t.Error("the node can change the host's kernel")
	}
	waitOne(t, b.Machine, "containerd")
	ssh := must(b.SSH(cp.Machine, "echo", "$SSH_CONNECTION"))(t)
	if out := must(cp.Run(ctx, ssh...))(t); !strings.HasPrefix(out, cp.IP+" ") {
		t.Errorf("ssh: %q", out)
	}
	exit := must(b.Start(ctx, Command{Args: []string{"sh", "-c", "exit 7"}}))(t).Wait()
	if exit.Code != 7 {
		t.Error(exit)
	}

	id := b.BootID()
	ok(t, b.Reboot(ctx))
	ok(t, b.WaitBoot(ctx))
	if b.BootID() == id || len(b.BootID()) != len(id) {
		t.Errorf("boot_id %q after %q", b.BootID(), id)
	}
	if out := must(b.ReadFile("/root/user-data"))(t); string(out) != "ran\n" {
		t.Errorf("user data: %q", out)
	}
	if !strings.Contains(b.Log("ssh"), "Accepted publickey") {
		t.Errorf("sshd's log of the first boot: %q", b.Log("ssh"))
	}

	id = b.BootID()
	b.PowerOff()
	ok(t, b.Boot(ctx))
	ok(t, b.WaitBoot(ctx))
	if b.BootID() == id || !b.Exists("/root/user-data") {
		t.Errorf("after a cut of the power: boot_id %q after %q", b.BootID(), id)
	}
}
