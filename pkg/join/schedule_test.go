package join

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/nodejoin/nodejoin/internal/host"
)

// A schedule is how the world begins and what happens to it, when. Whatever it
// is, nodejoin must keep its promises; which ones, keep says.
type schedule struct {
	begins  string
	until   Level
	hold    time.Duration
	timeout time.Duration
	reset   ResetMode
	ready   bool
	tainted bool
	follows bool // the token's source follows the cluster
	slow    bool // and takes its time
	renamed bool // --hostname-override
	faults  []fault
}

type fault struct {
	at   time.Duration
	what string
}

// String tells the schedule as a story.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  it begins with: %s; network plugin: %t; cloud's taint: %t; the token's source follows it: %t, and is slow: %t; --hostname-override: %t\n  nodejoin join --until %s --hold %s --timeout %s --reset %s\n",
		s.begins, s.ready, s.tainted, s.follows, s.slow, s.renamed, s.until, s.hold, s.timeout, s.reset)
	for _, f := range s.faults {
		fmt.Fprintf(&b, "  %6.1f s: %s\n", f.at.Seconds(), f.what)
	}
	return b.String()
}

// keys are in one order: rapid replays a seed only if the choice is the same each time.
func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func schedules() *rapid.Generator[schedule] {
	return rapid.Custom(func(t *rapid.T) schedule {
		s := schedule{
			begins:  rapid.SampledFrom(keys(beginnings)).Draw(t, "begins"),
			until:   rapid.SampledFrom([]Level{Registered, Initialized, Ready}).Draw(t, "until"),
			hold:    rapid.SampledFrom([]time.Duration{0, 10 * time.Second, time.Minute}).Draw(t, "hold"),
			timeout: rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}).Draw(t, "timeout"),
			reset:   rapid.SampledFrom([]ResetMode{ResetAuto, ResetAuto, ResetAuto, ResetNever, ResetAlways}).Draw(t, "reset"),
			ready:   rapid.Bool().Draw(t, "ready"),
			tainted: rapid.Bool().Draw(t, "tainted"),
			follows: rapid.Bool().Draw(t, "follows"),
			slow:    rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "slow"),
			renamed: rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "renamed"),
		}
		at := time.Duration(0)
		for range rapid.IntRange(0, 12).Draw(t, "faults") {
			later := rapid.OneOf(rapid.IntRange(1, 30), rapid.IntRange(1, 900)).Draw(t, "later")
			at += time.Duration(later) * 100 * time.Millisecond // never two at once: which came first would be chance
			s.faults = append(s.faults, fault{at, rapid.SampledFrom(keys(faults)).Draw(t, "fault")})
		}
		return s
	})
}

// TestPromisesHoldWhateverHappens: thousands of schedules, each in its own
// bubble of virtual time. `go test -rapid.checks=N` tries more; a failing one
// is shrunk, printed as a story, and replayed by the seed that rapid prints.
func TestPromisesHoldWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		schedule := schedules().Draw(rt, "schedule")
		if broken := schedule.play(t); len(broken) > 0 {
			rt.Fatalf("broken promises: %s\nin the story:%s", strings.Join(broken, "; "), schedule)
		}
	})
}

// play runs a schedule and returns the promises that were broken.
func (sc schedule) play(t *testing.T) (broken []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		s.ready, s.tainted = sc.ready, sc.tainted
		if sc.renamed {
			s.override = "w1x"
		}
		if sc.slow {
			s.slow = 26 * time.Second
		}
		over := make(chan struct{})
		defer close(over)
		s.live(over)
		s.broken = func(what string) { broken = append(broken, what) }
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.interrupt = cancel
		s.overridden = sc.reset == ResetAlways
		s.always = s.overridden
		s.change(func() { beginnings[sc.begins](s) })
		time.Sleep(21 * time.Millisecond)
		began := time.Now()
		for i, f := range sc.faults {
			s.after(f.at+offBeat(i), func() { faults[f.what](s) })
		}
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
		if sc.follows {
			c.Token = Token{Command: "x"}
			s.source = func() string { return cmp.Or(s.secret, simToken) }
		}
		c.Until, c.Hold, c.Timeout, c.Reset = sc.until, sc.hold, sc.timeout+71*time.Millisecond, sc.reset
		p, err := c.plan()
		if err != nil {
			t.Fatal(err)
		}
		p.jitter = 0
		report, err := newRun(p, s, simID, "w1", func(m string) string { return m }).run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keep(sc, report, err, time.Since(began))
	})
	return broken
}

// offBeat keeps a fault out of the instants in which nodejoin or the world
// acts, for all that follows from something follows it by tenths of a second
// (kubeadm's by half of one more): who comes first then would be chance, and no
// seed could replay it. What was before the run and the deadline have beats of
// their own, too.
func offBeat(fault int) time.Duration { return time.Duration(37+fault) * time.Millisecond }

// grace is what may pass between the deadline and the end: nothing in virtual
// time but the waits that are not cut short.
const grace = 2 * time.Second

