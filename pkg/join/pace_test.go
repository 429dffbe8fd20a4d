package join

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

func TestProbesAreFastOnlyWhileAStartingServerIsAtEase(t *testing.T) {
	unsigned := cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed")}
	unavailable := cluster.Probe{Err: apierrors.NewInternalError(errors.New("etcd"))}
	busy := atEase + 30*time.Millisecond
	const silence = -1
	for name, c := range map[string]struct {
		answers time.Duration // ago; 0: none yet
		probe   cluster.Probe
		before  []time.Duration
		took    time.Duration
		want    time.Duration
	}{
		"nothing answers":       {want: judge.ProbeSilent},
		"nothing but 500 yet":   {probe: unavailable, before: []time.Duration{busy}, took: atEase + 10*time.Millisecond, want: judge.ProbeSilent},
		"500 by a busy server":  {probe: unavailable, before: []time.Duration{busy}, took: busy, want: 30 * probeShare * time.Millisecond},
		"at ease":               {answers: time.Second, probe: unsigned, before: []time.Duration{time.Millisecond}, took: 2 * time.Millisecond, want: probeFast},
		"busy once":             {answers: time.Second, probe: unsigned, before: []time.Duration{0}, took: 2 * time.Second, want: probeFast},
		"at ease again":         {answers: time.Second, probe: unsigned, before: []time.Duration{2 * (atEase + 70*time.Millisecond)}, want: 70 * probeShare * time.Millisecond},
		"at ease for some time": {answers: time.Second, probe: unsigned, before: []time.Duration{4 * atEase, 0}, want: probeFast},
		"busy":                  {answers: time.Second, probe: unsigned, before: []time.Duration{0, time.Second}, took: busy, want: 30 * probeShare * time.Millisecond},
		"busy from its first":   {answers: time.Second, probe: unsigned, took: busy, want: 30 * probeShare * time.Millisecond},
		"very busy at first":    {answers: time.Second, probe: unsigned, took: 2 * time.Second, want: probeBusy},
		"very busy":             {answers: time.Second, probe: unsigned, before: []time.Duration{time.Second}, took: 2 * time.Second, want: probeBusy},
		"very busy long ago":    {answers: time.Second, probe: unsigned, before: []time.Duration{7 * time.Second, 7 * time.Second, 0, 0, 0, 0}, want: probeFast},
		"back at ease":          {answers: time.Second, probe: unsigned, before: []time.Duration{time.Second, time.Second, silence}, want: probeFast},
		"back with one answer":  {answers: time.Second, probe: unsigned, before: []time.Duration{0, silence}, took: busy, want: 30 * probeShare * time.Millisecond},
		"gone again":            {answers: time.Second, before: []time.Duration{2 * time.Second}, want: probeFast},
		"gone again for longer": {answers: time.Minute, before: []time.Duration{2 * time.Second}, want: judge.ProbeSilent},
		"starting for too long": {answers: judge.StartsFor, probe: unsigned, before: []time.Duration{time.Millisecond}, took: 2 * time.Millisecond, want: judge.ProbeSilent},
		"busy for longer":       {answers: time.Minute, probe: unsigned, before: []time.Duration{0, time.Second}, took: atEase + 100*time.Millisecond, want: 100 * probeShare * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			c.probe.Took = c.took
			pace := func(jitter float64) time.Duration {
				var d pace
				if c.answers > 0 {
					d.answers = time.Now().Add(-c.answers)
				}
				for _, took := range c.before {
					p := cluster.Probe{Verdict: cluster.Unsigned, Took: took}
					if took == silence {
						p = cluster.Probe{Err: errors.New("connection refused")}
					}
					d.after(p, 0)
				}
				return d.after(c.probe, jitter)
			}
			if got := pace(0); got != c.want {
				t.Errorf("%s, wanted %s", got, c.want)
			}
			const jitter = 0.25
			spread := jitter
			if c.want != probeFast && c.want != judge.ProbeSilent {
				spread = 2 * jitter
			}
			least, most := time.Hour, time.Duration(0)
			for range 1000 {
				got := pace(jitter)
				least, most = min(least, got), max(most, got)
			}
			part := time.Duration(spread * float64(c.want))
			if least < c.want-part || most > c.want+part || most-least < part*3/2 {
				t.Errorf("from %s to %s: a crowd is to be spread by %v of %s", least, most, spread, c.want)
			}
		})
	}
}

// What a dry run has to say takes two looks, some seconds apart.
func TestADryRunLooksAgainBesideABusyServer(t *testing.T) {
	for name, story := range map[string]struct {
		story func(*sim)
		want  Reason
	}{
		"signed 2 s late": {func(s *sim) {
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed"), Took: time.Second}
			s.after(2*time.Second, func() { s.verdict = cluster.Probe{} })
		}, WouldJoin},
		"signed with another secret": {func(s *sim) {
			s.verdict = cluster.Probe{Verdict: cluster.BadSignature, Err: errors.New("another secret"), Took: time.Second}
		}, WrongCluster},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the pauses are random
				simulate(t, func(c *Config) { c.DryRun = true }, func(s *sim, start func() (Report, error)) {
					story.story(s)
					if r, _ := start(); r.Reason != story.want {
						t.Errorf("reason %s (%s), wanted %s", r.Reason, r.Message, story.want)
					}
				})
			}
		})
	}
}

// The token may have been created, and cluster-info not yet signed, since it was last shown.
func TestTokenIsRejectedOnAFreshAnswerOnly(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
		refused := cluster.Probe{Verdict: cluster.Unsigned, Pinned: true, Err: errors.New("not signed"), Node: cluster.Sighting{Answer: cluster.Unauthorized}, Old: true}
		s.verdict = refused
		s.after(100*time.Second, func() { refused.Old = false; s.verdict = refused })
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		if took := time.Duration(r.Duration); took < 100*time.Second {
			t.Errorf("rejected after %s, on an old answer", took)
		}
	})
}
