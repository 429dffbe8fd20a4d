package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// tellings are the events of a run, without the details.
func tellings(t *testing.T, change func(*Config), story func(s *sim)) (told []Event) {
	t.Helper()
	simulate(t, func(c *Config) {
		c.Observe = func(e Event) {
			if e.Severity != Detail {
				told = append(told, e)
			}
		}
		if change != nil {
			change(c)
		}
	}, func(s *sim, start func() (Report, error)) {
		story(s)
		_, _ = start()
	})
	return told
}

func unreachable(cause string) cluster.Probe { return cluster.Probe{Err: errors.New(cause)} }

// The wait stays the same, its cause does not: first the name was unknown, then the address refused.
func TestChangedCauseOfAWaitIsSaid(t *testing.T) {
	began := time.Time{}
	told := tellings(t, func(c *Config) { c.Timeout, c.Hold = 20*time.Minute, 0 }, func(s *sim) {
		began = time.Now()
		s.verdict = unreachable("no such host")
		s.after(3*time.Second, func() { s.verdict = unreachable("connection refused") })
		s.after(8*time.Minute, func() { s.verdict = unreachable("certificate has expired") })
	})
	for cause, at := range map[string]time.Duration{"no such host": 0, "connection refused": 3 * time.Second, "certificate has expired": 8 * time.Minute} {
		first := time.Duration(-1)
		for _, e := range told {
			if strings.Contains(e.Message, cause) && first < 0 {
				first = e.Time.Sub(began)
				if e.Repeat {
					t.Errorf("%q is told as a repeat", e.Message)
				}
			}
		}
		if first < at || first > at+2*time.Second {
			t.Errorf("%q began at %s, told at %s", cause, at, first)
		}
	}
}

// A load balancer with a dead server behind it, and an error that holds a port, change their words every second.
func TestCausesThatChangeAllTheTimeAreThinnedOut(t *testing.T) {
	for name, probe := range map[string]func(i int) cluster.Probe{
		"two causes in turn": func(i int) cluster.Probe { return unreachable([]string{"connection refused", "timeout"}[i%2]) },
		"never the same":     func(i int) cluster.Probe { return unreachable(fmt.Sprintf("read tcp 10.0.0.2:%d: reset", 40000+i)) },
		"two waits in turn": func(i int) cluster.Probe {
			return cluster.Probe{Verdict: []cluster.Verdict{cluster.Unreachable, cluster.NotServed}[i%2], Err: errors.New("no")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := tellings(t, func(c *Config) { c.Hold = 0 }, func(s *sim) {
				i := 0
				var flap func()
				flap = func() {
					s.verdict = probe(i)
					i++
					s.after(time.Second, flap)
				}
				flap()
			})
			if len(told) < 6 || len(told) > 30 {
				t.Errorf("%d lines in half an hour:", len(told))
				for _, e := range told {
					t.Log(e.Time.Format("04:05"), e.Message)
				}
			}
		})
	}
}

func TestWaitThatGoesOnIsToldEverMoreSeldom(t *testing.T) {
	lines := 0
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Hour, 0; c.Observe = func(Event) { lines++ } }, func(s *sim, start func() (Report, error)) {
		s.down = true
		r, err := start()
		wanted{reason: Unreachable}.check(t, r, err)
	})
	if lines < 5 || lines > 25 {
		t.Errorf("%d events in an hour of silence", lines)
	}
}

func TestErrorThatRunReturnsIsRedacted(t *testing.T) {
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim) world { return s }, func(s *sim) {
		s.join = func(context.Context) error { return errors.New("kubeadm printed " + simToken) }
	}, func(r Report, err error) {
		if err == nil || strings.Contains(err.Error(), simToken[7:]) || strings.Contains(r.LastError, simToken[7:]) {
			t.Errorf("error %v, last error %q", err, r.LastError)
		}
	})
}

func TestFirstAndLastErrorAreBothKept(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.join = func(context.Context) error { return errors.New("the cause") }
		s.after(10*time.Second, func() {
			s.join = func(context.Context) error { return errors.New("what came of it") }
		})
		r, err := start()
		wanted{reason: JoinFailed, joins: -1}.check(t, r, err)
		if !strings.Contains(r.FirstError, "the cause") || !strings.Contains(r.LastError, "what came of it") {
			t.Errorf("first error %q, last error %q", r.FirstError, r.LastError)
		}
	})
}
