package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a living process, as /proc/PID/stat tells of it.
type process struct {
	pid, parent, group int
	state              string // in one letter
	comm               string // the program's name, cut at 15 bytes
	ticks              int64  // from the boot to its start
}

// readProcesses leaves zombies out, which have ended and wait to be reaped.
func (h Host) readProcesses() ([]process, error) {
	entries, err := os.ReadDir(h.Path("/proc"))
	if err != nil {
		return nil, err
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := h.process(pid)
		if errors.Is(err, errEnded) {
			continue
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%q shows no process, not even this one", h.Path("/proc"))
	}
	return all, nil
}

// errEnded: the process that was asked about runs no more.
var errEnded = errors.New("the process has ended")

// unlessEnded is err, or errEnded if the process that it is about has ended meanwhile. Of such a process the kernel says "no
// such file", "no such process" or "permission denied", so only another look can tell.
func (h Host) unlessEnded(pid int, err error) error {
	if _, now := h.process(pid); errors.Is(now, errEnded) {
		return errEnded
	}
	return err
}

// process reads one; the error is errEnded if there is none.
func (h Host) process(pid int) (process, error) {
	path := h.proc(pid, "stat")
	b, err := readProc(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return process{}, errEnded
	} else if err != nil {
		return process{}, err
	}
	// The name is in brackets and may hold spaces and brackets itself: proc_pid_stat(5).
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	var fields []string
	if 0 <= open && open < end {
		fields = strings.Fields(string(b[end+1:]))
	}
	const state, parent, group, start = 0, 1, 2, 19 // counted from the field behind the name
	if len(fields) <= start {
		return process{}, fmt.Errorf("%q is not understood: %q", path, b)
	}
	if slices.Contains([]string{"Z", "X", "x"}, fields[state]) {
		return process{}, errEnded
	}
	p := process{pid: pid, state: fields[state], comm: string(b[open+1 : end])}
	var errs [3]error
	p.parent, errs[0] = strconv.Atoi(fields[parent])
	p.group, errs[1] = strconv.Atoi(fields[group])
	p.ticks, errs[2] = strconv.ParseInt(fields[start], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return process{}, fmt.Errorf("%q is not understood: %w", path, err)
	}
	return p, nil
}

// tracedFor is longer than a tracer such as strace stops a process for.
const tracedFor = 20 * time.Millisecond

// suspended is what keeps a living process from running, and how to undo it; "" if nothing does. That a cgroup is frozen
// shows neither in its processes' states nor, where systemd has not done it, in FreezerState=.
func (h Host) suspended(p process) string {
	groups, _ := os.ReadFile(h.proc(p.pid, "cgroup"))
	for line := range strings.Lines(string(groups)) {
		group, unified := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			events, _ := os.ReadFile(h.Path(filepath.Join(top, group, "cgroup.events")))
			if unified && bytes.Contains(events, []byte("frozen 1")) {
				return "frozen: `systemctl thaw kubelet` lets it run"
			}
		}
	}
	for range 2 {
		if !slices.Contains([]string{"T", "t"}, p.state) {
			return ""
		}
		time.Sleep(tracedFor)
		p, _ = h.process(p.pid)
	}
	return fmt.Sprintf("stopped by SIGSTOP or a debugger: `kill -CONT %d` lets it run", p.pid)
}

func (h Host) proc(pid int, name string) string {
	return filepath.Join(h.Path("/proc"), strconv.Itoa(pid), name)
}

// readProc is os.ReadFile for what is short and never blocks, with a third of its system calls: it is used twice for each
// process of a machine.
func readProc(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if b = b[:len(b)+n]; len(b) < cap(b) {
			return b, nil
		}
		b = slices.Grow(b, cap(b))
	}
}

// self is this process's number in the /proc that is read, which can be that of an outer PID namespace.
func (h Host) self() int {
	if link, err := os.Readlink(h.Path("/proc/self")); err == nil {
		if pid, err := strconv.Atoi(link); err == nil {
			return pid
		}
	}
	return os.Getpid()
}

