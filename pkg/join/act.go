package join

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// act carries out what changes the machine. An error ends the run; what fails
// otherwise is a fact for the judge.
func (r *run) act(ctx context.Context, a judge.Action) error {
	if r.DryRun {
		return &Error{Reason: WouldJoin, Message: "dry run: would " + r.plainly(a)}
	}
	switch a.Kind {
	case judge.Reset:
		r.tell.obstacle = &Error{Reason: JoinFailed, Message: "kubeadm reset was still at work"}
		return r.reset(ctx, a)
	case judge.Join:
		r.join(ctx, a)
		return nil
	case judge.PutBack:
		return r.putBack(ctx, a)
	case judge.Tidy:
		r.tidy(ctx, a)
		return nil
	}
	return r.changeKubelet(ctx, a)
}

// putBack creates our Node as it was. Where that fails the kubelet is restarted,
// which registers a new one.
func (r *run) putBack(ctx context.Context, a judge.Action) error {
	r.tell.say(Info, "putting the Node back as it was: "+a.Message, "no pod is disturbed by that, and the kubelet is not restarted")
	back, lost, err := r.w.PutBack(ctx, r.eyes.creds, r.memory.Deleted[0], a.Ready)
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	r.did(a, err != nil)
	switch {
	case errors.Is(err, cluster.ErrExists) && r.unheard != nil: // who has made it is seen in it
		return nil
	case errors.Is(err, cluster.ErrExists):
		r.tell.say(Info, "somebody else has just made that Node", "")
	case errors.Is(err, cluster.ErrUnsettled): // it is looked at again, and if it is not there tried again
		r.memory = r.memory.Returned(r.restarts.NextBackOff(), false)
		r.unheard = &lost
		r.tell.say(Warning, fmt.Sprintf("whether the Node was put back is not known: %v", err), "")
		return nil
	case err != nil:
		r.tell.warn(fmt.Sprintf("the Node cannot be put back as it was: a new one comes without its cordon, its podCIDR, and the taints, labels and annotations of others: %v", err))
	default:
		r.isBack(lost)
		r.memory = r.memory.Returned(r.restarts.NextBackOff(), true)
		r.facts.Node = r.dated(back)
		r.take(judge.OwnNode)
	}
	return nil
}

// isBack counts a Node that was put back, and says what it lacks.
func (r *run) isBack(lost []string) {
	r.unheard = nil
	r.tell.report.Counts.NodesPutBack++
	for _, what := range lost {
		switch {
		case strings.HasPrefix(what, "kubectl patch"):
			what = "the podCIDR is not put back, for another Node may have it by now; pods with addresses of it are to be made anew, or, where no allocator has given another: " + what
		case strings.HasPrefix(what, "kubectl"):
			what = "a kubelet may not put this back, an administrator may: " + what
		}
		r.tell.warn(what)
	}
}

// heardOf: a Node whose creation was not answered is there. It is ours if the API
// server says so; who put another in its place has filled it.
func (r *run) heardOf() {
	switch last := r.w.LastSeen().Node; {
	case last.UID != r.memory.OwnUID: // not seen whole yet
	case last.PutBack:
		r.isBack(*r.unheard)
	default:
		r.unheard = nil
	}
}

// plainly is an act in words for a dry run.
func (r *run) plainly(a judge.Action) string {
	name := r.facts.Name.Value.Name
	switch a.Kind {
	case judge.RestartKubelet, judge.StartKubelet:
		return "restart the kubelet, which disturbs no pod: " + a.Message
	case judge.Bootstrap:
		return "have the kubelet bootstrap again, in place, which disturbs no pod: " + a.Message
	case judge.PutBack:
		return "put the Node back as it was, which disturbs no pod: " + a.Message
	case judge.Join:
		return a.Message
	case judge.Tidy:
		return fmt.Sprintf("take away what a join that never got to a certificate has left, which is nobody else's, and run kubeadm join as Node %q: %s", name, a.Message)
	}
	return fmt.Sprintf("run kubeadm reset and then kubeadm join as Node %q: %s; %s", name, a.Message, r.podsHere())
}

