package join

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// Run makes this machine a member of the cluster and returns when its Node has
// been held at the wanted level, when nothing but a person can help, at the
// deadline, or when ctx is cancelled. A nil error means a member, and held; any
// other is an *[Error]. The report is complete either way.
//
// Run needs root and takes the lock in /run/nodejoin: only one at a time.
func Run(ctx context.Context, c Config) (Report, error) {
	p, err := c.plan()
	if err != nil {
		return ended(c, err), err
	}
	w, err := newMachine(p)
	if err != nil {
		return ended(c, err), err
	}
	defer w.close()
	r := newRun(p, w, w.identity.BootID, w.name, w.redact)
	w.kubeadm.Line = r.detail
	return r.run(ctx)
}

// ended is the report of a run that never began.
func ended(c Config, err error) Report {
	c.Observe = nil // nothing began, so there is nothing to tell
	r := newRun(&plan{Config: c}, nil, "", c.NodeName, kubeadm.NewRedactor(c.Token.Value, c.TLSBootstrapToken).Redact)
	return r.finish(err)
}

// run is the state of one Run.
type run struct {
	*plan
	w      world
	redact func(string) string

	bootID string // of this boot: a Node with it is ours
	name   string // our Node's, as kubeadm would derive it
	named  bool   // somebody asked for that name, it is not only the hostname

	mu     sync.Mutex // guards what emit uses
	report Report

	answered bool   // an API server has answered usefully in this run
	obstacle *Error // what is in the way just now: at the deadline, what it was
	waiting  repeat

	lastErr error // of the last attempt that failed

	evidence  string // why a reset is allowed though credentials load (rule 2)
	gone      bool   // it is (b)
	goneSpent bool   // evidence (b) has been used: once a run
	forced    bool   // --reset=always has not been done yet
	denied    string // name of the denied certificate request that was reported

	seen    map[string]time.Time // Nodes that were ours, by UID, when first seen
	own     string               // UID of the one that was there at the last answer
	restart backoff.BackOff      // between kubelet restarts after deletions
	fetched time.Time            // when the token was last read
	unread  bool                 // and could not be
	token   string

	held string // what a success has to say

	newborn time.Time     // when the kubelet last got a new certificate: it may not have registered yet
	budget  time.Duration // what is left of the attempt's time

	attempt    *Attempt  // the open one, or nil
	phaseStart time.Time // of what clock has not counted yet
}

func newRun(p *plan, w world, bootID, name string, redact func(string) string) *run {
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := &run{
		plan: p, w: w, redact: redact,
		bootID: bootID, name: name, named: p.NodeName != "",
		forced: p.Reset == ResetAlways,
		seen:   map[string]time.Time{},
	}
	r.report = (&Report{
		SchemaVersion: SchemaVersion, Version: p.Version, PID: os.Getpid(), Phase: Look,
		Node: NodeRef{Name: redact(name), BootID: bootID}, Endpoint: redact(p.Endpoint), StartedAt: now,
	}).clone()
	r.restart = r.pauses()
	return r
}

// pauses is the back-off between attempts: exponential, jittered, capped.
func (r *run) pauses() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.MaxElapsedTime = r.BackoffInitial, r.BackoffMax, 0
	b.Multiplier, b.RandomizationFactor = 2, 0.25
	b.Reset()
	return b
}

var errDeadline = errors.New("--timeout has passed")

func (r *run) run(ctx context.Context) (Report, error) {
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, errDeadline)
		defer cancel()
	}
	err := r.conclude(ctx, r.loop(ctx))
	report := r.finish(err)
	if r.touched() {
		// it holds a token; a join that was killed may have left it
		_ = r.w.RemoveBootstrapConf()
	}
	return report, err
}

// touched: whoever refuses to touch a machine leaves it as it is.
func (r *run) touched() bool {
	switch r.report.Reason {
	case Usage, HostUnfit, Refused:
		return r.report.Counts.Joins > 0
	}
	return true
}

