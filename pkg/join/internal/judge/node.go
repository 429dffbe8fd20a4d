package judge

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ownNode judges the Node that the kubelet's credentials name, as these see it.
func (v *view) ownNode() (Action, bool) {
	switch {
	case v.forced() || v.state() != Loaded:
		return pass()
	case v.m.Is == Unheard || v.unasked(OwnNode) != 0: // renewed credentials are to see for themselves what is remembered
		return v.ask(v.stale(OwnNode), "").asking(v, OwnNode, ProbeSilent), true
	case v.f.Join.End != nil && v.m.Is != Member:
		return *v.f.Join.End, true
	case v.p.MaxDeletions > 0 && v.m.Deletions > v.p.MaxDeletions:
		a, _ := end(KeepsBeingDeleted, fmt.Sprintf("Node %q was deleted %.1f s after it was seen (deletion %d), more than --max-deletions %d",
			v.nodeName(), v.m.LastsFor.Seconds(), v.m.Deletions, v.p.MaxDeletions), "", nil)
		if v.m.Lost {
			a.Mark = v.m.Mark
		}
		return a, true
	}
	return v.condition()
}

// condition keeps a member, or brings it back by the gentlest means that may
// help. It passes where only a reset is left, with the ground for it.
func (v *view) condition() (Action, bool) {
	if v.m.Is == Gone && v.sight().Answer == Present { // late news, or a Node that is back
		return v.ask(v.eyes(), ""), true
	}
	if v.state() == Loaded {
		if v.ground = v.groundForReset(); v.ground != None {
			return pass()
		}
		if !v.m.StoppedAt.IsZero() && !v.now.Before(v.m.BackOffUntil) {
			return Action{Kind: StartKubelet, Phase: Verify, Message: "what the kubelet was stopped for is not so any more"}, true
		}
	}
	switch v.m.Is {
	case Member:
		return v.member(), true
	case Gone:
		return v.gone(), true
	case Dead:
		return v.dead(), true
	case Foreign:
		return v.foreign(), true
	case Refused:
		return v.refused(), true
	}
	s := v.sight()
	reason := NoAnswer
	if s.Answer == Forbidden {
		reason = JoinFailed
	}
	return v.wait("", reason, fmt.Sprintf("%s gives no useful answer about Node %q", v.server(), v.nodeName()),
		"this machine has joined before; nothing is done to it while the API server does not answer", s.Err), true
}

// sight is the last one of the kubelet's Node, eyes what it is asked with.
func (v *view) sight() Sighting { return v.lastLook().Value }

func (v *view) lastLook() Fact[Sighting] {
	if v.state() == Loaded {
		return v.f.Node
	}
	return v.f.Second
}

func (v *view) eyes() Topic {
	if v.state() == Loaded {
		return OwnNode
	}
	return TokensNode
}

func (v *view) nodeName() string {
	if name := v.f.Credentials.Value.NodeName; name != "" {
		return name
	}
	if name := v.f.Kubelet.Value.NodeName; name != "" {
		return name
	}
	return v.f.Name.Value.Name
}

func (v *view) server() string {
	if v.state() == Loaded {
		return v.f.Credentials.Value.Server
	}
	return v.f.Cluster.Value.Server
}

