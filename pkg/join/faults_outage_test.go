package join

import (
	"testing"
	"time"
)

// A kubelet that was silenced before it had registered is given its time again when the silence ends:
// it tries every few seconds, and a restart in the middle of that is no recovery.
func TestKubeletSilencedBeforeItRegisteredIsGivenItsTime(t *testing.T) {
	t.Attr("fault", "10")
	t.Attr("fault", "11")
	t.Attr("fault", "17")
	for from := 250 * time.Millisecond; from < 2*time.Second; from += 250 * time.Millisecond {
		simulate(t, func(c *Config) { c.Hold = 10 * time.Second }, func(s *sim, start func() (Report, error)) {
			s.after(from, func() { s.down = true })
			s.after(from+2*time.Minute, func() { s.down = false })
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(s.t, r, err)
		})
	}
}

// The shortest attempt that is allowed has room for a reset too: the join follows it, in the same attempt.
func TestShortestAttemptHasRoomForAReset(t *testing.T) {
	t.Attr("fault", "23")
	simulate(t, func(c *Config) { c.AttemptTimeout = minAttempt }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.disk.Leftovers = []string{"/etc/kubernetes/pki/ca.crt"}
		s.resetFail = func() error {
			time.Sleep(time.Second)
			s.change(func() { s.disk.Leftovers = nil })
			return nil
		}
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(s.t, r, err)
		if r.Counts.Attempts != 1 || r.FirstError != "" {
			s.t.Errorf("%d attempts, first error %q", r.Counts.Attempts, r.FirstError)
		}
	})
}
