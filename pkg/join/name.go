package join

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// awaitName waits until no live Node holds our name; kubeadm refuses to join
// beside one that is Ready. Before a reset only another's Node counts, for our
// own stale one needs the reset first to become stale.
func (r *run) awaitName(ctx context.Context, p cluster.Probe, afterReset bool) (cluster.Probe, error) {
	var other twin
	for waited := false; ; waited = true {
		node := p.Node.Node
		ours := r.bootID == node.BootID
		others := p.Node.Answer == cluster.Present && !ours && node.Ready != "Unknown" && node.Ready != ""
		if waited && !others && !afterReset && !r.forced { // what was found out before that wait is old
			r.obstacle = nil
			r.forget()
			return p, errLook
		}
		switch {
		case p.Node.Answer == cluster.Forbidden && !afterReset:
			return p, r.blind(ctx, p.Node.Err)
		case p.Node.Answer != cluster.Present || node.Ready == "Unknown" || node.Ready == "" && !ours:
			r.warnInherited(p.Node)
			return p, nil
		case ours && !afterReset:
			return p, r.refuseMember(ctx, node)
		case ours && node.Ready != "True":
			return p, nil
		case ours:
			r.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("our own Node %q from before the reset is still Ready", r.name),
				Hint: "the cluster notices that its kubelet is gone within " + seconds(gracePeriod)})
		default:
			if err := other.alive(node); err != nil {
				return p, err
			}
			r.wait(other.waiting(node))
		}
		for heard := false; !heard; {
			err := r.sleep(ctx, max(probeSilent, p.RetryAfter))
			if err != nil {
				return p, err
			}
			if p, heard, err = r.again(ctx, p); err != nil {
				return p, err
			}
			if !heard {
				other = twin{} // silence proves nobody alive
			}
		}
	}
}

// blind: a token that may not ask for Nodes cannot tell whether a kubelet that
// runs here beside leftovers is a member's.
func (r *run) blind(ctx context.Context, forbidden error) error {
	disk, err := r.w.Inspect()
	if err != nil || len(disk.Leftovers) == 0 || r.forced {
		return err
	}
	if runs, err := r.kubeletRuns(ctx); err != nil || !runs {
		return err
	}
	return fmt.Errorf("the kubelet runs, and our token may not ask whether it is a member's: %w", forbidden)
}

// again probes once more; without a proven answer the last one stands, as
// silence is no evidence.
func (r *run) again(ctx context.Context, last cluster.Probe) (p cluster.Probe, heard bool, err error) {
	p = r.w.Probe(ctx, r.token, r.bearer(r.token))
	switch {
	case ctx.Err() != nil:
		return last, false, context.Cause(ctx)
	case p.Verdict == cluster.Proven:
		return p, true, nil
	case p.Verdict <= cluster.NotServed:
		last.RetryAfter = p.RetryAfter
		return last, false, r.unproven(nil, p, time.Now()) // a wait
	}
	p, err = r.discover(ctx) // the token, most likely: it may have a successor
	return p, err == nil, err
}

// refuseMember: our own Node lives, yet the kubelet's credentials on disk do
// not load. While that kubelet runs, this is a member (rule 2).
func (r *run) refuseMember(ctx context.Context, node cluster.Node) error {
	if r.evidence != "" { // they do, and what was found out about them is no longer so
		return r.giveUp(fmt.Errorf("our Node %q has come back", node.Name))
	}
	if runs, err := r.kubeletRuns(ctx); err != nil || !runs || r.forced {
		return err
	}
	if _, err := r.w.Credentials(); err == nil {
		return errLook
	}
	return &Error{
		Reason:  Refused,
		Message: fmt.Sprintf("Node %q is this machine and its kubelet runs, but kubelet.conf or its certificate cannot be read", node.Name),
		Hint:    "restore /etc/kubernetes/kubelet.conf, or drain the Node and run nodejoin with --reset=always",
	}
}

// kubeletRuns looks twice: a kubelet in a crash loop runs for a moment, too.
func (r *run) kubeletRuns(ctx context.Context) (bool, error) {
	for look := range 2 {
		unit, err := r.w.Kubelet(ctx)
		switch {
		case err != nil:
			return false, err
		case unit.Active && !unit.Failing:
		case look > 0: // what was seen before the first is old
			return false, errLook
		default:
			return false, nil
		}
		if err := r.sleep(ctx, crashLook); err != nil {
			return false, err
		}
	}
	return true, nil
}

// warnInherited: kubeadm takes over a Node that is not Ready, as it is. The
// taints that follow its condition go by themselves.
func (r *run) warnInherited(s cluster.Sighting) {
	taints := slices.DeleteFunc(slices.Clone(s.Node.Taints), func(t string) bool { return strings.HasPrefix(t, "node.kubernetes.io/") })
	if s.Answer != cluster.Present || len(taints) == 0 && !s.Node.Unschedulable {
		return
	}
	r.warn(fmt.Sprintf("a dead Node %q exists and will be taken over with its taints (%s) and cordon (%t)", s.Node.Name, strings.Join(taints, ", "), s.Node.Unschedulable))
}

// twin watches another machine's Node of our name (rule 6).
type twin struct {
	since     time.Time
	uid       string
	heartbeat time.Time
}

// alive returns the error that ends the run once the Node is known to live.
func (t *twin) alive(node cluster.Node) error {
	now := time.Now()
	if t.uid != node.UID || t.since.IsZero() {
		t.uid, t.since, t.heartbeat = node.UID, now, node.Heartbeat
	}
	how := ""
	switch {
	case node.Heartbeat.After(t.heartbeat):
		how = "its kubelet has just reported"
	case now.Sub(t.since) >= twinPatience:
		how = "it stayed alive for " + seconds(twinPatience)
	default:
		return nil
	}
	return &Error{
		Reason:  NameTaken,
		Message: fmt.Sprintf("another machine's live Node holds the name %q: %s", node.Name, how),
		Hint:    fmt.Sprintf("give this machine another hostname or --node-name, or delete that Node and its machine (its bootID: %s)", node.BootID),
	}
}

func (t *twin) waiting(node cluster.Node) Error {
	return Error{
		Reason:  NameTaken,
		Message: fmt.Sprintf("a Node %q of another boot or machine (bootID %s) is not known to be dead", node.Name, node.BootID),
		Hint:    fmt.Sprintf("if it is dead the cluster notices within %s; if it is still alive after %s the name is taken", seconds(gracePeriod), seconds(twinPatience)),
	}
}