// member: see that it gets to the wanted level and stays, under one UID, with a
// kubelet that runs.
func (v *view) member() Action {
	node := v.sight().Node
	if wanted := v.f.Name.Value.Name; v.p.Named && wanted != "" && node.Name != wanted && v.p.Reset != ResetAlways {
		a, _ := end(Refusal, fmt.Sprintf("this machine is a healthy member as Node %q, not %q", node.Name, wanted),
			"leave out --node-name, or drain and delete that Node and run nodejoin with --reset=always", nil)
		return a
	}
	if !node.DeletedAt.IsZero() {
		return v.leaving(node, "its Node is gone for good then, unless its kubelet is restarted, which nodejoin does")
	}
	over := node.Ready == "True" && !node.Uninitialized // from then on the cloud's lifecycle controller leaves it alone
	if over && v.lastLook().News && !v.f.Join.Running { // what is on this machine is looked at last, and once
		return v.ask(v.eyes(), "")
	}
	if v.unasked(Unit) != 0 {
		return v.ask(Unit, "")
	}
	if a, waits := v.kubeletOfMember(); waits {
		return a
	}
	if missing := v.p.lacks(node); missing != "" {
		return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is registered, but %s", node.Name, missing), v.levelHint(node), nil)
	}
	holdEnds := v.m.LevelSince.Add(v.p.Hold)
	if v.f.Join.Running || !over && v.now.Before(holdEnds) { // kubeadm is never left behind
		a := v.wait(Hold, JoinFailed, fmt.Sprintf("Node %q is %s; holding it for up to %s", node.Name, v.p.Until, seconds(v.p.Hold)), "", nil)
		a.Limit, a.Quiet = holdEnds, over
		if !over {
			a.Until = holdEnds
		}
		return a
	}
	old := v.stale(v.eyes() | Unit)
	if last := v.lastLook(); last.News || !over && last.Asked.Before(holdEnds) {
		old |= v.eyes()
	}
	if old != 0 { // the last word is a fresh one
		a := v.ask(old, Hold)
		a.Limit = holdEnds
		return a
	}
	held := fmt.Sprintf("Node %q is %s and has stayed for %s (UID %s)", node.Name, v.p.Until, seconds(v.now.Sub(v.m.LevelSince)), node.UID)
	if over {
		held = fmt.Sprintf("Node %q is Ready and accepted (UID %s)", node.Name, node.UID)
	}
	a, _ := end(Held, held, "", nil)
	a.Phase, a.Limit, a.Because = Hold, holdEnds, v.eyes()|Unit
	return a
}

// leaving: a finalizer holds up a Node that is being deleted. Who deleted it is
// done, and nobody registers it again once it is gone.
func (v *view) leaving(node Node, hint string) Action {
	held := "it goes any moment"
	if len(node.Finalizers) > 0 {
		held = "held up by " + strings.Join(node.Finalizers, ", ")
	}
	return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is being deleted since %s, %s", node.Name, node.DeletedAt.UTC().Format(time.RFC3339), held), hint, nil)
}

// kubeletOfMember: a Node whose kubelet was stopped looks Ready for most of a
// minute.
func (v *view) kubeletOfMember() (Action, bool) {
	k, node := v.f.Kubelet, v.sight().Node
	// a heartbeat has whole seconds, by this machine's own clock
	reported := v.m.RestartedBeside.IsZero() || node.Heartbeat.After(v.m.RestartedBeside) || !node.Heartbeat.Before(v.m.Restarted.Truncate(time.Second))
	switch runs := k.Value.Running && !k.Value.Suspended && !v.m.fails(k.Value, v.now); {
	case v.f.Join.Running:
		return pass()
	case k.Err != nil:
		return v.wait(Verify, JoinFailed, "whether the kubelet runs is not known", "`systemctl status kubelet` says why", k.Err).asking(v, Unit, ProbeSilent), true
	case runs && !v.m.PutBackAt.IsZero():
		return v.takingUp()
	case runs && reported && (v.now.Sub(v.m.ranSince) >= steadyFor || !node.Heartbeat.Before(v.m.ranSince.Truncate(time.Second))):
		return pass()
	case runs && reported:
		return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is ours, but its kubelet has only just been started", node.Name),
			"", nil).asking(v, Unit, ProbeSilent/2), true
	case k.Value.Starting && !v.m.fails(k.Value, v.now) && !v.m.Doomed:
		return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is ours, but its kubelet does not run yet (%s)", node.Name, k.Value.State),
			"its log says why: `journalctl -u kubelet`", nil).asking(v, Unit, ProbeSilent), true
	case !runs && v.restartWanted(v.m.LevelSince):
		return v.restart(fmt.Sprintf("Node %q is ours, but its kubelet does not run (%s)", node.Name, k.Value.State), v.m.FailedAt), true
	}
	if a, unfit := v.unit(); unfit {
		return a, true
	}
	if v.m.lasting(v.m.Restarted, v.now) >= RestartPatience && !v.now.Before(v.m.BackOffUntil) { // the row of that name comes later
		return fail(fmt.Sprintf("verifying: the kubelet does not report for Node %q, %s after its restart", node.Name, seconds(v.m.lasting(v.m.Restarted, v.now))), "", nil), true
	}
	return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is ours, but its kubelet has not reported since it was started", node.Name),
		"its log says why: `journalctl -u kubelet`", nil).asking(v, Unit, ProbeSilent), true
}

