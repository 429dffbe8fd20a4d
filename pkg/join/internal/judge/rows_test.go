package judge

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type point [axes]uint8

// usual values are those of dimensions that a space does not name.
func usual() (at point) {
	for a, values := range leading {
		if len(values) > 0 {
			at[a] = uint8(values[0])
		}
	}
	return at
}

// rower makes rows of points; what did not change since the last is kept.
type rower struct {
	base row
	at   point
	made row
}

func newRower() *rower {
	w := &rower{}
	w.base.p = Policy{MaxDeletions: 10, Hold: holdFor, MachineID: "machine", SystemUUID: "uuid", Endpoint: "cluster:6443"}
	w.base.m.Acts = acts
	for a := range byFresh {
		dimensions[a][0].set(&w.base)
	}
	return w
}

func (w *rower) row(at *point) *row {
	for a := range byFresh {
		if w.at[a] != at[a] {
			dimensions[a][at[a]].set(&w.base)
		}
	}
	w.at = *at
	w.made = w.base
	if r := &w.made; r.f.Credentials.Value.State != Loaded { // the token is all that sees it
		r.f.Second.Value, r.f.Node.Value = r.f.Node.Value, Sighting{}
	}
	if state := w.made.f.Credentials.Value.State; state != Loaded && state != NotUnderstood { // nothing tells whose they are
		w.made.f.Credentials.Value.NodeName = ""
	}
	if !w.made.taken() {
		w.made.m.takenSince = time.Time{}
	}
	dimensions[byFresh][at[byFresh]].set(&w.made)
	if r := &w.made; r.f.Credentials.Value.State != Loaded {
		r.f.Node = Fact[Sighting]{}
	}
	return &w.made
}

// taken: the last answers to the token leave it remembered since when it is taken
// while the Node is lost, which the memory forgets with any other answer.
func (r *row) taken() bool {
	c, s := r.f.Cluster.Value, r.f.Second.Value
	return c.NoToken == nil && c.Verdict == Proven && SharesKey(c.CA, r.f.Credentials.Value.CA) &&
		(s.Answer == Absent || s.Answer == Present && s.Node.Ready == "Unknown")
}

func (at *point) String() string {
	var s strings.Builder
	for a := range axes {
		fmt.Fprintf(&s, "  %d: %s\n", a, dimensions[a][at[a]].name)
	}
	return s.String()
}

// leading values are those with which the judge goes on to its later rows.
var leading = [axes][]int{
	byDisk: {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, byMachine: {3, 4}, byCreds: {1, 2, 3, 4, 5, 7, 8}, byKubelet: {6, 7, 8, 9, 10, 11, 12, 13, 14, 16},
	byPrograms: {2}, byName: {3, 4}, byEndpoint: {2, 3}, byCluster: {20, 21, 23, 26}, byRequest: {1, 2, 7, 8}, byJoin: {0},
	bySince: {3}, byRestart: {1, 2}, byHeard: {0}, byFailed: {0, 1}, byTaken: {2}, byDoubt: {0}, byDeletions: {0, 1}, byLeft: {0}, byFirstBoot: {0}, byFresh: {0},
}

func valuesOf(a axis, names []string) (values []int) {
	if len(names) == 0 {
		for i := range dimensions[a] {
			values = append(values, i)
		}
	}
	for _, name := range names {
		i := slices.IndexFunc(dimensions[a], func(v value) bool { return v.name == name })
		if i < 0 {
			panic(fmt.Sprintf("no value %q of %d", name, a))
		}
		values = append(values, i)
	}
	return values
}
