package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// isTerminal: the loop ends only with an *Error. Any other error is one
// attempt's, and the next may do better.
func isTerminal(err error) bool {
	var terminal *Error
	return errors.As(err, &terminal)
}

// conclude ends the report. In a dry run that came to an act that is a success.
func (r *run) conclude(ctx context.Context, held string, err error) (Report, error) {
	err = r.concluded(ctx, err)
	var e *Error
	if r.DryRun {
		r.tell.report.Attempts, r.tell.report.Counts = []Attempt{}, Counts{} // one that only looked does not count
		if errors.As(err, &e) && e.Reason == WouldJoin {
			return r.end(WouldJoin, e.Message), nil
		}
	}
	if err == nil {
		return r.end(r.howJoined(), held), nil
	}
	return r.finish(err), err
}

// concluded turns the end of the loop into what the caller gets: nil, or an
// *Error with the reason that stands in the contract.
func (r *run) concluded(ctx context.Context, err error) error {
	var terminal *Error
	var failure *kubeadm.Failure
	var stuck *child.StuckError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.As(err, &failure): // whatever it said when it was ended
	case errors.As(err, &terminal):
		return r.redacted(terminal)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errDeadline):
		why := context.Cause(ctx)
		if errors.As(err, &stuck) {
			why = fmt.Errorf("%w: %w", why, stuck)
		}
		return r.redacted(&Error{
			Reason: Interrupted, Message: fmt.Sprintf("stopped in phase %s; %s", r.tell.report.Phase, r.left()), Err: why,
			Hint: "run nodejoin again to go on: it begins with what is on this machine now",
		})
	case ctx.Err() != nil:
		return r.redacted(r.deadline(err))
	}
	return r.redacted(&Error{Reason: Internal, Message: "unforeseen error", Err: err})
}

// left says in which state a run that was stopped leaves the machine.
func (r *run) left() string {
	disk, err := r.w.Inspect()
	_, noCredentials := r.w.Credentials()
	began := ""
	if c := r.tell.report.Counts; c.Joins+c.Resets > 0 && noCredentials != nil {
		began = "kubeadm was ended and "
	}
	switch {
	case r.memory.OwnUID != "" && r.tell.report.Phase == Hold:
		return fmt.Sprintf("Node %q is a member (UID %s), the hold was not over", r.tell.report.Node.Name, r.memory.OwnUID)
	case r.memory.OwnUID != "":
		return fmt.Sprintf("Node %q was there (UID %s), and not yet as it was to be", r.tell.report.Node.Name, r.memory.OwnUID)
	case err != nil:
		return "what is on this machine cannot be read"
	case noCredentials == nil:
		return "the kubelet has credentials, but its Node was not seen"
	case len(disk.Leftovers) > 0:
		return "not joined: " + began + "left " + strings.Join(disk.Leftovers, ", ")
	}
	return "not joined: " + began + "nothing is left to clean up"
}

// redacted keeps secrets out of the error that leaves the package, as out of
// the report.
func (r *run) redacted(e *Error) error {
	clean := &Error{Reason: e.Reason, Message: r.redact(e.Message), Hint: r.redact(e.Hint)}
	if e.Err != nil {
		clean.Err = redactedError{r.redact(e.Err.Error()), e.Err}
	}
	return clean
}

// redactedError prints as text; the chain stays for errors.Is and errors.As.
type redactedError struct {
	text string
	err  error
}

func (e redactedError) Error() string { return e.text }

func (e redactedError) Unwrap() error { return e.err }

// deadline says what was in the way when the time was up.
func (r *run) deadline(last error) *Error {
	o := r.tell.obstacle
	if o == nil {
		o = &Error{Reason: JoinFailed, Message: "nothing was in the way, there was only too little time"}
	}
	e := *o
	if e.Reason == Unreachable && r.memory.Answered {
		e.Reason = JoinFailed
	}
	switch {
	case e.Err != nil, r.facts.Join.Running && e.Hint != "": // a known cause says more than a last word
	case e.Reason == JoinFailed && e.Hint == "" && r.tell.lastHint != "":
		e.Err, e.Hint = r.tell.lastErr, r.tell.lastHint
		if r.tell.attempt != nil {
			e.Message += "; the attempt before it failed"
		}
	case last != nil && last != errDeadline: //nolint:errorlint // bare: it says no more than the message
		e.Err = last
	default:
		e.Err = r.tell.lastErr
	}
	if e.Reason == JoinFailed && r.memory.Denial != "" && !strings.Contains(e.Hint, r.memory.Denial) {
		e.Hint = strings.TrimPrefix(e.Hint+"; "+r.memory.Denial, "; ")
	}
	e.Message = fmt.Sprintf("no member after %s: %s", r.Timeout, e.Message)
	if r.DryRun {
		e.Message = r.wouldWait(o.Message)
	}
	return &e
}

// end completes the report of a success.
func (r *run) end(reason Reason, held string) Report {
	rep := &r.tell.report
	rep.Reason, rep.Message, rep.Hint = reason, r.redact(held), ""
	rep.LogTail = (&Report{}).clone().LogTail
	return r.sendLast(Success, Info)
}

// finish completes the report of a failure.
func (r *run) finish(err error) Report {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: Internal, Message: "unforeseen error", Err: err}
	}
	rep := &r.tell.report
	rep.Reason, rep.Message, rep.Hint = e.Reason, r.redact(e.Error()), r.redact(e.Hint)
	if r.tell.lastErr == nil || e.Reason != JoinFailed { // at the deadline, the last failure says more
		r.tell.failed(err)
	}
	if e.Reason != Interrupted && rep.Counts.Joins+rep.Counts.KubeletRestarts > 0 {
		rep.LogTail.Kubelet = r.w.KubeletLog(context.Background())
	}
	return r.sendLast(Failure, Warning)
}

// sendLast sends the last event.
func (r *run) sendLast(result Result, severity Severity) Report {
	now := time.Now().UTC().Truncate(time.Millisecond)
	rep := &r.tell.report
	rep.FinishedAt = &now
	rep.Duration = Seconds(now.Sub(rep.StartedAt))
	rep.Result, rep.Phase = &result, Done
	r.tell.emit(Event{Severity: severity, Message: rep.Message, Hint: rep.Hint})
	return rep.clone()
}

func (r *run) howJoined() Reason {
	c := r.tell.report.Counts
	switch {
	case c.Deletions > 0 || c.KubeletRestarts > 0 || c.Bootstraps > 0 || c.Resets > 0 && c.Joins == 0:
		return Recovered
	case c.Joins > 0:
		return Joined
	}
	return AlreadyJoined
}
