package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// reset runs kubeadm reset if there is something to reset and the evidence
// allows it (rule 2): leftovers without credentials that load, or what look
// has found out about credentials that do.
func (r *run) reset(ctx context.Context) error {
	disk, err := r.w.Inspect()
	if err != nil {
		return err
	}
	_, noCredentials := r.w.Credentials()
	why := r.evidence
	switch {
	case r.forced:
		why = "--reset=always"
	case len(disk.Leftovers) == 0:
		r.forget()
		r.own = ""
		return nil
	case unreadable(noCredentials):
		return noCredentials
	case noCredentials != nil:
		why = "leftovers of an earlier join, without credentials that load: " + strings.Join(disk.Leftovers, ", ")
	case why == "":
		return errLook // the kubelet's credentials have come meanwhile
	}
	if r.Reset == ResetNever {
		return &Error{
			Reason: Refused, Message: "a reset is needed and --reset=never forbids it: " + why,
			Hint: "run `kubeadm reset` by hand, or nodejoin without --reset=never",
		}
	}
	if err := r.refuseControlPlane(); err != nil {
		return err
	}
	if err := r.refuseLosses(disk); err != nil {
		return err
	}
	if err := r.act(fmt.Sprintf("run kubeadm reset and then kubeadm join as Node %q: %s", r.name, why)); err != nil {
		return err
	}
	r.enter(Reset)
	r.report.Counts.Resets++
	r.obstacle = &Error{Reason: JoinFailed, Message: "kubeadm reset was still at work"}
	r.limit(r.AttemptTimeout)
	r.say(Info, "running kubeadm reset: "+why, "")
	gone := r.gone
	r.forget() // it allows one reset: what that leaves behind is looked at anew
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, r.AttemptTimeout, errAttempt)
	defer cancel()
	err = r.w.Reset(ctx)
	r.budget -= time.Since(began)
	r.keepTail(err)
	if err := r.seeReset(err); err != nil {
		return err
	}
	r.goneSpent = r.goneSpent || gone
	if r.budget < min(minAttempt, r.AttemptTimeout/2) {
		return fmt.Errorf("resetting: it took so long that no time is left to join: %w", errAttempt)
	}
	return nil
}

// seeReset believes the disk, not kubeadm's exit status.
func (r *run) seeReset(err error) error {
	disk, lookErr := r.w.Inspect()
	switch {
	case lookErr != nil:
		return lookErr
	case len(disk.Leftovers) > 0 && err != nil:
		return fmt.Errorf("resetting: %s still there: %w", strings.Join(disk.Leftovers, ", "), err)
	case len(disk.Leftovers) > 0:
		return fmt.Errorf("resetting: kubeadm reset succeeded, but %s still there", strings.Join(disk.Leftovers, ", "))
	case err != nil:
		r.warn(fmt.Sprintf("kubeadm reset failed, but nothing is left on disk: %v", err))
	}
	r.forced, r.own = false, ""
	return nil
}

// join runs kubeadm join and, from the moment the kubelet has credentials, sees
// for itself. kubeadm's word is heard, not believed (rule 1).
func (r *run) join(ctx context.Context) error {
	if err := r.act(fmt.Sprintf("run kubeadm join as Node %q: the kubelet has no credentials, nothing is left of an earlier join, "+
		"and no live Node has the name", r.name)); err != nil {
		return err
	}
	r.enter(Join)
	r.report.Counts.Joins++
	r.obstacle = &Error{Reason: JoinFailed, Message: "kubeadm join was still at work"}
	r.limit(r.budget)
	r.say(Info, "running kubeadm join", "")
	attempt, cancel := context.WithTimeoutCause(ctx, r.budget, errAttempt)
	defer cancel()

	back, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		err := r.w.Join(attempt, r.token, r.bearer(r.token))
		if rmErr := r.w.RemoveBootstrapConf(); rmErr != nil && err == nil {
			err = rmErr // it holds the token
		}
		back <- err
	}()
	defer func() { // never leave kubeadm behind
		cancel()
		<-ended
	}()

	creds, err := r.awaitCredentials(attempt, back)
	if err != nil {
		return err
	}
	return r.settle(ctx, creds, back)
}

