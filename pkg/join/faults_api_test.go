package join

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// Late by ten minutes, and by some more, so that it comes up at any moment between two probes.
func TestControlPlaneTenMinutesLateIsTriedWithinThreeSeconds(t *testing.T) {
	t.Attr("fault", "18")
	for more := time.Duration(0); more < 2*time.Second; more += 100 * time.Millisecond {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			late := 10*time.Minute + more
			s.down, s.ready = true, true
			s.after(late, func() { s.down = false })
			began := time.Now()
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(s.t, r, err)
			if d := r.Attempts[0].StartedAt.Sub(began.Add(late)); d < 0 || d > 3*time.Second {
				s.t.Errorf("up after %s, the attempt began %s later", late, d)
			}
		})
	}
}

// To the loop they are the same: nothing answers for a while. Here the silence begins at any moment of a
// run and ends before or after every patience of the rules. A kubelet that was silenced before it had registered may be
// restarted once; nothing harsher is done, and what was a member stays the same one.
func TestSilenceAtAnyMomentIsOutlasted(t *testing.T) {
	t.Attr("fault", "10")
	t.Attr("fault", "11")
	t.Attr("fault", "17")
	t.Attr("outcome", "- Joined|Recovered 1 0 -3 0 0 0") // as checked below
	for from := time.Duration(0); from < 15*time.Second; from += 250 * time.Millisecond {
		for _, lasts := range []time.Duration{time.Second, 20 * time.Second, 2 * time.Minute, 10 * time.Minute} {
			simulate(t, func(c *Config) { c.Hold, c.AttemptTimeout = 10*time.Second, 15*time.Minute }, func(s *sim, start func() (Report, error)) {
				s.down = from == 0
				s.after(from, func() { s.down = true })
				s.after(from+lasts, func() { s.down = false })
				r, err := start()
				if err != nil || r.Counts.Joins != 1 || r.Counts.Resets != 0 || r.Counts.KubeletRestarts > 1 || r.Counts.Deletions != 0 || r.Node.UID != "uid-1" {
					s.t.Errorf("silent from %s for %s: %v, counts %+v, Node %s", from, lasts, err, r.Counts, r.Node.UID)
				}
			})
		}
	}
}

// What the server asks for is obeyed, and no longer than it asks.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Attr("fault", "13")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.verdict = cluster.Probe{Err: errors.New("too many requests"), RetryAfter: 30 * time.Second}
		s.after(10*time.Second, func() { s.verdict = cluster.Probe{} })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(s.t, r, err)
		took(s.t, r, 30*time.Second, 34*time.Second)
	})
}

// A denied request fails the run at the deadline; each denial is named, and the reset between two requests is
// allowed, for a denied one is worth nothing.
func TestDeniedRequestIsNamedAtTheDeadline(t *testing.T) {
	t.Attr("fault", "23")
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.disk.Leftovers = []string{"/etc/kubernetes/bootstrap-kubelet.conf"}
		s.running = true
		s.request = &cluster.Request{Name: "csr-1", Denied: true, Own: true, Message: "not on this network"}
		s.join = func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		r, err := start()
		wanted{reason: JoinFailed, joins: -1, resets: -1}.check(s.t, r, err)
		if !strings.Contains(r.FirstError, "csr-1") || !strings.Contains(r.FirstError, "not on this network") {
			s.t.Errorf("first error %q", r.FirstError)
		}
		if !strings.Contains(r.Hint, "certificate request csr-1 ") || !strings.Contains(r.Hint, "was denied: not on this network") {
			s.t.Errorf("at the deadline the hint is %q, the message %q", r.Hint, r.Message)
		}
	})
}

// Fault 23. The kubelet asks again after each denial: whoever approves the new request should know of the old one.
func TestPendingRequestTellsOfTheDeniedOneBefore(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.disk.Leftovers = []string{"/etc/kubernetes/bootstrap-kubelet.conf"}
		s.running = true
		s.request = &cluster.Request{Name: "csr-2", Pending: true, Before: &cluster.Request{Name: "csr-1", Denied: true, Message: "not on this network"}}
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		for _, want := range []string{"csr-1", "was denied: not on this network", "kubectl certificate approve csr-2"} {
			if !strings.Contains(r.Hint, want) {
				s.t.Errorf("hint %q does not say %q", r.Hint, want)
			}
		}
	})
}

// Fault 23. What was denied once is no excuse for what fails after the certificate has come.
func TestDenialIsForgottenWithTheCertificate(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.disk.Leftovers = []string{"/etc/kubernetes/bootstrap-kubelet.conf"}
		s.running, s.policy = true, true
		s.request = &cluster.Request{Name: "csr-2", Pending: true, Before: &cluster.Request{Name: "csr-1", Denied: true, Message: "not on this network"}}
		s.after(20*time.Second, func() { s.joined(); s.node = nil })
		r, err := start()
		wanted{reason: JoinFailed, joins: -1, resets: -1, restarts: -1}.check(s.t, r, err)
		if strings.Contains(r.Hint+r.Message, "denied") {
			s.t.Errorf("message %q, hint %q", r.Message, r.Hint)
		}
	})
}
