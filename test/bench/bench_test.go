package main

import (
	"os"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/readme"
)

// No number of README is typed by hand: what it shows follows from the samples beside it, to the letter.
func TestTheREADMEHereShowsWhatTheSamplesSay(t *testing.T) {
	b := &bench{folder: "results"}
	if err := b.load(); err != nil {
		t.Fatal(err)
	}
	if len(b.Samples) == 0 {
		t.Fatal("there are no samples")
	}
	b.folder = t.TempDir()
	drawn, err := b.plots()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := readme.Shown("README.md", begin, end)
	if err != nil {
		t.Fatal(err)
	}
	if shown != b.shown(drawn) {
		t.Errorf("README has\n%s\nand the samples say\n%s\n  to mend it: make bench ROW=size", shown, b.shown(drawn))
	}
	for _, d := range drawn {
		if _, err := os.Stat("results/" + d.file); err != nil {
			t.Errorf("README shows a plot that is not there: %v", err)
		}
	}
}

func TestTargetThatIsMissedIsSaidToBe(t *testing.T) {
	b := &bench{}
	say := func() string {
		for line := range strings.Lines(b.table()) {
			if strings.Contains(line, "Live control plane") {
				return line
			}
		}
		return ""
	}
	add := func(who string, values ...float64) {
		for i, v := range values {
			b.Samples = append(b.Samples, sample{Row: "live", Contender: who, What: "start to Node", Run: i, Value: v})
		}
	}
	if line := say(); line != "" {
		t.Errorf("a row that was not measured is shown: %s", line)
	}
	add(bare, 1, 1.1, 0.9)
	add(ours, 1.04)
	if line := say(); !strings.Contains(line, "| reached: 1.04 x |") {
		t.Errorf("1.05 is the limit: %s", line)
	}
	add(ours, 1.2, 1.2)
	if line := say(); !strings.Contains(line, "| **missed**: 1.20 x |") {
		t.Errorf("1.2 is beyond it: %s", line)
	}
	b.Samples = append(b.Samples, sample{Row: "deleted", Contender: ours, What: "deleted to registered", Never: true})
	if text := b.table(); !strings.Contains(text, "| never |") {
		t.Errorf("a Node that never came back is not told: %s", text)
	}
}

func TestStartsAreComparedRoundByRound(t *testing.T) {
	b := &bench{}
	for run, values := range [][2]float64{{1, 1.2}, {10, 11}, {2, 2}} {
		b.Samples = append(b.Samples, sample{Row: "storm", Contender: idle, What: "w", Run: run, Value: values[0]},
			sample{Row: "storm", Contender: ours, What: "w", Run: run, Value: values[1]})
	}
	b.Samples = append(b.Samples, sample{Row: "storm", Contender: ours, What: "w", Run: 3, Value: 100}) // its round was not measured whole
	if got := b.against("storm", "w", ours, idle); got != 1.1 {
		t.Errorf("%v; 1.2, 1.1 and 1 have the median 1.1", got)
	}
}

func TestBuildBeforeHasAColumnAndTargetsOnlyWhereItWasMeasured(t *testing.T) {
	b := &bench{}
	add := func(row, who, what string, values ...float64) {
		for i, v := range values {
			b.Samples = append(b.Samples, sample{Row: row, Contender: who, What: what, Run: i, Value: v})
		}
	}
	has := func(wanted ...string) {
		t.Helper()
		for _, text := range wanted {
			if table := b.table(); !strings.Contains(table, text) {
				t.Errorf("nothing says %q:\n%s", text, table)
			}
		}
	}
	add("reset", ours, "seconds", 6)
	add("struck", ours, deletedByHand, 50, 50)
	add("struck", ours, deletedAgain, 0, 1)
	has("| 6 |  |  |  |  |  | reached: 0 never |", "| 1 of 100 |  |  |  |  |  |  |")
	if strings.Contains(b.table(), before) {
		t.Error("a build before that was not measured has a column")
	}
	add("reset", before, "seconds", 60)
	add("struck", before, deletedByHand, 50, 50)
	add("struck", before, deletedAgain, 0, 0)
	has("| nodejoin | nodejoin before |", "| 6 | 60 |  |  |  |  | 0.15 x the build before | reached: 0 never; reached: 0.10 x |",
		"| 1 of 100 | 0 of 100 |  |  |  |  |  |  |") // nothing can be a part of nothing
	add("struck", before, deletedAgain, 2)
	has("| 1 of 100 | 2 of 100 |  |  |  |  | 0.3 x the build before | **missed**: 0.50 x |")
}

func TestShareIsToldAsOneAndNotAsAMedian(t *testing.T) {
	b := &bench{}
	for run, v := range []float64{100, 100, 100, 0} {
		b.Samples = append(b.Samples, sample{Row: "returned", Contender: ours, What: "not Ready: % as before", Run: run, Value: v})
	}
	if text := b.table(); !strings.Contains(text, "| 75 (4) |  |  |  |  | 100 at least | **missed**: 25 % short |") {
		t.Errorf("three of four are not told:\n%s", text)
	}
}