func (r *run) podsHere() string {
	if n := r.facts.Machine.Value.Pods; n != 1 {
		return fmt.Sprintf("%d pods live here", n)
	}
	return "1 pod lives here"
}

// changeKubelet restarts, stops or starts it. A command that fails ends the
// attempt and is never a step towards a reset.
func (r *run) changeKubelet(ctx context.Context, a judge.Action) error {
	did, do := "restarting the kubelet", r.w.RestartKubelet
	switch a.Kind {
	case judge.Bootstrap:
		did, do = "having the kubelet bootstrap again", func(ctx context.Context) error {
			server := r.eyes.proven
			if r.eyes.creds != nil {
				server.Server = r.eyes.creds.Server
			}
			return r.w.BootstrapAgain(ctx, &server, r.bearer(r.tokens.token))
		}
	case judge.StopKubelet:
		did, do = "stopping the kubelet", r.w.StopKubelet
	case judge.StartKubelet:
		did, do = "starting the kubelet again", r.w.StartKubelet
	}
	hint := "no pod is disturbed by that"
	r.tell.say(Info, did+": "+a.Message, hint)
	bounded, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	err := do(bounded)
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx)
	}
	r.did(a, err != nil)
	if err != nil {
		r.backOff(ctx, judge.Action{Message: did, Err: err})
		return nil
	}
	if a.Kind == judge.Bootstrap {
		r.tell.report.Counts.Bootstraps++
	}
	if a.Kind == judge.RestartKubelet {
		r.tell.report.Counts.KubeletRestarts++
		r.memory = r.memory.Returned(r.restarts.NextBackOff(), true)
	}
	return nil
}

func (r *run) tidy(ctx context.Context, a judge.Action) {
	r.tell.say(Info, "taking away what a join that never got to a certificate has left: "+a.Message, "nothing else is touched, and no reset is needed")
	err := r.w.Tidy()
	if r.did(a, err != nil); err != nil {
		r.backOff(ctx, judge.Action{Message: "tidying", Err: err})
	}
}

func (r *run) did(a judge.Action, failed bool) {
	r.running.acted = time.Now()
	r.memory = r.memory.Did(a, &r.facts, failed, r.running.acted)
}

// open begins an attempt, if none is open that has not come to its join yet.
func (r *run) open() {
	if c := r.tell.report.Counts; c.Joins >= c.Attempts {
		r.tell.end(errors.New("what it had joined with is gone"))
	}
	if r.tell.attempt == nil {
		r.running.budget = r.AttemptTimeout
	}
	r.tell.begin()
}

func (r *run) reset(ctx context.Context, a judge.Action) error {
	r.open()
	r.tell.report.Counts.Resets++
	r.tell.report.Counts.PodsAtReset += r.facts.Machine.Value.Pods
	r.tell.limit(time.Now().Add(r.AttemptTimeout))
	r.tell.say(Info, "running kubeadm reset: "+a.Message, r.podsHere()+", and a reset ends them")
	began := time.Now()
	bounded, cancel := context.WithTimeoutCause(ctx, r.AttemptTimeout, errAttempt)
	defer cancel()
	r.leave(bounded, a)
	err := r.w.Reset(bounded)
	r.running.budget -= time.Since(began)
	r.keepTail(err)
	err = r.seeReset(err)
	r.did(a, err != nil)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			return context.Cause(ctx)
		}
		return err
	case isTerminal(err):
		return err
	case err == nil && r.running.budget < min(minAttempt, r.AttemptTimeout/2):
		err = fmt.Errorf("resetting: it took so long that no time is left to join: %w", errAttempt)
	}
	if err != nil {
		r.backOff(ctx, judge.Action{Err: err})
	}
	return nil
}

