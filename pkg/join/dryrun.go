package join

import (
	"errors"
	"fmt"
	"time"
)

// A dry run is a run that ends where it would touch the machine for the first
// time. Up to there it is the same code, so it cannot tell another story.

// act stands before everything that changes the machine.
func (r *run) act(what string) error {
	if !r.DryRun {
		return nil
	}
	return &Error{Reason: WouldJoin, Message: "dry run: would " + what}
}

// patience is the time for everything; 0: no limit. A dry run waits for
// nothing that takes long, and does not hold.
func (p *plan) patience() time.Duration {
	if p.DryRun && (p.Timeout == 0 || p.Timeout > dryRunPatience) {
		return dryRunPatience
	}
	return p.Timeout
}

func (r *run) wouldWait(obstacle string) string {
	limit := "as long as it takes"
	if r.Timeout > 0 {
		limit = fmt.Sprintf("up to %s", r.Timeout)
	}
	return fmt.Sprintf("dry run: would wait, %s in all: %s", limit, obstacle)
}

// plans makes a success of a dry run that came to an act. An attempt that only
// looked does not count.
func (r *run) plans(err error) error {
	if !r.DryRun {
		return err
	}
	r.report.Attempts, r.report.Counts = []Attempt{}, Counts{}
	var e *Error
	if !errors.As(err, &e) || e.Reason != WouldJoin {
		return err
	}
	r.planned, r.held = true, e.Message
	return nil
}
