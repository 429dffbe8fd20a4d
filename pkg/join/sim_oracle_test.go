package join

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// unseen is for how long the world may have been another one without nodejoin's having to know.
const unseen = judge.FreshFor + 100*time.Millisecond

// simOracle is what the promises are checked against: the world's own history.
type simOracle struct {
	broken       func(string)     // a promise was broken
	overridden   bool             // --reset=always
	always       bool             // --reset=always has not been done
	seen         map[string]bool  // ours, by UID, that nodejoin was shown
	shown        string           // the last of them,
	lastSeen     cluster.Sighting // and what it was like
	missed       map[string]bool  // shown, then shown to be gone
	back         string           // the UID of a Node that is there again
	gone         blinking         // there is no Node of the credentials, and an API server to say so
	refusedSince time.Time        // since when it says 401 to the kubelet,
	lost         blinking         // and, when asked with the token, that our Node is gone or dead
	level        map[Level]time.Time
	levelUID     string
	refusable    bool // there was something to refuse
	unfit        bool // there was something for a person to mend
	marked       bool // a Node was, by its owner
	rejects      bool // a token was not taken
	twin         blinking
	heard        time.Time // another machine's kubelet, for once
	begun        time.Time // the last kubelet that nodejoin has started
	last         process   // the kubelet's that has ended
	unmounted    time.Time // since when a mount is missing,
	spares       blinking  // a reset: a kubelet without credentials of any use could get others, as a new Node
	wiped        time.Time // somebody reset by hand,
	swapped      time.Time // another cluster answers than before,
	answered     bool      // as s.stranger was then
	company      time.Time // somebody else's kubeadm is at work,
	governs      time.Time // and this is a control plane
	strange      time.Time // and the credentials are another cluster\'s than the endpoint\'s
}

// process of a kubelet, in hindsight.
type process struct {
	born, ended time.Time
	byUs        bool // nodejoin stopped it
	said        bool // why it could not register
	held        *cluster.Credentials
}

// end of the kubelet's process, if there is one.
func (s *sim) end(byUs bool) {
	if s.running {
		s.last = process{born: s.born, ended: time.Now(), byUs: byUs, said: s.policy || s.words.Unregistered != "", held: s.held}
	}
	s.running, s.waiting = false, false
	s.life++
}

// blinking is something that nodejoin looks at only now and then: what it is
// for less than forgiven between two looks, it does not notice.
type blinking struct{ since, until time.Time }

func (b *blinking) note(holds bool, forgiven time.Duration) {
	now := time.Now()
	switch {
	case !holds && b.until.IsZero():
		b.until = now
	case holds && (b.since.IsZero() || !b.until.IsZero() && now.Sub(b.until) > forgiven):
		*b = blinking{since: now}
	case holds:
		b.until = time.Time{}
	}
}

