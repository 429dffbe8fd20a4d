package join

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// condition is what the last answer about our Node amounts to.
type condition string

const (
	unheard condition = ""        // no answer yet
	member  condition = "member"  // ours, and its kubelet lives
	absent  condition = "absent"  // the API server says that it is not there
	dead    condition = "dead"    // ours, but Ready is Unknown
	foreign condition = "foreign" // another bootID, or none
	refused condition = "refused" // 401 to the kubelet's credentials
	silent  condition = "silent"  // no useful answer
)

// settling is the state of one settle: what the API server says of our Node,
// since when, and what has been done about it.
type settling struct {
	*run
	creds *cluster.Credentials

	last  cluster.Sighting
	is    condition
	since time.Time // since when is holds, but for silences
	heard time.Time // end of the last silence in between
	was   condition // before the silence

	joining   bool      // kubeadm is still at work: the kubelet is its, not ours
	kubeadm   error     // how it came back
	lost      bool      // a Node of ours was deleted since
	restarted time.Time // last kubelet restart that succeeded
	due       time.Time // when the next one may be; zero: none is wanted

	uid     string    // the Node that is at the wanted level,
	reached time.Time // since when

	twin   twin
	asked  time.Time      // when the token was last shown while the kubelet is refused
	pause  time.Duration  // for which the API server wanted to be left alone then
	second <-chan opinion // of the one who was asked; nil: nobody was
	asking sync.WaitGroup
	taken  time.Time // since when it was taken throughout, our Node gone or dead
}

// settle watches our own Node with the kubelet's credentials until it has been
// held at the wanted level, and climbs the rungs on the way: wait, restart the
// kubelet, and, where the evidence allows it, errJoin for the last rung. While
// back has not delivered, kubeadm join is still running.
func (r *run) settle(ctx context.Context, creds *cluster.Credentials, back <-chan error) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &settling{run: r, creds: creds, since: time.Now(), joining: back != nil}
	r.denied = "" // one was granted
	defer func() {
		cancel()
		s.asking.Wait()
	}()
	if s.joining {
		r.enter(Verify)
	}
	sightings := r.w.Watch(ctx, creds)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case sighting, ok := <-sightings:
			if !ok {
				return context.Cause(ctx)
			}
			if err := s.hear(sighting); err != nil {
				return err
			}
		case err := <-back:
			s.joining, s.newborn, s.kubeadm, back = false, time.Now(), err, nil
			r.keepTail(err)
			if err != nil && s.is != member && r.w.SwapRefused(ctx) {
				return swapRefused(err)
			}
		case <-tick.C:
		}
		if held, err := s.step(ctx); held || err != nil {
			return s.outcome(err)
		}
	}
}

// outcome adds kubeadm's own failure to what was seen, for it may explain it.
func (s *settling) outcome(err error) error {
	switch {
	case s.kubeadm == nil:
		return err
	case err == nil:
		s.warn(fmt.Sprintf("kubeadm join failed, but the Node is a member all the same: %v", s.kubeadm))
		return nil
	case isTerminal(err):
		return err
	}
	return fmt.Errorf("%w; %w", s.joinFailed(s.kubeadm), err)
}

// hear takes in one answer: what it amounts to, and whether it means that a
// Node of ours was deleted.
func (s *settling) hear(sighting cluster.Sighting) error {
	if sighting.Answer == cluster.Present && s.wasDeleted(sighting.Node.UID) {
		return nil // late news: a UID never comes back
	}
	s.last = sighting
	is := silent
	switch node := sighting.Node; sighting.Answer {
	case cluster.Present:
		s.answered = true
		switch {
		case s.bootID == "" || node.BootID != s.bootID:
			is = foreign
		case node.Ready == "Unknown":
			is = dead
		default:
			is = member
		}
	case cluster.Absent:
		s.answered = true
		is = absent
	case cluster.Unauthorized:
		is = refused
	}
	switch {
	case is == s.is:
	case is == silent: // evidence of nothing: neither of a change nor of its contrary
		s.is, s.was, s.twin, s.taken = silent, s.is, twin{}, time.Time{}
	case s.is == silent && is == s.was:
		s.is, s.heard = is, time.Now()
	default:
		if s.is == silent {
			s.heard = time.Now()
		}
		s.is, s.since, s.due, s.twin, s.taken = is, time.Now(), time.Time{}, twin{}, time.Time{}
	}
	return s.count(is)
}

