package join

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// A Node that is deleted while it is held comes back as it was, under the kubelet that runs.
func TestDeletedNodeIsPutBackAsItWas(t *testing.T) {
	live(t, func(c *Config) { c.Until = Ready }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		life := s.life
		s.node.Taints, s.node.Unschedulable, s.node.PodCIDR = []string{"team=blue:NoSchedule"}, true, "10.1.2.0/24"
		s.after(10*time.Second, s.deleteNode)
		s.after(40*time.Second, func() { s.setReady(true) })
		r, err := start()
		wanted{reason: Recovered, back: 1, deletions: 1}.check(s.t, r, err)
		if s.life != life || !s.node.Unschedulable || len(s.node.Taints) != 1 || s.node.PodCIDR != "10.1.2.0/24" {
			s.t.Errorf("the kubelet was restarted: %t; Node %+v", s.life != life, s.node)
		}
		had := r.Deletions[0]
		if !had.Cordoned || len(had.Taints) != 1 || had.PodCIDR != "10.1.2.0/24" {
			s.t.Errorf("the report says of the deleted Node: %+v", had)
		}
	})
}

// Whatever keeps it from coming back as it was, the kubelet's restart brings a new one.
func TestNodeThatCannotBePutBackComesByARestart(t *testing.T) {
	for name, c := range map[string]struct {
		world  func(*sim)
		change func(*Config)
		want   wanted
		warns  bool
	}{
		"creations are refused":           {func(s *sim) { s.unwritable = true }, nil, wanted{restarts: 1}, true},
		"the user does not want it":       {func(*sim) {}, func(c *Config) { c.Restore = RestoreNever }, wanted{restarts: 1}, false},
		"the kubelet does not take it up": {func(s *sim) { s.aloofKubelet = true }, nil, wanted{restarts: 1, back: 1}, false},
		"the answer is lost":              {func(s *sim) { s.unheard = true }, nil, wanted{back: 1}, false},
		"the kubelet has ended":           {func(s *sim) { s.after(9*time.Second, s.crashNow) }, nil, wanted{restarts: 1}, false},
		"nobody could see it for 45 s": {func(s *sim) {
			s.after(8*time.Second, func() { s.down = true })
			s.after(53*time.Second, func() { s.down = false })
		}, nil, wanted{restarts: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, c.change, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(false)
				c.world(s)
				s.after(10*time.Second, s.deleteNode)
				r, err := start()
				c.want.reason, c.want.deletions = Recovered, 1
				c.want.check(s.t, r, err)
				if (len(r.Warnings) > 0) != c.warns {
					s.t.Errorf("warnings %q", r.Warnings)
				}
				if s.pods != 2 {
					s.t.Error("its pods are dead")
				}
			})
		})
	}
}

// The creation meets an API server that goes down: it was not one that is refused.
func TestReturnThatMeetsAnOutageIsTriedAgain(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.after(10*time.Second, s.deleteNode)
		met := 0
		s.slowPutBack = func() {
			if met++; met == 1 {
				s.down = true
				s.after(5*time.Second, func() { s.down = false })
			}
		}
		r, err := start()
		wanted{reason: Recovered, back: 1, deletions: 1}.check(s.t, r, err)
		if met != 2 {
			s.t.Errorf("%d creations", met)
		}
	})
}

// One that somebody else has made meanwhile is theirs to fill.
func TestNodeThatSomebodyElseHasMadeIsNotPutOver(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.after(10*time.Second, s.deleteNode)
		s.fitTakes = time.Hour // nothing asks for it
		s.slowPutBack = func() { s.addNode(simBoot); s.node.Ready = "False" }
		r, err := start()
		wanted{reason: Recovered, deletions: 1}.check(s.t, r, err)
		if len(r.Warnings) != 1 { // of the hold that ended without Ready, or none
			s.t.Logf("warnings %q", r.Warnings)
		}
	})
}

// Nobody is told that a kubelet is well which does not say so.
func TestNodeOfAnUnwellKubeletIsNotPutBackAsReady(t *testing.T) {
	live(t, func(c *Config) { c.Until = Ready }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(true)
		s.node.Uninitialized, s.tainted = true, true
		s.after(5*time.Second, func() { s.unwell = true; s.deleteNode() })
		s.after(5*time.Second+2*time.Millisecond, func() {
			if s.node == nil || s.node.Ready != "Unknown" {
				s.t.Errorf("Node %+v", s.node)
			}
			s.unwell = false
		})
		s.after(30*time.Second, s.accept)
		r, err := start()
		wanted{reason: Recovered, back: 1, deletions: 1}.check(s.t, r, err)
	})
}

// An owner who has said that the Node is to go, and deletes it, wants it gone.
func TestNodeWithAMarkOfItsOwnersWillIsNotBroughtBack(t *testing.T) {
	for name, restore := range map[string]RestoreMode{"auto": RestoreAuto, "never": RestoreNever} {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *Config) { c.Restore = restore }, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(false)
				life := s.life
				s.after(10*time.Second, s.mark)
				s.after(20*time.Second, s.deleteNode)
				r, err := start()
				wanted{reason: KeepsBeingDeleted, deletions: 1}.check(s.t, r, err)
				says(s.t, r, "karpenter.sh/disrupted")
				if s.life != life || s.node != nil {
					s.t.Error("it was brought back")
				}
			})
		})
	}
}

