package testbed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// Machine is what ControlPlane and Node have in common: a computer with a disk, an identity and a link to the network.
type Machine struct {
	Name     string // unique in its testbed
	Hostname string
	IP, IP6  string

	tb     *Testbed
	parts  Parts
	number int
	dir    string // its part of the run folder
	cgroup string
	over   map[string]string // path inside -> the host's file shown there

	sysctls map[string]string // of its network, set at boot: path below /proc/sys -> value

	// kernel is the machine whose kernel it runs on, as containers of one host do; nil: its own.
	kernel *Machine

	// inner is the folder with the root of the system that runs in it, if it is a Booted, made from the image.
	inner, image string
	computer     *computer // of a Booted that is a real machine

	mu     sync.Mutex
	init   *exec.Cmd
	bootID string
}

// newMachine makes the disk of a machine that is switched off.
func (tb *Testbed) newMachine(name, hostname string, parts Parts) (*Machine, error) {
	number := tb.network.reserve()
	addr := addressOf(number)
	m := &Machine{
		Name: name, Hostname: hostname, IP: addr.v4.String(), IP6: addr.v6.String(),
		tb: tb, parts: parts, number: number, dir: filepath.Join(tb.dir, name), cgroup: filepath.Join(tb.cgroup, name), over: map[string]string{}, sysctls: map[string]string{},
	}
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.closed {
		return nil, errors.New("the testbed is closed")
	}
	for _, other := range tb.machines {
		if other.Name == name {
			return nil, fmt.Errorf("there is a machine %q already", name)
		}
	}
	if err := m.format(); err != nil {
		return nil, fmt.Errorf("making the disk of %s: %w", name, err)
	}
	tb.machines = append(tb.machines, m)
	return m, nil
}

// sysctlsOfKubelet are set by every kubelet for the whole host. Each machine gets files of its own in their place, with
// the value the kubelet wants, so that the host stays as it is.
var sysctlsOfKubelet = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

func (m *Machine) format() error {
	for _, dir := range []string{"etc/kubernetes", "etc/default", "etc/cni/net.d", "opt/cni/bin", "root", "run", "tmp", "home", "srv", "mnt",
		"var/lib/kubelet", "var/log", "var/tmp", "var/lib/testbed", "opt/testbed/bin", "opt/testbed/parts"} {
		if err := os.MkdirAll(m.disk("/"+dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if err := os.Chmod(m.disk(dir), 0o777|os.ModeSticky); err != nil {
			return err
		}
	}
	for path, text := range map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"/etc/group":         "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/resolv.conf":   "", // no DNS: a query is refused at once
		"/etc/hostname":      m.Hostname + "\n",
		"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n" + m.IP + " " + m.Hostname + "\n",
		"/etc/machine-id":    randomHex(16) + "\n",
	} {
		if err := os.WriteFile(m.disk(path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for link, to := range map[string]string{
		"/var/run": "/run", "/etc/os-release": "../usr/lib/os-release", "/etc/mtab": "/proc/self/mounts",
		machine.BinDir + "/systemctl": "/proc/1/exe", machine.BinDir + "/journalctl": "/proc/1/exe",
	} {
		if err := os.Symlink(to, m.disk(link)); err != nil {
			return err
		}
	}
	for path, value := range sysctlsOfKubelet {
		if err := m.cover("/proc/sys/"+path, value+"\n"); err != nil {
			return err
		}
	}
	if err := m.cover(firmwareUUID, newUUID()+"\n"); err != nil {
		return err
	}
	return makeCgroup(m.cgroup)
}

// cover shows other content at a path in /proc or /sys from the next boot on.
func (m *Machine) cover(path, text string) error {
	file := filepath.Join(m.dir, "over", strings.ReplaceAll(strings.Trim(path, "/"), "/", "_"))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	m.over[path] = file
	return os.WriteFile(file, []byte(text), 0o644)
}

// disk is a path on the machine's disk as the host sees it.
func (m *Machine) disk(path string) string { return filepath.Join(m.dir, "root", path) }

// boot switches the machine on.
func (m *Machine) boot() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.init != nil {
		return fmt.Errorf("%s runs already", m.Name)
	}
	m.bootID = newUUID()
	if m.kernel != nil {
		m.bootID = m.kernel.BootID()
	}
	if err := m.cover("/proc/sys/kernel/random/boot_id", m.bootID+"\n"); err != nil {
		return err
	}
	spec := machine.Spec{Hostname: m.Hostname, Root: m.disk("/"), Parts: m.parts.Dir, Image: m.image, Over: m.over}
	init, err := spawnInit(spec)
	if err != nil {
		return fmt.Errorf("booting %s: %w", m.Name, err)
	}
	if err := m.tb.network.plug(m.number, init.Process.Pid, m.sysctls); err != nil {
		_ = init.Process.Kill()
		_ = init.Wait()
		return fmt.Errorf("booting %s: %w", m.Name, err)
	}
	m.init = init
	return nil
}

// kill cuts the power. It returns when every process of the machine is gone.
func (m *Machine) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.init == nil {
		return
	}
	_ = m.init.Process.Kill()
	_ = m.init.Wait()
	m.init = nil
	if m.computer != nil {
		m.computer.on.Store(false)
	}
}

// remote: it is a computer that runs, and the host sees no file of it.
func (m *Machine) remote() bool { return m.computer != nil && m.computer.on.Load() }

// PowerOff ends everything in the machine as if its plug were pulled; the disk stays.
func (m *Machine) PowerOff() { m.kill() }

// Reboot cuts the power and boots again: same disk, new boot_id, empty /run; enabled units start.
func (m *Machine) Reboot() error {
	m.kill()
	return m.boot()
}

// BootID is what the machine's kubelet reports.
func (m *Machine) BootID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bootID
}

// outer is the process that is the first of the machine's namespaces, 0 if it is switched off.
func (m *Machine) outer() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.init == nil {
		return 0
	}
	return m.init.Process.Pid
}