// loop is all of nodejoin: until held, terminal error, deadline or signal.
func (r *run) loop(ctx context.Context) error {
	pause := r.pauses()
	for {
		err := r.look(ctx)
		if errors.Is(err, errJoin) {
			err = r.try(ctx)
		}
		switch {
		case err == nil, ctx.Err() != nil, isTerminal(err):
			return err
		case errors.Is(err, errLook): // something came back by itself: no failure
			continue
		}
		if err := r.backOff(ctx, err, pause.NextBackOff()); err != nil {
			return err
		}
	}
}

// look asks with the kubelet's credentials, if there are any, and holds the
// Node if it is ours. errJoin says that only a join can help, and may be tried.
func (r *run) look(ctx context.Context) error {
	r.enter(Look)
	if err := r.refuseControlPlane(); err != nil {
		return err
	}
	creds, err := r.w.Credentials()
	if err != nil || r.forced || r.evidence != "" {
		return errJoin
	}
	if err := r.sameCluster(creds.CA); err != nil {
		return err
	}
	if len(r.CACertHashes) == 0 && r.DiscoveryFile == "" && r.Reset != ResetAlways && r.w.StrangerAt(ctx, creds) {
		return otherCluster("the API server at " + r.Endpoint + " has another CA")
	}
	// left by a join that was killed; kubeadm itself keeps it no longer than that
	if err := r.w.RemoveBootstrapConf(); err != nil {
		r.warn(fmt.Sprintf("bootstrap-kubelet.conf, which holds a token, cannot be removed: %v", err))
	}
	return r.settle(ctx, creds, nil)
}

// try is one attempt: prove the cluster, see that our name is free, reset if
// the rules allow it, join, and see our own Node stay.
func (r *run) try(ctx context.Context) (err error) {
	if err := r.fitToJoin(ctx); err != nil {
		return err
	}
	r.warnExposed()
	r.fetched = time.Time{} // the token is read for every attempt
	target, err := r.discover(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.awaitRequest(ctx); err != nil {
		return err
	}
	if time.Since(began) > probeSilent { // what was seen before that wait is old
		if target, err = r.discover(ctx); err != nil {
			return err
		}
	}
	if target, err = r.awaitName(ctx, target, false); err != nil {
		return err
	}
	r.begin()
	defer func() { r.end(err) }()
	resets := r.report.Counts.Resets
	if err := r.reset(ctx); err != nil {
		return err
	}
	if r.report.Counts.Resets > resets {
		if target, err = r.discover(ctx); err != nil {
			return err
		}
	}
	if _, err := r.awaitName(ctx, target, true); err != nil {
		return err
	}
	return r.join(ctx)
}

var (
	errJoin    = errors.New("a join is needed")
	errLook    = errors.New("the kubelet has credentials now")
	errAttempt = errors.New("--attempt-timeout has passed")
)

// isTerminal: the loop ends only with an *Error. Any other error is one
// attempt's, and the next may do better.
func isTerminal(err error) bool {
	var terminal *Error
	return errors.As(err, &terminal)
}

func (r *run) backOff(ctx context.Context, err error, pause time.Duration) error {
	r.failed(err)
	r.report.LogTail.Kubelet = r.w.KubeletLog(ctx)
	r.enter(Backoff)
	r.obstacle = &Error{Reason: JoinFailed, Message: "the last attempt failed", Err: err}
	r.say(Warning, fmt.Sprintf("that failed: %v", err), fmt.Sprintf("trying again in %s", pause.Round(100*time.Millisecond)))
	return r.sleep(ctx, pause)
}

// conclude turns the end of the loop into what the caller gets: nil, or an
// *Error with the reason that stands in the contract.
func (r *run) conclude(ctx context.Context, err error) error {
	var terminal *Error
	var child *kubeadm.Failure
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.As(err, &child): // whatever it said when it was ended
	case errors.As(err, &terminal):
		return r.redacted(terminal)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errDeadline):
		return &Error{
			Reason: Interrupted, Message: fmt.Sprintf("stopped in phase %s", r.report.Phase), Err: context.Cause(ctx),
			Hint: "run nodejoin again to go on: it begins with what is on this machine now",
		}
	case ctx.Err() != nil:
		return r.redacted(r.deadline(err))
	}
	return r.redacted(&Error{Reason: Internal, Message: "unforeseen error", Err: err})
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
	e.Message = fmt.Sprintf("no member after %s: %s", r.Timeout, e.Message)
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
	case c.Deletions > 0 || c.KubeletRestarts > 0:
		return Recovered
	case c.Joins > 0:
		return Joined
	}
	return AlreadyJoined
}

