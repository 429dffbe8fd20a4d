package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// BootedOptions describe a booted node.
type BootedOptions struct {
	Hostname    string   // the machine's name in the testbed if empty
	UserData    string   // for cloud-init, which does not run without
	KubeletArgs []string // KUBELET_EXTRA_ARGS in /etc/default/kubelet
	CNI         bool     // a CNI configuration from the start, as AddCNI of a Node
	Real        bool     // a real machine, with a kernel of its own; BootedVariable makes all of them so
	OpenRC      bool     // of a real machine: Debian's OpenRC is its init system, and systemd is not there
	Arch        string   // of a real machine: "arm64"; the host's if empty
}

// Booted is a node that boots a distribution of its own: systemd, journald, cloud-init, sshd and containerd are the real
// ones. kubeadm, kubelet and kubectl are the testbed's. Its units are systemd's, so ask its systemctl about them.
//
// It is a Machine with a system in a system: systemd-nspawn runs in the outer one, as its only unit, so whatever ends a
// Machine ends a Booted too. A real machine has QEMU there.
type Booted struct {
	*Machine
}

// Folders of the outer system. The inner root is the image with the node's changes on top.
const (
	innerRoot    = "/node/root"
	innerChanges = "/node/changes"
	innerWork    = "/node/work"
)

// nspawnUnit is what the outer system runs. Its log is the inner system's console.
const nspawnUnit = "systemd-nspawn"

// nspawnScript moves into the cgroups given as arguments. systemd-nspawn ends with 133 when the inner system reboots.
var nspawnScript = `for group; do echo 0 >"$group/cgroup.procs"; done
while
  systemd-nspawn --quiet --boot --register=no --keep-unit --directory=` + innerRoot + ` --machine="$NAME" \
    --capability=all --system-call-filter=@known --bind=/dev/kmsg --console=read-only \
    --resolv-conf=off --timezone=off --link-journal=no \
    --bind-ro=` + machine.PartsDir + `
  [ $? = 133 ]
do :; done
`

// NewBooted makes a booted node that is switched off. Its files can be written.
func (tb *Testbed) NewBooted(ctx context.Context, name string, opts BootedOptions) (*Booted, error) {
	if opts.Hostname == "" {
		opts.Hostname = name
	}
	build := tb.newBooted
	if opts.Real || BootedAreReal() {
		build = tb.newReal
	}
	b, err := build(ctx, name, opts)
	if err != nil {
		return nil, fmt.Errorf("making booted node %s: %w", name, err)
	}
	return b, nil
}

