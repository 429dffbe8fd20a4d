// Command mutants shows that the tests can fail: for each rule of the design it takes away the code that keeps the rule, in
// a copy of the project, and tells which test notices. A mutant that nobody notices is a rule that nobody checks.
// Arguments are the rules to try ("2" means "2a" to "2d", too), files, or words of what is taken away; all without any.
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
	"slices"
	"strings"
	"syscall"
)

// memory is what all that a mutant does may take: one that never ends must not take the machine with it.
const memory = 12 << 30

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "mutants: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: memory, Max: memory}); err != nil {
		return err
	}
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
	tries := slices.DeleteFunc(slices.Concat(back, again, tidy, others, core, reset, diagnosing), func(m mutant) bool { return !m.wanted(args) })
	var broken error
	for _, m := range tries {
		if _, err := m.changed(dir); err != nil {
			broken = errors.Join(broken, m.failure(err))
		}
	}
	if broken != nil {
		return broken
	}
	bench := &bench{dir: dir, suites: map[string]*suite{}}
	for _, m := range tries {
		for _, of := range m.packages() {
			if _, err := bench.suite(ctx, of); err != nil {
				return err
			}
		}
	}
	survivors := 0
	for _, m := range tries {
		caught, err := m.try(ctx, bench)
		switch {
		case ctx.Err() != nil: // a test that we ended has caught nothing
			return ctx.Err()
		case err != nil:
			broken = errors.Join(broken, m.failure(err))
			continue
		}
		verdict := "caught by " + caught
		if caught == "" {
			verdict = "SURVIVES"
			survivors++
		}
		fmt.Printf("rule %-3s %-70s %s\n", m.rule, "without: "+m.without, verdict)
	}
	fmt.Printf("%d of %d mutants survive\n", survivors, len(tries))
	if survivors > 0 {
		broken = errors.Join(broken, fmt.Errorf("%d mutants survive", survivors))
	}
	return broken
}

// mutant is a rule with the code that keeps it taken away.
type mutant struct {
	rule, without, file, old, new string
}

func (m mutant) wanted(args []string) bool {
	return len(args) == 0 || slices.ContainsFunc(args, func(arg string) bool {
		return m.rule == arg || strings.TrimRight(m.rule, "abcd") == arg || len(arg) > 3 && (strings.Contains(m.without, arg) || strings.HasPrefix(m.file, arg))
	})
}

func (m mutant) failure(err error) error {
	return fmt.Errorf("rule %s, %s: %w", m.rule, m.without, err)
}

// changed is the file with the rule taken away.
func (m mutant) changed(dir string) ([]byte, error) {
	whole, err := os.ReadFile(filepath.Join(dir, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(whole, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%q stands %d times in %s: the code has moved, move the mutant with it", m.old, n, m.file)
	}
	return bytes.Replace(whole, []byte(m.old), []byte(m.new), 1), nil
}

// packages whose tests may notice.
func (m mutant) packages() []string {
	of := filepath.Dir(m.file)
	if of == judge {
		return []string{filepath.Dir(filepath.Dir(judge)), judge}
	}
	return []string{of}
}

// judge decides, and its package's tests know the decisions; what comes of them only the tests of the run know.
const judge = "pkg/join/internal/judge"

// try puts the mutant in place, runs the tests that may notice, the quickest first and up to the first that does, and takes
// it away again.
func (m mutant) try(ctx context.Context, b *bench) (caught string, err error) {
	var stages []stage
	for _, of := range m.packages() {
		s, err := b.suite(ctx, of)
		if err != nil {
			return "", err
		}
		stages = append(stages, s.stages...)
	}
	slices.SortStableFunc(stages, func(x, y stage) int { return int(x.took - y.took) })

	path := filepath.Join(b.dir, m.file)
	whole, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	mutated, err := m.changed(b.dir)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, mutated, 0o600); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, whole, 0o600)) }()
	built := map[string]bool{}
	for _, st := range stages {
		if !built[st.of] {
			if _, err := b.build(ctx, st.of); err != nil {
				return "", fmt.Errorf("the mutant does not compile: %w", err)
			}
			built[st.of] = true
		}
		if caught, err := b.notices(ctx, st); caught != "" || err != nil {
			return caught, err
		}
	}
	return "", nil
}