func (v *view) levelHint(node Node) string {
	if node.Uninitialized {
		return "is a cloud controller running in the cluster, and does it know this instance?"
	}
	return "see `kubectl describe node " + node.Name + "`; most often the network plugin is not installed"
}

// restartWanted: none since what holds began, nor since the last failure.
func (v *view) restartWanted(since time.Time) bool {
	return v.m.Restarted.IsZero() || v.m.Restarted.Before(later(since, v.m.FailedAt))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// dead: the kubelet has stopped reporting. Its Node is there, so nothing but the
// kubelet needs help.
func (v *view) dead() Action {
	name := v.nodeName()
	if node := v.sight().Node; !node.DeletedAt.IsZero() {
		return v.leaving(node, "the kubelet is restarted once it is gone")
	}
	if a, waits := v.takingUp(); waits && !v.f.Join.Running {
		return a
	}
	switch {
	case v.f.Join.Running, v.m.lasting(v.m.Newborn, v.now) < registerPatience: // a new kubelet on the old Node has yet to report
	case v.restartWanted(v.m.Since):
		return v.restart(fmt.Sprintf("Node %q is ours, but its kubelet has stopped reporting", name), later(v.m.Since, v.m.FailedAt))
	case v.m.lasting(v.m.Restarted, v.now) >= RestartPatience:
		return fail(fmt.Sprintf("verifying: the kubelet does not report for Node %q, %s after its restart", name, seconds(v.m.lasting(v.m.Restarted, v.now))), "", nil)
	default:
		if a, unfit := v.unit(); unfit {
			return a
		}
	}
	return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is ours, but its kubelet does not report", name),
		"its log says why: `journalctl -u kubelet`", nil).asking(v, Unit, ProbeSilent)
}

// foreign: the Node has another bootID. Just after a reboot or a takeover that
// is normal: our kubelet will put ours there. Else somebody else lives there.
func (v *view) foreign() Action {
	node := v.sight().Node
	if !node.DeletedAt.IsZero() {
		return v.leaving(node, "the kubelet is restarted once it is gone")
	}
	another := v.p.another(node)
	alive := node.Ready == "True" || node.Ready == "False"
	patient := v.m.lasting(v.m.Since, v.now) < StatusPatience && (!another || !alive || v.now.Sub(v.m.Newborn) < StatusPatience)
	normal := v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q has another bootID (%q); our kubelet is to report", node.Name, node.BootID),
		"normal for some seconds after a reboot or when a dead Node was taken over", nil)
	switch {
	case v.f.Join.Running:
		return normal
	case (another || alive && !patient) && v.f.Name.Value.Name == "" && v.unasked(Naming) != 0:
		return v.ask(Naming, Verify)
	case another && v.f.Name.Value.Wait != nil:
		return v.f.Name.Value.Wait.asking(v, Naming, ProbeSilent)
	case another && v.f.Name.Value.End != nil:
		return *v.f.Name.Value.End
	case alive && !patient:
		if v.otherLives() && node.Name == v.f.Name.Value.Name {
			return v.nameTaken(node)
		}
		a := v.notKnownDead(node, v.m.Heartbeat).asking(v, Unit, lookEvery)
		if k := v.f.Kubelet; v.state() == Loaded && k.Known() && !k.Value.Running && !k.Value.Starting { // who renews it is another
			a = a.asking(v, Renewal, ProbeSilent)
		}
		return a
	case patient:
		switch k := v.f.Kubelet; {
		case v.older(Unit, lookEvery) != 0:
			normal.Ask |= Unit
		case k.Known() && !k.Value.Running && !k.Value.Starting && v.m.Restarted.IsZero():
			return v.restart(fmt.Sprintf("Node %q waits for this boot's kubelet, which does not run", node.Name), v.m.Since)
		}
	case v.restartWanted(v.m.Since):
		return v.restart(fmt.Sprintf("Node %q has another bootID and nobody reports for it", node.Name), later(v.m.Since, v.m.FailedAt))
	case v.m.lasting(v.m.Restarted, v.now) >= RestartPatience:
		return fail(fmt.Sprintf("verifying: Node %q has another bootID (%q) and the kubelet does not report for it", node.Name, node.BootID), "", nil)
	}
	return normal
}

