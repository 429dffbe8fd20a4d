package testbed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// CutNetwork takes the machine off the network: its packets vanish silently, both ways, and its own addresses and links
// look as before.
func (m *Machine) CutNetwork() error {
	if err := m.tb.network.setConnected(m.number, false); err != nil {
		return fmt.Errorf("cutting the network of %s: %w", m.Name, err)
	}
	return nil
}

// RestoreNetwork ends a CutNetwork.
func (m *Machine) RestoreNetwork() error {
	if err := m.tb.network.setConnected(m.number, true); err != nil {
		return fmt.Errorf("restoring the network of %s: %w", m.Name, err)
	}
	return nil
}

// Delay holds back every packet that the machine sends; 0 ends it. It needs a kernel with sch_netem.
func (m *Machine) Delay(d time.Duration) error {
	n := m.tb.network
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[m.number]
	if p == nil {
		return fmt.Errorf("delaying the network of %s: it is switched off", m.Name)
	}
	qdisc := netlink.NewNetem(netlink.QdiscAttrs{LinkIndex: p.inner.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		netlink.NetemQdiscAttrs{Latency: uint32(d.Microseconds())})
	if d == 0 {
		return p.handle.QdiscDel(qdisc)
	}
	err := p.handle.QdiscReplace(qdisc)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("delaying the network of %s: this kernel has no sch_netem: %w", m.Name, err)
	}
	return err
}

// fullFile is what fills a disk.
const fullFile = ".testbed-full"

// FillDisk leaves no free byte at a folder of the machine. If the folder is not a file system of its own it becomes a small
// tmpfs with the same content.
func (m *Machine) FillDisk(ctx context.Context, folder string) error {
	if err := m.fillDisk(ctx, folder); err != nil {
		return fmt.Errorf("filling %s on %s: %w", folder, m.Name, err)
	}
	return nil
}

func (m *Machine) fillDisk(ctx context.Context, folder string) error {
	if err := os.MkdirAll(m.Path(folder), 0o755); err != nil {
		return err
	}
	if mounted, err := m.isMountPoint(folder); err != nil {
		return err
	} else if !mounted {
		if _, err := m.Run(ctx, "cp", "-a", folder, TestbedFolder+"/saved"); err != nil {
			return err
		}
		mount := &machine.Mount{Source: "tmpfs", Target: folder, Type: "tmpfs", Data: "mode=755,size=16m"}
		if _, err := m.ask(machine.Request{Op: "mount", Mount: mount}); err != nil {
			return err
		}
		if _, err := m.Run(ctx, "cp", "-a", TestbedFolder+"/saved/.", folder); err != nil {
			return err
		}
		if _, err := m.Run(ctx, "rm", "-rf", TestbedFolder+"/saved"); err != nil {
			return err
		}
	} else if folder == "/run" {
		// The host lends half its memory to a tmpfs: make it small before filling it.
		mount := &machine.Mount{Target: folder, Flags: unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755,size=16m"}
		if _, err := m.ask(machine.Request{Op: "mount", Mount: mount}); err != nil {
			return err
		}
	}
	f, err := os.Create(m.Path(filepath.Join(folder, fullFile)))
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := make([]byte, 4096)
	for {
		if _, err := f.Write(chunk); errors.Is(err, unix.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// EmptyDisk ends a FillDisk: there is room again.
func (m *Machine) EmptyDisk(folder string) error {
	err := os.Remove(m.Path(filepath.Join(folder, fullFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (m *Machine) isMountPoint(folder string) (bool, error) {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", m.pid()))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == folder {
			return true, nil
		}
	}
	return false, nil
}

// PutOnLateDisk moves a folder of a machine that is switched off to a disk of its own, of which /etc/fstab says that a boot need
// not wait for it: the machine comes up with an empty folder, until AttachDisk.
func (m *Machine) PutOnLateDisk(folder string) error {
	if err := m.putOnLateDisk(folder); err != nil {
		return fmt.Errorf("moving %s of %s to another disk: %w", folder, m.Name, err)
	}
	return nil
}

func (m *Machine) putOnLateDisk(folder string) error {
	if m.outer() != 0 {
		return errors.New("it is not switched off")
	}
	if err := os.Rename(m.disk(folder), m.disk(lateDisk(folder))); err != nil {
		return err
	}
	if err := os.Mkdir(m.disk(folder), 0o755); err != nil {
		return err
	}
	fstab, err := os.OpenFile(m.disk("/etc/fstab"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer fstab.Close()
	_, err = fmt.Fprintf(fstab, "# the data disk\nLABEL=data\t%s\text4\tdefaults,nofail,x-systemd.device-timeout=5min\t0 2\n", folder)
	return err
}

func lateDisk(folder string) string {
	return TestbedFolder + "/disk" + strings.ReplaceAll(folder, "/", "-")
}

// AttachDisk mounts the disk of PutOnLateDisk.
func (m *Machine) AttachDisk(folder string) error {
	_, err := m.ask(machine.Request{Op: "mount", Mount: &machine.Mount{Source: lateDisk(folder), Target: folder, Flags: unix.MS_BIND}})
	return err
}

// Cover shows other content at a path of the running machine, most useful in /proc: /proc/swaps, /proc/cmdline.
func (m *Machine) Cover(path, text string) error {
	source := filepath.Join(TestbedFolder, "cover-"+randomHex(4))
	if err := os.WriteFile(m.disk(source), []byte(text), 0o644); err != nil {
		return err
	}
	_, err := m.ask(machine.Request{Op: "mount", Mount: &machine.Mount{Source: source, Target: path, Flags: unix.MS_BIND}})
	return err
}

// Uncover ends a Cover.
func (m *Machine) Uncover(path string) error {
	_, err := m.ask(machine.Request{Op: "unmount", Mount: &machine.Mount{Target: path}})
	return err
}

// SetSysctl sets a variable of the machine's own network: "net/ipv4/ip_forward".
func (m *Machine) SetSysctl(path, value string) error {
	m.tb.network.mu.Lock()
	p := m.tb.network.ports[m.number]
	m.tb.network.mu.Unlock()
	if p == nil || !strings.HasPrefix(path, "net/") {
		return fmt.Errorf("setting %s on %s: it is off, or the variable belongs to the host", path, m.Name)
	}
	return setSysctl(p.ns, path, value)
}

// Process is a process in a machine, as the host sees it.
type Process struct {
	PID  int // the host's number for it
	Args []string
	Env  []string
}

// Signal signals the process from outside.
func (p Process) Signal(sig syscall.Signal) error { return syscall.Kill(p.PID, sig) }

// Processes lists what runs in the machine, but for its process 1.
func (m *Machine) Processes() ([]Process, error) {
	pid := m.pid()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return nil, fmt.Errorf("listing the processes of %s: %w", m.Name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []Process
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == pid {
			continue
		}
		dir := "/proc/" + e.Name()
		// Errors from here on mean that it has just ended.
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != own {
			continue
		}
		args, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(args) == 0 {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		all = append(all, Process{PID: n, Args: words(args), Env: words(env)})
	}
	return all, nil
}

// Running lists the processes with a given program name.
func (m *Machine) Running(name string) ([]Process, error) {
	all, err := m.Processes()
	var found []Process
	for _, p := range all {
		if filepath.Base(p.Args[0]) == name {
			found = append(found, p)
		}
	}
	return found, err
}

func words(raw []byte) []string {
	text := strings.TrimSuffix(string(raw), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}
