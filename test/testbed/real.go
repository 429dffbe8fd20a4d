package testbed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// BootedVariable set to "real" makes every booted node a real machine, so that every story can be told of them.
const BootedVariable = "TESTBED_BOOTED"

// BootedAreReal tells whether it is.
func BootedAreReal() bool { return os.Getenv(BootedVariable) == "real" }

// computer is what a booted node has that is a real machine: a computer that QEMU makes, with the distribution's own kernel,
// a firmware that says Amazon EC2, a disk and a serial console, on which the whole journal is read. QEMU is the only unit of the outer
// system, whose network namespace has a bridge from the testbed's network to the computer, and an address of its own there:
// commands go in by SSH. While the computer is off its disk is mounted in the outer system, until its first boot.
type computer struct {
	hardware hardware
	image    string
	uuid     string   // of its firmware
	args     []string // more of QEMU's
	cmdline  string   // more of the kernel's
	outer    address  // of the outer system
	on       atomic.Bool
	fresh    bool // not booted yet
}

// Of the outer system.
const (
	qemuUnit  = "qemu"
	sshUnit   = "ssh-master"
	diskFile  = "/node/disk"
	qmpSocket = "/run/qmp"
	sshKey    = "/root/.ssh/key"
	sshMaster = "/run/ssh-master"
)

// outerScript makes the devices that QEMU and mount take, and the bridge. The computer gets the link address of the machine's
// seat, by which all others know it.
const outerScript = `set -e
mkdir /dev/net
mknod /dev/net/tun c 10 200
mknod /dev/loop-control c 10 237
for i in $(seq 0 255); do mknod /dev/loop$i b 7 $i; done
[ ! -e /sys/class/misc/kvm/dev ] || mknod /dev/kvm c $(tr : ' ' </sys/class/misc/kvm/dev)
ip address flush dev eth0
ip link set eth0 down
ip link set eth0 address $OUTER_PORT
ip link add br0 address $OUTER_MAC type bridge
ip tuntap add tap0 mode tap
ip link set eth0 master br0
ip link set tap0 master br0
for link in eth0 tap0 br0; do ip link set $link up; done
ip address add $OUTER_IP/16 dev br0
`

func (tb *Testbed) newReal(ctx context.Context, name string, opts BootedOptions) (*Booted, error) {
	opts.Arch = cmp.Or(opts.Arch, runtime.GOARCH)
	if opts.Arch != runtime.GOARCH && (opts.UserData != "" || opts.OpenRC) {
		return nil, fmt.Errorf("the image for %s has neither cloud-init nor OpenRC", opts.Arch)
	}
	image, err := BuildRealImage(ctx, tb.out, opts.Arch)
	if err != nil {
		return nil, err
	}
	b, err := tb.realWith(ctx, name, opts, image, filepath.Join(image, imageDisk))
	if err != nil {
		return nil, err
	}
	if err := b.prepare(ctx, opts); err != nil {
		return nil, err
	}
	if err := b.prepareReal(); err != nil || !opts.OpenRC {
		return b, err
	}
	return b, b.prepareOpenRC()
}

// Clone makes another real machine of a snapshot's disk, switched off: another computer in another seat of the network, and
// everything else as it was.
func (b *Booted) Clone(ctx context.Context, s Snapshot, name string) (*Booted, error) {
	clone, err := b.tb.realWith(ctx, name, BootedOptions{Hostname: b.Hostname, Arch: b.computer.hardware.arch}, b.computer.image, s.disk)
	if err == nil {
		err = errors.Join(clone.address(), copyFile(b.keyFile("root"), clone.keyFile("root")), copyFile(b.keyFile("root"), clone.disk(sshKey)))
	}
	if err != nil {
		return nil, fmt.Errorf("cloning %s: %w", b.Name, err)
	}
	return clone, nil
}

