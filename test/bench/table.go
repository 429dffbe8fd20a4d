package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
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
	text := fmt.Sprintf("%s (%s to %s)", number(median(values)), number(values[0]), number(values[len(values)-1]))
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

// mid and worst are the median and the largest value of a series.
func (b *bench) mid(row, who, what string) float64 {
	values, _ := b.of(row, who, what)
	return median(values)
}

func (b *bench) worst(row, who, what string) float64 {
	values, never := b.of(row, who, what)
	if never > 0 {
		return math.Inf(1)
	}
	return quantile(values, 1)
}

var columns = []string{ours, limit, restart, bare, shellLoop, installer}

func (b *bench) lines() []line {
	lines := []line{
		{
			"Late control plane: s from the token's signature to the Node", b.cells("late", "signed to Node", columns...),
			"median 1.3 x the limit, 0.5 x `kubeadm join`; worst 2 x the limit",
			[]check{
				{b.mid("late", ours, "signed to Node") / b.mid("late", limit, "signed to Node"), 1.3, " x the limit"},
				{b.mid("late", ours, "signed to Node") / b.mid("late", bare, "signed to Node"), 0.5, " x `kubeadm join`"},
				{b.worst("late", ours, "signed to Node") / b.worst("late", limit, "signed to Node"), 2, " x the limit's worst"},
			},
		},
		{
			"Live control plane: s from start to the Node", b.cells("live", "start to Node", ours, bare),
			"1.15 x `kubeadm join`",
			[]check{{b.mid("live", ours, "start to Node") / b.mid("live", bare, "start to Node"), 1.15, " x"}},
		},
		{
			"Deleted by the Amazon controller: s until registered again", b.cells("deleted", "deleted to registered", columns...),
			"1.3 x a hand-typed restart",
			[]check{{b.mid("deleted", ours, "deleted to registered") / b.mid("deleted", restart, "deleted to registered"), 1.3, " x"}},
		},
		{
			"Reset of a Node that was Ready: s until a member", b.cells("reset", "seconds", ours, shellLoop, installer), "", nil,
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
	for _, w := range []struct {
		what, title string
		most        float64
	}{{"CPU s", "Waiting for an API server, 10 minutes: CPU s", 2}, {"resident MB", "the same: resident MB at the peak", 24}, {"packets/s", "the same: packets sent a second", 2}} {
		lines = append(lines, line{
			w.title, b.cells("waiting", w.what, ours, bare, shellLoop, installer), number(w.most), []check{{b.worst("waiting", ours, w.what), w.most, ""}},
		})
	}
	lines = append(lines, line{"Binary: MB, stripped", b.cells("size", "MB", ours), "18", []check{{b.worst("size", ours, "MB"), 18, ""}}})
	return append(lines, b.stormLines()...)
}

func (b *bench) stormLines() []line {
	n := b.largest()
	at := func(text string) string { return fmt.Sprintf("%d: %s", n, text) }
	lines := []line{
		{at("joined"), b.cells("storm", at("joined"), ours, shellLoop), number(float64(n)), []check{{float64(n) - b.mid("storm", ours, at("joined")), 0, " left out"}}},
		{
			at("s from signature to Node, 99th percentile"), b.cells("storm", at("99th percentile s"), ours, shellLoop), "", nil,
		},
		{at("s from signature to Node, median"), b.cells("storm", at("median s"), ours, shellLoop), "", nil},
		{at("requests a node by nodejoin itself, without probes"), b.cells("storm", at("nodejoin's requests a node"), ours), "12",
			[]check{{b.worst("storm", ours, at("nodejoin's requests a node")), 12, ""}}},
		{at("busiest second against the mean"), b.cells("storm", at("busiest second / mean"), ours, shellLoop), "4",
			[]check{{b.worst("storm", ours, at("busiest second / mean")), 4, ""}}},
	}
	for _, what := range []string{"API server's start to ready", "ready to signed"} {
		alone := b.mid("storm", ours, "0: "+what)
		lines = append(lines, line{
			at(what + ", s"), b.cells("storm", at(what), ours, shellLoop), fmt.Sprintf("1.1 x the %s s with nobody waiting", number(alone)),
			[]check{{b.mid("storm", ours, at(what)) / alone, 1.1, " x"}},
		})
	}
	for _, crowd := range crowds {
		what := fmt.Sprintf("%d: nodejoin's requests a node", crowd)
		if values, _ := b.of("storm", ours, what); len(values) > 0 && crowd != n {
			lines = append(lines, line{what, b.cells("storm", what, ours), "flat", nil})
		}
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

func (b *bench) table() string {
	var out strings.Builder
	fmt.Fprintf(&out, "Median (least to most) of all runs, %s; `make bench` made it.\n\n", machineWords())
	fmt.Fprintf(&out, "| what | %s | must reach at most | |\n| --- |%s --- | --- |\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, l := range b.lines() {
		fmt.Fprintf(&out, "| %s |", l.what)
		empty := true
		for _, who := range columns {
			fmt.Fprintf(&out, " %s |", l.cells[who])
			empty = empty && l.cells[who] == ""
		}
		var verdicts []string
		if !empty {
			for _, c := range l.reached {
				verdicts = append(verdicts, c.String())
			}
		}
		fmt.Fprintf(&out, " %s | %s |\n", l.target, strings.Join(verdicts, "; "))
	}
	fmt.Fprintf(&out, "\nWhat each module adds to the binary, in MB: ")
	var parts []string
	for _, s := range b.samples {
		if s.Row == "size" && s.Contender != ours {
			parts = append(parts, fmt.Sprintf("%s %.2f", s.Contender, s.Value))
		}
	}
	fmt.Fprintf(&out, "%s.\n", strings.Join(parts, ", "))
	return out.String()
}

// write keeps all that has been measured so far.
func (b *bench) write() error {
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(b.samples, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.results, "samples.json"), append(raw, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.results, "table.md"), []byte(b.table()), 0o644); err != nil {
		return err
	}
	b.say("written to %s at %s", b.results, time.Now().UTC().Format(time.RFC3339))
	return b.plots()
}
