package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// What takes long must not make another answer old for ever. systemd and the journal of a small machine that boots take
// seconds, and so does an API server for which hundreds of nodes wait.
func TestSlowAnswersComeToADecision(t *testing.T) {
	for begins, want := range map[string]wanted{
		"a clean host":                    {reason: Joined, joins: 1},
		"leftovers":                       {reason: Joined, joins: 1, resets: 1},
		"a member":                        {reason: AlreadyJoined},
		"a deleted Node":                  {reason: Recovered, restarts: 1},
		"a clone of a living machine":     {reason: Joined, joins: 1, resets: 1},
		"a kubelet.conf of another kind":  {reason: AlreadyJoined},
		"another kind of it, and no Node": {reason: Recovered, restarts: 1},
	} {
		for _, here := range []time.Duration{0, 600 * time.Millisecond, 3 * time.Second} {
			for _, there := range []time.Duration{0, time.Second, 1900 * time.Millisecond, 3 * time.Second} {
				t.Run(fmt.Sprintf("%s, %s here, %s there", begins, here, there), func(t *testing.T) {
					live(t, nil, func(s *sim, start func() (Report, error)) {
						s.askTakes, s.answers = here, there
						s.change(func() { beginnings[begins](s) })
						r, err := start()
						want.check(s.t, r, err)
						took(s.t, r, 0, 3*time.Minute)
					})
				})
			}
		}
	}
}

// laggard is a cluster that is slow to list certificate requests.
type laggard struct {
	world
	takes time.Duration
}

func (l laggard) Request(ctx context.Context, names []string) (*cluster.Request, error) {
	_ = wait(ctx, l.takes)
	return l.world.Request(ctx, names)
}

// Two answers of the cluster's, and a look at this machine that comes after each: whichever time they begin at, they meet.
func TestAnswersDoNotMakeEachOtherOld(t *testing.T) {
	for what, until := range map[string]func(s *sim, d time.Duration){
		"a request is pending": func(s *sim, d time.Duration) {
			s.request = otherRequest()
			s.after(d, func() { s.request = nil })
		},
		"kubeadm does not say its version": func(s *sim, d time.Duration) { s.fitTakes = d },
	} {
		for _, here := range []time.Duration{1500 * time.Millisecond, 3 * time.Second} {
			for _, there := range []time.Duration{0, 100 * time.Millisecond} {
				for _, lag := range []time.Duration{0, time.Second} {
					for d := 2 * time.Second; d < 12*time.Second; d += 700 * time.Millisecond {
						simulateWorld(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim) world { return laggard{s, lag} }, func(s *sim) {
							s.ready, s.askTakes, s.answers = true, here, there
							s.disk.Leftovers = []string{kubeletConf}
							until(s, d)
						}, func(r Report, err error) {
							if r.Reason != Joined || time.Duration(r.Duration) > d+time.Minute {
								t.Errorf("%s for %s, the init system takes %s, the cluster %s, requests %s more: %s after %s: %v", what, d, here, there, lag, r.Reason, time.Duration(r.Duration), err)
							}
						})
					}
				}
			}
		}
	}
}

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

// The controllers are away, so nobody turns Ready of a Node whose kubelet runs and is not let to report.
func TestKubeletOfAMemberThatDoesNotReportFailsOncePerPause(t *testing.T) {
	events, stop := 0, func() {}
	count := func(c *Config) {
		c.Observe = func(Event) {
			if events++; events > 100 { // a loop at one instant has no other end
				stop()
			}
		}
	}
	simulate(t, count, func(s *sim, start func() (Report, error)) {
		stop = s.interrupt
		s.ready, s.policy = true, true
		s.joined()
		s.node.Heartbeat = time.Now().Add(-time.Minute)
		s.end(false)
		s.after(150*time.Second, func() { s.policy = false })
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(s.t, r, err)
	})
}

// Found by a random schedule: to stop the service does not stop it, and each try made all that was known old.
func TestKubeletOutsideItsServiceIsNotStoppedAgainAndAgain(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.change(func() { s.joined(); s.creds, s.node, s.pods, s.stray = nil, nil, 0, true })
		s.after(time.Minute, func() { s.end(false) })
		r, err := start()
		wanted{reason: Recovered, again: 1}.check(s.t, r, err)
		if slices.Contains(s.log, "stop kubelet") {
			s.t.Errorf("it was stopped: %q", s.log)
		}
	})
}
