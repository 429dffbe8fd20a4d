package join

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

func TestProbesAreFastOnlyWhileAStartingServerIsAtEase(t *testing.T) {
	unsigned := cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed")}
	for name, c := range map[string]struct {
		answers time.Duration // ago; 0: none yet
		probe   cluster.Probe
		least   time.Duration
		took    time.Duration
		want    time.Duration
	}{
		"nothing answers":       {took: 3 * time.Second, want: probeSilent},
		"at ease":               {answers: time.Second, probe: unsigned, least: time.Millisecond, took: 2 * time.Millisecond, want: probeFast},
		"at ease, far away":     {answers: time.Minute, probe: unsigned, least: 250 * time.Millisecond, took: 251 * time.Millisecond, want: probeSilent},
		"busy":                  {answers: time.Second, probe: unsigned, least: time.Millisecond, took: 31 * time.Millisecond, want: 30 * probeShare * time.Millisecond},
		"very busy":             {answers: time.Second, probe: unsigned, least: time.Millisecond, took: 2 * time.Second, want: probeSilent},
		"nothing but 500 yet":   {probe: cluster.Probe{Err: apierrors.NewInternalError(errors.New("etcd"))}, least: time.Millisecond, took: 3 * time.Second, want: probeSilent},
		"gone again":            {answers: time.Second, took: 2 * time.Second, want: probeFast},
		"starting for too long": {answers: fastFor, probe: unsigned, took: 2 * time.Millisecond, want: probeSilent},
		"busy for longer":       {answers: time.Minute, probe: unsigned, least: time.Millisecond, took: 101 * time.Millisecond, want: 100 * probeShare * time.Millisecond},
		"busy for long":         {answers: time.Minute, probe: unsigned, least: time.Millisecond, took: 2 * time.Second, want: probeBusy},
	} {
		t.Run(name, func(t *testing.T) {
			d := discovery{least: c.least}
			if c.answers > 0 {
				d.answers = time.Now().Add(-c.answers)
			}
			if got := d.pace(c.probe, c.took, 0); got != c.want {
				t.Errorf("%s, wanted %s", got, c.want)
			}
			const jitter = 0.25
			least, most := time.Hour, time.Duration(0)
			for range 1000 {
				got := d.pace(c.probe, c.took, jitter)
				least, most = min(least, got), max(most, got)
			}
			if least < c.want*3/4 || most > c.want*5/4 || most-least < c.want/4 {
				t.Errorf("from %s to %s: a crowd is to be spread by %v of %s", least, most, jitter, c.want)
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