// pid is the machine's process 1, 0 if it does not run.
func (m *Machine) pid() int {
	if m.inner != "" {
		return leaderBelow(m.outer())
	}
	return m.outer()
}

func (m *Machine) socket() string { return fmt.Sprintf("/proc/%d/root%s", m.outer(), machine.Socket) }

func (m *Machine) ask(req machine.Request) (machine.Reply, error) {
	reply, err := machine.Ask(m.socket(), req)
	if err != nil {
		return reply, fmt.Errorf("asking process 1 of %s: %s: %w", m.Name, req.Op, err)
	}
	return reply, nil
}

// AddHost gives an address names in the machine's /etc/hosts. Several addresses may have one name.
func (m *Machine) AddHost(ip string, names ...string) error {
	f, err := os.OpenFile(m.Path("/etc/hosts"), os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s %s\n", ip, strings.Join(names, " "))
	return err
}

// DialContext connects from inside the machine.
func (m *Machine) DialContext(ctx context.Context, proto, addr string) (net.Conn, error) {
	m.tb.network.mu.Lock()
	p := m.tb.network.ports[m.number]
	m.tb.network.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("dialing from %s: it is switched off", m.Name)
	}
	return dial(ctx, p.ns, proto, addr)
}

// Call is one call of systemctl or kubeadm in a machine.
type Call = machine.Call

// UnitState is the state of a unit, in systemd's words.
type UnitState = machine.UnitState

// StartUnit, StopUnit and UnitState work on a unit without being recorded as a call of systemctl.
func (m *Machine) StartUnit(unit string) error {
	_, err := m.ask(machine.Request{Op: "unit-start", Args: []string{unit}})
	return err
}

// StopUnit stops a unit and waits for its end.
func (m *Machine) StopUnit(unit string) error {
	_, err := m.ask(machine.Request{Op: "unit-stop", Args: []string{unit}})
	return err
}

// UnitState tells the state of a unit.
func (m *Machine) UnitState(unit string) (UnitState, error) {
	reply, err := m.ask(machine.Request{Op: "unit-state", Args: []string{unit}})
	if err != nil {
		return UnitState{}, err
	}
	return *reply.Unit, nil
}

// SignalUnit signals the main process of a unit.
func (m *Machine) SignalUnit(unit string, sig syscall.Signal) error {
	_, err := m.ask(machine.Request{Op: "unit-signal", Args: []string{unit}, Signal: sig})
	return err
}

// Pause stops the main process of a unit (SIGSTOP): its connections stay open and nothing answers.
func (m *Machine) Pause(unit string) error { return m.SignalUnit(unit, syscall.SIGSTOP) }

// Resume ends a Pause.
func (m *Machine) Resume(unit string) error { return m.SignalUnit(unit, syscall.SIGCONT) }

// Log is what a unit has printed so far.
func (m *Machine) Log(unit string) string {
	data, _ := os.ReadFile(m.disk(machine.LogPath(unit)))
	return string(data)
}

func (m *Machine) setUnit(u machine.Unit) error {
	_, err := m.ask(machine.Request{Op: "unit-set", Unit: &u})
	return err
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func newUUID() string {
	h := randomHex(16)
	return fmt.Sprintf("%s-%s-4%s-8%s-%s", h[:8], h[8:12], h[13:16], h[17:20], h[20:])
}

// poll asks again and again until it is told that it is so; the error says what the last answer was.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(every):
		}
	}
}
