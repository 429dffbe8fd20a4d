package packages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheManPagesRender(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(tree, "usr/share/man/man*/*.gz"))
	if err != nil || len(pages) != 7 {
		t.Fatalf("the pages are %q", pages)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".gz")
		text := said(t, "gzip", "--decompress", "--stdout", page)
		plain := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(plain, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := said(t, "mandoc", "-T", "lint", "-W", "warning", plain); got != "" {
			t.Errorf("mandoc: %s", got)
		}
		cmd := exec.CommandContext(t.Context(), "man", "--warnings", "--encoding=UTF-8", "--local-file", plain)
		cmd.Env = append(os.Environ(), "MANWIDTH=100", "LC_ALL=C.UTF-8")
		var warnings strings.Builder
		cmd.Stderr = &warnings
		shown, err := cmd.Output()
		if err != nil || warnings.Len() > 0 {
			t.Errorf("man %s: %v: %s", name, err, warnings.String())
		}
		if !strings.Contains(string(shown), strings.ToUpper(name[:len(name)-2])) {
			t.Errorf("man %s shows:\n%s", name, shown)
		}
	}
	join := said(t, "man", "--local-file", filepath.Join(tree, "usr/share/man/man1/nodejoin-join.1.gz"))
	for _, want := range []string{"--token-file", "EXIT STATUS", "HostUnfit", "/etc/nodejoin/nodejoin.env", "nodejoin-ec2(7)", "nodejoin.service(8)"} {
		if !strings.Contains(join, want) {
			t.Errorf("nodejoin-join(1) lacks %q", want)
		}
	}
}

// completions are what a shell offers, for words that end where TAB is pressed.
var completions = map[string][]string{
	"nodejoin jo":             {"join"},
	"nodejoin join --until ":  {"registered", "initialized", "ready"},
	"nodejoin join --token-f": {"--token-file"},
}

func complete(t *testing.T, shell func(words string) *exec.Cmd) {
	t.Helper()
	for words, want := range completions {
		cmd := shell(words)
		cmd.Env = []string{"HOME=" + t.TempDir(), "TERM=dumb", "LC_ALL=C.UTF-8", "PATH=" + filepath.Join(tree, "usr/bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v\n%s", words, err, output)
		}
		for _, offer := range want {
			// at a terminal either behind what was typed, or in a list below it
			typed := words[:strings.LastIndex(words, " ")+1]
			if !strings.Contains(string(output), typed+offer) && !strings.Contains(strings.ReplaceAll(string(output), words, ""), offer) {
				t.Errorf("%q<TAB> offers %q, not %s", words, output, offer)
			}
		}
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestBashCompletes(t *testing.T) {
	complete(t, func(words string) *exec.Cmd {
		// As readline calls it: the line, the words, the place.
		return exec.CommandContext(within(t), "bash", "--norc", "-c", `
			source `+bashCompletion+`
			source "$1"
			function=$(complete -p nodejoin | sed 's/.*-F \([^ ]*\).*/\1/')
			COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=9 COMP_KEY=9
			read -r -a COMP_WORDS <<< "$2"
			[[ $2 == *" " ]] && COMP_WORDS+=("")
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			"$function" nodejoin "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
			printf '%s\n' "${COMPREPLY[@]}"`,
			"bash", filepath.Join(tree, "usr/share/bash-completion/completions/nodejoin"), words)
	})
}

func TestFishCompletes(t *testing.T) {
	complete(t, func(words string) *exec.Cmd {
		return exec.CommandContext(within(t), "fish", "--no-config", "-c", `source $argv[1]; complete --do-complete $argv[2]`,
			filepath.Join(tree, "usr/share/fish/vendor_completions.d/nodejoin.fish"), words)
	})
}

func TestZshCompletes(t *testing.T) {
	complete(t, func(words string) *exec.Cmd {
		// A shell at a terminal, and a person who presses TAB there.
		return exec.CommandContext(within(t), "zsh", "-f", "-c", `
			zmodload zsh/zpty
			zpty terminal zsh -f -i
			zpty -w terminal "PS1= PS2= RPS1=; unsetopt beep; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D; print ready-\$((40+2))"
			zpty -r -m terminal out '*ready-42*'
			zpty -w -n terminal "$2"$'\t\t'
			typeset text=
			repeat 40; do
				sleep 0.1
				while zpty -r -t terminal out; do text+=$out; done
				[[ $text == *"${2% *} $3"* || ${text//$2/} == *$3* ]] && break
			done
			zpty -d terminal
			print -r -- "$text"`,
			"zsh", filepath.Join(tree, "usr/share/zsh/vendor-completions"), words, completions[words][0])
	})
}
