package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// onScreen starts the program on a terminal.
func onScreen(t *testing.T, script string, env []string, args ...string) (*process, *screen, *os.File) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{Cmd: exec.Command(exe, args...), status: filepath.Join(t.TempDir(), "status.json")}
	p.Env = append(append(os.Environ(), "CLI_TEST_SCRIPT="+script, quickExit, "NODEJOIN_STATUS_FILE="+p.status, "TERM=xterm-256color", "CI=", "NO_COLOR="), env...)
	terminal, err := pty.StartWithSize(p.Cmd, &pty.Winsize{Rows: 24, Cols: 100})
	must(t, err)
	s := newScreen(100, 24)
	read := s.follow(terminal)
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = terminal.Close()
		<-read
	})
	s.await(t, "running")
	return p, s, terminal
}

// await sees words that have come, though they may be gone since.
func (s *screen) await(t *testing.T, words string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.output(), words) {
		if time.Now().After(deadline) {
			t.Fatalf("the screen never shows %q:\n%s", words, s.text())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *process) exitCode(t *testing.T) int {
	t.Helper()
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

// sane: the cursor can be seen, at the beginning of a line of its own, and the
// terminal echoes and sends signals as it did before.
func (s *screen) sane(t *testing.T, terminal *os.File) {
	t.Helper()
	time.Sleep(50 * time.Millisecond) // for the last words to be read
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.term.CursorVisible() || s.term.Cursor().X != 0 || s.term.Mode()&vt10x.ModeAltScreen != 0 {
		t.Errorf("the terminal is left with its cursor at %+v, visible %t:\n%s", s.term.Cursor(), s.term.CursorVisible(), s.term.String())
	}
}

func TestOnATerminalItIsLive(t *testing.T) {
	p, s, terminal := onScreen(t, "polite", nil, "join")
	s.await(t, "for 2s now")
	_, err := terminal.Write([]byte{3}) // Ctrl-C
	must(t, err)
	if got := p.exitCode(t); got != 130 {
		t.Errorf("exit status %d", got)
	}
	s.await(t, "exit status 130")
	s.sane(t, terminal)
	if n := strings.Count(s.text(), "Interrupted: "); n != 1 {
		t.Errorf("the report is there %d times:\n%s", n, s.text())
	}
	wantText(t, "the screen", s.text(), "SIGINT received: stopping", "a second one ends nodejoin at once", "this means: ")
	if strings.Contains(s.text(), "for 2s now") || strings.Contains(s.text(), "…") {
		t.Errorf("a live line is left:\n%s", s.text())
	}
	if !strings.Contains(s.output(), "\x1b[33m") {
		t.Error("there is no colour")
	}
}

func TestEveryEndingLeavesTheTerminalSane(t *testing.T) {
	for name, end := range map[string]struct {
		script string
		by     func(p *process, s *screen, terminal *os.File)
		code   int
	}{
		"Ctrl-C twice": {"slow", func(_ *process, s *screen, terminal *os.File) {
			_, _ = terminal.Write([]byte{3})
			s.await(t, "a second one ends nodejoin at once")
			_, _ = terminal.Write([]byte{3})
		}, 130},
		"SIGTERM":  {"polite", func(p *process, _ *screen, _ *os.File) { _ = p.Process.Signal(syscall.SIGTERM) }, 143},
		"SIGKILL":  {"polite", func(p *process, s *screen, _ *os.File) { s.await(t, "for 1s now"); _ = p.Process.Kill() }, -1},
		"a panic":  {"panic", func(*process, *screen, *os.File) {}, 1},
		"a death":  {"death", func(*process, *screen, *os.File) {}, 2},
		"an end":   {"chatty", func(*process, *screen, *os.File) {}, 0},
		"a hangup": {"chatty", func(p *process, _ *screen, _ *os.File) { _ = p.Process.Signal(syscall.SIGHUP) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, s, terminal := onScreen(t, end.script, nil, "join")
			end.by(p, s, terminal)
			if got := p.exitCode(t); got != end.code {
				t.Errorf("exit status %d, wanted %d:\n%s", got, end.code, s.text())
			}
			s.sane(t, terminal)
			if name == "Ctrl-C twice" {
				wantText(t, "the screen", s.text(), "SIGINT received twice: left at once in phase join", "run nodejoin again")
			}
		})
	}
}

func TestATerminalThatGoesAwayStopsNothing(t *testing.T) {
	p, _, terminal := onScreen(t, "chatty", nil, "join")
	must(t, terminal.Close()) // SIGHUP, and EIO from now on
	if got := p.exitCode(t); got != 0 {
		t.Errorf("exit status %d", got)
	}
	raw, err := os.ReadFile(p.status)
	must(t, err)
	if rep := decode(t, string(raw)); rep.Reason != join.Joined {
		t.Errorf("the status file says %+v", rep)
	}
}

func TestPlainLinesWhereALiveViewIsNotWanted(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		args string
	}{
		"TERM=dumb":            {[]string{"TERM=dumb"}, "join"},
		"no TERM":              {[]string{"TERM="}, "join"},
		"CI":                   {[]string{"CI=true"}, "join"},
		"--log-format console": {nil, "join --log-format console"},
		"--log-level debug":    {nil, "join --log-level debug"},
		"-v 5":                 {nil, "join -v 5"},
		"--token-file -":       {nil, "join --token-file -"},
	} {
		t.Run(name, func(t *testing.T) {
			p, s, _ := onScreen(t, "chatty", test.env, strings.Fields(test.args)...)
			if got := p.exitCode(t); got != 0 {
				t.Errorf("exit status %d", got)
			}
			s.await(t, "took: ")
			if strings.Contains(s.output(), "\x1b") || strings.Contains(s.output(), "…") {
				t.Errorf("the terminal got %q", s.output())
			}
			wantText(t, "the screen", s.text(), "info  join      still here")
		})
	}
}

func TestWithNoColorItIsLiveAllTheSame(t *testing.T) {
	p, s, _ := onScreen(t, "polite", []string{"NO_COLOR=1"}, "join")
	s.await(t, "for 1s now")
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.exitCode(t)
	if strings.Contains(s.output(), "m") && strings.Contains(s.output(), "\x1b[3") || strings.Contains(s.output(), "\x1b[2m") {
		t.Errorf("colours in %q", s.output())
	}
}

func TestTheReportOfALiveRunGoesToStandardOutputAlone(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.json")
	file, err := os.Create(out)
	must(t, err)
	defer file.Close()
	exe, err := os.Executable()
	must(t, err)
	command := exec.Command("/bin/sh", "-c", `"$0" join -o json >"$1"`, exe, out)
	command.Env = append(os.Environ(), "CLI_TEST_SCRIPT=chatty", quickExit, "NODEJOIN_STATUS_FILE="+filepath.Join(t.TempDir(), "status.json"), "TERM=xterm", "CI=")
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 24, Cols: 100})
	must(t, err)
	defer terminal.Close()
	s := newScreen(100, 24)
	buffer := make([]byte, 4096)
	for {
		n, err := terminal.Read(buffer)
		_, _ = s.Write(buffer[:n])
		if err != nil {
			break
		}
	}
	_ = command.Wait()
	raw, err := os.ReadFile(out)
	must(t, err)
	if rep := decode(t, string(raw)); rep.Reason != join.Joined {
		t.Errorf("standard output has %s", raw)
	}
	wantText(t, "the screen", s.text(), "Joined: the message of Joined", "took: ")
}

func TestAfterCtrlZItIsDrawnBelow(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	command := exec.Command("bash", "--norc", "--noprofile", "-i")
	command.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "TERM=xterm", "PS1=> ", "CLI_TEST_SCRIPT=polite", quickExit, "NODEJOIN_STATUS_FILE=" + filepath.Join(t.TempDir(), "status.json")}
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 24, Cols: 100})
	must(t, err)
	s := newScreen(100, 24)
	read := s.follow(terminal)
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = terminal.Close()
		<-read
	})
	types := func(keys string) {
		_, err := terminal.WriteString(keys)
		must(t, err)
	}
	types(exe + " join\r")
	s.await(t, "for 1s now")
	types("\x1a") // Ctrl-Z
	s.await(t, "Stopped")
	types("echo mean''while; fg\r")
	s.await(t, "meanwhile")
	time.Sleep(2500 * time.Millisecond)
	wantText(t, "the screen", s.text(), "Stopped", "\nmeanwhile\n", "s now")
	types("\x03")
	s.await(t, "exit status 130")
	types("echo st''ill\r")
	s.await(t, "still")
	wantText(t, "the screen", s.text(), "Stopped", "\nmeanwhile\n")
}