// realWith is a computer with a copy of a disk.
func (tb *Testbed) realWith(ctx context.Context, name string, opts BootedOptions, image, disk string) (*Booted, error) {
	h := computers[opts.Arch]
	parts, err := h.parts(ctx, tb.out)
	if err != nil {
		return nil, err
	}
	m, err := tb.newMachine(name, opts.Hostname, parts)
	if err != nil {
		return nil, err
	}
	m.inner = innerRoot
	m.computer = &computer{
		hardware: h, image: image, uuid: "ec2" + newUUID()[3:], outer: addressOf(tb.network.reserve()), fresh: true,
	}
	for _, dir := range []string{innerRoot, filepath.Dir(sshKey)} {
		if err := os.MkdirAll(m.disk(dir), 0o755); err != nil {
			return nil, err
		}
	}
	if err := copyFile(disk, m.disk(diskFile)); err != nil {
		return nil, err
	}
	b := &Booted{m}
	return b, b.bootOuter(ctx)
}

// bootOuterReal makes the surroundings of the computer, which stays off.
func (b *Booted) bootOuterReal(ctx context.Context) error {
	if err := b.boot(); err != nil {
		return err
	}
	outer := b.computer.outer
	port := outer.mac()
	port[0] = 0x06
	_, err := b.runOuter(ctx, "env", "OUTER_PORT="+port.String(), "OUTER_MAC="+outer.mac().String(), "OUTER_IP="+outer.v4.String(), "sh", "-c", outerScript)
	if err != nil || !b.computer.fresh {
		return err
	}
	_, err = b.runOuter(ctx, "mount", "-o", "loop", diskFile, innerRoot)
	return err
}

func (b *Booted) prepareReal() error {
	for name, path := range b.computer.hardware.programs() {
		if err := b.Install(b.parts.Path(name), path, 0o755); err != nil {
			return err
		}
	}
	return errors.Join(b.address(), copyFile(b.keyFile("root"), b.disk(sshKey)))
}

// address gives the system the addresses of the computer's seat.
func (b *Booted) address() error {
	addr, hub := addressOf(b.number), addressOf(1)
	network := fmt.Sprintf("[Match]\nName=eth0\n[Network]\nAddress=%s/16\nGateway=%s\nGateway=%s\nIPv6AcceptRA=no\n"+
		"[Address]\nAddress=%s/64\nDuplicateAddressDetection=none\n"+
		"[Route]\nDestination=%s/32\nScope=link\n[Neighbor]\nAddress=%[5]s\nLinkLayerAddress=%s\n",
		addr.v4, hub.v4, hub.v6, addr.v6, metadataIP, b.computer.outer.mac())
	return b.WriteFile("/etc/systemd/network/testbed.network", network, 0o644)
}

// bootComputer switches the computer on and returns when it is reached by SSH.
func (b *Booted) bootComputer(ctx context.Context) error {
	c := b.computer
	if b.outer() == 0 { // after a PowerOff
		if err := b.bootOuterReal(ctx); err != nil {
			return err
		}
	} else if c.fresh {
		if _, err := b.runOuter(ctx, "umount", innerRoot); err != nil {
			return err
		}
	}
	c.fresh = false
	h := c.hardware
	command := append([]string{h.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", h.machine, "-smp", "2", "-m", "2048",
		"-smbios", "type=1,manufacturer=Amazon EC2,product=" + h.product + ",serial=" + c.uuid + ",uuid=" + c.uuid,
		"-kernel", "/node/" + imageKernel, "-initrd", "/node/" + imageInitrd,
		"-append", "root=/dev/vda rw net.ifnames=0 mitigations=off quiet console=" + h.console + " " + c.cmdline,
		"-serial", "stdio", "-qmp", "unix:" + qmpSocket + ",server=on,wait=off",
		// What is in the host's memory survives a QEMU that is killed, so flushing it to the host's disk changes nothing.
		"-drive", "if=none,id=root,format=raw,cache=unsafe,discard=unmap,file=" + diskFile, "-device", "virtio-blk-pci,drive=root",
		"-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=net,mac=" + addressOf(b.number).mac().String(),
		"-device", "virtio-rng-pci", "-device", "pcie-root-port,id=late,chassis=1"}, h.accelerator(c.image)...)
	if h.firmware != "" {
		command = append(command, "-bios", h.firmware)
	}
	for _, file := range []string{imageKernel, imageInitrd} {
		if err := copyFile(filepath.Join(c.image, file), b.disk("/node/"+file)); err != nil {
			return err
		}
	}
	if err := b.setUnit(machine.Unit{Name: qemuUnit + ".service", Command: append(command, c.args...)}); err != nil {
		return err
	}
	if err := b.StartUnit(qemuUnit); err != nil {
		return err
	}
	c.on.Store(true)
	master := append(b.ssh(), "-N", "-M", "-S", sshMaster, "root@"+b.IP)
	if err := b.setUnit(machine.Unit{Name: sshUnit + ".service", Command: master, Restart: true, RestartSec: time.Second}); err != nil {
		return err
	}
	if err := b.StartUnit(sshUnit); err != nil {
		return err
	}
	return b.waitComputer(ctx, "")
}