// simulate runs a story in a bubble of virtual time.
func simulate(t *testing.T, change func(*Config), story func(s *sim, start func() (Report, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		s.broken = func(what string) { t.Error(what) }
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.interrupt = cancel
		story(s, func() (Report, error) {
			c := Defaults()
			c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
			if change != nil {
				change(&c)
			}
			s.overridden = c.Reset == ResetAlways
			s.always = s.overridden
			observe := c.Observe
			c.Observe = func(e Event) {
				if observe != nil {
					observe(e)
				}
				if testing.Verbose() && e.Severity != Detail {
					t.Logf("%s %-8s %s", e.Time.Format("04:05.000"), e.Phase, e.Message)
				}
			}
			p, err := c.plan()
			if err != nil {
				return Report{}, err
			}
			name := c.NodeName
			if name == "" && (c.NodeNameFrom == "" || c.NodeNameFrom == FromHostname) {
				name = "w1"
			}
			s.change(func() {})
			report, err := newRun(p, s, simID, name, func(m string) string { return m }).run(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.kubeadms > 0 {
				t.Errorf("nodejoin ended and left %d kubeadm behind", s.kubeadms)
			}
			if len(s.listed) > 0 && err == nil && !c.DryRun {
				t.Error("a member's files are still listed as those of an unfinished join")
			}
			if !s.stopped.IsZero() {
				t.Error("nodejoin ended and left the kubelet stopped")
			}
			return report, err
		})
	})
}

// book notes since when what holds.
func (s *sim) book() {
	if s.seen == nil {
		s.seen, s.missed = map[string]bool{}, map[string]bool{}
	}
	since := func(t *time.Time, holds bool) {
		switch {
		case !holds:
			*t = time.Time{}
		case t.IsZero():
			*t = time.Now()
		}
	}
	s.rejects = s.rejects || s.verdict.Err != nil || s.secret != ""
	s.unfit = s.unfit || s.words.Fatal != "" || s.creds != nil && s.creds.NodeName != s.kubeletName()
	s.refusable = s.refusable || s.spared || s.stranger || s.elsewhere() || s.torn != nil || (s.running || s.pods > 0) && s.creds == nil ||
		s.disk.ControlPlane != "" || s.disk.AdminConf || len(s.disk.StaticPods) > 0
	answers := !s.down && !s.frozen
	const tick = time.Second
	if s.answered != s.stranger {
		s.answered, s.swapped = s.stranger, time.Now()
	}
	since(&s.unmounted, len(s.mounts) > 0)
	since(&s.company, s.kubeadm != "")
	since(&s.governs, s.disk.ControlPlane != "")
	since(&s.strange, s.elsewhere())
	s.twin.note(s.node != nil && !s.ours(), 0)
	s.gone.note((s.node == nil || s.alive && s.creds != nil && s.node.Name != s.creds.NodeName) && answers, unseen)
	s.spares.note(s.wouldBootstrap(), 0)
	since(&s.refusedSince, (s.refuses || s.expired()) && answers)
	s.lost.note(answers && s.tokenIsGood() && !s.elsewhere() && (s.node == nil || s.node.Ready == "Unknown"), judge.TokenCheck+2*tick)
	if s.node == nil || s.node.UID != s.levelUID {
		s.level, s.levelUID = map[Level]time.Time{}, ""
	}
	if s.node == nil {
		return
	}
	s.levelUID = s.node.UID
	registered := s.ours() && s.node.Ready != "Unknown" && s.node.DeletedAt.IsZero()
	for level, holds := range map[Level]bool{
		Registered: registered, Initialized: registered && !s.node.Uninitialized, Ready: registered && s.node.Ready == "True",
	} {
		if holds || answers { // what happens in a silence is not seen
			t := s.level[level]
			since(&t, holds)
			s.level[level] = t
		}
	}
}

// ours: this machine has written the Node last, in this boot.
func (s *sim) ours() bool {
	return s.node != nil && s.node.BootID == simBoot && (s.node.MachineID == "" || s.node.MachineID == simID.MachineID)
}

// lives: our Node is there and our kubelet runs.
func (s *sim) lives() bool {
	return s.ours() && s.node.Ready != "Unknown" && s.node.DeletedAt.IsZero() && s.running && !s.crashing()
}

func (s *sim) breaks(what string) {
	if s.broken != nil {
		s.broken(what)
	}
}

// show keeps book of what nodejoin has been shown with the kubelet's
// credentials.
func (s *sim) show(a cluster.Sighting) cluster.Sighting {
	ours := a.Answer == cluster.Present && s.ours()
	if s.shown != "" && (a.Answer == cluster.Absent || a.Answer == cluster.Present && a.Node.UID != s.shown) {
		s.missed[s.shown] = true
		s.shown = ""
	}
	if ours {
		s.seen[a.Node.UID], s.shown = true, a.Node.UID
		s.lastSeen, s.lastSeen.At = a, time.Now()
	}
	return a
}

func lasted(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return time.Since(t)
}

// justWiped: somebody has emptied the disk, and nodejoin need not have seen it.
func (s *sim) justWiped() bool { return !s.wiped.IsZero() && time.Since(s.wiped) <= unseen }

// justSwapped: the same of the cluster that answers.
func (s *sim) justSwapped() bool { return !s.swapped.IsZero() && time.Since(s.swapped) <= unseen }

// harm tells what a reset at this moment would do that nobody wants, by the
// world's own history.
func (s *sim) harm() error {
	nothingLost := s.overridden
	switch {
	case s.disk.ControlPlane != "" && lasted(s.governs) > unseen:
		return errors.New("a reset of a control plane")
	case s.always, s.overridden && s.elsewhere(): // the user's word
		return nil
	case s.running && !s.crashing() && lasted(s.born) > unseen:
		return errors.New("a reset while a kubelet runs")
	case len(s.disk.Leftovers) == 0 && s.justWiped():
		return nil
	case len(s.disk.Leftovers) == 0:
		return errors.New("a reset of nothing")
	case s.disk.AdminConf && !nothingLost, len(s.disk.StaticPods)+len(s.disk.ForeignFiles) > 0 && !nothingLost:
		return errors.New("a reset that deletes what is not kubeadm's")
	case s.creds == nil && s.request != nil && s.request.Pending && (s.running || s.request.Own):
		return errors.New("a reset while our certificate request is pending")
	case s.spares.until.IsZero() && lasted(s.spares.since) > unseen:
		return errors.New("a reset where the kubelet could bootstrap again")
	case s.creds == nil || errors.Is(s.torn, cluster.ErrUnusable): // a kubelet that starts now could not use them
		if s.last.byUs && s.last.held != nil && s.pods > 0 {
			return errors.New("a reset that kills the pods of a kubelet that had its credentials in memory")
		}
		return nil
	case s.torn != nil:
		return errors.New("a reset of credentials that nodejoin could not read or understand")
	case lasted(s.strange) > unseen:
		return errors.New("a reset of another cluster's member")
	case s.isClone(), s.staysAway(), s.isRefused():
		return nil
	case s.pods > 0:
		return errors.New("a reset without evidence, which kills pods")
	}
	return errors.New("a reset without evidence")
}

// isClone: the credentials are those of another machine, which lives. Two machines with one
// --hostname-override look the same, unless nodejoin itself had the credentials made here.
func (s *sim) isClone() bool {
	return s.node != nil && !s.ours() && s.creds.NodeName != s.name() && !s.homemade &&
		(!s.alive || s.rival != nil && s.rival.name == s.creds.NodeName || s.heard.After(s.last.ended))
}

// staysAway: 404 for a minute after a restart, and the kubelet ran all the while and did not say why.
func (s *sim) staysAway() bool {
	if s.begun.IsZero() || !s.gone.until.IsZero() || !s.last.byUs || s.last.said {
		return false
	}
	const tick = time.Second
	since := min(lasted(s.gone.since), lasted(s.begun))
	ran := s.last.ended.Sub(s.last.born)
	return min(since, ran)+tick >= judge.RestartPatience
}

// isRefused: 401 for 90 s while the same server takes the token, and the certificate is useless by itself.
func (s *sim) isRefused() bool {
	const tick = time.Second
	return s.expired() && s.lost.until.IsZero() && min(lasted(s.refusedSince), lasted(s.lost.since))+tick >= judge.RefusedPatience
}

// mayTouch holds for all that is done to the machine.
func (s *sim) mayTouch(ctx context.Context, what string) {
	if ctx.Err() != nil {
		s.breaks(what + " after the end")
	}
	if s.kubeadms > 0 {
		s.breaks(what + " beside kubeadm")
	}
	if lasted(s.unmounted) > unseen {
		s.breaks(what + " below a mount point whose disk is not there yet")
	}
	if s.spared {
		s.breaks(what + " for a Node that was left to its owner")
	}
	if lasted(s.company) > unseen {
		s.breaks(what + " beside somebody else's kubeadm")
	}
}

// mayBootstrap: the kubelet could not use what it has, nobody reports for its Node, and it is this cluster's.
func (s *sim) mayBootstrap(ctx context.Context) {
	s.mayTouch(ctx, "bootstrapping again")
	switch {
	case s.lives() && s.held != nil:
		s.breaks("bootstrapping a living member again")
	case s.running && s.stray && lasted(s.born) > unseen:
		s.breaks("a second kubelet beside one that runs")
	case s.usable() && !s.elsewhere():
		s.breaks("bootstrapping a kubelet again that has good credentials")
	case s.absent() && !s.justWiped() && !s.justSwapped() && !bytes.Equal(s.kubeletCA, s.ca()) && (s.torn != nil || s.creds == nil || s.elsewhere()):
		s.breaks("bootstrapping without a Node, in a cluster to which this machine has not belonged")
	case !s.absent() && s.node.MachineID != simID.MachineID && lasted(s.twin.since) > unseen:
		s.breaks("bootstrapping over another machine's Node")
	case s.absent() && s.kubeletName() != s.name() && (s.creds == nil || s.creds.NodeName != s.kubeletName()):
		s.breaks("bootstrapping a kubelet again that goes by a name that nobody has asked for")
	}
}

// absent: there is no Node of the kubelet's name.
func (s *sim) absent() bool { return s.node == nil || s.node.Name != s.kubeletName() }

// wouldBootstrap: it has not been tried, and this machine has belonged to the cluster, which has no Node of its name.
func (s *sim) wouldBootstrap() bool {
	useless := s.creds == nil || errors.Is(s.torn, cluster.ErrUnusable) || s.expired() && s.creds.NodeName == s.kubeletName()
	return useless && s.node == nil && !s.down && !s.frozen && s.bootstraps == 0 && s.disk.Configured && bytes.Equal(s.kubeletCA, s.ca()) &&
		!s.elsewhere() && s.kubeletName() == s.name() && len(s.written()) == 0
}

func (s *sim) mayRestart(ctx context.Context) {
	s.mayTouch(ctx, "a kubelet restart")
	if s.lives() && s.suspended == "" && (!s.alive || lasted(s.born) > unseen) && (!s.aloofKubelet && !s.policy || lasted(s.putBack) < 30*time.Second) {
		s.breaks("a kubelet restart on a living member")
	}
	if s.running && s.stray && lasted(s.born) > unseen {
		s.breaks("a second kubelet beside one that runs")
	}
}

// mayPutBack: only what was just seen, whose owner has not said that it is to go; and nobody is told that a kubelet lives
// which does not.
func (s *sim) mayPutBack(ctx context.Context, last cluster.Sighting, ready bool) {
	s.mayTouch(ctx, "putting a Node back")
	switch {
	case last.Answer != cluster.Present || !s.missed[last.Node.UID] && s.predecessor.Node.UID != last.Node.UID:
		s.breaks("putting back a Node that nobody saw deleted")
	case time.Since(last.At) > 40*time.Second+unseen:
		s.breaks("putting back a Node that was deleted long ago")
	case last.Node.Mark != "":
		s.breaks("putting back a Node whose owner wants it gone")
	case ready && !s.running && lasted(s.last.ended) > unseen:
		s.breaks("putting back a Node as Ready whose kubelet does not run")
	}
}

func (s *sim) mayJoin(ctx context.Context) {
	s.mayTouch(ctx, "a join")
	living := s.node != nil && !s.ours() && s.node.Ready != "Unknown" && s.node.Ready != ""
	if living && s.node.Name == s.name() && !s.elsewhere() && (!s.alive || s.rival != nil) {
		s.breaks("a join beside another machine's living Node")
	}
	if s.running && s.held != nil && !s.crashing() && !s.overridden && lasted(s.born) > unseen {
		s.breaks("a join while a member's kubelet runs")
	}
}
