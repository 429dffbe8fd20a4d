package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
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
	faults  []fault
}

type fault struct {
	at   time.Duration
	what string
}

// String tells the schedule as a story.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  it begins with: %s; network plugin: %t\n  nodejoin join --until %s --hold %s --timeout %s --reset %s\n", s.begins, s.ready, s.until, s.hold, s.timeout, s.reset)
	for _, f := range s.faults {
		fmt.Fprintf(&b, "  %6.1f s: %s\n", f.at.Seconds(), f.what)
	}
	return b.String()
}

var beginnings = map[string]func(*sim){
	"a clean host":                        func(*sim) {},
	"a member":                            func(s *sim) { s.joined() },
	"a silent server":                     func(s *sim) { s.down = true },
	"leftovers":                           func(s *sim) { s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}} },
	"a deleted Node":                      func(s *sim) { s.joined(); s.node = nil },
	"a dead kubelet":                      func(s *sim) { s.joined(); s.running = false; s.node.Ready = "Unknown" },
	"a rebooted host":                     func(s *sim) { s.joined(); s.node.BootID = "boot-before"; s.startKubelet() },
	"a stale Node":                        func(s *sim) { s.addNode(simBoot); s.stopKubelet() },
	"a live twin":                         func(s *sim) { s.addNode("boot-of-another") },
	"lost credentials of a living member": func(s *sim) { s.joined(); s.creds = nil },
}

var faults = map[string]func(*sim){
	"the API server falls silent":              func(s *sim) { s.down = true },
	"the API server answers again":             func(s *sim) { s.down = false },
	"somebody deletes the Node":                func(s *sim) { s.node = nil },
	"the Node is deleted and made again":       func(s *sim) { s.again() },
	"the kubelet is refused (401)":             func(s *sim) { s.refuses = true },
	"the kubelet is taken again":               func(s *sim) { s.refuses = false },
	"a policy refuses Nodes":                   func(s *sim) { s.policy = true },
	"the policy is lifted":                     func(s *sim) { s.policy = false },
	"the kubelet dies":                         func(s *sim) { s.stopKubelet() },
	"the kubelet is started by somebody":       func(s *sim) { s.startKubelet() },
	"the network plugin comes":                 func(s *sim) { s.setReady(true) },
	"the network plugin goes":                  func(s *sim) { s.setReady(false) },
	"restarting the kubelet fails from now on": func(s *sim) { s.restart = errors.New("job failed") },
	"restarting the kubelet works from now on": func(s *sim) { s.restart = nil },
	"the token is refused":                     func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")} },
	"cluster-info is not signed":               func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("unsigned")} },
	"token and signature are good again":       func(s *sim) { s.verdict = cluster.Probe{} },
	"kubeadm join fails from now on":           func(s *sim) { s.join = failingJoin },
	"kubeadm join hangs from now on":           func(s *sim) { s.join = hangingJoin },
	"kubeadm join works from now on":           func(s *sim) { s.join = nil },
	"kubeadm reset leaves files from now on":   func(s *sim) { s.resetFail = func() error { return nil } },
	"kubeadm reset works from now on":          func(s *sim) { s.resetFail = nil },
	"another machine's kubelet reports":        func(s *sim) { s.twinReports() },
	"a certificate request is pending":         func(s *sim) { s.request = &cluster.Request{Name: "csr-1", Pending: true} },
	"no certificate request is pending":        func(s *sim) { s.request = nil },
	"a signal comes":                           func(s *sim) { s.interrupt() },
}

func failingJoin(context.Context) error {
	return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Tail: []string{"it failed"}}
}

func hangingJoin(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *sim) again() {
	if s.node != nil && s.node.BootID == simBoot {
		s.addNode(simBoot)
	}
}

func (s *sim) setReady(ready bool) {
	s.ready = ready
	if s.node != nil && s.node.Ready != "Unknown" && s.running {
		s.node.Ready = map[bool]string{true: "True", false: "False"}[ready]
	}
}

