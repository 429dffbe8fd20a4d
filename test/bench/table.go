package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nodejoin/nodejoin/test/readme"
)

// line is one row of the table.
type line struct {
	what    string
	cells   map[string]string // by contender
	target  string
	reached []check
}

// check is one thing that must be reached, with the number that decides.
type check struct {
	value, most float64
	unit        string
}

func (c check) met() bool { return c.value <= c.most }

func (c check) String() string {
	verdict := "reached"
	if !c.met() {
		verdict = "**missed**"
	}
	return fmt.Sprintf("%s: %s%s", verdict, number(c.value), c.unit)
}

func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "?"
	case v == math.Trunc(v) && v < 1e6:
		return fmt.Sprintf("%.0f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// spread is a series as "median (min to max)".
func (b *bench) spread(row, who, what string) string {
	values, never := b.of(row, who, what)
	switch {
	case len(values) == 0 && never > 0:
		return "never"
	case len(values) == 0:
		return ""
	}
	text := fmt.Sprintf("%s (%s to %s; %d)", number(median(values)), number(values[0]), number(values[len(values)-1]), len(values))
	if len(values) == 1 {
		text = number(values[0])
	}
	if never > 0 {
		text += fmt.Sprintf(", %d of %d never", never, never+len(values))
	}
	return text
}

func (b *bench) cells(row, what string, contenders ...string) map[string]string {
	cells := map[string]string{}
	for _, who := range append(contenders, before) {
		cells[who] = b.spread(row, who, what)
	}
	return cells
}

// mid and worst are the median and the largest value of a series; what never happened took for ever.
func (b *bench) mid(row, who, what string) float64 {
	values, never := b.of(row, who, what)
	for range never {
		values = append(values, math.Inf(1))
	}
	return median(values)
}

func (b *bench) nevers(row, who, what string) float64 {
	_, never := b.of(row, who, what)
	return float64(never)
}

// sum is that of a series.
func (b *bench) sum(row, who, what string) (sum float64) {
	values, _ := b.of(row, who, what)
	for _, v := range values {
		sum += v
	}
	return sum
}

func (b *bench) mean(row, who, what string) float64 {
	values, _ := b.of(row, who, what)
	return b.sum(row, who, what) / float64(len(values))
}

// share is a series of which each value is all or nothing, as "mean (runs)".
func (b *bench) share(row, who, what string) string {
	values, _ := b.of(row, who, what)
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%d)", number(b.mean(row, who, what)), len(values))
}

func (b *bench) least(row, who, what string) float64 {
	values, _ := b.of(row, who, what)
	return quantile(values, 0)
}

func (b *bench) worst(row, who, what string) float64 {
	values, never := b.of(row, who, what)
	if never > 0 {
		return math.Inf(1)
	}
	return quantile(values, 1)
}

// against is the median ratio of a contender to another in the same run: a machine may change its speed from one to the next.
func (b *bench) against(row, what, who, other string) float64 {
	byRun := map[int]float64{}
	for _, s := range b.Samples {
		if s.Row == row && s.What == what && s.Contender == other {
			byRun[s.Run] = s.Value
		}
	}
	var ratios []float64
	for _, s := range b.Samples {
		if beside, ok := byRun[s.Run]; ok && s.Row == row && s.What == what && s.Contender == who {
			ratios = append(ratios, s.Value/beside)
		}
	}
	slices.Sort(ratios)
	return median(ratios)
}

// table is what was measured, in Markdown, but for the plots.
func (b *bench) table() string {
	var out strings.Builder
	columns := b.columns()
	fmt.Fprintf(&out, "Median (least to most; runs) on %s; Kubernetes %s.\n\n", b.Machine, b.Kubernetes)
	fmt.Fprintf(&out, "| what | %s | at most | |\n| --- |%s --- | --- |\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, l := range b.lines() {
		row, measured := "| "+l.what+" |", false
		for _, who := range columns {
			row += " " + l.cells[who] + " |"
			measured = measured || l.cells[who] != ""
		}
		if !measured {
			continue
		}
		var verdicts []string
		for _, c := range l.reached {
			verdicts = append(verdicts, c.String())
		}
		fmt.Fprintf(&out, "%s %s | %s |\n", row, l.target, strings.Join(verdicts, "; "))
	}
	var parts []string
	for _, s := range b.Samples {
		if s.Row == "size" && s.Contender != ours {
			parts = append(parts, fmt.Sprintf("%s %.2f", s.Contender, s.Value))
		}
	}
	if parts != nil {
		fmt.Fprintf(&out, "\nWhat the binary is smaller by with the functions of a module emptied, in MB: %s.\n", strings.Join(parts, ", "))
	}
	return out.String()
}

// write keeps all that has been measured so far.
func (b *bench) write() error {
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return err
	}
	if err := b.merge(); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(b.results, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.folder, samplesFile), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	text := b.table()
	if paper := b.paper(); paper != "" {
		text += "\n" + paper
	}
	if err := os.WriteFile(filepath.Join(b.folder, "table.md"), []byte(text), 0o644); err != nil {
		return err
	}
	drawn, err := b.plots()
	if err != nil {
		return err
	}
	b.say("written to %s", b.folder)
	if b.folder != inProject { // somebody tries something
		return nil
	}
	return b.refreshReadme(drawn)
}

// What the README here shows stands between these lines.
const (
	begin = "<!-- What was measured, written by `make bench`. -->\n"
	end   = "<!-- The end of what was measured. -->\n"
)

func (b *bench) refreshReadme(drawn []drawing) error {
	return readme.Refresh("bench/README.md", begin, end, b.shown(drawn))
}

// shown is what the README here shows: plots and table.
func (b *bench) shown(drawn []drawing) string {
	var text strings.Builder
	for _, d := range drawn {
		fmt.Fprintf(&text, "![%s](results/%s)\n", d.title, d.file)
	}
	fmt.Fprintf(&text, "\n%s", b.table())
	if paper := b.paper(); paper != "" {
		fmt.Fprintf(&text, "\n<details><summary>On paper: %d nodes at once, and what to set for them</summary>\n\n%s\n</details>\n", mostNodes, paper)
	}
	return text.String()
}