func (v *view) nameTaken(node Node) Action {
	a, _ := end(NameTaken, fmt.Sprintf("another machine's live Node holds the name %q: its kubelet has just reported", node.Name),
		fmt.Sprintf("give this machine another hostname or --node-name, or delete that Node and its machine (its bootID: %s)", node.BootID), nil)
	return a
}

// notKnownDead: that Ready merely stays True is no sign of life, for nobody turns
// it while the controllers are away.
func (v *view) notKnownDead(node Node, heartbeat Heartbeat) Action {
	reason := JoinFailed
	if heartbeat.Moved {
		reason = NameTaken
	}
	whose := "another boot or machine"
	if !v.p.another(node) {
		whose = "another boot of this machine, it seems,"
	}
	return v.wait("", reason, fmt.Sprintf("a Node %q of %s (bootID %s) is not known to be dead", node.Name, whose, node.BootID),
		fmt.Sprintf("if it is dead the cluster notices within %s, as long as its controllers work; a live one reports at least every 5 minutes, and then the name is taken", seconds(GracePeriod)), nil)
}

// refused: 401 to the kubelet is evidence only if the same server takes the
// token all the while, our Node is gone or dead, and the certificate is useless
// by itself: the refusal alone makes a Node look dead.
func (v *view) refused() Action {
	c := v.f.Credentials.Value
	hint := fmt.Sprintf("an API server that starts does so for seconds; the certificate is valid until %s", c.NotAfter.UTC().Format(time.RFC3339))
	if v.now.Sub(v.m.Since) > RefusedPatience && !v.expired() {
		hint += ": does the API server's --client-ca-file still hold the CA that signed it?"
	}
	if v.state() == Loaded && v.expired() && !v.f.Join.Running {
		if a, decided := v.uselessCredentials(fmt.Sprintf("%s refuses the kubelet's credentials (401), which have expired", v.server())); decided {
			return a
		}
		if v.f.Cluster.Value.Lost {
			a, _ := v.unproven()
			return a
		}
	}
	a := v.wait(Verify, JoinFailed, v.server()+" refuses the kubelet's credentials (401)", hint, v.sight().Err)
	cluster := v.f.Cluster
	switch {
	case v.f.Join.Running || v.p.Reset == ResetNever && !v.expired() || v.state() != Loaded:
		return a
	case v.now.Before(v.f.Second.At.Add(v.f.Second.Value.RetryAfter)):
	case v.older(Token, TokenCheck) != 0 && !v.now.Before(cluster.Value.NextAt):
		a.Ask |= Token
	case cluster.Known() && cluster.Value.Verdict == Proven && !SharesKey(cluster.Value.CA, c.CA):
		a, _ = otherCluster("its CA is not this cluster's")
	case cluster.Known() && cluster.Value.Verdict == Proven && v.f.Second.At.Before(cluster.At):
		a.Ask |= TokensNode
	}
	return a
}

// expired by the clock of the server that was proven.
func (v *view) expired() bool {
	return v.now.Add(v.f.Cluster.Value.Ahead).After(v.f.Credentials.Value.NotAfter) && !v.f.Credentials.Value.NotAfter.IsZero()
}

func seconds(d time.Duration) string {
	return strconv.Itoa(int(d.Round(time.Second)/time.Second)) + " s"
}
