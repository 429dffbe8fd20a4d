package join

import (
	"errors"
	"testing"
	"time"
)

// systemd is not there yet in the first seconds of a boot; one failure is no word for the rest of the run.
func TestInitSystemThatIsSilentAtFirstIsAskedAgain(t *testing.T) {
	for begins, want := range map[string]wanted{
		"a clean host":   {reason: Joined, joins: 1},
		"leftovers":      {reason: Joined, joins: 1, resets: 1},
		"a deleted Node": {reason: Recovered, restarts: 1},
	} {
		t.Run(begins, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.initFails = errors.New("failed to connect to bus")
				s.after(5*time.Second, func() { s.initFails = nil })
				s.change(func() { beginnings[begins](s) })
				r, err := start()
				want.check(s.t, r, err)
				took(s.t, r, 0, 30*time.Second)
			})
		})
	}
}