func (s *sim) twinReports() {
	if s.node != nil && s.node.BootID != simBoot {
		s.node.Heartbeat = time.Now()
	}
}

func keys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	// rapid replays a seed only if the choice is the same each time
	for i := range names {
		for j := i + 1; j < len(names); j++ {
			if names[j] < names[i] {
				names[i], names[j] = names[j], names[i]
			}
		}
	}
	return names
}

func schedules() *rapid.Generator[schedule] {
	return rapid.Custom(func(t *rapid.T) schedule {
		s := schedule{
			begins:  rapid.SampledFrom(keys(beginnings)).Draw(t, "begins"),
			until:   rapid.SampledFrom([]Level{Registered, Initialized, Ready}).Draw(t, "until"),
			hold:    rapid.SampledFrom([]time.Duration{0, 10 * time.Second, time.Minute}).Draw(t, "hold"),
			timeout: rapid.SampledFrom([]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}).Draw(t, "timeout"),
			reset:   rapid.SampledFrom([]ResetMode{ResetAuto, ResetAuto, ResetAuto, ResetNever, ResetAlways}).Draw(t, "reset"),
			ready:   rapid.Bool().Draw(t, "ready"),
		}
		at := time.Duration(0)
		for range rapid.IntRange(0, 8).Draw(t, "faults") {
			at += time.Duration(rapid.IntRange(1, 900).Draw(t, "later")) * 100 * time.Millisecond // never two at once: which came first would be chance
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
		s := &sim{t: t, unit: host.Unit{Active: true}, ready: sc.ready}
		s.broken = func(what string) { broken = append(broken, what) }
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.interrupt = cancel
		s.always = sc.reset == ResetAlways
		s.change(func() { beginnings[sc.begins](s) })
		began := time.Now()
		for _, f := range sc.faults {
			s.after(f.at+offBeat, func() { faults[f.what](s) })
		}
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
		c.Until, c.Hold, c.Timeout, c.Reset = sc.until, sc.hold, sc.timeout, sc.reset
		p, err := c.plan()
		if err != nil {
			t.Fatal(err)
		}
		report, err := newRun(p, s, simBoot, "w1", func(m string) string { return m }).run(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keep(sc, report, err, time.Since(began))
	})
	return broken
}

// offBeat keeps faults out of the instants in which nodejoin acts: who comes
// first then would be chance, and no seed could replay it.
const offBeat = 37 * time.Millisecond

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
	promise(s.kubeadms == 0, "%d kubeadm left behind", s.kubeadms)
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
	promise(count("restart kubelet") <= r.Counts.KubeletRestarts, "%d restarts, reported %d", count("restart kubelet"), r.Counts.KubeletRestarts)
	promise(sc.reset != ResetNever || r.Counts.Resets == 0, "%d resets with --reset=never", r.Counts.Resets)
	for _, d := range r.Deletions {
		promise(s.node == nil || s.node.UID != d.UID, "Node %s is there and counted as deleted", d.UID)
		promise(s.seen[d.UID], "Node %s was never seen and is counted as deleted", d.UID)
	}
	for uid := range s.missed {
		found := false
		for _, d := range r.Deletions {
			found = found || d.UID == uid
		}
		promise(found, "Node %s was seen, then seen to be gone, and is not counted", uid)
	}
	if err == nil {
		s.keepSuccess(sc, r, promise)
	}
}

func (s *sim) keepSuccess(sc schedule, r Report, promise func(bool, string, ...any)) {
	if s.node == nil {
		promise(false, "success without a Node")
		return
	}
	n := s.node
	promise(n.UID == r.Node.UID, "success with Node %s, reported %s", n.UID, r.Node.UID)
	promise(n.BootID == simBoot && n.Ready != "Unknown", "success with %+v", *n)
	promise(sc.until != Ready || n.Ready == "True", "success, not Ready")
	promise(!s.down && !s.refuses, "success without an answer")
	held := time.Since(s.born[n.UID])
	promise(n.Ready == "True" || sc.hold == 0 || held >= sc.hold, "success, held for %s", held)
}
