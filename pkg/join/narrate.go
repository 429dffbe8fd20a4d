package join

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// repeat thins out one wait of the present phase.
type repeat struct {
	next     time.Time
	gap      time.Duration
	changing bool // it was another one when it was last told: one more change can wait
}

// enter begins a phase, which ends the one before it.
func (r *run) enter(p Phase) {
	if r.report.Phase == p {
		return
	}
	r.clock()
	r.mu.Lock()
	r.report.Phase, r.entered, r.until = p, time.Now(), time.Time{}
	r.mu.Unlock()
	r.waiting = nil
}

// limit says that the present phase is over after d at the latest.
func (r *run) limit(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Now().Add(d)
}

// clock adds the time since the last call to the attempt's present phase.
func (r *run) clock() {
	now := time.Now()
	if r.attempt != nil {
		t := r.phaseTime(r.report.Phase)
		t.Duration += Seconds(now.Sub(r.phaseStart))
	}
	r.phaseStart = now
}

func (r *run) phaseTime(p Phase) *PhaseTime {
	for i := range r.attempt.Phases {
		if r.attempt.Phases[i].Phase == p {
			return &r.attempt.Phases[i]
		}
	}
	r.attempt.Phases = append(r.attempt.Phases, PhaseTime{Phase: p})
	return &r.attempt.Phases[len(r.attempt.Phases)-1]
}

// say reports one transition.
func (r *run) say(severity Severity, message, hint string) {
	r.waiting = nil
	r.tell(Event{Severity: severity, Message: message, Hint: hint})
}

// wait reports what is in the way just now. Said again it is the same wait,
// told ever more seldom. Another cause, or another wait, is told at once; those
// that change all the time are thinned out like the rest. It is also what the
// deadline will find.
func (r *run) wait(obstacle Error) {
	r.obstacle = &obstacle
	said, now := obstacle.Error(), time.Now()
	w, known := r.waiting[obstacle.Message]
	changed := said != r.said
	switch {
	case !known:
		w = &repeat{gap: repeatFirst}
		if r.waiting == nil {
			r.waiting = map[string]*repeat{}
		}
		r.waiting[obstacle.Message] = w
	case !now.Before(w.next):
		w.gap = min(2*w.gap, repeatMax)
	case !changed || w.changing:
		return
	}
	w.next, w.changing, r.said = now.Add(w.gap), known && changed, said
	e := Event{Severity: Info, Message: "waiting: " + said, Hint: obstacle.Hint, Wait: true}
	if known && !changed {
		e.Message, e.Repeat = "still "+e.Message, true
	}
	r.tell(e)
}

func (r *run) tell(e Event) {
	e.Message, e.Hint = r.redact(e.Message), r.redact(e.Hint)
	r.report.Message, r.report.Hint = e.Message, e.Hint
	r.emit(e)
}

// detail passes on one line of kubeadm's own output; it comes from the
// goroutine that reads it.
func (r *run) detail(line string) { r.emit(Event{Severity: Detail, Message: line}) }

// emit sends an event to the observer, one at a time.
func (r *run) emit(e Event) {
	if r.Observe == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Time, e.Phase, e.Since, e.Until = time.Now(), r.report.Phase, r.entered, r.until
	if e.Until.IsZero() || !r.ends.IsZero() && r.ends.Before(e.Until) {
		e.Until = r.ends
	}
	if e.Severity != Detail {
		if r.report.FinishedAt == nil {
			r.report.Duration = Seconds(time.Since(r.report.StartedAt))
		}
		e.Report = r.report.clone()
	}
	r.Observe(e)
}

// warn keeps a warning for the report, once.
func (r *run) warn(message string) {
	message = r.redact(message)
	if slices.Contains(r.report.Warnings, message) {
		return
	}
	r.report.Warnings = append(r.report.Warnings, message)
	r.say(Warning, message, "")
}

// failed keeps the first and the last error.
func (r *run) failed(err error) {
	message := r.redact(err.Error())
	if r.report.FirstError == "" {
		r.report.FirstError = message
	}
	r.report.LastError, r.lastErr = message, err
}

// begin opens an attempt; end closes it, with the error that ended it.
func (r *run) begin() {
	r.enter(Join)
	r.budget = r.AttemptTimeout
	r.phaseStart = time.Now()
	r.report.Counts.Attempts++
	r.report.Attempts = append(r.report.Attempts, Attempt{
		Number: r.report.Counts.Attempts, StartedAt: r.phaseStart.UTC().Truncate(time.Millisecond),
	})
	r.attempt = &r.report.Attempts[len(r.report.Attempts)-1]
}

func (r *run) end(err error) {
	r.clock()
	if err != nil {
		r.phaseTime(r.report.Phase).Error = r.redact(err.Error())
	}
	r.attempt.Duration = Seconds(time.Since(r.attempt.StartedAt))
	r.attempt = nil
}

// sleep ends early, with the cause, when ctx does.
func (r *run) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", int(d.Round(time.Second)/time.Second))
}
