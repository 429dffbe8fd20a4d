package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
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
	r := newRun(p, w, w.identity, w.name, w.wording)
	w.kubeadm.Line = r.tell.detail
	if err := w.journal.err; err != nil {
		r.tell.say(Info, err.Error(), "it proves nothing: what a join left here is taken for other people's")
	}
	return r.run(ctx)
}

// ended is the report of a run that never began.
func ended(c Config, err error) Report {
	c.Observe = nil // nothing began, so there is nothing to tell
	r := newRun(&plan{Config: c}, nil, host.Identity{}, c.NodeName, kubeadm.NewRedactor(c.Token.Value, c.TLSBootstrapToken).Redact)
	return r.finish(err)
}

// run looks, has the judge say what comes next, and does it, until the run ends.
type run struct {
	*plan
	w    world
	tell *teller

	policy judge.Policy
	memory judge.Memory
	facts  judge.Facts

	eyes   eyes   // how facts are found out
	tokens tokens // the token as it was last read
	naming naming // what a join registers our Node with
	pace   pace   // of looks at a cluster that is not ready for us

	unheard  *[]string // what a Node lacks whose creation was not answered, if it is there
	running  attempt
	pauses   backoff.BackOff // between attempts
	restarts backoff.BackOff // between returns of our Node
}

// attempt is the kubeadm of the attempt that is open.
type attempt struct {
	budget time.Duration // what is left of the attempt's time
	acted  time.Time     // when the run last changed something
	back   chan error    // how kubeadm join came back; nil: none runs

	refusal  string    // the kubelet's, for which the last join had waited in vain
	unserved time.Time // since when the container runtime answers and serves no kubelets
}

func newRun(p *plan, w world, id host.Identity, name string, redact func(string) string) *run {
	r := &run{plan: p, w: w, tell: newTeller(p.Config, name, id.BootID, redact)}
	r.policy = judge.Policy{
		Reset: judge.ResetMode(p.Reset), Until: judge.Level(p.Until), Hold: p.Hold, MaxDeletions: p.MaxDeletions,
		Restore: p.Restore == RestoreAuto,
		Named:   p.NodeName != "", TokenFixed: p.Token.fixed(), Endpoint: p.where(),
		AsksEndpoint: len(p.CACertHashes) == 0 && p.Endpoint != "",
		BootID:       id.BootID, MachineID: id.MachineID, SystemUUID: id.SystemUUID,
	}
	r.facts.Name.Value.Name = name
	r.naming.is.name = name
	r.memory.Exits = -1
	r.tokens.retry = judge.ProbeSilent
	if p.Token.Command != "" {
		r.tokens.retry = tokenEvery
	}
	r.eyes.answers = make(chan answer)
	r.pauses, r.restarts = p.backOff(), p.backOff()
	return r
}

func (p *plan) where() string {
	if p.Endpoint != "" {
		return p.Endpoint
	}
	return "the discovery file's server"
}

// backOff is exponential, jittered, capped.
func (p *plan) backOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.MaxElapsedTime = p.BackoffInitial, p.BackoffMax, 0
	b.Multiplier, b.RandomizationFactor = 2, p.jitter
	b.Reset()
	return b
}

var (
	errDeadline = errors.New("--timeout has passed")
	errAttempt  = errors.New("--attempt-timeout has passed")
	errOver     = errors.New("the run is over")
)

func (r *run) run(ctx context.Context) (Report, error) {
	if limit := r.patience(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, errDeadline)
		defer cancel()
		r.tell.ends, _ = ctx.Deadline()
	}
	r.seeLeft()
	held, err := r.loop(ctx)
	r.tell.end(err)
	if !r.memory.StoppedAt.IsZero() { // not left as nodejoin found it
		start, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
		defer cancel()
		if startErr := r.w.StartKubelet(start); startErr != nil {
			r.tell.warn(fmt.Sprintf("the kubelet was stopped and cannot be started again: %v", startErr))
		}
	}
	if !r.memory.BootstrapAt.IsZero() {
		r.bootstrapEnded(r.facts.Request.Known() && !r.facts.Request.Value.Pending, false)
	}
	report, err := r.conclude(ctx, held, err)
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
	switch r.tell.report.Reason {
	case Usage, HostUnfit, Refused:
		return r.tell.report.Counts.Joins > 0
	}
	return true
}

