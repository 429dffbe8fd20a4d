package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is a copy of the project and what is known of its tests.
type bench struct {
	dir    string
	suites map[string]*suite
}

// suite is a package's tests.
type suite struct{ stages []stage }

// stage is a part of a package's tests: the quick ones, or the slow ones.
type stage struct {
	of   string
	args []string
	took time.Duration // without a mutant
}

const (
	// slow is what a test takes that is tried only when the quick ones have not noticed.
	slow = 2 * time.Second
	// leastLimit is for how long the tests may run: a mutant may stop the time in which they wait for something. That is
	// noticed as well as a failure.
	leastLimit = 45 * time.Second
)

func (s stage) limit() time.Duration { return max(leastLimit, 3*s.took) }

// suite runs a package's tests as they are, once: they must pass, and what they take says which are the quick ones.
func (b *bench) suite(ctx context.Context, of string) (*suite, error) {
	if s := b.suites[of]; s != nil {
		return s, nil
	}
	s := &suite{}
	there, err := b.build(ctx, of)
	if err != nil {
		return nil, fmt.Errorf("the tests of %s do not compile without any mutant: %w", of, err)
	}
	b.suites[of] = s
	if !there {
		return s, nil
	}
	all := stage{of: of, args: append(b.fewer(of), "-test.v"), took: 5 * time.Minute / 3}
	out, err := b.test(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("the tests of %s fail without any mutant: %w; %s", of, err, strings.Join(failed.FindAllString(out, -1), "; "))
	}
	var dear []string
	quick, later := stage{of: of, args: b.fewer(of)}, stage{of: of, args: b.fewer(of)}
	for _, match := range passed.FindAllStringSubmatch(out, -1) {
		took, err := time.ParseDuration(match[2])
		switch {
		case err != nil:
			return nil, err
		case took < slow:
			quick.took += took
			continue
		}
		dear = append(dear, match[1])
		later.took += took
	}
	if len(dear) > 0 {
		slices.Sort(dear)
		only := "^(" + strings.Join(dear, "|") + ")$"
		quick.args, later.args = append(quick.args, "-test.skip="+only), append(later.args, "-test.run="+only)
		s.stages = append(s.stages, later)
	}
	s.stages = append(s.stages, quick)
	return s, nil
}

// fewer are the arguments with which a package's tests try fewer cases, the same for each mutant and each time: what is
// drawn at random, and the rows of the judge's enumeration.
func (b *bench) fewer(of string) (args []string) {
	files, _ := filepath.Glob(filepath.Join(b.dir, of, "*_test.go"))
	var all strings.Builder
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			all.Write(text)
		}
	}
	if strings.Contains(all.String(), `"pgregory.net/rapid"`) {
		args = append(args, "-rapid.nofailfile", "-rapid.checks=400", "-rapid.seed=1", "-rapid.shrinktime=0s")
	}
	if strings.Contains(all.String(), `flag.Int("one"`) {
		args = append(args, "-one=10")
	}
	return args
}

func (b *bench) binary(of string) string {
	return filepath.Join(b.dir, strings.ReplaceAll(of, "/", "-")+".test")
}

// build compiles a package's tests; there are none without an error and false.
func (b *bench) build(ctx context.Context, of string) (there bool, err error) {
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", b.binary(of), "./"+of)
	build.Dir = b.dir
	if out, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("%w\n%s", err, out)
	}
	_, err = os.Stat(b.binary(of))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// test runs a stage, and ends it with all that it has started.
func (b *bench) test(ctx context.Context, s stage) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit()+10*time.Second)
	defer cancel()
	args := append(slices.Clone(s.args), "-test.failfast", "-test.timeout="+s.limit().String())
	test := exec.CommandContext(ctx, b.binary(s.of), args...)
	test.Dir = filepath.Join(b.dir, s.of)
	test.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	test.Cancel = func() error { return syscall.Kill(-test.Process.Pid, syscall.SIGKILL) }
	test.WaitDelay = time.Second
	out, err := test.CombinedOutput()
	return string(out), err
}

var (
	passed  = regexp.MustCompile(`(?m)^--- PASS: (\S+) \(([0-9.]+s)\)`)
	failed  = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	hanging = regexp.MustCompile(`(?m)^panic: test timed out[^\n]*\n\s*running tests:\n\s*(\w+)`)
)

// notices tells which test of a stage fails; "" if all are content.
func (b *bench) notices(ctx context.Context, s stage) (string, error) {
	out, err := b.test(ctx, s)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return "", nil
	}
	if match := failed.FindStringSubmatch(out); match != nil {
		return match[1], nil
	}
	if match := hanging.FindStringSubmatch(out); match != nil {
		return match[1] + ", which hangs", nil
	}
	return "a panic or a hang", nil
}