// leave says of our Node that its kubelet has stopped, where the credentials of
// the member that is reset on purpose still work: without that the cluster takes
// 50 s to notice, and kubeadm join has to wait for it.
func (r *run) leave(ctx context.Context, a judge.Action) {
	if a.Ground != judge.Asked || r.eyes.creds == nil {
		return
	}
	err := r.w.StopKubelet(ctx)
	r.did(judge.Action{Kind: judge.StopKubelet, Ground: a.Ground}, err != nil)
	running, seeErr := r.w.KubeletProcesses()
	switch err = errors.Join(err, seeErr); {
	case err == nil && len(running) > 0:
		err = errors.New("a kubelet runs that is not the service's")
	case err == nil:
		err = r.w.SayStopped(ctx, r.eyes.creds)
	}
	if err != nil {
		r.tell.say(Info, fmt.Sprintf("our Node is waited out after the reset: %v", err), "")
	}
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
		r.tell.warn(fmt.Sprintf("kubeadm reset failed, but nothing is left on disk: %v", err))
	}
	return nil
}

// join starts kubeadm join. From the moment at which the kubelet has credentials
// nodejoin sees for itself: kubeadm's word is heard, not believed.
func (r *run) join(ctx context.Context, a judge.Action) {
	r.open()
	r.warnKept()
	if server := r.eyes.probe.Server; len(r.CACertHashes) > 0 && !r.eyes.probe.Pinned {
		r.tell.warn(fmt.Sprintf("the API server's certificate at %s does not name it, or is not the pinned CA's: nodejoin goes by %s, which proved itself; kubeadm join alone would fail there", r.Endpoint, server))
	}
	r.tell.report.Counts.Joins++
	r.tell.obstacle = &Error{Reason: JoinFailed, Message: "kubeadm join was still at work"}
	r.tell.limit(time.Now().Add(r.running.budget))
	r.tell.say(Info, "running kubeadm join", "")
	if err := r.w.WriteJournal(r.eyes.probe); err != nil {
		r.tell.warn(fmt.Sprintf("what this join leaves if nodejoin is killed will be taken for other people's files by the next run: %v", err))
	}
	r.did(a, false)
	r.facts.Join = judge.Joining{Running: true}
	attempt, stop := context.WithTimeoutCause(ctx, r.running.budget, errAttempt)
	back := make(chan error, 1)
	r.running.back = back
	server := cluster.Credentials{Server: r.eyes.probe.Server, CA: r.eyes.probe.Bundle}
	token, bearer, harmlessCA := r.tokens.token, r.bearer(r.tokens.token), judge.HarmlessCA(&r.facts)
	go func() {
		defer stop()
		if err := r.w.RemoveBootstrapConf(); err != nil { // of a join that was killed
			back <- err
			return
		}
		err := r.w.Join(attempt, &server, token, bearer, harmlessCA)
		if rmErr := r.w.RemoveBootstrapConf(); rmErr != nil && err == nil {
			err = rmErr // it holds the token
		}
		back <- err
	}()
}

// joinEnded takes in how kubeadm join came back.
func (r *run) joinEnded(err error) {
	r.running.back, r.running.acted = nil, time.Now()
	r.keepTail(err)
	for _, warning := range r.w.Warned() {
		r.tell.warn(warning)
	}
	r.facts.Join = judge.Joining{Back: true, Err: err}
	r.memory = r.memory.JoinEnded(time.Now())
	if err == nil {
		return
	}
	var ended *Error
	var failure *kubeadm.Failure
	switch {
	case errors.As(err, &ended):
		r.facts.Join.End = endOf(ended)
		return
	case !errors.As(err, &failure):
		return
	}
	if failure.NotRun() {
		r.tell.report.Counts.Joins--
	}
	r.diagnose(failure)
}