// ssh is the client's beginning. Who answers at this address is no question: the bridge has one port.
func (b *Booted) ssh() []string {
	return []string{"ssh", "-F", "none", "-i", sshKey, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"}
}

// bootPatience is for a computer without KVM on a busy host.
const bootPatience = 20 * time.Minute

// waitComputer returns when the computer is reached and has another boot_id than the given.
func (b *Booted) waitComputer(ctx context.Context, old string) error {
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	err := poll(ctx, 500*time.Millisecond, func() (bool, error) {
		if state, err := b.UnitState(qemuUnit); err != nil || state.MainPID == 0 {
			cancel() // the log says why
		}
		id := b.bootIDOfComputer(ctx)
		return id != "" && id != old, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for SSH: %w\n%s", err, tail(b.Console(), tailLines))
	}
	return nil
}

func (b *Booted) bootIDOfComputer(ctx context.Context) string {
	id, _ := b.Run(ctx, "cat", "/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(id)
}

// sshCommand is a command of the computer's as one of the outer system's: its shell splits it again.
func (m *Machine) sshCommand(cmd machine.Command) machine.Command {
	dir := cmd.Dir
	if dir == "" {
		dir = "/root"
	}
	words := append(append([]string{"env", "--chdir=" + dir}, cmd.Env...), cmd.Args...)
	for i, word := range words {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	b := &Booted{m}
	return machine.Command{Dir: "/", Args: append(b.ssh(), "-S", sshMaster, "root@"+m.IP, "--", "exec "+strings.Join(words, " "))}
}

// notThere is how the scripts below end when there is no such file.
const notThere = 44

// readComputer reads a file of a computer that runs.
func (m *Machine) readComputer(path string) ([]byte, error) {
	p, err := m.Start(context.Background(), Command{Args: []string{"sh", "-c", fmt.Sprintf(`[ -e "$1" ] || exit %d; cat "$1"`, notThere), "sh", path}})
	if err != nil {
		return nil, err
	}
	switch exit := p.Wait(); exit.Code {
	case 0:
		return []byte(p.Stdout.String()), nil
	case notThere:
		return nil, &os.PathError{Op: "reading on " + m.Name, Path: path, Err: fs.ErrNotExist}
	default:
		return nil, &os.PathError{Op: "reading on " + m.Name, Path: path, Err: fmt.Errorf("exit status %d: %s", exit.Code, p.Stderr)}
	}
}

// writeComputer writes a file of a computer that runs.
func (m *Machine) writeComputer(path, text string, mode os.FileMode) error {
	script := fmt.Sprintf(`mkdir -p "$(dirname "$1")" && cat >"$1" && chmod %o "$1"`, mode)
	p, err := m.Start(context.Background(), Command{Args: []string{"sh", "-c", script, "sh", path}, Stdin: bytes.NewReader([]byte(text))})
	if err != nil {
		return err
	}
	if exit := p.Wait(); exit.Code != 0 {
		return fmt.Errorf("writing %s on %s: exit status %d: %s", path, m.Name, exit.Code, p.Stderr)
	}
	return nil
}

func (m *Machine) existsInComputer(path string) bool {
	_, err := m.Run(context.Background(), "sh", "-c", `[ -e "$1" ] || [ -L "$1" ]`, "sh", path)
	return err == nil
}
