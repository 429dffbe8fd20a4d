package join

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// teller is the one who tells: the only writer of the report, of its phases and
// of the attempt that is open.
type teller struct {
	observe func(Event)
	redact  func(string) string

	mu      sync.Mutex // guards what emit uses
	report  Report
	entered time.Time // when the present phase began
	until   time.Time // when it is over at the latest, if it has a limit of its own
	ends    time.Time // the deadline; zero: none

	obstacle *Error             // what is in the way just now: at the deadline, what it was
	waiting  map[string]*repeat // the waits of the present phase, by message
	said     string             // the last of them, as it was told

	lastErr    error     // of the last attempt that failed
	lastHint   string    // what a person can do about it; "" if its cause is not known
	attempt    *Attempt  // the open one, or nil
	phaseStart time.Time // of what clock has not counted yet
}

func newTeller(c Config, name, bootID string, redact func(string) string) *teller {
	now := time.Now().UTC().Truncate(time.Millisecond)
	t := &teller{observe: c.Observe, redact: redact, entered: now}
	t.report = (&Report{
		SchemaVersion: SchemaVersion, Version: c.Version, PID: os.Getpid(), Phase: Look,
		Node: NodeRef{Name: redact(name), BootID: bootID}, Endpoint: redact(c.Endpoint), StartedAt: now,
	}).clone()
	return t
}

// repeat thins out one wait of the present phase.
type repeat struct {
	next     time.Time
	gap      time.Duration
	changing bool // it was another one when it was last told: one more change can wait
}

// The first repeat of a wait is said after repeatFirst, the next ones at
// twice the distance, up to repeatMax.
const (
	repeatFirst = 10 * time.Second
	repeatMax   = 5 * time.Minute
)

// enter begins a phase, which ends the one before it.
func (t *teller) enter(p Phase) {
	if p == "" || t.report.Phase == p {
		return
	}
	t.clock()
	t.mu.Lock()
	t.report.Phase, t.entered, t.until = p, time.Now(), time.Time{}
	t.mu.Unlock()
	t.waiting = nil
}

// limit says when the present phase is over at the latest.
func (t *teller) limit(until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = until
}

// clock adds the time since the last call to the attempt's present phase.
func (t *teller) clock() {
	now := time.Now()
	if t.attempt != nil {
		phase := t.phaseTime(t.report.Phase)
		phase.Duration += Seconds(now.Sub(t.phaseStart))
	}
	t.phaseStart = now
}

func (t *teller) phaseTime(p Phase) *PhaseTime {
	for i := range t.attempt.Phases {
		if t.attempt.Phases[i].Phase == p {
			return &t.attempt.Phases[i]
		}
	}
	t.attempt.Phases = append(t.attempt.Phases, PhaseTime{Phase: p})
	return &t.attempt.Phases[len(t.attempt.Phases)-1]
}

// say reports one transition.
func (t *teller) say(severity Severity, message, hint string) {
	t.waiting = nil
	t.tell(Event{Severity: severity, Message: message, Hint: hint})
}

// wait reports what is in the way just now. Said again it is the same wait,
// told ever more seldom. Another cause, or another wait, is told at once; those
// that change all the time are thinned out like the rest. It is also what the
// deadline will find.
func (t *teller) wait(obstacle Error) {
	t.obstacle = &obstacle
	said, now := obstacle.Error(), time.Now()
	w, known := t.waiting[obstacle.Message]
	changed := said != t.said
	switch {
	case !known:
		w = &repeat{gap: repeatFirst}
		if t.waiting == nil {
			t.waiting = map[string]*repeat{}
		}
		t.waiting[obstacle.Message] = w
	case !now.Before(w.next):
		w.gap = min(2*w.gap, repeatMax)
	case !changed || w.changing:
		return
	}
	w.next, w.changing, t.said = now.Add(w.gap), known && changed, said
	e := Event{Severity: Info, Message: "waiting: " + said, Hint: obstacle.Hint, Wait: true}
	if known && !changed {
		e.Message, e.Repeat = "still "+e.Message, true
	}
	t.tell(e)
}

func (t *teller) tell(e Event) {
	e.Message, e.Hint = t.redact(e.Message), t.redact(e.Hint)
	t.report.Message, t.report.Hint = e.Message, e.Hint
	t.emit(e)
}

// detail passes on one line of kubeadm's own output; it comes from the
// goroutine that reads it.
func (t *teller) detail(line string) { t.emit(Event{Severity: Detail, Message: line}) }

// emit sends an event to the observer, one at a time.
func (t *teller) emit(e Event) {
	if t.observe == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Time, e.Phase, e.Since, e.Until = time.Now(), t.report.Phase, t.entered, t.until
	if e.Until.IsZero() || !t.ends.IsZero() && t.ends.Before(e.Until) {
		e.Until = t.ends
	}
	if e.Severity != Detail {
		if t.report.FinishedAt == nil {
			t.report.Duration = Seconds(time.Since(t.report.StartedAt))
		}
		e.Report = t.report.clone()
	}
	t.observe(e)
}

// warn keeps a warning for the report, once.
func (t *teller) warn(message string) {
	message = t.redact(message)
	if slices.Contains(t.report.Warnings, message) {
		return
	}
	t.report.Warnings = append(t.report.Warnings, message)
	t.say(Warning, message, "")
}

// failed keeps the first and the last error.
func (t *teller) failed(err error) {
	message := t.redact(err.Error())
	if t.report.FirstError == "" {
		t.report.FirstError = message
	}
	t.report.LastError, t.lastErr = message, err
}

// begin opens an attempt, if none is open; end closes it, with the error that
// ended it.
func (t *teller) begin() {
	if t.attempt != nil {
		return
	}
	t.phaseStart = time.Now()
	t.report.Counts.Attempts++
	t.report.Attempts = append(t.report.Attempts, Attempt{
		Number: t.report.Counts.Attempts, StartedAt: t.phaseStart.UTC().Truncate(time.Millisecond),
	})
	t.attempt = &t.report.Attempts[len(t.report.Attempts)-1]
}

func (t *teller) end(err error) {
	if t.attempt == nil {
		return
	}
	t.clock()
	if err != nil {
		t.phaseTime(t.report.Phase).Error = t.redact(err.Error())
	}
	t.attempt.Duration = Seconds(time.Since(t.attempt.StartedAt))
	t.attempt = nil
}

// nodeIsThere tells of a Node of ours that was not there at the last answer.
func (t *teller) nodeIsThere(name, uid string) {
	t.report.Node.Name, t.report.Node.UID = name, uid
	t.say(Info, fmt.Sprintf("Node %q is there and is this machine's (UID %s)", name, uid), "")
}

// deleted counts one that is not there any more; after is since it was first seen.
func (t *teller) deleted(uid string, after time.Duration, had cluster.Node) {
	t.report.Counts.Deletions++
	d := Deletion{UID: uid, At: time.Now().UTC().Truncate(time.Millisecond), After: Seconds(after), Taints: []string{}}
	if had.UID == uid {
		d.Taints, d.Cordoned, d.PodCIDR = append(d.Taints, had.Taints...), had.Unschedulable, had.PodCIDR
		d.ProviderID, d.LastWriter = had.ProviderID, t.redact(had.LastWriter)
	}
	t.report.Deletions = append(t.report.Deletions, d)
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
}
