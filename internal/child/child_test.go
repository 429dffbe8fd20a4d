package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain also plays a nodejoin that is killed while its child runs (see TestTheChildDoesNotOutliveUs), a child that does not
// end, and the debugger that keeps it (see TestAProgramThatCannotBeKilled).
func TestMain(m *testing.M) {
	switch os.Getenv("CHILD_TEST_PLAY") {
	case "the stuck":
		signal.Ignore(syscall.SIGTERM)
		_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0) // any may trace it; without Yama nobody has to ask
		fmt.Println(os.Getpid())
		time.Sleep(time.Minute)
		os.Exit(0)
	case "the debugger":
		pid, _ := strconv.Atoi(os.Args[1])
		runtime.LockOSThread()
		if err := unix.PtraceSeize(pid); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("seized")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	if file := os.Getenv("CHILD_TEST_PIDFILE"); file != "" {
		_, _ = Run(context.Background(), Cmd{Path: "sh", Args: []string{"-c", `echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 60`, file}})
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func sh(script string, args ...string) Cmd {
	return Cmd{Path: "sh", Args: append([]string{"-c", script}, args...)}
}

func TestOutputArrivesLineByLineInOrder(t *testing.T) {
	c := sh(`echo one; echo two >&2; printf 'three\r\n\n'; printf 'bad \377 byte\nno newline'; exit 7`)
	var got []string
	c.Line = func(l string) { got = append(got, l) }
	code, err := Run(t.Context(), c)
	var exit *exec.ExitError
	if code != 7 || !errors.As(err, &exit) {
		t.Errorf("code %d, error %v; want 7 and an ExitError", code, err)
	}
	want := []string{"one", "two", "three", "", "bad \uFFFD byte", "no newline"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNothingOfNodejoinsOwnIsInTheEnvironment(t *testing.T) {
	t.Setenv("NODEJOIN_TOKEN", "abcdef.0123456789abcdef")
	t.Setenv("NODEJOIN_TIMEOUT", "1m")
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("HTTPS_PROXY", "http://proxy:3128")
	c := sh("env")
	var got []string
	c.Line = func(l string) { got = append(got, l) }
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	env := strings.Join(got, "\n")
	if strings.Contains(env, "NODEJOIN_") || strings.Contains(env, "NOTIFY_SOCKET") || strings.Contains(env, "0123456789abcdef") {
		t.Errorf("the child saw nodejoin's variables:\n%s", env)
	}
	if !strings.Contains(env, "HTTPS_PROXY=http://proxy:3128") {
		t.Errorf("the child did not see the proxy:\n%s", env)
	}
}

func TestAProgramThatIsMissingOrNotExecutable(t *testing.T) {
	if code, err := Run(t.Context(), Cmd{Path: "no-such-program-anywhere"}); code != -1 || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("missing: %d, %v", code, err)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, err := Run(t.Context(), Cmd{Path: plain}); code != -1 || !errors.Is(err, os.ErrPermission) {
		t.Errorf("not executable: %d, %v", code, err)
	}
}

func TestAContextThatHasEndedStartsNothing(t *testing.T) {
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	mark := filepath.Join(t.TempDir(), "mark")
	if _, err := Run(ctx, sh(`: > "$0"`, mark)); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the program ran")
	}
}

func TestThePoliteStopComesFirst(t *testing.T) {
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := sh(`trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	c.Grace = time.Minute
	var got []string
	c.Line = func(l string) {
		got = append(got, l)
		if l == "ready" {
			cancel(why)
		}
	}
	start := time.Now()
	_, err := Run(ctx, c)
	// Exit code 0 after SIGTERM is a program that did what it was told: nothing was cut short for it.
	if err != nil && !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	// Between the two the shell may tell that its sleep was terminated.
	if !slices.Contains(got, "bye") || time.Since(start) > 30*time.Second {
		t.Errorf("got %q after %s", got, time.Since(start))
	}
}

func TestTheHardStopTakesTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := sh(`trap '' TERM; sh -c 'trap "" TERM; echo $$; for i in $(seq 600); do sleep 0.05; done' & wait`)
	c.Grace = 50 * time.Millisecond
	var pid int
	c.Line = func(l string) { pid, _ = strconv.Atoi(l); cancel() }
	if code, err := Run(ctx, c); code != -1 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d, %v", code, err)
	}
	gone(t, pid)
}

func TestStragglersOfTheGroupEndWithTheirLeader(t *testing.T) {
	c := sh(`sleep 60 & echo $!`)
	var pid int
	c.Line = func(l string) { pid, _ = strconv.Atoi(l) }
	start := time.Now()
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
	if time.Since(start) > 30*time.Second {
		t.Errorf("waited %s for the straggler's pipe", time.Since(start))
	}
}

func TestAProcessThatLeftTheGroupDoesNotHoldUsUp(t *testing.T) {
	c := sh(`setsid sh -c 'echo $$; exec sleep 60' & sleep 0.3`)
	var pid int
	c.Line = func(l string) { pid, _ = strconv.Atoi(l) }
	start := time.Now()
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Errorf("process %d, which left the group as a service does, was ended too", pid)
	}
}

func TestTheChildDoesNotOutliveUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	us := exec.Command(os.Args[0])
	us.Env = append(os.Environ(), "CHILD_TEST_PIDFILE="+file)
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "the child to start", func() bool {
		b, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0
	})
	_ = us.Process.Kill()
	_ = us.Wait()
	gone(t, pid)
}

// A process in uninterruptible sleep is dead only when the kernel lets go of it. One whose debugger does not wait for it is just
// as deaf to SIGKILL in its parent's eyes, and needs neither root nor a broken disk.
func TestAProgramThatCannotBeKilled(t *testing.T) {
	t.Parallel()
	why := errors.New("told to stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	var let func()
	pid, late := 0, false
	c := Cmd{Path: os.Args[0], Env: append(os.Environ(), "CHILD_TEST_PLAY=the stuck"), Grace: 50 * time.Millisecond}
	c.Line = func(l string) {
		if pid, _ = strconv.Atoi(l); pid > 0 {
			let = seize(t, pid)
			cancel(why)
		}
		late = late || ctx.Err() == nil
	}
	start := time.Now()
	code, err := Run(ctx, c)
	took := time.Since(start)
	var stuck *StuckError
	if code != -1 || !errors.As(err, &stuck) || !errors.Is(err, why) || stuck.PID != pid || late {
		t.Fatalf("got %d, %v", code, err)
	}
	if want := fmt.Sprintf("process %d (%s) cannot be killed", pid, filepath.Base(os.Args[0])); !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
	if took > 24*time.Second {
		t.Errorf("gave up after %s", took)
	}

	mark := filepath.Join(t.TempDir(), "mark")
	again := Cmd{Path: os.Args[0], Args: []string{"-test.run=^$", "-test.outputdir=" + filepath.Dir(mark), "-test.trace=mark"}}
	if _, err := Run(t.Context(), again); !errors.As(err, &stuck) || stuck.PID != pid {
		t.Errorf("a second one beside the first: %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it was started")
	}
	if _, err := Run(t.Context(), sh("exit 0")); err != nil {
		t.Errorf("another program: %v", err)
	}
	let()
	eventually(t, "the next one to be started", func() bool { _, err := Run(t.Context(), again); return err == nil })
}

// seize has a debugger take hold of a process; let ends the debugger.
func seize(t *testing.T, pid int) (let func()) {
	debugger := exec.Command(os.Args[0], strconv.Itoa(pid))
	debugger.Env = append(os.Environ(), "CHILD_TEST_PLAY=the debugger")
	in, err := debugger.StdinPipe()
	if err != nil {
		t.Error(err)
	}
	out, err := debugger.StdoutPipe()
	if err == nil {
		err = debugger.Start()
	}
	if err != nil {
		t.Error(err)
		return func() {}
	}
	if said, _ := bufio.NewReader(out).ReadString('\n'); said != "seized\n" {
		t.Errorf("the debugger says %q", said)
	}
	let = sync.OnceFunc(func() { in.Close(); _ = debugger.Wait() })
	t.Cleanup(let)
	return let
}

func TestALongLineIsCutWhereNoTokenCanBeHalf(t *testing.T) {
	const token = "abcdef.0123456789abcdef"
	for cut := range len(token) + 2 {
		pad := strings.Repeat("x", maxLine-cut-1) + " "
		var got []string
		lines(strings.NewReader(pad+token+" more\nnext\n"), func(l string) { got = append(got, l) })
		if len(got) != 2 || got[1] != "next" || len(got[0]) > maxLine+len(cutMark) || !strings.HasSuffix(got[0], cutMark) {
			t.Fatalf("cut %d: %d lines, the first of %d bytes", cut, len(got), len(got[0]))
		}
		if rest := strings.TrimLeft(strings.TrimSuffix(got[0], cutMark), "x"); rest != "" && rest != " "+token {
			t.Errorf("cut %d: left %q", cut, rest)
		}
	}
	var got []string
	lines(strings.NewReader(strings.Repeat("y", 3*maxLine)), func(l string) { got = append(got, l) })
	if len(got) != 1 || got[0] != cutMark {
		t.Errorf("a line without any space: %d lines", len(got))
	}
}

func TestLinesDoNotDependOnHowTheyArrive(t *testing.T) {
	text := []byte("a\nbb\n\nccc\r\nd")
	var want []string
	lines(bytes.NewReader(text), func(l string) { want = append(want, l) })
	if fmt.Sprint(want) != "[a bb  ccc d]" {
		t.Fatalf("got %q", want)
	}
	for size := 1; size < len(text); size++ {
		var got []string
		lines(&pieces{text, size}, func(l string) { got = append(got, l) })
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// gone waits until a process has ended; a zombie whose parent does not reap it has.
func gone(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatal("no process was started")
	}
	eventually(t, fmt.Sprintf("process %d to end", pid), func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(b), ") Z ")
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