// loop is all of nodejoin: look, judge, act. held is what a success has to say.
func (r *run) loop(ctx context.Context) (held string, err error) {
	run, over := context.WithCancelCause(ctx)
	defer func() {
		over(errOver)
		if r.running.back != nil { // never leave kubeadm behind
			kubeadmErr := <-r.running.back
			r.keepTail(kubeadmErr)
			for _, warning := range r.w.Warned() {
				r.tell.warn(warning)
			}
			if ctx.Err() != nil && kubeadmErr != nil && r.facts.Credentials.Value.State != judge.Loaded {
				err = fmt.Errorf("joining: %w", kubeadmErr) // what it said when it was ended
			}
		}
		r.eyes.close()
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if run.Err() != nil {
			return "", context.Cause(run)
		}
		r.follow(run)
		next := judge.Next(r.policy, r.memory, &r.facts, time.Now())
		r.tell.enter(Phase(next.Phase))
		if !next.Limit.IsZero() {
			r.tell.limit(next.Limit)
		}
		if next.Kind != judge.End && r.facts.Credentials.Value.State == judge.Loaded {
			r.sweep()
		}
		if next.Because != 0 {
			r.tell.report.Because = next.Because.Names()
		}
		switch {
		case next.Kind == judge.End && next.Reason == judge.Held:
			return r.succeed(next), nil
		case next.Kind == judge.End:
			return "", r.ending(next)
		case next.Kind == judge.BackOff:
			r.backOff(run, next)
		case next.Kind.Acts():
			if err := r.act(run, next); err != nil {
				return "", err
			}
		default:
			if next.Message != "" {
				obstacle := Error{Reason: Reason(next.Reason), Message: next.Message, Hint: next.Hint, Err: next.Err}
				if next.Quiet {
					r.tell.obstacle = &obstacle
				} else {
					r.tell.wait(obstacle)
				}
			}
			r.ask(run, next.Ask)
			r.readAhead(run)
			if err := r.hear(run, next.Until, tick.C); err != nil {
				return "", err
			}
		}
	}
}

// hear waits for one piece of news, and for until at the longest.
func (r *run) hear(ctx context.Context, until time.Time, tick <-chan time.Time) error {
	var due <-chan time.Time
	if next := r.eyes.window.Add(askWindow); r.eyes.tooOften && (until.IsZero() || next.Before(until) || !until.After(time.Now())) {
		until = next
	}
	if pause := time.Until(until); pause > 0 { // what is due is on its way
		timer := time.NewTimer(pause)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case answer := <-r.eyes.answers:
		r.eyes.inFlight &^= answer.topic
		answer.apply()
		r.take(answer.topic)
	case sighting, open := <-r.eyes.watch:
		if !open {
			return context.Cause(ctx)
		}
		r.facts.Node = r.dated(sighting)
		r.take(judge.OwnNode)
	case err := <-r.running.back:
		r.joinEnded(err)
	case <-due:
	case <-tick:
	}
	return nil
}

// dated is a sighting with its time: it may have waited while something was done.
func (r *run) dated(s cluster.Sighting) judge.Fact[judge.Sighting] {
	f := judge.Fact[judge.Sighting]{Value: sightingOf(s), Acts: r.memory.Acts, Asked: s.At.Add(-s.Took), At: s.At, News: true}
	if s.At.IsZero() {
		f.Asked, f.At = time.Now(), time.Now()
	}
	if f.At.Before(r.running.acted) {
		f.Acts--
	}
	return f
}

// take folds an answer into the memory, and tells what is new in it.
func (r *run) take(topic judge.Topic) {
	before := r.memory
	r.memory = r.memory.Take(r.policy, &r.facts, topic)
	if r.memory.Deletions > before.Deletions {
		r.deleted()
	}
	if r.unheard != nil && r.memory.OwnUID != "" {
		r.heardOf()
	}
	r.thereAgain()
	uid, node := r.memory.OwnUID, r.facts.Node.Value.Node
	if node.UID != uid {
		node = r.facts.Second.Value.Node
	}
	// What a run that was killed has left is known, and not told yet.
	if known := uid == before.OwnUID && r.tell.report.Node.UID != ""; uid != "" && node.UID == uid && !known {
		r.tell.nodeIsThere(node.Name, uid)
		if name := r.facts.Name.Value.Name; name != "" && node.Name != name && !r.policy.Named {
			r.tell.warn(fmt.Sprintf("the Node is named %q, though this machine's hostname gives %q", node.Name, name))
		}
	}
}