func (tb *Testbed) newBooted(ctx context.Context, name string, opts BootedOptions) (*Booted, error) {
	image, err := BuildImage(ctx, tb.out)
	if err != nil {
		return nil, err
	}
	if err := Need(ctx, tb.out, map[string]string{"systemd-nspawn": "systemd-container", "ssh": "openssh-client"}); err != nil {
		return nil, err
	}
	if err := spareInotify(); err != nil {
		return nil, err
	}
	parts, err := BuildNodeParts(ctx, tb.out, "")
	if err != nil {
		return nil, err
	}
	m, err := tb.newMachine(name, opts.Hostname, parts)
	if err != nil {
		return nil, err
	}
	m.inner, m.image = innerRoot, image
	m.sysctls["net/ipv4/ip_forward"] = "1" // kubeadm's preflight wants it
	for _, dir := range []string{innerRoot, innerChanges, innerWork} {
		if err := os.MkdirAll(m.disk(dir), 0o755); err != nil {
			return nil, err
		}
	}
	b := &Booted{m}
	if err := b.bootOuter(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{"kubelet", "kubectl"} {
		if err := os.Symlink(filepath.Join(machine.PartsDir, name), b.Path("/usr/bin/"+name)); err != nil {
			return nil, err
		}
	}
	return b, b.prepare(ctx, opts)
}

// bootOuter makes the disk of the inner system visible.
func (b *Booted) bootOuter(ctx context.Context) error {
	if b.computer != nil {
		return b.bootOuterReal(ctx)
	}
	if err := b.boot(); err != nil {
		return err
	}
	mount := &machine.Mount{Source: "overlay", Target: innerRoot, Type: "overlay",
		Data: "lowerdir=" + machine.ImageDir + ",upperdir=" + innerChanges + ",workdir=" + innerWork}
	if _, err := b.ask(machine.Request{Op: "mount", Mount: mount}); err != nil {
		return fmt.Errorf("mounting an overlay in %s: %w\n  to mend it: set TMPDIR to a folder that is not on an overlay itself", b.dir, err)
	}
	return nil
}

func (b *Booted) prepare(ctx context.Context, opts BootedOptions) error {
	files := map[string]string{
		"/etc/hostname":        b.Hostname + "\n",
		"/etc/hosts":           "127.0.0.1 localhost\n::1 localhost\n" + b.IP + " " + b.Hostname + "\n",
		"/etc/machine-id":      randomHex(16) + "\n",
		"/etc/default/kubelet": fmt.Sprintf("KUBELET_EXTRA_ARGS=%q\n", strings.Join(opts.KubeletArgs, " ")),
	}
	if opts.CNI {
		files[cniFile] = cniConfig
	}
	for path, text := range files {
		if err := b.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	// The recorder writes there.
	if err := os.MkdirAll(b.Path(machine.DataDir), 0o755); err != nil {
		return err
	}
	if err := b.WriteFile("/usr/bin/kubeadm", fmt.Sprintf(kubeadmRecorder, kubeadmCalls, RealKubeadm), 0o755); err != nil {
		return err
	}
	if opts.UserData != "" {
		if err := b.SetUserData(opts.UserData); err != nil {
			return err
		}
	}
	return b.makeKeys(ctx)
}

// SetUserData is what cloud-init gets at the first boot, of the data source NoCloud.
func (b *Booted) SetUserData(text string) error {
	const seed = "/var/lib/cloud/seed/nocloud/"
	return errors.Join(
		b.WriteFile(seed+"meta-data", fmt.Sprintf("instance-id: %s\nlocal-hostname: %s\n", b.Name, b.Hostname), 0o644),
		b.WriteFile(seed+"user-data", text, 0o600))
}

// Boot switches the node on and returns when its systemd runs; WaitBoot waits for the rest.
func (b *Booted) Boot(ctx context.Context) error {
	if err := b.bootInner(ctx); err != nil {
		return fmt.Errorf("booting %s: %w", b.Name, err)
	}
	return nil
}

func (b *Booted) bootInner(ctx context.Context) error {
	if b.computer != nil {
		return b.bootComputer(ctx)
	}
	if b.outer() == 0 { // after a PowerOff
		if err := b.bootOuter(ctx); err != nil {
			return err
		}
	}
	hierarchies, err := machine.CgroupHierarchies()
	if err != nil {
		return err
	}
	command := []string{"sh", "-c", nspawnScript, "sh"}
	for _, top := range hierarchies {
		// A group without children: cgroup v2 has no processes in others.
		group := filepath.Join(top, b.cgroup, "booted")
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
		inheritCpuset(filepath.Dir(group), group)
		command = append(command, group)
	}
	if err := b.setUnit(machine.Unit{Name: nspawnUnit + ".service", Command: command, Env: []string{"NAME=" + b.Name}}); err != nil {
		return err
	}
	if err := b.StartUnit(nspawnUnit); err != nil {
		return err
	}
	return b.waitSystemd(ctx, "")
}

// waitSystemd returns when systemd answers and the boot_id is another one than the given.
func (b *Booted) waitSystemd(ctx context.Context, oldBootID string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		if state, err := b.UnitState(nspawnUnit); err != nil || state.MainPID == 0 {
			cancel() // systemd-nspawn has ended: the log says why
		}
		id := b.BootID()
		return id != "" && id != oldBootID && b.Exists("/run/systemd/private"), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for systemd: %w\n%s", err, tail(b.Console(), tailLines))
	}
	return nil
}

// WaitBoot returns when every unit of the boot has started, cloud-init's too. A unit that failed is an error.
func (b *Booted) WaitBoot(ctx context.Context) error {
	state, err := b.Run(ctx, "systemctl", "is-system-running", "--wait")
	if err != nil {
		failed, _ := b.Run(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
		return fmt.Errorf("waiting for the end of %s's boot: it is %s: %w\n%s", b.Name, strings.TrimSpace(state), err, failed)
	}
	return nil
}

// Reboot is `systemctl reboot`; it returns when systemd runs again, with another boot_id. For a cut of the power: PowerOff,
// then Boot.
func (b *Booted) Reboot(ctx context.Context) error {
	old := b.BootID()
	// The connection to a real machine may end before the command does.
	if _, err := b.Run(ctx, "systemctl", "reboot"); err != nil && b.computer == nil {
		return err
	}
	return b.WaitReboot(ctx, old)
}

// WaitReboot returns when systemd runs with another boot_id than the given.
func (b *Booted) WaitReboot(ctx context.Context, old string) error {
	wait := b.waitSystemd
	if b.computer != nil {
		wait = b.waitComputer
	}
	if err := wait(ctx, old); err != nil {
		return fmt.Errorf("rebooting %s: %w", b.Name, err)
	}
	return nil
}

// BootID is what the kubelet reports, empty if the node does not run. systemd-nspawn makes one for each boot.
func (b *Booted) BootID() string {
	if b.remote() {
		return b.bootIDOfComputer(context.Background())
	}
	if b.pid() == 0 {
		return ""
	}
	id, _ := b.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// Install copies a file of the host to a path of the node.
func (b *Booted) Install(file, path string, mode os.FileMode) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("installing %s on %s: %w", path, b.Name, err)
	}
	return b.WriteFile(path, string(data), mode)
}

// Root is the node's disk as a folder of the host.
func (b *Booted) Root() string { return fmt.Sprintf("/proc/%d/root%s", b.outer(), innerRoot) }

// Console is the whole journal of all boots so far; it can be read when the node is off.
func (b *Booted) Console() string {
	if b.computer != nil {
		return b.Machine.Log(qemuUnit)
	}
	return b.Machine.Log(nspawnUnit)
}

// Log is what a unit has printed so far, in all boots.
func (b *Booted) Log(unit string) string {
	text, err := b.Run(context.Background(), "journalctl", "--no-pager", "--output=cat", "--unit="+unit)
	if err != nil {
		return err.Error()
	}
	return text
}

// makeKeys makes an SSH key for the node and one for its root's visitors.
func (b *Booted) makeKeys(ctx context.Context) error {
	for _, key := range []struct{ name, path, pub string }{
		{"host", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"},
		{"root", "", "/root/.ssh/authorized_keys"},
	} {
		file := b.keyFile(key.name)
		if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key.name, "-f", file).CombinedOutput(); err != nil {
			return fmt.Errorf("making an SSH key: %w\n%s", err, out)
		}
		if key.path != "" {
			if err := b.Install(file, key.path, 0o600); err != nil {
				return err
			}
		}
		if err := b.Install(file+".pub", key.pub, 0o600); err != nil {
			return err
		}
	}
	return os.Chmod(b.Path("/root/.ssh"), 0o700)
}

func (b *Booted) keyFile(name string) string { return filepath.Join(b.dir, "ssh-"+name) }

// SSH is the command by which another machine of the testbed logs in as root, with the key and the host's key put there;
// args are ssh's, options and command: "-tt", "nodejoin", "check".
func (b *Booted) SSH(from *Machine, args ...string) ([]string, error) {
	host, err := os.ReadFile(b.keyFile("host") + ".pub")
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(b.keyFile("root"))
	if err != nil {
		return nil, err
	}
	folder := "/root/.ssh/" + b.Name
	if err := errors.Join(from.WriteFile(folder+"/key", string(key), 0o600), from.WriteFile(folder+"/known_hosts", b.IP+" "+string(host), 0o600)); err != nil {
		return nil, err
	}
	return append([]string{"ssh", "-i", folder + "/key", "-o", "UserKnownHostsFile=" + folder + "/known_hosts", "-o", "BatchMode=yes",
		"-l", "root", b.IP}, args...), nil
}

// enter makes a command of the machine's one for its process on the outside. In a booted node a signal to the process alone
// does not reach the program; one to its group does.
func (m *Machine) enter(cmd machine.Command) (machine.Command, error) {
	if m.inner == "" {
		return cmd, nil
	}
	if m.remote() {
		return m.sshCommand(cmd), nil
	}
	target, err := pidInside(m.pid())
	if err != nil {
		return cmd, fmt.Errorf("running %q on %s: it does not run: %w", cmd.Args, m.Name, err)
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/root"
	}
	cmd.Dir = "/"
	cmd.Args = append([]string{"nsenter", "--all", "--target", target, "--", "env", "--chdir=" + dir}, cmd.Args...)
	return cmd, nil
}

// pidInside is the number that a process of an inner system has in the outer one.
func pidInside(pid int) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		// NSpid: here, in the outer system, in the inner one
		if fields := strings.Fields(line); len(fields) == 4 && fields[0] == "NSpid:" {
			return fields[2], nil
		}
	}
	return "", errors.New("it is in no PID namespace of its own")
}

// leaderBelow is systemd-nspawn's child that has become systemd, 0 if there is none (yet, or just now).
func leaderBelow(pid int) int {
	if pid == 0 {
		return 0
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(children)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
			if string(name) == "systemd\n" {
				return child
			}
			if leader := leaderBelow(child); leader != 0 {
				return leader
			}
		}
	}
	return 0
}
