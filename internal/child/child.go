// Package child runs another program and comes back, whatever that program does.
//
// Nodejoin starts programs that hang (kubeadm reset in a network plugin), that leave processes behind with the output
// still open, and that must not outlive nodejoin with a bootstrap token in their hands. So every child gets a process
// group of its own, a polite signal before the hard one, and an end of its output that nodejoin, not the child, decides.
package child

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// DefaultGrace is the time between SIGTERM and SIGKILL: half of the 10 s in which nodejoin itself promises to stop.
	DefaultGrace = 5 * time.Second

	// drain is how long output is still read after the program has ended. By then every process of its group is dead;
	// only one that left the group can still hold the pipe, and nothing it says is an answer to what was asked.
	drain = time.Second

	// unkillable is how long a program may take to end after SIGKILL. Most are gone at once, one with much memory or on a slow
	// disk takes a second. With DefaultGrace that is 9 s, within those 10 s.
	unkillable = 4 * time.Second
)

// Cmd is one program to run.
type Cmd struct {
	Path  string        // name looked up in PATH, or a path
	Args  []string      // without the program's name
	Env   []string      // nil: Environ()
	Grace time.Duration // between SIGTERM and SIGKILL; 0: DefaultGrace

	Stdin *os.File // nil: nothing to read

	// Line gets each line of output, standard output and error in the order written, without the newline and as valid
	// UTF-8; lines over 64 KiB are cut. It is never called after Run has returned, and must not block. nil: discarded.
	Line func(string)

	// Stdout, if set, gets standard output as it is, and Line only standard error: for a program whose output is an answer.
	Stdout io.Writer
}

// Environ is this process's environment without anything of nodejoin's own: NODEJOIN_TOKEN is a secret that
// /proc/PID/environ would show, and no child has use for the rest. NOTIFY_SOCKET is ours too: what a child says there
// would be taken for nodejoin's own word.
func Environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "NODEJOIN_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			env = append(env, kv)
		}
	}
	return env
}

// Run runs c to its end and returns its exit code, -1 if a signal ended it or it never started.
//
// The error is nil only for exit code 0. It is an *exec.ExitError for another code, what exec reports if the program
// could not be started, and context.Cause(ctx) if ctx ended first: then the whole process group got SIGTERM and,
// after c.Grace, SIGKILL. Processes of the group that are left when the program has ended are killed, but for OpenRC's supervisor
// of a service that the program has started. If this process
// dies, the program gets SIGKILL: nobody is left to be harder with one that ignores SIGTERM.
//
// It is a *StuckError, which wraps context.Cause(ctx), if the program is still there 4 s after SIGKILL. Until it is gone
// nothing with the same c.Path is started: Run returns a *StuckError at once.
func Run(ctx context.Context, c Cmd) (int, error) {
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	if err := alone(c.Path); err != nil {
		return -1, err
	}
	// Pdeathsig is sent when the thread that forked dies, not the process: the thread must live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out, in, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer out.Close()

	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = c.Env
	if cmd.Env == nil {
		cmd.Env = Environ()
	}
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	cmd.Stdout, cmd.Stderr = in, in // files, not writers: exec then copies nothing and Wait waits for the program alone
	if c.Stdout != nil {
		cmd.Stdout, cmd.WaitDelay = c.Stdout, drain
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	in.Close()
	if err != nil {
		return -1, err
	}

	read := make(chan struct{})
	go func() {
		defer close(read)
		lines(out, c.Line)
	}()

	pid := cmd.Process.Pid
	stopped, ended := await(ctx, pid, c.Grace)
	if !ended {
		leave(c.Path, pid, cmd.Wait)
		_ = out.SetReadDeadline(time.Now())
		<-read
		return -1, &StuckError{Path: c.Path, PID: pid, cause: context.Cause(ctx)}
	}
	// The program has ended but is not reaped yet, so its number cannot belong to another group.
	signalGroup(pid, syscall.SIGKILL)
	err = cmd.Wait()
	_ = out.SetReadDeadline(time.Now().Add(drain))
	<-read

	code := cmd.ProcessState.ExitCode()
	switch {
	case err == nil:
		return 0, nil
	case stopped:
		return code, context.Cause(ctx)
	default:
		return code, err
	}
}

// await returns when the program has ended, unreaped, or cannot be ended; stopped tells that ctx ended first.
func await(ctx context.Context, pid int, grace time.Duration) (stopped, ended bool) {
	end := make(chan struct{})
	go func() {
		defer close(end)
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	select {
	case <-end:
		return false, true
	case <-ctx.Done():
	}
	if grace <= 0 {
		grace = DefaultGrace
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, unkillable}} {
		signalGroup(pid, step.signal)
		hard := time.NewTimer(step.wait)
		defer hard.Stop()
		select {
		case <-end:
			return true, true
		case <-hard.C:
		}
	}
	return true, false
}
