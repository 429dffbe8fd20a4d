// Command faults prints for each fault that the field reports which stories tell it, how nodejoin ends there and what it has
// done. The stories with real components are those of the last `make e2e`; the scripted ones, under virtual time, take
// seconds and are told on the spot. When every fault is told and no story has failed, the table goes into
// the README beside this program as well.
//
// What the table says is what the stories state and check, so it is the same from run to run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nodejoin/nodejoin/test/readme"
)

// Paths from the test module, where `make faults` runs this.
const (
	project = ".."
	results = "../bin/e2e.json" // what `make e2e` has written
	paper   = "faults/README.md"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "faults: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	stories, err := declared(project)
	if err != nil {
		return err
	}
	last := ledger{}
	raw, err := os.ReadFile(results)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := last.read(raw); err != nil {
		return fmt.Errorf("reading %s: %w", results, err)
	}
	if raw, err = scripted(ctx, stories); err != nil {
		return err
	}
	if err := last.read(raw); err != nil {
		return fmt.Errorf("reading what the scripted stories said: %w", err)
	}
	text, bad := table(stories, last)
	fmt.Fprint(out, text)
	if bad > 0 {
		return fmt.Errorf("%d rows above are without a story that was told and held; %s stays as it is\n  to mend it: make e2e, then make faults", bad, paper)
	}
	return readme.Refresh(paper, begin, end, text+"\n")
}

// scripted tells the stories under virtual time. That one of them fails is no error: it stands in the output.
func scripted(ctx context.Context, stories []story) ([]byte, error) {
	var names []string
	for _, s := range stories {
		if s.scripted() {
			names = append(names, s.name)
		}
	}
	test := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-run=^("+strings.Join(names, "|")+")$", "./"+scriptedFolder)
	test.Dir, test.Stderr = project, os.Stderr
	out, err := test.Output()
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return nil, fmt.Errorf("telling the scripted stories: %w", err)
	}
	return out, nil
}

// The table stands between these lines.
const (
	begin = "<!-- The table of faults, written by `make faults`. -->\n"
	end   = "<!-- The end of the table of faults. -->\n"
)
