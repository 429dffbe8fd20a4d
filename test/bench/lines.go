package main

import (
	"fmt"
	"math"
	"slices"
)

// bestPossible is the column of what no program can beat: a join started at the right moment, a restart typed at once.
const bestPossible = "the best possible"

// columns are the contenders of the table.
func (b *bench) columns() []string {
	columns := []string{ours, bestPossible, bare, shellLoop, installer}
	if slices.ContainsFunc(b.Samples, func(s sample) bool { return s.Contender == before }) {
		columns = slices.Insert(columns, 1, before)
	}
	return columns
}

func (b *bench) lines() []line {
	late, deleted := b.cells("late", "signed to Node", ours, bare, shellLoop, installer), b.cells("deleted", "deleted to registered", ours, bare, shellLoop, installer)
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
			"1.05 x `kubeadm join`",
			[]check{{b.mid("live", ours, "start to Node") / b.mid("live", bare, "start to Node"), 1.05, " x"}},
		},
		{
			"Deleted by the Amazon controller: s until registered again", deleted,
			"1.3 x a hand-typed restart",
			[]check{{b.mid("deleted", ours, "deleted to registered") / b.mid("deleted", restart, "deleted to registered"), 1.3, " x"}},
		},
		{
			"the same: % of returns in which podCIDR, cordon, taints and labels are as before", b.back("not Ready: % as before", b.share), "100 at least",
			[]check{{100 - b.mean("returned", ours, "not Ready: % as before"), 0, " % short"}},
		},
		{
			"A Node that was Ready, deleted by hand: s until it is there again", b.back("Ready: deleted to there again", b.spread), "0.3 x a hand-typed restart",
			[]check{{b.mid("returned", ours, "Ready: deleted to there again") / b.mid("returned", restart, "Ready: deleted to there again"), 0.3, " x"}},
		},
		{
			"the same: ms not Ready, as a client that watches sees it", b.back("ms not Ready", b.spread), "0",
			[]check{{b.worst("returned", ours, "ms not Ready"), 0, " at worst"}},
		},
		b.struckLine(),
		b.besideBefore("the same: ms not Ready after each", "struck", notReadyEach, 0.3),
		b.besideBefore("Certificate expired while nobody reported: s until the same Node is reported for again", "expired", reportsAgain, 0.05,
			check{b.nevers("expired", ours, reportsAgain), 0, " never"}),
		{
			"the same: % of the pods' processes that live", b.cells("expired", podsAlive, ours, shellLoop), "100 at least",
			[]check{{100 - b.least("expired", ours, podsAlive), 0, " % short"}},
		},
		{
			"the same: resets", b.cells("expired", resetsDone, ours, shellLoop), "0",
			[]check{{b.worst("expired", ours, resetsDone), 0, " at worst"}},
		},
		b.besideBefore("Reset of a Node that was Ready: s until it is Ready again", "reset", "seconds", 0.15, check{b.nevers("reset", ours, "seconds"), 0, " never"}),
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
func (b *bench) back(what string, tell func(row, who, what string) string) map[string]string {
	return map[string]string{ours: tell("returned", ours, what), before: tell("returned", before, what), bestPossible: tell("returned", restart, what)}
}

// besideBefore is a line with what is to be reached beside the build before, if that was measured, and what is in any case.
func (b *bench) besideBefore(text, row, what string, most float64, reached ...check) line {
	l := line{text, b.cells(row, what, ours, shellLoop, installer), "", reached}
	if its := b.mid(row, before, what); !math.IsNaN(its) {
		l.target = number(most) + " x the build before"
		l.reached = append(l.reached, check{b.mid(row, ours, what) / its, most, " x"})
	}
	return l
}

// struckLine tells deletions, which are few, by their sum.
func (b *bench) struckLine() line {
	l := line{"A Node that is Ready, deleted by hand, unknown to EC2: how often the Amazon controller deletes it again", map[string]string{}, "", nil}
	share := map[string]float64{}
	for _, who := range []string{ours, before} {
		again, all := b.sum("struck", who, deletedAgain), b.sum("struck", who, deletedByHand)
		if all > 0 {
			l.cells[who], share[who] = fmt.Sprintf("%s of %s", number(again), number(all)), again/all
		}
	}
	if share[before] > 0 {
		l.target, l.reached = "0.3 x the build before", []check{{share[ours] / share[before], 0.3, " x"}}
	}
	return l
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
