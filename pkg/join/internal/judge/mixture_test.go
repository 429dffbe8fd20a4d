//go:build !race

package judge

import (
	"slices"
	"testing"
)

// TestNoActOnAnyMixtureOfOldFacts: every mixture of ages of all that acts and a
// success rest on, in rows that lead to each of them when all is fresh.
func TestNoActOnAnyMixtureOfOldFacts(t *testing.T) {
	mixed := []Topic{Files, Company, Kubeconfig, Unit, Token, Certificate, OwnNode, TokensNode}
	for name, values := range map[string]map[axis]string{
		"a success":        {bySight: "ours", byKubelet: "runs for an hour"},
		"a restart":        {bySight: "404", byRestart: "never", byKubelet: "runs for an hour"},
		"a stop":           {bySight: "404", byRestart: "5 min", byKubelet: "runs for an hour"},
		"a return":         {bySight: "404", byRestart: "never", byKubelet: "runs and is healthy", byReturn: "seen 40 s ago", byDeletions: "one"},
		"a reset, gone":    {bySight: "404", byRestart: "5 min", byStopped: "2 s"},
		"a reset, refused": {bySight: "401", byCreds: "expired", byStopped: "2 s", bySecond: "dead"},
		"a reset, cloned":  {bySight: "the image's, alive", byStopped: "2 s for a clone", byLease: "renewed"},
		"a reset, torn":    {byCreds: "unusable", byDisk: "leftovers"},
		"a reset, asked":   {byReset: "always, due", bySight: "ours"},
		"tidying":          {byCreds: "not there", byDisk: "an unfinished join"},
		"a join":           {byCreds: "not there"},
	} {
		at := usual()
		at[byCreds] = uint8(valuesOf(byCreds, []string{"loaded"})[0])
		for a, value := range values {
			at[a] = uint8(valuesOf(a, []string{value})[0])
		}
		base := *newRower().row(&at)
		wanted := Next(base.p, base.m, &base.f, now)
		if !wanted.Kind.Acts() && wanted.Reason != Held {
			t.Errorf("%s: with all fresh %+v", name, wanted)
			continue
		}
		found := map[string]int{}
		for mixture := range 1 << (2 * len(mixed)) { // four ages each
			r := base
			for i, topic := range mixed {
				if a := age(mixture >> (2 * i) & 3); a != fresh {
					r.date(topic, a)
				}
			}
			a := Next(r.p, r.m, &r.f, now)
			for _, p := range properties {
				if !p.holds(&r, a) {
					found[p.name]++
				}
			}
			// as few as it rests on may be old, and nothing harsher comes of it
			if harshness(a) > harshness(wanted) || a.Kind == wanted.Kind && a.Kind.Acts() && slices.ContainsFunc(mixed, func(topic Topic) bool {
				return a.Because&topic != 0 && !isFresh(r.f.stamp(topic))
			}) {
				found["an act on what is old"]++
			}
		}
		for what, n := range found {
			t.Errorf("%s: %d times: %s", name, n, what)
		}
	}
}
