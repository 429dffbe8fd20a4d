// Command vm tells the stories of real machines: QEMU's, with a kernel, a firmware, a disk and a clock of their own. Some are
// those of the end-to-end tests, on other nodes; the others stand beside them under the build tag vm. Arguments are words of the
// titles of those to tell; all without any.
//
// How they ended goes into vm/results.json, and a table of that into vm/README.md.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func main() {
	parallel := flag.Int("parallel", 1, "machines at once, but for those of one story")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, flag.Args(), *parallel); err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		os.Exit(1)
	}
}

const needs = `It needs root, Debian or Ubuntu with its package sources, 20 GB below the temporary folder and 4 GB of memory.
What it installs with apt-get it says. Where KVM runs no guest, QEMU translates: then it takes hours.
`

func run(ctx context.Context, out io.Writer, words []string, parallel int) error {
	fmt.Fprint(out, needs)
	wanted := slices.DeleteFunc(slices.Clone(stories), func(s story) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(s.Title, word) })
	})
	if len(wanted) == 0 {
		return fmt.Errorf("of %q there is no story", words)
	}
	failed := 0
	for _, s := range wanted {
		accelerator, err := testbed.BuildReal(ctx, os.Stderr, cmp.Or(s.Arch, runtime.GOARCH))
		if err != nil {
			return err
		}
		began := time.Now()
		held, output, err := tell(ctx, s, parallel)
		if err != nil {
			return err
		}
		if !held {
			failed++
			fmt.Fprintf(out, "%s\n", output)
		}
		r := result{s.Title, held, time.Now().UTC().Format(time.DateOnly), time.Since(began).Round(time.Second).String(), accelerator, said(output)}
		fmt.Fprintf(out, "%-60s %s\n", s.Title, r.mark())
		if err := keep(r); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d stories do not hold", failed)
	}
	return nil
}

// tell tells a story. Whatever way it ends, an interrupt included, its testbed removes its machines.
func tell(ctx context.Context, s story, parallel int) (held bool, output string, err error) {
	test := exec.CommandContext(ctx, "go", "test", "-tags=vm", "-json", "-count=1", "-timeout=5h", fmt.Sprintf("-parallel=%d", parallel), "-run="+s.Run, s.Of)
	test.Stderr = os.Stderr
	// `go test` leaves it to the terminal to interrupt the tests themselves.
	test.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	test.Cancel = func() error { return syscall.Kill(-test.Process.Pid, syscall.SIGINT) }
	test.WaitDelay = time.Minute
	raw, err := test.Output()
	if ctx.Err() != nil {
		return false, "", context.Cause(ctx)
	}
	var text strings.Builder
	passed, ended := 0, 0
	for line := range bytes.Lines(raw) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		text.WriteString(e.Output)
		if e.Test != "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
			ended++
			if e.Action == "pass" {
				passed++
			}
		}
	}
	if err != nil && ended == 0 {
		return false, "", fmt.Errorf("telling %q: %w\n%s", s.Title, err, &text)
	}
	return err == nil && ended > 0 && passed == ended, text.String(), nil
}

// said is what a story has measured: the lines that begin so.
func said(output string) string {
	var all []string
	for line := range strings.Lines(output) {
		if _, measured, ok := strings.Cut(line, "measured: "); ok {
			all = append(all, strings.TrimSpace(measured))
		}
	}
	return strings.Join(all, "; ")
}
