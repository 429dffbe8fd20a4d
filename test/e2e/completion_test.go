package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// shell is an interactive one at a terminal.
type shell struct {
	*testing.T
	*testbed.Terminal
}

func startShell(t *testing.T, dir, program string, args ...string) *shell {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + dir + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "TERM=xterm", "LC_ALL=C.UTF-8", "PS1=> "}
	terminal, farEnd, err := testbed.OpenTerminal(160, 40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(terminal.Close)
	defer farEnd.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = farEnd, farEnd, farEnd
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &shell{t, terminal}
}

func (s *shell) types(keys string) {
	s.Helper()
	if err := s.Type(keys); err != nil {
		s.Fatal(err)
	}
}

func (s *shell) shows(words ...string) {
	s.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		text, lacking := s.Text(), ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				lacking = w
			}
		}
		if lacking == "" {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("the screen never shows %q:\n%s", lacking, strings.TrimSpace(text))
		}
	}
}

// Its folder is there on any Debian: other packages put their own completions into it.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

func TestShellsCompleteWordsAndFiles(t *testing.T) {
	for program, setUp := range map[string]struct {
		needs        map[string]string
		args, source string
	}{
		"bash": {map[string]string{"bash": "bash", bashCompletion: "bash-completion"}, "--norc --noprofile -i", "source " + bashCompletion + "; source <(nodejoin completion bash)"},
		"zsh":  {map[string]string{"zsh": "zsh"}, "-f -i", "autoload -U compinit; compinit -u; source <(nodejoin completion zsh)"},
		"fish": {map[string]string{"fish": "fish"}, "--no-config -i", "set -g fish_autosuggestion_enabled 0; nodejoin completion fish | source"},
	} {
		t.Run(program, func(t *testing.T) {
			s := &story{T: t, ctx: t.Context()}
			s.needs(setUp.needs)
			dir := t.TempDir()
			s.must(os.Symlink(nodejoin, filepath.Join(dir, "nodejoin")))
			s.must(os.WriteFile(filepath.Join(dir, "unmistakable"), nil, 0o600))
			sh := startShell(t, dir, program, strings.Fields(setUp.args)...)
			sh.types(setUp.source + "; echo is''set\r")
			sh.shows("isset")
			for line, want := range map[string][]string{
				"nodejoin join --until \t\t":            {"initialized", "ready", "registered"},
				"nodejoin check -o \t\t":                {"json", "text"},
				"nodejoin jo\t":                         {"nodejoin join"},
				"nodejoin join --token-fi\t":            {"nodejoin join --token-file"},
				"nodejoin join --token-file unmis\t":    {"nodejoin join --token-file unmistakable"},
				"nodejoin check --status-file ./unmi\t": {"nodejoin check --status-file ./unmistakable"},
			} {
				sh.types("\x15clear\r")
				sh.types(line)
				sh.shows(want...)
				sh.types("\x03")
			}
			sh.types("\x15clear\r")
			sh.types("nodejoin join --hold unmis\t\t")
			time.Sleep(2 * time.Second)
			if text := sh.Text(); strings.Contains(text, "unmistakable") || !strings.Contains(text, "--hold unmis") {
				t.Errorf("a file is offered for --hold:\n%s", text)
			}
		})
	}
}
