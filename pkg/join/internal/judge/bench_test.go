package judge

import (
	"testing"
	"time"
)

// rowOf has the usual value in whatever is not named, and credentials that load.
func rowOf(values map[axis]string) *row {
	at := usual()
	at[byCreds] = uint8(valuesOf(byCreds, []string{"loaded"})[0])
	for a, name := range values {
		at[a] = uint8(valuesOf(a, []string{name})[0])
	}
	made := *newRower().row(&at)
	return &made
}

// typical rows of a run.
func typical() map[string]*row {
	return map[string]*row{
		"hold":           rowOf(map[axis]string{bySight: "ours, uninitialized", byKubelet: "runs for an hour", byHold: "59 s"}),
		"silent server":  rowOf(map[axis]string{byCreds: "not there", byCluster: "silence", byDisk: "clean"}),
		"gone":           rowOf(map[axis]string{bySight: "404", byKubelet: "runs for an hour", byRestart: "59 s"}),
		"reset":          rowOf(map[axis]string{bySight: "404", byStopped: "2 s", byRestart: "5 min", byKubelet: "stopped", byCluster: "no Node"}),
		"join, by hand":  rowOf(map[axis]string{byCreds: "not there", byDisk: "clean", byCluster: "no Node"}),
		"other's silent": rowOf(map[axis]string{bySight: "silence"}),
	}
}

func BenchmarkNext(b *testing.B) {
	for name, r := range typical() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Next(r.p, r.m, &r.f, now)
			}
		})
	}
}

// TestAJudgementStaysCheap, however long a run lasts: a loop that is woken by
// every answer must not get slower with them.
func TestAJudgementStaysCheap(t *testing.T) {
	for name, r := range typical() {
		cost := func() float64 {
			return testing.AllocsPerRun(100, func() { Next(r.p, r.m, &r.f, now) })
		}
		short := cost()
		if short > 40 {
			t.Errorf("%s: %v allocations", name, short)
		}
		m := r.m
		for i := range 10_000 {
			s := seen(with(ourNode, "True"))
			s.Node.UID = string(rune('a' + i%7000))
			at := now.Add(time.Duration(i) * time.Second)
			m = m.takeNode(r.p, Fact[Sighting]{Value: s, Asked: at, At: at, News: true})
			m = m.takeKubelet(Kubelet{Running: true, PID: i + 1}, now)
			m = m.Failed(now, now)
		}
		m.Is, m.exits, m.Deletions, m.OwnUID, m.LevelUID, m.PID = r.m.Is, r.m.exits, 0, r.m.OwnUID, r.m.LevelUID, r.m.PID
		m.ranSince, m.Since, m.LevelSince, m.FailedAt, m.BackOffUntil, m.Lost = r.m.ranSince, r.m.Since, r.m.LevelSince, r.m.FailedAt, r.m.BackOffUntil, r.m.Lost
		r.m = m
		if long := cost(); long > short+1 { // fmt keeps its buffers in a pool, which a garbage collection empties
			t.Errorf("%s: %v allocations at first, %v after 10000 answers", name, short, long)
		}
	}
}