// awaitCredentials returns the kubelet's credentials as soon as they load. If
// kubeadm is back without them, the attempt has failed.
func (r *run) awaitCredentials(ctx context.Context, back chan error) (*cluster.Credentials, error) {
	tick := time.NewTicker(credentialsEvery)
	defer tick.Stop()
	late := time.After(credentialsLate)
	for {
		if creds, err := r.w.Credentials(); err == nil {
			return creds, nil
		}
		select {
		case <-tick.C:
		case <-late:
			tick.Reset(time.Second)
		case err := <-back:
			if creds, loadErr := r.w.Credentials(); loadErr == nil {
				back <- err // for settle to hear
				return creds, nil
			} else if err == nil {
				return nil, fmt.Errorf("joining: kubeadm join succeeded, but left no credentials: %w", loadErr)
			}
			return nil, r.joinFailed(err)
		}
	}
}

// joinFailed says what kubeadm's failure means: the end, or the next attempt.
func (r *run) joinFailed(err error) error {
	r.keepTail(err)
	var failure *kubeadm.Failure
	if !errors.As(err, &failure) {
		return fmt.Errorf("joining: %w", err)
	}
	kind := failure.Kind()
	if kind == kubeadm.Kubelet && r.w.SwapRefused(context.Background()) {
		return swapRefused(err)
	}
	switch kind {
	case kubeadm.Unfit:
		return &Error{Reason: HostUnfit, Message: "kubeadm finds this host unfit", Err: err, Hint: failure.Hint()}
	case kubeadm.Usage:
		return &Error{Reason: Usage, Message: "kubeadm cannot use what it was given", Err: err, Hint: failure.Hint()}
	}
	return fmt.Errorf("joining: %w", err)
}

func (r *run) keepTail(err error) {
	var failure *kubeadm.Failure
	if errors.As(err, &failure) {
		r.report.LogTail.Kubeadm = failure.Tail
	}
}

// awaitRequest waits while the cluster has our own certificate request pending:
// a reset would throw it away, and approving it is all that is missing.
func (r *run) awaitRequest(ctx context.Context) error {
	disk, err := r.w.Inspect()
	if err != nil {
		return err
	}
	if _, err := r.w.Credentials(); err == nil || len(disk.Leftovers) == 0 {
		return nil
	}
	for waited := false; ; waited = true {
		over := false
		request, err := r.w.Request(ctx, r.name)
		if _, loadErr := r.w.Credentials(); loadErr == nil {
			r.newborn = time.Now()
			return errLook
		}
		switch unit, unitErr := r.w.Kubelet(ctx); {
		case unitErr != nil:
			return unitErr
		case err != nil: // no word about a request is not the word that there is none
			return fmt.Errorf("asking for our certificate request: %w", err)
		case request == nil, !unit.Active && !request.Own:
			over = true // with the process went the key, unless it is on disk
		case request.Denied:
			before := r.denied
			if r.denied = r.denial(request); r.denied != before {
				return errors.New(r.denied)
			}
			over = true
		case request.Pending:
			r.issued = time.Time{}
			hint := fmt.Sprintf("approve it with `kubectl certificate approve %s`, or see why nothing approves it", request.Name)
			if request.Before != nil {
				r.denied = r.denial(request.Before)
				hint += "; before it, " + r.denied
			}
			r.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("certificate request %s of Node %q is pending", request.Name, r.name), Hint: hint})
		case !request.Own:
			over = true // issued long ago, for an earlier key
		case r.issued.IsZero():
			r.issued = time.Now()
		default:
			over = time.Since(r.issued) > issuedPatience
		}
		switch {
		case over && waited: // what was found out before that wait is old
			return errLook
		case over:
			return nil
		}
		if err := r.sleep(ctx, probeSilent); err != nil {
			return err
		}
	}
}

func (r *run) denial(request *cluster.Request) string {
	return fmt.Sprintf("certificate request %s of Node %q was denied: %s", request.Name, r.name, request.Message)
}