// Only what was seen is put back: by this run, or by one that was killed a moment ago.
func TestNodeThatWasGoneBeforeComesAsANewOne(t *testing.T) {
	for name, c := range map[string]struct {
		seen time.Duration // before this run, by one that was killed; 0: by none
		as   string
		want wanted
	}{
		"nobody has seen it":                   {0, "w1", wanted{restarts: 1}},
		"seen 30 s ago by one that is dead":    {30 * time.Second, "w1", wanted{back: 1, deletions: 1}},
		"seen 50 s ago by one that is dead":    {50 * time.Second, "w1", wanted{restarts: 1}},
		"what was seen is a Node of elsewhere": {30 * time.Second, "w2", wanted{restarts: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(false)
				if c.seen > 0 {
					s.predecessor = cluster.Sighting{Answer: cluster.Present, Node: *s.node, At: time.Now().Add(-c.seen)}
					s.predecessor.Node.Name = c.as
				}
				s.deleteNode()
				r, err := start()
				c.want.reason = Recovered
				c.want.check(s.t, r, err)
			})
		})
	}
}

// What a run that was killed has left is still there.
func TestNodeThatARunWhichWasKilledHasSeenIsReported(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.predecessor = cluster.Sighting{Answer: cluster.Present, Node: *s.node, At: time.Now().Add(-5 * time.Second)}
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
		if r.Node.UID != s.node.UID {
			s.t.Errorf("reported is %+v", r.Node)
		}
	})
}

// Each deletion of a Node that was put back is counted, and answered after a pause.
// What a run sees with the certificate that its kubelet has just got is this run's: the Node that it has missed is not missed twice.
func TestNodeThatWasDeletedBeforeTheCertificateRotatesIsCountedOnce(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.tainted = true, true
		s.joined()
		s.unwritable, s.restart = true, errors.New("job failed")
		s.after(5*time.Second, s.deleteNode)
		s.after(7*time.Second, func() {
			rotated := *s.creds
			rotated.NotAfter = rotated.NotAfter.Add(time.Hour)
			s.creds, s.held = &rotated, &rotated
		})
		s.after(20*time.Second, func() { s.restart = nil })
		r, err := start()
		wanted{reason: Recovered, restarts: 1, deletions: 1}.check(s.t, r, err)
	})
}

func TestNodeThatIsDeletedAgainBeforeItIsTakenUp(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.after(10*time.Second, s.deleteNode)
		s.after(12*time.Second, s.deleteNode)
		r, err := start()
		wanted{reason: Recovered, back: 2, deletions: 2}.check(s.t, r, err)
	})
}

// What could not be given back is said, with the command that does.
func TestWhatCouldNotBePutBackIsSaid(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.ungiven = []string{"kubectl label node w1 node-role.kubernetes.io/web="}
		s.after(10*time.Second, s.deleteNode)
		r, err := start()
		wanted{reason: Recovered, back: 1, deletions: 1}.check(s.t, r, err)
		if len(r.Warnings) == 0 || !errors.Is(err, nil) {
			s.t.Errorf("warnings %q", r.Warnings)
		}
	})
}

// The answer to a creation gets lost. That the Node is there then is told by whoever has made it.
func TestNodeWhoseReturnIsNotHeardOfIsCountedIfItIsOurs(t *testing.T) {
	for name, c := range map[string]struct {
		world func(*sim)
		back  int
	}{
		"ours": {func(s *sim) { s.unheard = true }, 1},
		"the kubelet's own, started by somebody": {func(s *sim) {
			s.slowPutBack = func() { s.addNode(simBoot); s.unheard = true }
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(false)
				s.ungiven = []string{"kubectl label node w1 node-role.kubernetes.io/web="}
				s.after(10*time.Second, s.deleteNode)
				c.world(s)
				r, err := start()
				wanted{reason: Recovered, back: c.back, deletions: 1, restarts: -1}.check(s.t, r, err)
				if said := strings.Contains(strings.Join(r.Warnings, "\n"), s.ungiven[0]); said != (c.back > 0) {
					s.t.Errorf("warnings %q", r.Warnings)
				}
			})
		})
	}
}

// A member that is reset on purpose says itself that its kubelet has stopped: nobody waits for the cluster to notice.
func TestDeliberateRejoinDoesNotWaitForTheCluster(t *testing.T) {
	live(t, func(c *Config) { c.Reset, c.Until, c.Hold = ResetAlways, Ready, 0 }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(true)
		uid := s.node.UID
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(s.t, r, err)
		took(s.t, r, 0, 20*time.Second)
		if s.node.UID != uid {
			s.t.Errorf("Node %s", s.node.UID)
		}
	})
}

// unsettling is a cluster whose API server does not say what came of a creation, as where a webhook that it asks is away.
type unsettling struct {
	world
	tries *[]time.Time
}

func (u unsettling) PutBack(context.Context, *cluster.Credentials, string, bool) (cluster.Sighting, []string, error) {
	*u.tries = append(*u.tries, time.Now())
	time.Sleep(5 * time.Millisecond)
	return cluster.Sighting{}, nil, cluster.ErrUnsettled
}

func TestANodeIsNotPutBackAgainWithoutAPause(t *testing.T) {
	var tries []time.Time
	simulateWorld(t, nil, func(s *sim) world { return unsettling{s, &tries} }, func(s *sim) {
		s.ready, s.tainted = true, true
		s.joined()
		s.after(5*time.Second, s.deleteNode)
	}, func(r Report, err error) {
		wanted{reason: Recovered, restarts: 1, deletions: 1}.check(t, r, err)
	})
	for i := range tries[1:] {
		if pause := tries[i+1].Sub(tries[i]); pause < 500*time.Millisecond {
			t.Fatalf("%d tries, one of them %s after another", len(tries), pause)
		}
	}
}
