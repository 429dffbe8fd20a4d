package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nodejoin/nodejoin/test/readme"
)

// Result is what became of the stories in one cell.
type Result struct {
	Cell
	NodesVersion        string            `json:"nodesVersion"`
	ControlPlaneVersion string            `json:"controlPlaneVersion"`
	Date                string            `json:"date"`
	Stories             map[string]string `json:"stories"`
}

func (r Result) failures() int {
	n := 0
	for _, end := range r.Stories {
		if end != holds {
			n++
		}
	}
	return n
}

// Paths from the test module, where `make matrix` runs this.
const (
	results = "matrix/results/results.json"
	paper   = "matrix/README.md"
)

// The table stands between these lines.
const (
	begin = "<!-- The table of minors, written by `make matrix`. -->\n"
	end   = "<!-- The end of the table of minors. -->\n"
)

// keep takes a result in among those of earlier runs, in place of its cell's, and writes what follows from them.
func keep(r Result) error {
	all, err := load()
	if err != nil {
		return err
	}
	all = append(slices.DeleteFunc(all, func(old Result) bool { return old.Cell == r.Cell }), r)
	slices.SortFunc(all, func(a, b Result) int {
		return cmp.Compare(slices.Index(cells, a.Cell), slices.Index(cells, b.Cell))
	})
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(results), 0o755); err != nil {
		return err
	}
	text := markdown(all)
	return errors.Join(
		os.WriteFile(results, append(raw, '\n'), 0o644),
		readme.Refresh(paper, begin, end, text))
}

// load reads the results of earlier runs; those of cells that are no more are left out.
func load() ([]Result, error) {
	raw, err := os.ReadFile(results)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Result
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("reading %s: %w", results, err)
	}
	return slices.DeleteFunc(all, func(r Result) bool { return !slices.Contains(cells, r.Cell) }), nil
}

// markdown is the table: a line for each cell that was told.
func markdown(all []Result) string {
	var b strings.Builder
	b.WriteString("| kubeadm and kubelet | control plane | told on |")
	for _, s := range stories {
		fmt.Fprintf(&b, " %s |", s.title)
	}
	b.WriteString("\n" + strings.Repeat("| --- ", len(stories)+3) + "|\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| %s | %s | %s |", r.NodesVersion, r.ControlPlaneVersion, r.Date)
		for _, s := range stories {
			fmt.Fprintf(&b, " %s |", mark(r.Stories[s.title]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func mark(end string) string {
	switch end {
	case holds:
		return "holds"
	case failedIt:
		return "**fails**"
	}
	return "not told"
}
