// Package testbed is a real Kubernetes cluster, or several, on one machine, made and gone in seconds.
//
// A Testbed is a private network with machines on it. A ControlPlane is a machine that runs the real etcd, kube-apiserver
// and kube-controller-manager; a Node is a machine with the real kubeadm, kubelet and containerd, its own disk, its own
// identity (hostname, machine-id, boot_id) and a small stand-in for systemd; a Booted is one with the real systemd,
// journald, cloud-init and sshd; a Cloud is the real Amazon cloud controller beside a control plane, in front of a small
// fake of EC2. The faults that machines in the field have are methods.
//
// Each machine is a process that is the first of its own PID, mount, network, UTS and IPC namespaces (see
// internal/machine), and the network lives in a namespace that only the test process holds. So whatever way the test ends,
// the kernel ends the processes, the mounts and the links; nothing is ever put into the namespaces of the host. What is
// left are one folder and the cgroups of the run, which a guard process removes, or else the next run. Two testbeds never
// meet, not even by their addresses, so any number of them run at once.
//
// All of it needs root. Nothing is downloaded but Go modules, of which Build compiles the components, and, for booted nodes
// alone, packages of the host's own distribution: BuildImage makes their image of them and installs the few programs for it.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// Options of a testbed.
type Options struct {
	Out io.Writer // where building and starting tell what they do; nil: standard error
}

// Testbed is a network of machines. It is safe for use by several goroutines.
type Testbed struct {
	out     io.Writer
	dir     string // the run folder
	cgroup  string // below every hierarchy's top
	lock    *os.File
	guard   *exec.Cmd
	guarded io.Closer // the guard removes the run when this closes
	network *network

	mu       sync.Mutex
	machines []*Machine
	closers  []func()
	closed   bool
}

// Start makes an empty testbed, building the components first if need be. Close it after use.
func Start(ctx context.Context, opts Options) (*Testbed, error) {
	if opts.Out == nil {
		opts.Out = os.Stderr
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("starting a testbed: it needs root, for namespaces and mounts\n  to mend it: run the same command as root, as in `sudo -E env PATH=$PATH ...`")
	}
	if _, err := Build(ctx, opts.Out); err != nil {
		return nil, err
	}
	tb := &Testbed{out: opts.Out}
	if err := tb.open(); err != nil {
		tb.Close()
		return nil, fmt.Errorf("starting a testbed: %w", err)
	}
	return tb, nil
}

// New is Start for a test: the testbed ends with the test, whose failure prints the ends of all logs.
func New(t testing.TB) *Testbed {
	t.Helper()
	tb, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			tb.keepLogs(t)
		}
		if err := tb.Close(); err != nil {
			t.Errorf("closing the testbed: %v", err)
		}
	})
	return tb
}

// A run is one folder below the system's temporary one and one cgroup at the top, of the same name. They share no parent
// with those of other runs: it would be left behind, or removed under somebody's feet.
const (
	runPrefix = "nodejoin-testbed-"
	newPrefix = runPrefix + "new-" // being made
)

func (tb *Testbed) open() error {
	if err := sweep(); err != nil {
		fmt.Fprintf(tb.out, "removing what a killed run left: %v\n", err)
	}
	name := runPrefix + randomHex(4)
	tb.dir, tb.cgroup = filepath.Join(os.TempDir(), name), name
	if err := tb.claim(); err != nil {
		return err
	}
	if err := tb.startGuard(); err != nil {
		return fmt.Errorf("starting the guard: %w", err)
	}
	if err := makeCgroup(tb.cgroup); err != nil {
		return err
	}
	var err error
	tb.network, err = newNetwork()
	return err
}

// claim makes the run folder with its lock held from the first moment on that a sweep can see it.
func (tb *Testbed) claim() error {
	tmp, err := os.MkdirTemp("", newPrefix)
	if err != nil {
		return err
	}
	if tb.lock, err = os.Create(filepath.Join(tmp, machine.LockName)); err != nil {
		return err
	}
	if err := unix.Flock(int(tb.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, tb.dir)
}

func (tb *Testbed) startGuard() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	// Its output goes nowhere: `go test` waits for whoever holds its standard output.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{machine.GuardName, tb.dir, tb.cgroup}
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		write.Close()
		return err
	}
	tb.guard, tb.guarded = cmd, write
	return nil
}

// onClose runs f when the testbed closes, before the machines end; the last one comes first.
func (tb *Testbed) onClose(f func()) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.closers = append(tb.closers, f)
}

// Close ends every machine and removes every trace. It may be called more than once.
func (tb *Testbed) Close() error {
	tb.mu.Lock()
	if tb.closed {
		tb.mu.Unlock()
		return nil
	}
	tb.closed = true
	machines, closers := tb.machines, tb.closers
	tb.mu.Unlock()
	for i := len(closers) - 1; i >= 0; i-- {
		closers[i]()
	}
	var all sync.WaitGroup
	for _, m := range machines {
		all.Go(m.kill)
	}
	all.Wait()
	if tb.network != nil {
		tb.network.close()
	}
	var err error
	if tb.dir != "" {
		err = machine.RemoveRun(tb.dir, tb.cgroup)
	}
	if tb.lock != nil {
		tb.lock.Close()
	}
	if tb.guard != nil {
		tb.guarded.Close()
		tb.guard.Wait()
	}
	return err
}

// sweep removes the runs whose tests are gone without a guard to clean up: those whose lock nobody holds.
func sweep() error {
	runs, err := filepath.Glob(filepath.Join(os.TempDir(), runPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range runs {
		name := filepath.Base(dir)
		lock, err := os.Open(filepath.Join(dir, machine.LockName))
		if err != nil || strings.HasPrefix(name, newPrefix) {
			// It is being made or removed right now, or its maker died in between.
			if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Minute {
				errs = append(errs, os.RemoveAll(dir))
			}
			lock.Close()
			continue
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			errs = append(errs, machine.RemoveRun(dir, name))
		}
		lock.Close()
	}
	return errors.Join(errs...)
}
