// Command bench measures nodejoin beside what operators use in its place, on the testbed, in one run and interleaved, and
// writes all samples, a table and plots to bench/results. Arguments are the rows to measure; all without any.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func main() {
	b := &bench{own: map[string]bool{}}
	flag.IntVar(&b.runs, "runs", 20, "runs of each contender in the rows that time a join; the others take a part of it")
	flag.IntVar(&b.crowdest, "crowd", crowds[len(crowds)-1], "nodes in the largest storm")
	flag.StringVar(&b.before, "before", "", "commit to build nodejoin of and measure it beside, in turn")
	flag.StringVar(&b.folder, "results", inProject, "folder of the results; the README here is refreshed only with the project's own")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.ctx = ctx
	if err := b.run(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// inProject is where the project keeps its results, seen from the test module.
var inProject = filepath.Join("bench", "results")

// bench is one run of everything.
type bench struct {
	ctx      context.Context
	runs     int
	crowdest int
	folder   string // of the results
	before   string // commit of the build before; then its program's path; "": none

	dir       string // with the programs under test
	nodejoin  string
	installer string
	began     time.Time
	own       map[string]bool // rows that this run measures

	mu sync.Mutex // guards what follows, where contenders run side by side
	results
}

// row is a part of the table that can be measured alone.
type row struct {
	name    string
	measure func(*bench) error
}

var rows = []row{
	{"late", (*bench).late},
	{"live", (*bench).live},
	{"deleted", (*bench).deleted},
	{"returned", (*bench).returned},
	{"struck", (*bench).struck},
	{"expired", (*bench).expired},
	{"reset", (*bench).reset},
	{"member", (*bench).member},
	{"waiting", (*bench).waiting},
	{"size", (*bench).size},
	{"storm", (*bench).storm},
}

func (b *bench) run(only []string) (err error) {
	for _, name := range only {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == name }) {
			return fmt.Errorf("there is no row %q", name)
		}
	}
	if b.dir, err = os.MkdirTemp("", "nodejoin-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.nodejoin, err = b.build("..", "./cmd/nodejoin", "nodejoin"); err != nil {
		return err
	}
	if err := b.buildBefore(); err != nil {
		return err
	}
	if b.installer, err = b.build(".", "./bench/installer", "installer"); err != nil {
		return err
	}
	parts, err := testbed.Build(b.ctx, os.Stderr)
	if err != nil {
		return err
	}
	b.began = time.Now()
	b.Machine, b.Kubernetes = machineWords(), parts.Kubernetes
	for _, r := range rows {
		if len(only) > 0 && !slices.Contains(only, r.name) {
			continue
		}
		b.own[r.name] = true
		b.Samples = slices.DeleteFunc(b.Samples, func(s sample) bool { return s.Row == r.name }) // of an earlier run, read with another row
		b.say("== %s", r.name)
		if err := r.measure(b); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		b.beside()
		// what is measured is kept, whatever becomes of the rest
		if err := b.write(); err != nil {
			return err
		}
	}
	return nil
}

// build compiles one program as a release is.
func (b *bench) build(folder, pkg, name string, flags ...string) (string, error) {
	path := filepath.Join(b.dir, name)
	args := slices.Concat([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", path}, flags, []string{pkg})
	build := exec.CommandContext(b.ctx, "go", args...)
	build.Dir, build.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// buildBefore compiles nodejoin as it was at a commit.
func (b *bench) buildBefore() error {
	if b.before == "" {
		return nil
	}
	tree := filepath.Join(b.dir, "before")
	git := func(args ...string) error {
		out, err := exec.CommandContext(b.ctx, "git", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("the build before: %w\n%s", err, out)
		}
		return nil
	}
	if err := git("worktree", "add", "--detach", tree, b.before); err != nil {
		return err
	}
	path, err := b.build(tree, "./cmd/nodejoin", "nodejoin-before")
	b.before = path
	return errors.Join(err, git("worktree", "remove", "--force", tree))
}

// with are contenders, and the build before where one was asked for.
func (b *bench) with(contenders ...string) []string {
	if b.before != "" {
		contenders = append(contenders, before)
	}
	return contenders
}

func (b *bench) say(format string, args ...any) {
	fmt.Printf("%7.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

func (b *bench) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// stage is a cluster of its own for one measurement.
type stage struct {
	*bench
	tb   *testbed.Testbed
	cp   *testbed.ControlPlane
	node *testbed.Node
}

// onStage runs f on a fresh testbed with a control plane that is not started and a node with every program on it.
func (b *bench) onStage(cp testbed.ControlPlaneOptions, node testbed.NodeOptions, f func(*stage) error) (err error) {
	tb, err := testbed.Start(b.ctx, testbed.Options{Out: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tb.Close()) }()
	s := &stage{bench: b, tb: tb}
	if s.cp, err = tb.NewControlPlane(b.ctx, cp); err != nil {
		return err
	}
	if s.node, err = s.newNode("w1", node); err != nil {
		return err
	}
	return f(s)
}

func (s *stage) newNode(name string, opts testbed.NodeOptions) (*testbed.Node, error) {
	n, err := s.tb.Node(s.ctx, name, opts)
	if err != nil {
		return nil, err
	}
	if err := n.Install(s.nodejoin, "nodejoin"); err != nil {
		return nil, err
	}
	if s.before != "" {
		if err := n.Install(s.before, "nodejoin-before"); err != nil {
			return nil, err
		}
	}
	if err := n.Install(s.installer, "installer"); err != nil {
		return nil, err
	}
	return n, n.WriteFile("/root/.kube/config", string(s.cp.Kubeconfig()), 0o600)
}

// machineWords say on what the numbers were taken.
func machineWords() string {
	return fmt.Sprintf("%d cores, %s, Go %s", runtime.NumCPU(), runtime.GOARCH, strings.TrimPrefix(runtime.Version(), "go"))
}