// count keeps book of our Nodes by UID: one that was ours and is not there any
// more was deleted, whether we saw it gone or only saw another in its place.
func (s *settling) count(is condition) error {
	ours := is == member || is == dead
	uid := s.last.Node.UID
	if s.own != "" && (is == absent || s.last.Answer == cluster.Present && uid != s.own) {
		if err := s.deleted(s.own); err != nil {
			return err
		}
	}
	if ours && s.own != uid {
		s.own = uid
		if _, known := s.seen[uid]; !known {
			s.seen[uid] = time.Now()
		}
		s.report.Node = NodeRef{Name: s.last.Node.Name, UID: uid, BootID: s.bootID}
		s.say(Info, fmt.Sprintf("Node %q is there and is this machine's (UID %s)", s.last.Node.Name, uid), "")
	}
	return nil
}

func (s *settling) wasDeleted(uid string) bool {
	return slices.ContainsFunc(s.report.Deletions, func(d Deletion) bool { return d.UID == uid })
}

// lasting is for how long t has passed without a silence.
func (s *settling) lasting(t time.Time) time.Duration {
	if s.heard.After(t) {
		t = s.heard
	}
	return time.Since(t)
}

func (s *settling) deleted(uid string) error {
	now := time.Now()
	after := now.Sub(s.seen[uid])
	s.lost, s.own, s.uid, s.reached = true, "", "", time.Time{}
	s.report.Counts.Deletions++
	s.report.Deletions = append(s.report.Deletions, Deletion{UID: uid, At: now.UTC().Truncate(time.Millisecond), After: Seconds(after)})
	n := s.report.Counts.Deletions
	message := fmt.Sprintf("Node %q was deleted %.1f s after it was seen (deletion %d)", s.creds.NodeName, after.Seconds(), n)
	if s.MaxDeletions > 0 && n > s.MaxDeletions {
		return &Error{Reason: KeepsBeingDeleted, Message: message + fmt.Sprintf(", more than --max-deletions %d", s.MaxDeletions), Hint: s.deletionHint()}
	}
	hint := "" // the same each time: once is enough
	if n == 1 {
		hint = s.deletionHint()
	}
	s.say(Warning, message, hint)
	return nil
}

// deletionHint names who usually deletes Nodes, and what to compare.
func (s *settling) deletionHint() string {
	hostname, _ := os.Hostname()
	const who = "a cloud controller deletes Nodes that its cloud does not list (`kubectl get events -A | grep DeletingNode`): "
	if i := s.knownInstance(); i != nil {
		why := "so EC2's API does not list the instance yet"
		switch {
		case s.hasProviderID(): // by the ID it is looked up without regard to tags
		case i.Knows(s.creds.NodeName):
			why += ", or it lacks the tag kubernetes.io/cluster/ID"
		default:
			why = "by which it is not found, unless it has a provider ID: join with --node-name-from ec2 or --provider-id auto (and --reset=always, since this machine has joined)"
		}
		return fmt.Sprintf(who+"EC2 knows this instance as %q (ID %s), and our Node is named %q (hostname %q, FQDN %q), %s",
			i.PrivateDNSName, i.ID, s.creds.NodeName, hostname, s.w.FQDN(), why)
	}
	return fmt.Sprintf(who+"compare our Node name %q, hostname %q and FQDN %q with the name the cloud knows "+
		"(on EC2 the private DNS name of an instance that has the tag kubernetes.io/cluster/ID)",
		s.creds.NodeName, hostname, s.w.FQDN())
}

