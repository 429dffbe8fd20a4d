package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// TestMain is the program itself when a test starts it as a process: signals
// and dead pipes belong to a whole process.
func TestMain(m *testing.M) {
	if script, ok := os.LookupEnv("CLI_TEST_SCRIPT"); ok {
		os.Exit(asProcess(script))
	}
	os.Exit(m.Run())
}

func asProcess(script string) int {
	protect()
	p := newProgram(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	p.run = func(ctx context.Context, c join.Config) (join.Report, error) {
		began := time.Now()
		observe := func(message string) {
			e := transition(message)
			e.Time, e.Since = time.Now(), began
			c.Observe(e)
		}
		observe("running")
		switch script {
		case "polite":
			<-ctx.Done()
		case "slow":
			<-ctx.Done()
			observe("stopping")
			select {}
		case "chatty":
			for range 100 {
				observe("still here")
				time.Sleep(time.Millisecond)
			}
			return report(join.Joined), nil
		case "panic":
			panic("on purpose")
		case "death": // a panic in another goroutine, which nothing catches
			go panic("on purpose")
			select {}
		case "child": // is SIGPIPE left alone for children, and SIGHUP not?
			out, err := exec.Command("grep", "SigIgn", "/proc/self/status").Output()
			rep := report(join.Joined)
			rep.Message = fmt.Sprintf("%s%v", out, err)
			return rep, nil
		}
		return report(join.Interrupted), &join.Error{Reason: join.Interrupted, Message: "stopped while in phase join", Err: context.Cause(ctx)}
	}
	p.check = func(ctx context.Context, _ join.Config) (join.Report, error) {
		fmt.Fprintln(os.Stderr, "running")
		<-ctx.Done()
		return report(join.Unknown), &join.Error{Reason: join.Unknown, Message: "no useful answer", Err: ctx.Err()}
	}
	return p.main()
}

// quickExit: a process under the race detector else lingers for a second.
const quickExit = "GORACE=atexit_sleep_ms=0"

type process struct {
	*exec.Cmd
	stderr *bufio.Scanner
	status string
	stdout *strings.Builder
}

func start(t *testing.T, script string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{Cmd: exec.Command(exe, args...), status: filepath.Join(t.TempDir(), "status.json"), stdout: &strings.Builder{}}
	p.Env = append(os.Environ(), "CLI_TEST_SCRIPT="+script, quickExit, "NODEJOIN_STATUS_FILE="+p.status)
	p.Stdout = p.stdout
	pipe, err := p.StderrPipe()
	must(t, err)
	p.stderr = bufio.NewScanner(pipe)
	must(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	p.await(t, "running")
	return p
}

func (p *process) await(t *testing.T, words string) {
	t.Helper()
	for p.stderr.Scan() {
		if strings.Contains(p.stderr.Text(), words) {
			return
		}
	}
	t.Fatalf("it never said %q", words)
}

func (p *process) end(t *testing.T) int {
	t.Helper()
	for p.stderr.Scan() {
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if p.ProcessState.ExitCode() < 0 {
		t.Fatalf("it was killed: %s", p.ProcessState)
	}
	return p.ProcessState.ExitCode()
}

func TestASignalStopsPolitely(t *testing.T) {
	for _, command := range []string{"join", "check"} {
		for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
			p := start(t, "polite", command, "-o", "json")
			must(t, p.Process.Signal(signal))
			if got := p.end(t); got != want {
				t.Errorf("%s, %s: exit status %d, want %d", command, signal, got, want)
			}
			rep := decode(t, p.stdout.String())
			if rep.Reason != join.Interrupted || *rep.ExitCode != want || *rep.Result != join.Failure {
				t.Errorf("%s, %s: %+v", command, signal, rep)
			}
			if command == "join" {
				raw, err := os.ReadFile(p.status)
				if must(t, err); string(raw) != p.stdout.String() {
					t.Errorf("the status file says %s", raw)
				}
			}
		}
	}
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	p := start(t, "slow", "join")
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.await(t, "SIGTERM received: stopping; a second one ends nodejoin at once")
	began := time.Now()
	must(t, p.Process.Signal(syscall.SIGINT))
	if got := p.end(t); got != 143 {
		t.Errorf("exit status %d", got)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	raw, err := os.ReadFile(p.status)
	must(t, err)
	if rep := decode(t, string(raw)); rep.Reason != join.Interrupted || *rep.ExitCode != 143 || rep.Hint == "" || rep.FinishedAt == nil {
		t.Errorf("the status file says %+v", rep)
	}
}

func TestASignalLeavesTimeForWhatFollows(t *testing.T) {
	out := filepath.Join(t.TempDir(), "report")
	p := start(t, "polite", "join", "--on-failure", "cat > "+out)
	must(t, p.Process.Signal(syscall.SIGTERM))
	if got := p.end(t); got != 143 {
		t.Errorf("exit status %d", got)
	}
	raw, err := os.ReadFile(out)
	must(t, err)
	if rep := decode(t, string(raw)); rep.Reason != join.Interrupted || *rep.ExitCode != 143 {
		t.Errorf("it was told %+v", rep)
	}
}

func TestASignalLeavesNotMuchTime(t *testing.T) {
	p := start(t, "polite", "join", "--on-failure", "sleep 60")
	began := time.Now()
	must(t, p.Process.Signal(syscall.SIGINT))
	p.await(t, "--on-failure: it was ended")
	if got := p.end(t); got != 130 {
		t.Errorf("exit status %d", got)
	}
	if took := time.Since(began); took < followHaste || took > followHaste+3*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestASecondSignalEndsWhatFollowsToo(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	// Neither the shell nor its child heeds SIGTERM.
	p := start(t, "polite", "join", "--on-failure", "trap '' TERM; sleep 60 & echo $$ $! > "+pids+"; wait")
	must(t, p.Process.Signal(syscall.SIGINT))
	until(t, func() bool { raw, _ := os.ReadFile(pids); return strings.HasSuffix(string(raw), "\n") })
	began := time.Now()
	must(t, p.Process.Signal(syscall.SIGINT))
	if got := p.end(t); got != 130 {
		t.Errorf("exit status %d", got)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	raw, err := os.ReadFile(pids)
	must(t, err)
	for _, pid := range strings.Fields(string(raw)) {
		until(t, func() bool {
			state, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || strings.Contains(string(state), ") Z ")
		})
	}
}

func TestALostTerminalStopsNothing(t *testing.T) {
	p := start(t, "chatty", "join")
	must(t, p.Process.Signal(syscall.SIGHUP))
	must(t, p.Process.Signal(syscall.SIGPIPE))
	if got := p.end(t); got != 0 {
		t.Errorf("exit status %d", got)
	}
}

func TestPipesThatBreakStopNothing(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	status := filepath.Join(t.TempDir(), "status.json")
	// Both outputs lead to a reader that ends at once.
	command := exec.Command("/bin/sh", "-c", `{ "$0" join; echo $? >"$1"; } 2>&1 | true`, exe, status+".exit")
	command.Env = append(os.Environ(), "CLI_TEST_SCRIPT=chatty", quickExit, "NODEJOIN_STATUS_FILE="+status)
	must(t, command.Run())
	until(t, func() bool { raw, _ := os.ReadFile(status + ".exit"); return len(raw) > 0 })
	if raw, _ := os.ReadFile(status + ".exit"); strings.TrimSpace(string(raw)) != "0" {
		t.Errorf("exit status %s", raw)
	}
}

func TestChildrenKeepWorkingPipesAndNoHangup(t *testing.T) {
	p := start(t, "child", "join", "-o", "json")
	if got := p.end(t); got != 0 {
		t.Fatalf("exit status %d", got)
	}
	var mask uint64
	if _, err := fmt.Sscanf(decode(t, p.stdout.String()).Message, "SigIgn: %x", &mask); err != nil {
		t.Fatal(err)
	}
	ignored := func(s syscall.Signal) bool { return mask&(1<<(s-1)) != 0 }
	if !ignored(syscall.SIGHUP) || ignored(syscall.SIGPIPE) {
		t.Errorf("a child ignores %x", mask)
	}
}
