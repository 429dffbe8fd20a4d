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
)

// Cmd is one program to run.
type Cmd struct {
	Path  string        // name looked up in PATH, or a path
	Args  []string      // without the program's name
	Env   []string      // nil: Environ()
	Grace time.Duration // between SIGTERM and SIGKILL; 0: DefaultGrace

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
// after c.Grace, SIGKILL. Processes of the group that are left when the program has ended are killed. If this process
// dies, the program gets SIGKILL: nobody is left to be harder with one that ignores SIGTERM.
func Run(ctx context.Context, c Cmd) (int, error) {
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
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
	stopped := await(ctx, pid, c.Grace)
	// The program has ended but is not reaped yet, so its number cannot belong to another group.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
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

// await returns when the program has ended, unreaped; stopped tells that ctx ended first.
func await(ctx context.Context, pid int, grace time.Duration) (stopped bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
	}()
	select {
	case <-ended:
		return false
	case <-ctx.Done():
	}
	if grace <= 0 {
		grace = DefaultGrace
	}
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	hard := time.NewTimer(grace)
	defer hard.Stop()
	select {
	case <-ended:
	case <-hard.C:
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		<-ended
	}
	return true
}