// keep checks the promises at the end. That no reset comes without evidence,
// and never two kubeadm at once, is checked when it happens.
func (s *sim) keep(sc schedule, r Report, err error, took time.Duration) {
	promise := func(kept bool, format string, args ...any) {
		if !kept {
			s.broken(fmt.Sprintf(format, args...))
		}
	}
	promise(took <= sc.timeout+grace, "it took %s", took)
	promise(s.interrupted.IsZero() || time.Since(s.interrupted) <= grace, "it went on for %s after the signal", time.Since(s.interrupted))
	// The disk is looked at ten times a second while kubeadm joins, and an API server that starts is asked five times; what
	// asks on and on at one instant is bounded by askMost only.
	often := 100 + int(12*took.Seconds())
	promise(s.looks <= often && s.requests <= often, "%d looks for credentials and %d requests in %s", s.looks, s.requests, took)
	promise(s.kubeadms == 0, "%d kubeadm left behind", s.kubeadms)
	promise(s.stopped.IsZero(), "the kubelet is left stopped")
	promise(r.Result != nil && (*r.Result == Success) == (err == nil), "error %v, but the report says %v", err, r.Result)
	promise(r.FinishedAt != nil && r.Phase == Done, "the report is not finished")
	promise(r.Counts.Deletions == len(r.Deletions), "%d deletions counted, %d listed", r.Counts.Deletions, len(r.Deletions))
	count := func(what string) (n int) {
		for _, l := range s.log {
			if l == what {
				n++
			}
		}
		return n
	}
	promise(count("join") == r.Counts.Joins, "%d joins, reported %d", count("join"), r.Counts.Joins)
	promise(count("reset") == r.Counts.Resets, "%d resets, reported %d", count("reset"), r.Counts.Resets)
	promise(count("restart kubelet") == r.Counts.KubeletRestarts, "%d restarts, reported %d", count("restart kubelet"), r.Counts.KubeletRestarts)
	promise(len(r.Attempts) == r.Counts.Attempts, "%d attempts counted, %d listed", r.Counts.Attempts, len(r.Attempts))
	promise(r.Counts.Joins <= r.Counts.Attempts, "%d joins in %d attempts", r.Counts.Joins, r.Counts.Attempts)
	promise(err == nil || r.LastError != "", "no last error in the report of a failure")
	promise(r.Duration == Seconds(r.FinishedAt.Sub(r.StartedAt)), "it took %s and lasted %s", time.Duration(r.Duration), r.FinishedAt.Sub(r.StartedAt))
	s.keepReason(sc, r, took, promise)
	promise(sc.reset != ResetNever || r.Counts.Resets == 0, "%d resets with --reset=never", r.Counts.Resets)
	deleted := map[string]bool{}
	for _, d := range r.Deletions {
		promise(!deleted[d.UID], "Node %s is counted as deleted twice", d.UID)
		deleted[d.UID] = true
		promise(s.node == nil || s.node.UID != d.UID || s.back == d.UID, "Node %s is there and counted as deleted", d.UID)
		promise(s.seen[d.UID], "Node %s was never seen and is counted as deleted", d.UID)
	}
	for uid := range s.missed {
		promise(deleted[uid], "Node %s was seen, then seen to be gone, and is not counted", uid)
	}
	if err == nil {
		s.keepSuccess(sc, r, promise)
	}
}

// keepSuccess: a success is true of the world as it is.
func (s *sim) keepSuccess(sc schedule, r Report, promise func(bool, string, ...any)) {
	if s.node == nil {
		promise(false, "success without a Node")
		return
	}
	n := s.node
	promise(n.UID == r.Node.UID, "success with Node %s, reported %s", n.UID, r.Node.UID)
	promise(s.ours() && n.Ready != "Unknown", "success with another machine's or a dead Node: %+v", *n)
	promise(n.DeletedAt.IsZero(), "success with a Node that is being deleted")
	promise(s.running || lasted(s.last.ended) <= unseen, "success without a kubelet that runs")
	promise(!s.running || !s.dying || !n.Heartbeat.Before(s.born.Truncate(time.Second)), "success with a kubelet that ends at once")
	since, reached := s.level[sc.until]
	promise(reached && !since.IsZero(), "success, not %s: %+v", sc.until, *n)
	promise(!s.down && !s.frozen && (!s.refuses || s.torn != nil), "success without an answer") // what is not understood is asked for with the token
	accepted := n.Ready == "True" && !n.Uninitialized
	promise(accepted || time.Since(since) >= sc.hold, "success, held for %s", time.Since(since))
}

// keepReason: the reason is one that the story gives.
func (s *sim) keepReason(sc schedule, r Report, took time.Duration, promise func(bool, string, ...any)) {
	c := r.Counts
	late := took >= sc.timeout
	fits := map[Reason]bool{
		AlreadyJoined: c.Joins+c.Resets+c.KubeletRestarts+c.Deletions+c.Bootstraps == 0,
		Joined:        c.Joins > 0 && c.KubeletRestarts+c.Deletions+c.Bootstraps == 0,
		Recovered:     c.KubeletRestarts+c.Deletions+c.Bootstraps > 0 || c.Resets > 0 && c.Joins == 0,
		Interrupted:   !s.interrupted.IsZero(),
		Unreachable:   late,
		JoinFailed:    late,
		TokenRejected: s.rejects || sc.slow && late,                                                                   // its source has not answered yet
		NameTaken:     !s.twin.since.IsZero() && (s.twin.until.IsZero() || time.Since(s.twin.until) < 10*time.Second), // a request may be on its way
		HostUnfit:     s.unfit && (!s.clouding || time.Since(s.clouds) <= unseen),

		KeepsBeingDeleted: s.marked,
		Refused:           sc.reset == ResetNever || s.refusable,
	}
	promise(fits[r.Reason], "the reason is %s: %s", r.Reason, r.Message)
}
