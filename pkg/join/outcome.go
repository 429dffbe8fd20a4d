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

// conclude turns the end of the loop into what the caller gets: nil, or an
// *Error with the reason that stands in the contract.
func (r *run) conclude(ctx context.Context, err error) error {
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
			Reason: Interrupted, Message: fmt.Sprintf("stopped in phase %s; %s", r.report.Phase, r.left()), Err: why,
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
	if c := r.report.Counts; c.Joins+c.Resets > 0 && noCredentials != nil {
		began = "kubeadm was ended and "
	}
	switch {
	case r.own != "" && r.report.Phase == Hold:
		return fmt.Sprintf("Node %q is a member (UID %s), the hold was not over", r.report.Node.Name, r.own)
	case r.own != "":
		return fmt.Sprintf("Node %q was there (UID %s), and not yet as it was to be", r.report.Node.Name, r.own)
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
	o := r.obstacle
	if o == nil {
		o = &Error{Reason: JoinFailed, Message: "nothing was in the way, there was only too little time"}
	}
	e := *o
	if e.Reason == Unreachable && r.answered {
		e.Reason = JoinFailed
	}
	switch {
	case e.Err != nil:
	case last != nil && last != errDeadline: //nolint:errorlint // bare: it says no more than the message
		e.Err = last
	default:
		e.Err = r.lastErr
	}
	if e.Reason == JoinFailed && r.denied != "" && !strings.Contains(e.Hint, r.denied) {
		e.Hint = strings.TrimPrefix(e.Hint+"; "+r.denied, "; ")
	}
	e.Message = fmt.Sprintf("no member after %s: %s", r.Timeout, e.Message)
	if r.DryRun {
		e.Message = r.wouldWait(o.Message)
	}
	return &e
}

// finish completes the report and sends the last event.
func (r *run) finish(err error) Report {
	now := time.Now().UTC().Truncate(time.Millisecond)
	rep := &r.report
	rep.FinishedAt = &now
	rep.Duration = Seconds(now.Sub(rep.StartedAt))
	result := Success
	if err == nil {
		rep.Reason, rep.Message, rep.Hint = r.howJoined(), r.redact(r.held), ""
		rep.LogTail = (&Report{}).clone().LogTail
	} else {
		result = Failure
		r.finishFailed(err)
	}
	rep.Result = &result
	rep.Phase = Done
	severity := Info
	if result == Failure {
		severity = Warning
	}
	r.emit(Event{Severity: severity, Message: rep.Message, Hint: rep.Hint})
	return rep.clone()
}

func (r *run) finishFailed(err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Reason: Internal, Message: "unforeseen error", Err: err}
	}
	rep := &r.report
	rep.Reason, rep.Message, rep.Hint = e.Reason, r.redact(e.Error()), r.redact(e.Hint)
	if r.lastErr == nil || e.Reason != JoinFailed { // at the deadline, the last failure says more
		r.failed(err)
	}
	if e.Reason != Interrupted && rep.Counts.Joins+rep.Counts.KubeletRestarts > 0 {
		rep.LogTail.Kubelet = r.w.KubeletLog(context.Background())
	}
}

func (r *run) howJoined() Reason {
	c := r.report.Counts
	switch {
	case r.planned:
		return WouldJoin
	case c.Deletions > 0 || c.KubeletRestarts > 0:
		return Recovered
	case c.Joins > 0:
		return Joined
	}
	return AlreadyJoined
}
