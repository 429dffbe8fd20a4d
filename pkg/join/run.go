package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nodejoin/nodejoin/internal/ec2"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// Run makes this machine a member of the cluster and returns when its Node has
// been held at the wanted level, when nothing but a person can help, at the
// deadline, or when ctx is cancelled. A nil error means a member, and held, or
// with DryRun that nothing stands in the way of that; any other is an *[Error].
// The report is complete either way.
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
	name   string // our Node's, as kubeadm would derive it; "" until register has asked for it
	named  bool   // somebody asked for that very name

	registered bool          // name and providerID are what a join would use
	providerID string        // of our Node, if it gets one
	instance   *ec2.Instance // that we are, where EC2 was asked and answered

	mu      sync.Mutex // guards what emit uses
	report  Report
	entered time.Time // when the present phase began
	until   time.Time // when it is over at the latest, if it has a limit of its own
	ends    time.Time // the deadline; zero: none

	answered bool               // an API server has answered usefully in this run
	obstacle *Error             // what is in the way just now: at the deadline, what it was
	waiting  map[string]*repeat // the waits of the present phase, by message
	said     string             // the last of them, as it was told

	lastErr error // of the last attempt that failed

	evidence  string    // why a reset is allowed though credentials load (rule 2)
	gone      bool      // it is (b)
	goneSpent bool      // evidence (b) has been used: once a run
	forced    bool      // --reset=always has not been done yet
	issued    time.Time // when our certificate request was first seen to be approved
	denied    string    // what was said of the denied certificate request that was seen last
	clockSaid bool      // that the clocks differ

	seen    map[string]time.Time // Nodes that were ours, by UID, when first seen
	own     string               // UID of the one that was there at the last answer
	restart backoff.BackOff      // between kubelet restarts after deletions
	fetched time.Time            // when the token was last read
	unread  bool                 // and could not be
	token   string

	held    string // what a success has to say
	planned bool   // it is that of a dry run, which would join

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
		seen:   map[string]time.Time{}, entered: now,
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
	b.Multiplier, b.RandomizationFactor = 2, r.jitter
	b.Reset()
	return b
}

var errDeadline = errors.New("--timeout has passed")

func (r *run) run(ctx context.Context) (Report, error) {
	if limit := r.patience(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errDeadline)
		defer cancel()
		r.ends, _ = ctx.Deadline()
	}
	err := r.plans(r.conclude(ctx, r.loop(ctx)))
	report := r.finish(err)
	if r.touched() {
		// it holds a token; a join that was killed may have left it
		_ = r.w.RemoveBootstrapConf()
	}
	return report, err
}

// touched: whoever refuses to touch a machine leaves it as it is.
func (r *run) touched() bool {
	if r.DryRun {
		return false
	}
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
		case errors.Is(err, errLook): // something has changed by itself: no failure
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
	switch {
	case r.forced || r.evidence != "":
		return errJoin
	case unreadable(err):
		return err
	case err != nil:
		return errJoin
	}
	if r.name == "" { // whatever a join would call it
		r.report.Node.Name = r.redact(creds.NodeName)
	}
	if err := r.sameCluster(creds.CA); err != nil {
		return err
	}
	if len(r.CACertHashes) == 0 && r.DiscoveryFile == "" && r.Reset != ResetAlways && r.w.StrangerAt(ctx, creds) {
		return otherCluster("the API server at " + r.Endpoint + " has another CA")
	}
	if !r.DryRun {
		// left by a join that was killed; kubeadm itself keeps it no longer than that
		if err := r.w.RemoveBootstrapConf(); err != nil {
			r.warn(fmt.Sprintf("bootstrap-kubelet.conf, which holds a token, cannot be removed: %v", err))
		}
	}
	return r.settle(ctx, creds, nil)
}

// unreadable: a disk that gives errors may hold good credentials (rule 2a).
func unreadable(err error) bool {
	var failed *fs.PathError
	return errors.As(err, &failed) && !errors.Is(err, fs.ErrNotExist)
}

// try is one attempt: prove the cluster, see that our name is free, reset if
// the rules allow it, join, and see our own Node stay.
func (r *run) try(ctx context.Context) (err error) {
	target, err := r.prove(ctx)
	if err != nil {
		return err
	}
	if err := r.awaitRequest(ctx); err != nil {
		return err
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
	if target, err = r.awaitName(ctx, target, true); err != nil {
		return err
	}
	r.warnKept(target.Node)
	return r.join(ctx)
}

var (
	errJoin    = errors.New("a join is needed")
	errLook    = errors.New("this machine is to be looked at again")
	errAttempt = errors.New("--attempt-timeout has passed")
)

func (r *run) backOff(ctx context.Context, err error, pause time.Duration) error {
	r.failed(err)
	r.report.LogTail.Kubelet = r.w.KubeletLog(ctx)
	r.enter(Backoff)
	r.limit(pause)
	r.obstacle = &Error{Reason: JoinFailed, Message: "the last attempt failed", Err: err}
	r.say(Warning, fmt.Sprintf("that failed: %v", err), fmt.Sprintf("trying again in %s", pause.Round(100*time.Millisecond)))
	return r.sleep(ctx, pause)
}
