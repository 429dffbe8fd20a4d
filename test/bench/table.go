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
	for _, who := range contenders {
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

// bestPossible is the column of what no program can beat: a join started at the right moment, a restart typed at once.
const bestPossible = "the best possible"

var columns = []string{ours, bestPossible, bare, shellLoop, installer}

func (b *bench) lines() []line {
	late, deleted := b.cells("late", "signed to Node", columns...), b.cells("deleted", "deleted to registered", columns...)
	late[bestPossible], deleted[bestPossible] = b.spread("late", limit, "signed to Node"), b.spread("deleted", restart, "deleted to registered")
	lateLimit, lateBare := b.mid("late", limit, "signed to Node"), b.mid("late", bare, "signed to Node")
	lines := []line{
		{
			"Late control plane: s from the token's signature to the Node", late,
			fmt.Sprintf("median 1.3 x the best and 0.5 x `kubeadm join` (the best itself is %s x); worst 2 x the best", number(lateLimit/lateBare)),
			[]check{
				{b.mid("late", ours, "signed to Node") / lateLimit, 1.3, " x"},
				{b.mid("late", ours, "signed to Node") / lateBare, 0.5, " x"},
				{b.worst("late", ours, "signed to Node") / lateLimit, 2, " x"},
			},
		},
		{
			"Live control plane: s from start to the Node", b.cells("live", "start to Node", ours, bare),
			"1.15 x `kubeadm join`",
			[]check{{b.mid("live", ours, "start to Node") / b.mid("live", bare, "start to Node"), 1.15, " x"}},
		},
		{
			"Deleted by the Amazon controller: s until registered again", deleted,
			"1.3 x a hand-typed restart",
			[]check{{b.mid("deleted", ours, "deleted to registered") / b.mid("deleted", restart, "deleted to registered"), 1.3, " x"}},
		},
		{
			"the same: % of returns in which podCIDR, cordon, taints and labels are as before", b.cells("returned", "not Ready: % as before", ours, before), "100 at least",
			[]check{{100 - b.least("returned", ours, "not Ready: % as before"), 0, " % short"}},
		},
		{
			"A Node that was Ready, deleted by hand: s until it is there again", b.back("Ready: deleted to there again"), "0.3 x a hand-typed restart",
			[]check{{b.mid("returned", ours, "Ready: deleted to there again") / b.mid("returned", restart, "Ready: deleted to there again"), 0.3, " x"}},
		},
		{
			"the same: ms not Ready, as a client that watches sees it", b.back("ms not Ready"), "0",
			[]check{{b.worst("returned", ours, "ms not Ready"), 0, " at worst"}},
		},
		{
			"Reset of a Node that was Ready: s until it is Ready again", b.cells("reset", "seconds", ours, shellLoop, installer), "",
			[]check{{b.nevers("reset", ours, "seconds"), 0, " never"}},
		},
		{
			"the same: failed joins", b.cells("reset", "failed joins", ours, shellLoop, installer), "0",
			[]check{{b.worst("reset", ours, "failed joins"), 0, ""}},
		},
		{
			"A member already: CPU ms of the whole process", b.cells("member", "CPU ms", ours), "150",
			[]check{{b.worst("member", ours, "CPU ms"), 150, " at worst"}},
		},
		{
			"the same: requests", b.cells("member", "requests", ours), "4",
			[]check{{b.worst("member", ours, "requests"), 4, " at worst"}},
		},
	}
	for _, how := range []string{refusing, silent} {
		for _, w := range []struct {
			what string
			most float64
		}{{"seconds waited", 0}, {"CPU s", 2}, {"resident MB", 24}, {"packets/s", 2}} {
			what := how + ": " + w.what
			l := line{"the same: " + w.what, b.cells("waiting", what, ours, bare, shellLoop, installer), number(w.most), []check{{b.worst("waiting", ours, what), w.most, ""}}}
			if w.most == 0 {
				l.what, l.target, l.reached = fmt.Sprintf("Waiting 10 minutes for an API server (%s): s that it waited", how), "", nil
			}
			lines = append(lines, l)
		}
	}
	lines = append(lines, line{"Binary: MB, stripped", b.cells("size", "MB", ours), "18", []check{{b.worst("size", ours, "MB"), 18, ""}}})
	return append(lines, b.stormLines()...)
}

// back are the cells of a Node that comes back, by whom it does.
func (b *bench) back(what string) map[string]string {
	cells := b.cells("returned", what, ours, before)
	cells[bestPossible] = b.spread("returned", restart, what)
	return cells
}

func (b *bench) stormLines() []line {
	n := b.largest()
	at := func(text string) string { return fmt.Sprintf("%d: %s", n, text) }
	both := func(text string) map[string]string { return b.cells("storm", at(text), ours, shellLoop) }
	told := func(text string) line { return line{at(text), both(text), "", nil} }
	most := func(text string, limit float64) []check {
		return []check{{b.worst("storm", ours, at(text)), limit, " at worst"}}
	}
	// five probes a second for the first ten seconds of answers, then one
	waited := b.worst("storm", ours, at("s from the first answer to the signature"))
	allowed := (5*min(waited, 10) + max(waited-10, 0)) / waited
	lines := []line{
		{at("Nodes"), both("joined"), number(float64(n)), []check{{float64(n) - b.least("storm", ours, at("joined")), 0, " missing"}}},
		{at("contenders that failed"), both("failed"), "0", most("failed", 0)},
		told("s from signature to Node, median"),
		told("s from signature to Node, 99th percentile"),
		told("s from the API server's start to Node, median"),
		told("s from the API server's start to Node, 99th percentile"),
		{at("requests a node by nodejoin itself"), both("nodejoin's requests a node"), "12", most("nodejoin's requests a node", 12)},
		{at("probes a node and second before the signature"), both("nodejoin's probes a node and second"), number(allowed), most("nodejoin's probes a node and second", allowed)},
		{at("busiest second against the mean"), both("busiest second / mean"), "4", most("busiest second / mean", 4)},
		told("all requests a node"),
	}
	for _, what := range []string{"s from the API server's start to ready", "s from ready to signed", "API server's CPU s until signed"} {
		lines = append(lines, line{
			at(what), both(what), fmt.Sprintf("1.1 x beside %d idle machines: %s; beside none: %s",
				n, b.spread("storm", idle, at(what)), b.spread("storm", idle, "0: "+what)),
			[]check{{b.against("storm", at(what), ours, idle), 1.1, " x"}},
		})
	}
	var own []float64
	for _, size := range crowds {
		what := fmt.Sprintf("%d: nodejoin's requests a node", size)
		values, _ := b.of("storm", ours, what)
		if len(values) == 0 {
			continue
		}
		own = append(own, median(values))
		if size != n {
			lines = append(lines, line{what, b.cells("storm", what, ours), "", nil})
		}
	}
	if len(own) > 1 {
		spread := slices.Max(own) / slices.Min(own)
		lines = append(lines, line{"any size: nodejoin's requests a node, most against least", map[string]string{ours: number(spread)}, "1.25 (flat)", []check{{spread, 1.25, ""}}})
	}
	for i := range lines {
		lines[i].what = "Storm of " + lines[i].what
	}
	return lines
}

// largest is the largest crowd that was measured.
func (b *bench) largest() int {
	for _, n := range slices.Backward(crowds) {
		if values, _ := b.of("storm", ours, fmt.Sprintf("%d: joined", n)); len(values) > 0 {
			return n
		}
	}
	return crowds[len(crowds)-1]
}

// table is what was measured, in Markdown, but for the plots.
func (b *bench) table() string {
	var out strings.Builder
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

// README's part stands between these lines.
const (
	begin = "<!-- What was measured, written by `make bench`. -->\n"
	end   = "<!-- The end of what was measured. -->\n"
)

func (b *bench) refreshReadme(drawn []drawing) error {
	return readme.Refresh("../README.md", begin, end, b.shown(drawn))
}

// shown is what README shows: plots and table.
func (b *bench) shown(drawn []drawing) string {
	var text strings.Builder
	for _, d := range drawn {
		fmt.Fprintf(&text, "![%s](test/%s)\n", d.title, filepath.ToSlash(filepath.Join(inProject, d.file)))
	}
	fmt.Fprintf(&text, "\n%s", b.table())
	if paper := b.paper(); paper != "" {
		fmt.Fprintf(&text, "\n<details><summary>On paper: %d nodes at once, and what to set for them</summary>\n\n%s\n</details>\n", mostNodes, paper)
	}
	return text.String()
}