// sameCluster refuses credentials of another cluster (rule 4).
func (r *run) sameCluster(ca []byte) error {
	what := ""
	switch fileCA, err := r.w.DiscoveryCA(); {
	case len(r.CACertHashes) > 0 && !cluster.MatchesPins(ca, r.CACertHashes):
		what = "its CA is not the pinned one"
	case err != nil:
		return usage(fmt.Errorf("--discovery-file: %w", err))
	case fileCA != nil && !cluster.SameCA(ca, fileCA):
		what = "its CA is not the discovery file's"
	}
	if what == "" || r.Reset == ResetAlways {
		return nil
	}
	return otherCluster(what)
}

func otherCluster(what string) error {
	return &Error{
		Reason:  Refused,
		Message: "this machine has kubelet credentials of another cluster: " + what,
		Hint:    "if it shall leave that cluster, delete its Node there and run nodejoin with --reset=always",
	}
}

// refuseControlPlane is kubeadm's own test, and etcd's data: neither has an
// override (rule 4).
func (r *run) refuseControlPlane() error {
	disk, err := r.w.Inspect()
	if err != nil {
		return &Error{Reason: HostUnfit, Message: "what is on this machine cannot be read", Err: err, Hint: "nothing was touched; mend that and run nodejoin again"}
	}
	if disk.ControlPlane == "" {
		return nil
	}
	return &Error{
		Reason:  Refused,
		Message: fmt.Sprintf("this is a control-plane host: %s exists", disk.ControlPlane),
		Hint:    "nodejoin is for workers only; nothing was touched",
	}
}

// fitToJoin finds what would make every attempt fail, before any waiting.
func (r *run) fitToJoin(ctx context.Context) error {
	if err := r.w.KubeadmFit(ctx); err != nil {
		return err
	}
	_, err := r.kubelet(ctx)
	return err
}

// refuseLosses: a reset would delete what is not kubeadm's (rule 4).
func (r *run) refuseLosses(disk host.Disk) error {
	lost := append(append([]string{}, disk.StaticPods...), disk.EtcdData...)
	if len(lost) == 0 || r.Reset == ResetAlways {
		return nil
	}
	return &Error{
		Reason:  Refused,
		Message: "a reset is needed, and kubeadm reset would delete what is this machine's own: " + strings.Join(lost, ", "),
		Hint:    "move that away, or run nodejoin with --reset=always to have it deleted",
	}
}

// kubelet returns the state of the kubelet's unit; one that a person must mend
// ends the run (rule 16).
func (r *run) kubelet(ctx context.Context) (host.Unit, error) {
	unit, err := r.w.Kubelet(ctx)
	switch {
	case errors.Is(err, host.ErrNoInitSystem):
		return unit, &Error{Reason: HostUnfit, Message: "neither systemd nor OpenRC is here to run the kubelet", Err: err}
	case err != nil:
		return unit, err
	case unit.Missing:
		return unit, &Error{Reason: HostUnfit, Message: "there is no service \"kubelet\"", Hint: "install the kubelet's package, or its unit file"}
	case unit.Masked:
		return unit, &Error{Reason: HostUnfit, Message: "the service \"kubelet\" is masked", Hint: "run `systemctl unmask kubelet`"}
	case unit.Disabled:
		r.warn("the service \"kubelet\" is disabled: this Node will not come back after a reboot (`systemctl enable kubelet`)")
	}
	return unit, nil
}