// diagnose says what the failure of a join means, and whether time cures it.
func (r *run) diagnose(failure *kubeadm.Failure) {
	kind, join := failure.Kind(), &r.facts.Join
	if kind == kubeadm.Kubelet || r.facts.Credentials.Value.State == judge.Loaded && r.memory.Is != judge.Member {
		words := r.w.KubeletWords(context.Background())
		ctx, cancel := context.WithTimeout(context.Background(), unitLook)
		if unit, err := r.w.Kubelet(ctx); err == nil && unit.Running { // what it last refused for is over
			words.Fatal = ""
		}
		cancel()
		again := words.Fatal == r.running.refusal
		if r.running.refusal = words.Fatal; words.Fatal != "" && !words.Passes && (words.Shown || again) {
			refuses := judge.KubeletRefuses(words.Fatal, words.Remedy, failure)
			join.End = &refuses
		} else if words.Fatal != "" {
			join.Err, join.Hint = fmt.Errorf("%w; the kubelet says: %s", failure, words.Fatal), words.Remedy
		}
	}
	if kind != kubeadm.Unserved {
		r.running.unserved = time.Time{}
	} else if r.running.unserved.IsZero() {
		r.running.unserved = time.Now()
	}
	person := judge.Action{Kind: judge.End, Reason: judge.HostUnfit, Message: "kubeadm finds this host unfit", Err: failure, Hint: failure.Hint()}
	switch {
	case join.End != nil:
	case kind == kubeadm.Usage:
		person.Reason, person.Message = judge.Usage, "kubeadm cannot use what it was given"
		join.End = &person
	case kind == kubeadm.Unfit, kind == kubeadm.Unserved && time.Since(r.running.unserved) >= unservedPatience:
		join.End = &person
	}
}

func (r *run) keepTail(err error) {
	var failure *kubeadm.Failure
	if errors.As(err, &failure) {
		r.tell.report.LogTail.Kubeadm = failure.Tail
	}
}

// warnKept: a kubelet that finds a Node of its name takes it over as it is
// (pkg/kubelet/kubelet_node_status.go, tryRegisterWithAPIServer), and kubeadm
// lets it where that Node is not Ready. The taints that follow its condition go
// by themselves.
func (r *run) warnKept() {
	if r.facts.Disk.Value.AdminConf {
		r.tell.warn("/etc/kubernetes/admin.conf is here, an administrator's credentials: whoever is root on this worker has the whole cluster")
	}
	s := r.eyes.probe.Node
	if judge.Answer(s.Answer) != judge.Present {
		return
	}
	taints := slices.DeleteFunc(slices.Clone(s.Node.Taints), func(t string) bool { return strings.HasPrefix(t, "node.kubernetes.io/") })
	if len(taints) > 0 || s.Node.Unschedulable {
		r.tell.warn(fmt.Sprintf("a dead Node %q exists and will be taken over with its taints (%s) and cordon (%t)", s.Node.Name, strings.Join(taints, ", "), s.Node.Unschedulable))
	}
	if r.naming.is.providerID != "" || len(r.NodeLabels)+len(r.Taints) > 0 {
		r.tell.warn(fmt.Sprintf("a Node %q exists and will be taken over with the provider ID, labels and taints that it has: --provider-id, --node-label and --taint "+
			"act on a Node that the kubelet makes (`kubectl delete node %s` and `systemctl restart kubelet` bring a new one)", s.Node.Name, s.Node.Name))
	}
}

// A dry run is a run that ends where it would touch the machine for the first
// time. Up to there it is the same code, so it cannot tell another story.

// patience is the time for everything; 0: no limit. A dry run waits for
// nothing that takes long, and does not hold.
func (p *plan) patience() time.Duration {
	if p.DryRun && (p.Timeout == 0 || p.Timeout > dryRunPatience) {
		return dryRunPatience
	}
	return p.Timeout
}

func (p *plan) wouldWait(obstacle string) string {
	limit := "as long as it takes"
	if p.Timeout > 0 {
		limit = fmt.Sprintf("up to %s", p.Timeout)
	}
	return fmt.Sprintf("dry run: would wait, %s in all: %s", limit, obstacle)
}