// commandLine is nil for a process without memory of its own: one of the kernel's, or one that is about to be gone.
func (h Host) commandLine(pid int) ([]string, error) {
	b, err := readProc(h.proc(pid, "cmdline"))
	if err != nil {
		return nil, h.unlessEnded(pid, err)
	} else if len(b) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// programNames are those under which a process goes: the kernel's name for it, which alone tells of a script (its file is
// the shell), its command's first word, and its file, which the kernel marks once an upgrade has replaced it.
func (h Host) programNames(p process, line []string) []string {
	names := []string{p.comm, filepath.Base(line[0])}
	if exe, err := os.Readlink(h.proc(p.pid, "exe")); err == nil {
		names = append(names, filepath.Base(strings.TrimSuffix(exe, " (deleted)")))
	}
	return names
}

// local tells whether a process is of this machine, not of a container in it. What decides is what it would destroy or keep
// alive: a process in our mount namespace sees our files. So does one in a namespace of its own that shows the same root
// with the same state of Kubernetes, as systemd makes them for PrivateTmp= and the like. A container has another root.
//
// The error is errEnded if the process has ended; another means that nobody knows.
func (h Host) local(pid int) (bool, error) {
	ours, err := os.Readlink(h.Path("/proc/self/ns/mnt"))
	if err != nil {
		return false, fmt.Errorf("reading our own mount namespace: %w", err)
	}
	theirs, err := os.Readlink(h.proc(pid, "ns/mnt"))
	if err != nil {
		return false, h.unlessEnded(pid, fmt.Errorf("reading the mount namespace of process %d: %w", pid, err))
	}
	if ours == theirs {
		return true, nil
	}
	mine, its := h.Path("/proc/self/root"), h.proc(pid, "root")
	for _, path := range []string{".", "etc/kubernetes", "var/lib/kubelet"} {
		a, aErr := os.Stat(filepath.Join(mine, path))
		b, bErr := os.Stat(filepath.Join(its, path))
		for _, err := range []error{aErr, bErr} {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, h.unlessEnded(pid, fmt.Errorf("comparing our files with those of process %d: %w", pid, err))
			}
		}
		missing := aErr != nil && bErr != nil && path != "."
		if !missing && (aErr != nil || bErr != nil || !os.SameFile(a, b)) {
			return false, nil
		}
	}
	return true, nil
}

// ticksPerSecond is the unit of /proc's times, USER_HZ, which is 100 wherever Kubernetes runs.
const ticksPerSecond = 100

// started is when a process was started, by today's clock; zero if the boot's time is not known.
func (h Host) started(p process) time.Time {
	boot := h.bootTime()
	if boot.IsZero() {
		return time.Time{}
	}
	return boot.Add(time.Duration(p.ticks) * (time.Second / ticksPerSecond))
}

// bootTime is the zero of /proc's times. /proc/stat knows it in whole seconds, cut: with it alone, a process would seem to
// have been started up to a second too early, before the command that started it. So the kernel's own clock counts where
// the two agree (they differ if /proc is not this kernel's or is dressed up, as by lxcfs).
func (h Host) bootTime() time.Time {
	b, err := os.ReadFile(h.Path("/proc/stat"))
	if err != nil {
		return time.Time{}
	}
	for line := range strings.Lines(string(b)) {
		seconds, ok := strings.CutPrefix(line, "btime ")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(seconds), 10, 64)
		if err != nil || n <= 0 {
			return time.Time{}
		}
		cut := time.Unix(n, 0)
		var up unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) == nil {
			if exact := time.Now().Add(-time.Duration(up.Nano())); exact.Sub(cut).Abs() < 2*time.Second {
				return exact.Round(0) // no monotonic reading: it is not a time that this process saw
			}
		}
		return cut
	}
	return time.Time{}
}
