package join

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
)

// The service starts another run 30 s after the one that saw it.
func TestNodeThatWasLeftToItsOwnerStaysAwayUntilSomebodyWantsItBack(t *testing.T) {
	var c Config
	live(t, func(of *Config) { of.BringBack, of.DryRun = c.BringBack, c.DryRun }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		life := s.life
		s.after(10*time.Second, s.mark)
		s.after(20*time.Second, s.deleteNode)
		r, err := start()
		wanted{reason: KeepsBeingDeleted, deletions: 1}.check(s.t, r, err)
		says(s.t, r, "--bring-back")
		if s.left.Name != "w1" || s.left.UID == "" || s.left.BootID != simBoot || !strings.Contains(s.left.Mark, "karpenter.sh/disrupted") || time.Since(s.left.At) > 5*time.Second {
			s.t.Fatalf("left is %+v", s.left)
		}
		for _, c.DryRun = range []bool{true, false} {
			s.change(func() { s.spared = true })
			time.Sleep(time.Minute) // what was seen is of no use any more
			r, err = start()
			wanted{reason: Refused}.check(s.t, r, err)
			says(s.t, r, "karpenter.sh/disrupted", s.left.At.Format(time.RFC3339), "--bring-back")
			took(s.t, r, 0, time.Second)
		}
		if s.life != life || s.node != nil {
			s.t.Error("it was brought back")
		}
		c.BringBack, c.DryRun = true, true
		r, err = start()
		if err != nil || r.Reason != WouldJoin {
			s.t.Errorf("%s: %v", r.Reason, err)
		}
		if s.left.Mark == "" {
			s.t.Error("a dry run has taken the mark away")
		}
		c.DryRun = false
		s.change(func() { s.spared = false })
		r, err = start()
		wanted{reason: Recovered, restarts: 1}.check(s.t, r, err)
		if s.left != (host.Left{}) {
			s.t.Errorf("left is %+v", s.left)
		}
	})
}

func TestNodeThatIsThereAgainIsNotLeft(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.leaves()
		s.spared = false
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
		if s.left != (host.Left{}) {
			s.t.Errorf("left is %+v", s.left)
		}
	})
}

func TestWhatWasLeftOfAnotherNodeOrBootIsNone(t *testing.T) {
	for name, change := range map[string]func(*sim){
		"another Node": func(s *sim) { s.left.Name = "w2" },
		"another boot": func(s *sim) { s.left.BootID = "boot-before" },
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.leaves()
				s.spared = false
				change(s)
				s.deleteNode()
				r, err := start()
				wanted{reason: Recovered, restarts: 1}.check(s.t, r, err)
			})
		})
	}
}

// Whoever resets a machine by hand has not said that its Node is to come back.
func TestMachineWhoseNodeWasLeftDoesNotJoinAgain(t *testing.T) {
	for name, prepare := range map[string]func(*sim){
		"never joined":     func(*sim) {},
		"torn credentials": func(s *sim) { s.joined(); s.deleteNode(); s.torn = errTorn },
		"their Node is gone": func(s *sim) {
			s.joined()
			s.deleteNode()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reset := range []ResetMode{ResetAuto, ResetAlways} {
				live(t, func(c *Config) { c.Reset = reset }, func(s *sim, start func() (Report, error)) {
					prepare(s)
					s.leaves()
					r, err := start()
					wanted{reason: Refused}.check(s.t, r, err)
					took(s.t, r, 0, time.Second)
					if len(s.log) > 0 {
						s.t.Errorf("done: %v", s.log)
					}
				})
			}
		})
	}
}

// Nobody knows what it says.
func TestNodeIsNotBroughtBackWhereWhatWasLeftCannotBeRead(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.unlisted = errors.New("left.json: unexpected end of JSON input")
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
		s.change(s.deleteNode)
		time.Sleep(time.Minute) // that this was seen is of no use any more
		s.change(func() { s.spared = true })
		r, err = start()
		wanted{reason: Refused}.check(s.t, r, err)
		says(s.t, r, "left.json", "--bring-back")
		if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, "left.json") }) {
			s.t.Errorf("warnings %q", r.Warnings)
		}
	})
}

func TestWhatCannotBeLeftToTheNextRunIsSaid(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.setReady(false)
		s.after(10*time.Second, s.mark)
		s.after(20*time.Second, func() { s.deleteNode(); s.unlisted = errors.New("no space left on device") })
		r, err := start()
		wanted{reason: KeepsBeingDeleted, deletions: 1}.check(s.t, r, err)
		if !slices.ContainsFunc(r.Warnings, func(w string) bool {
			return strings.Contains(w, "no space left") && strings.Contains(w, "brings the Node back")
		}) {
			s.t.Errorf("warnings %q", r.Warnings)
		}
	})
}
