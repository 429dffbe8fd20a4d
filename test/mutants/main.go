// Command mutants shows that the tests can fail: for each rule of the design it takes away the code that keeps the rule, in
// a copy of the project, and tells which test notices. A mutant that nobody notices is a rule that nobody checks.
// Arguments are the rules to try; all without any.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "nodejoin-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, part := range []string{"go.mod", "go.sum", "cmd", "internal", "pkg"} {
		if out, err := exec.CommandContext(ctx, "cp", "-r", filepath.Join("..", part), dir).CombinedOutput(); err != nil {
			return fmt.Errorf("copying the project: %w\n%s", err, out)
		}
	}
	survivors := 0
	var broken error
	for _, m := range mutants {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], m.rule) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		caught, err := m.try(ctx, dir)
		if err != nil {
			broken = errors.Join(broken, fmt.Errorf("rule %s, %s: %w", m.rule, m.without, err))
			continue
		}
		verdict := "caught by " + strings.Join(caught, ", ")
		if len(caught) == 0 {
			verdict = "SURVIVES"
			survivors++
		}
		fmt.Printf("rule %-3s %-58s %s\n", m.rule, "without: "+m.without, verdict)
	}
	fmt.Printf("%d mutants survive\n", survivors)
	if survivors > 0 {
		broken = errors.Join(broken, fmt.Errorf("%d mutants survive", survivors))
	}
	return broken
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// try puts the mutant in place, runs its package's tests, and takes it away again.
func (m mutant) try(ctx context.Context, dir string) (caught []string, err error) {
	path := filepath.Join(dir, m.file)
	whole, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(whole, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%q stands %d times in %s: the code has moved, move the mutant with it", m.old, n, m.file)
	}
	if err := os.WriteFile(path, bytes.Replace(whole, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, whole, 0o600)) }()

	test := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=60s", "./"+filepath.Dir(m.file), "-rapid.nofailfile", "-rapid.checks=3000")
	if !strings.HasPrefix(m.file, "pkg/join/") {
		test = exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=60s", "./"+filepath.Dir(m.file))
	}
	test.Dir = dir
	out, err := test.CombinedOutput()
	switch {
	case ctx.Err() != nil: // a test that we ended has caught nothing
		return nil, ctx.Err()
	case err == nil:
		return nil, nil
	}
	if bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")) {
		return nil, fmt.Errorf("the mutant does not compile\n%s", out)
	}
	for _, match := range failed.FindAllSubmatch(out, -1) {
		if name := string(match[1]); !strings.Contains(name, "/") {
			caught = append(caught, name)
		}
	}
	if len(caught) == 0 {
		caught = []string{"a panic or a hang"}
	}
	if len(caught) > 3 {
		caught = append(caught[:3], fmt.Sprintf("and %d more", len(caught)-3))
	}
	return caught, nil
}