// step acts on the present condition; held is the end that everybody wants.
func (s *settling) step(ctx context.Context) (held bool, err error) {
	switch s.is {
	case member:
		return s.member(ctx)
	case absent:
		return false, s.absent(ctx)
	case dead:
		return false, s.dead(ctx)
	case foreign:
		return false, s.foreign(ctx)
	case refused:
		return false, s.refusedKubelet(ctx)
	case silent:
		reason := Unreachable
		if s.last.Answer == cluster.Forbidden {
			reason = JoinFailed
		}
		s.wait(Error{Reason: reason, Message: fmt.Sprintf("%s gives no useful answer about Node %q", s.creds.Server, s.creds.NodeName), Err: s.last.Err,
			Hint: "this machine has joined before; nothing is done to it while the API server does not answer"})
	}
	return false, nil
}

// member: see that it gets to the wanted level and stays, under one UID.
func (s *settling) member(ctx context.Context) (bool, error) {
	node := s.last.Node
	if s.named && node.Name != s.name && s.Reset != ResetAlways {
		return false, &Error{
			Reason:  Refused,
			Message: fmt.Sprintf("this machine is a healthy member as Node %q, not %q", node.Name, s.name),
			Hint:    "leave out --node-name, or drain and delete that Node and run nodejoin with --reset=always",
		}
	}
	if s.name != "" && node.Name != s.name {
		s.warn(fmt.Sprintf("the Node is named %q, though this machine's hostname gives %q", node.Name, s.name))
	}
	if missing := s.missing(node); missing != "" {
		s.uid, s.reached = "", time.Time{}
		s.enter(Verify)
		s.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("Node %q is registered, but %s", node.Name, missing), Hint: s.levelHint(node)})
		return false, nil
	}
	if s.uid != node.UID {
		s.uid, s.reached = node.UID, time.Now()
		s.enter(Hold)
		s.limit(s.Hold)
		if !s.over(node) {
			s.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("Node %q is %s; holding it for up to %s", node.Name, s.Until, seconds(s.Hold))})
		}
	}
	if s.joining || !s.over(node) { // kubeadm is never left behind
		return false, nil
	}
	// the last word is a fresh one
	if err := s.hear(s.w.Ask(ctx, s.creds)); err != nil || s.is != member || s.last.Node.UID != s.uid ||
		s.missing(s.last.Node) != "" || !s.over(s.last.Node) {
		return false, err
	}
	if s.last.Node.Uninitialized {
		s.warn(fmt.Sprintf("no cloud controller has accepted Node %q yet (taint node.cloudprovider.kubernetes.io/uninitialized): "+
			"it may still be deleted; --until initialized waits for that", node.Name))
	}
	s.held = fmt.Sprintf("Node %q is %s and has stayed for %s (UID %s)", node.Name, s.Until, seconds(time.Since(s.reached)), s.uid)
	if s.DryRun {
		s.held = fmt.Sprintf("dry run: nothing would be done but to hold: Node %q is %s (UID %s)", node.Name, s.Until, s.uid)
	}
	if s.last.Node.Ready == "True" && !s.last.Node.Uninitialized {
		s.held = fmt.Sprintf("Node %q is Ready and accepted (UID %s)", node.Name, s.uid)
	}
	return true, nil
}

// over: held for long enough, or accepted: from then on the cloud's lifecycle
// controller leaves it alone.
func (s *settling) over(node cluster.Node) bool {
	return node.Ready == "True" && !node.Uninitialized || time.Since(s.reached) >= s.Hold
}

// missing says what the Node lacks for the wanted level.
func (s *settling) missing(node cluster.Node) string {
	switch {
	case s.Until != Registered && node.Uninitialized:
		return "no cloud controller has accepted it yet (taint node.cloudprovider.kubernetes.io/uninitialized)"
	case s.Until == Ready && node.Ready != "True":
		return fmt.Sprintf("not Ready: %s", strings.TrimSpace(node.ReadyReason+": "+node.ReadyMessage))
	}
	return ""
}

func (s *settling) levelHint(node cluster.Node) string {
	if node.Uninitialized {
		return "is a cloud controller running in the cluster, and does it know this instance?"
	}
	return "see `kubectl describe node " + node.Name + "`; most often the network plugin is not installed"
}