func (r *run) deleted() {
	r.tell.deleted(r.memory.Deleted[0], r.memory.LastsFor, r.w.LastSeen().Node)
	n := r.memory.Deletions
	if r.MaxDeletions > 0 && n > r.MaxDeletions {
		return // the judge ends the run with the same words
	}
	hint := "" // the same each time: once is enough
	if n == 1 {
		hint = r.deletionHint()
	}
	r.tell.say(Warning, fmt.Sprintf("Node %q was deleted %.1f s after it was seen (deletion %d)", r.credentialsNode(), r.memory.LastsFor.Seconds(), n), hint)
}

func (r *run) credentialsNode() string {
	if name := r.facts.Credentials.Value.NodeName; name != "" {
		return name
	}
	return r.tell.report.Node.Name
}

// backOff closes the attempt that has failed; the next one comes after a pause.
func (r *run) backOff(ctx context.Context, failure judge.Action) {
	err := r.failure(failure)
	r.facts.Join = judge.Joining{}
	if !r.memory.BootstrapAt.IsZero() {
		r.bootstrapEnded(true, false)
		r.stopAsking(ctx)
	}
	r.tell.end(err)
	r.tell.failed(err)
	var kubeadmErr *kubeadm.Failure
	if r.tell.lastHint = failure.Hint; r.tell.lastHint == "" && errors.As(err, &kubeadmErr) {
		r.tell.lastHint = kubeadmErr.Hint()
	}
	r.tell.report.LogTail.Kubelet = r.w.KubeletLog(ctx)
	r.tokens.fetched, r.facts.Name.At = time.Time{}, time.Time{} // they are read for every attempt
	pause := r.pauses.NextBackOff()
	now := time.Now()
	r.memory = r.memory.Failed(now, now.Add(pause))
	r.tell.enter(Backoff)
	r.tell.limit(now.Add(pause))
	r.tell.obstacle = &Error{Reason: JoinFailed, Message: "the last attempt failed", Hint: r.tell.lastHint, Err: err}
	r.tell.say(Warning, fmt.Sprintf("that failed: %v", err), strings.TrimPrefix(r.tell.lastHint+fmt.Sprintf("; trying again in %s", pause.Round(100*time.Millisecond)), "; "))
}

// failure adds kubeadm's own to what was seen, for it may explain it.
func (r *run) failure(a judge.Action) error {
	err := a.Err
	switch {
	case a.Message != "" && a.Err != nil:
		err = fmt.Errorf("%s: %w", a.Message, a.Err)
	case a.Message != "":
		err = errors.New(a.Message)
	}
	if kubeadmErr := r.facts.Join.Err; kubeadmErr != nil && !errors.Is(err, kubeadmErr) {
		err = fmt.Errorf("joining: %w; %w", kubeadmErr, err)
	}
	return err
}

// ending is the *Error that the judge's word amounts to.
func (r *run) ending(a judge.Action) error {
	var ended *Error
	if a.Message == "" && errors.As(a.Err, &ended) {
		return a.Err
	}
	e := &Error{Reason: Reason(a.Reason), Message: a.Message, Hint: a.Hint, Err: a.Err}
	r.leaveToOwner(a.Mark)
	if e.Reason == KeepsBeingDeleted && e.Hint == "" {
		e.Hint = r.deletionHint()
	}
	return e
}

// succeed warns of what may still go wrong, and says what was reached.
func (r *run) succeed(a judge.Action) string {
	node := r.facts.Node.Value.Node
	if node.UID != r.memory.OwnUID {
		node = r.facts.Second.Value.Node
	}
	if err := r.facts.Join.Err; err != nil {
		r.tell.warn(fmt.Sprintf("kubeadm join failed, but the Node is a member all the same: %v", err))
	}
	if node.Uninitialized {
		r.tell.warn(fmt.Sprintf("no cloud controller has accepted Node %q yet (taint node.cloudprovider.kubernetes.io/uninitialized): "+
			"it may still be deleted; --until initialized waits for that", node.Name))
	}
	if r.DryRun && (node.Ready != "True" || node.Uninitialized) {
		return fmt.Sprintf("dry run: nothing would be done but to hold: Node %q is %s (UID %s)", node.Name, r.Until, node.UID)
	}
	return a.Message
}
