// Command matrix tells a dozen of the stories of the end-to-end tests for every minor of Kubernetes that nodejoin supports, on
// real components, and records what each minor's kubeadm says when things go wrong. Arguments are the cells to tell: a
// minor's, as in 1.34, or one of them, as in 1.34/1.37 (the minor of the nodes, and of the control plane); all without any.
//
// What it finds out goes into the tree: the results and a table of them into matrix/results and the README here, kubeadm's words into
// the test data of the package that reads them.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// Cell is what the nodes' kubeadm and kubelet are of, and what the control plane is.
type Cell struct {
	Nodes        string `json:"nodes"`
	ControlPlane string `json:"controlPlane"`
}

func (c Cell) String() string { return c.Nodes + "/" + c.ControlPlane }

// cells are every minor by itself, and the skews that people run: nodes up to three minors behind, as Kubernetes allows, and
// one ahead, as an image is when it is newer than the cluster. Of 1.38 there is no control plane yet.
var cells = []Cell{
	{"1.31", "1.31"}, {"1.32", "1.32"}, {"1.33", "1.33"}, {"1.34", "1.34"}, {"1.35", "1.35"}, {"1.36", "1.36"}, {"1.37", "1.37"},
	{"1.31", "1.34"}, {"1.32", "1.35"}, {"1.33", "1.36"}, {"1.34", "1.37"},
	{"1.34", "1.33"}, {"1.35", "1.34"}, {"1.36", "1.35"}, {"1.37", "1.36"}, {"1.38", "1.37"},
}

// hasWords: of each minor's kubeadm the words are recorded once, in a cluster of its own minor or, where there is none, in the
// newest.
func (c Cell) hasWords() bool { return c.Nodes == c.ControlPlane || c.Nodes == "1.38" }

func main() {
	parallel := flag.Int("parallel", 3, "stories at once")
	stories := flag.Bool("stories", true, "tell the stories")
	words := flag.Bool("words", true, "record kubeadm's words")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Args(), *parallel, *stories, *words); err != nil {
		fmt.Fprintf(os.Stderr, "matrix: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only []string, parallel int, stories, words bool) error {
	wanted := slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool {
		return len(only) > 0 && !slices.Contains(only, c.Nodes) && !slices.Contains(only, c.String())
	})
	if len(wanted) == 0 {
		return fmt.Errorf("of %q there is no cell: the cells are %v", only, cells)
	}
	failed := 0
	for _, c := range wanted {
		if stories {
			r, err := tell(ctx, c, parallel)
			if err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			if err := keep(r); err != nil {
				return err
			}
			failed += r.failures()
		}
		if words && c.hasWords() {
			if err := recordWords(ctx, c); err != nil {
				return fmt.Errorf("%s: recording kubeadm's words: %w", c, err)
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d stories do not hold", failed)
	}
	return nil
}

// tell tells the stories in one cell.
func tell(ctx context.Context, c Cell, parallel int) (Result, error) {
	r := Result{Cell: c, Date: time.Now().UTC().Format(time.DateOnly), Stories: map[string]string{}}
	nodes, err := testbed.BuildNodeParts(ctx, os.Stderr, c.Nodes)
	if err != nil {
		return r, err
	}
	controlPlane, err := testbed.BuildControlPlaneParts(ctx, os.Stderr, c.ControlPlane)
	if err != nil {
		return r, err
	}
	r.NodesVersion, r.ControlPlaneVersion = nodes.Kubernetes, controlPlane.Kubernetes
	if nodes.Kubelet != "" {
		r.NodesVersion += ", " + nodes.Kubelet
	}
	test := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-timeout=60m", fmt.Sprintf("-parallel=%d", parallel),
		"-run=^("+strings.Join(tests(), "|")+")$", "./e2e")
	test.Env = append(os.Environ(), testbed.NodesVariable+"="+c.Nodes, testbed.ControlPlaneVariable+"="+c.ControlPlane)
	test.Stderr = os.Stderr
	// `go test` leaves it to the terminal to interrupt the tests themselves.
	test.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	test.Cancel = func() error { return syscall.Kill(-test.Process.Pid, syscall.SIGINT) }
	test.WaitDelay = 30 * time.Second
	out, err := test.Output()
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	ends, output := endsOf(out)
	if err != nil && len(ends) == 0 {
		return r, fmt.Errorf("telling the stories: %w\n%s", err, out)
	}
	for _, s := range stories {
		r.Stories[s.title] = s.endedAs(ends)
		fmt.Printf("%-10s %-36s %s\n", c, s.title, r.Stories[s.title])
		for _, name := range s.tests {
			if ends[name] != "pass" {
				fmt.Printf("== %s in %s\n%s", name, c, output[name])
			}
		}
	}
	return r, nil
}

// endsOf are how tests ended, and what they printed, by the test's name: its parts count as it.
func endsOf(raw []byte) (ends, output map[string]string) {
	ends, output = map[string]string{}, map[string]string{}
	for line := range bytes.Lines(raw) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(line, &e) != nil || e.Test == "" {
			continue
		}
		name, _, part := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "output":
			output[name] += e.Output
		case !part && slices.Contains([]string{"pass", "fail", "skip"}, e.Action):
			ends[name] = e.Action
		}
	}
	return ends, output
}
