package judge

import (
	"fmt"
	"strings"
	"time"
)

// rows are the story of a run, from top to bottom: the first that has something
// to say decides. Up to ownNode they keep a member; from there on they lead to
// a join, and only the last two lay a hand on the machine.
var rows = []func(*view) (Action, bool){
	(*view).controlPlane,
	(*view).credentials,
	(*view).ownNode,
	(*view).kubeadmAtWork,
	(*view).backOff,
	(*view).company,
	(*view).programs,
	(*view).name,
	(*view).cluster,
	(*view).notUnderstood,
	(*view).request,
	(*view).lostCredentials,
	(*view).runningKubelet,
	(*view).nodeOfOurName,
	(*view).reset,
	(*view).join,
}

// limits are what no row's action goes beyond: each may put another in its place.
var limits = []func(*view, Action) (Action, bool){(*view).firstBoot, (*view).leaves}

// Next is the next thing to do.
func Next(p Policy, m Memory, f *Facts, now time.Time) Action {
	v := view{p: p, m: m, f: f, now: now}
	for _, row := range rows {
		if action, decided := row(&v); decided {
			if action.Kind == Wait {
				action.Ask |= v.beside
			}
			for _, limit := range limits {
				if instead, over := limit(&v, action); over {
					action = instead
				}
			}
			return action
		}
	}
	return v.ask(0, Look) // join always decides
}

// view is what one judgement looks at.
type view struct {
	p   Policy
	m   Memory
	f   *Facts
	now time.Time

	beside Topic  // what is asked for beside any wait
	ground Ground // of a reset, though the kubelet has credentials
}

func (v *view) state() State { return v.f.Credentials.Value.State }

// forced: --reset=always has not been done yet.
func (v *view) forced() bool { return v.p.Reset == ResetAlways && !v.m.ForcedDone }

// unasked are those of the topics that nobody has asked for yet; for this
// machine's, since the last act.
func (v *view) unasked(topics Topic) (missing Topic) {
	for t := range topics.each {
		if s := v.f.stamp(t); s.at.IsZero() || local&t != 0 && s.acts != v.m.Acts {
			missing |= t
		}
	}
	return missing
}

// stale are those of the topics on whose answers no act may rest: asked before
// the last act, or older than FreshFor. What is on this machine is looked at
// last, for it changes with what was heard.
func (v *view) stale(topics Topic) Topic { return v.staleAfter(topics, FreshFor) }

// staleAfter: the cluster's word is stale after that. Whatever takes long must
// not make another answer old for ever, each asked for again because of the
// other: an answer may be twice as old as it took, and others' as much older as
// two looks at this machine take, for one comes after each of them.
func (v *view) staleAfter(topics Topic, word time.Duration) (old Topic) {
	var heard time.Time       // the last answer of others
	var looking time.Duration // at this machine
	for t := range (topics | local).each {
		if s := v.f.stamp(t); local&t == 0 {
			heard = later(heard, s.at)
		} else {
			looking = max(looking, s.at.Sub(s.asked))
		}
	}
	for t := range topics.each {
		s, limit := v.f.stamp(t), FreshFor
		if t == Token {
			limit = word
		}
		limit = max(limit, 2*s.at.Sub(s.asked))
		if local&t == 0 {
			limit += 2 * looking
		}
		if s.at.IsZero() || s.acts != v.m.Acts || v.now.Sub(s.at) > limit || local&t != 0 && s.asked.Before(heard) {
			old |= t
		}
	}
	return old
}

// older are those of the topics whose answer is older than age.
func (v *view) older(topics Topic, age time.Duration) (old Topic) {
	for t := range topics.each {
		if v.now.Sub(v.f.stamp(t).at) >= age {
			old |= t
		}
	}
	return old
}

func (v *view) ask(topics Topic, phase Phase) Action {
	if phase == Look && v.m.Acts > 0 { // a look after an act is part of what the act was for
		phase = ""
	}
	return Action{Kind: Wait, Phase: phase, Ask: topics, Quiet: true}
}

// wait for what time, or a person, may bring.
func (v *view) wait(phase Phase, reason Reason, message, hint string, err error) Action {
	return Action{Kind: Wait, Phase: phase, Reason: reason, Message: message, Hint: hint, Err: err}
}

// asking adds what a wait asks for, once its last answer is as old as every.
func (a Action) asking(v *view, topics Topic, every time.Duration) Action {
	a.Ask |= v.older(topics, every)
	for t := range topics.each {
		if due := v.f.stamp(t).at.Add(every); a.Until.IsZero() || due.Before(a.Until) {
			a.Until = due
		}
	}
	return a
}

func end(reason Reason, message, hint string, err error) (Action, bool) {
	return Action{Kind: End, Reason: reason, Message: message, Hint: hint, Err: err}, true
}

// fail ends the attempt, or, without one, what was tried in its stead.
func fail(message, hint string, err error) Action {
	return Action{Kind: BackOff, Reason: JoinFailed, Message: message, Hint: hint, Err: err}
}

func pass() (Action, bool) { return Action{}, false }

// controlPlane: a worker's program has no business there, with no override.
func (v *view) controlPlane() (Action, bool) {
	if v.unasked(Files) != 0 {
		return v.ask(v.unasked(Files|Kubeconfig), Look), true
	}
	if v.f.Disk.Err != nil {
		return end(HostUnfit, "what is on this machine cannot be read", "nothing was touched; mend that and run nodejoin again", v.f.Disk.Err)
	}
	if proof := v.f.Disk.Value.ControlPlane; proof != "" {
		return end(Refusal, fmt.Sprintf("this is a control-plane host: %s exists", proof), "nodejoin is for workers only; nothing was touched", nil)
	}
	return pass()
}

// credentials of another cluster are not ours to throw away.
func (v *view) credentials() (Action, bool) {
	c := v.f.Credentials
	switch {
	case v.unasked(Kubeconfig) != 0:
		return v.ask(Kubeconfig, Look), true
	case v.forced():
		return pass()
	case c.Err != nil:
		if a, alone := v.company(); alone {
			return a, true
		}
		return v.wait("", JoinFailed, "the kubelet's credentials cannot be read", "nothing is done while it is not known whether this machine is a member", c.Err).
			asking(v, Kubeconfig, ProbeSilent), true
	case c.Value.State != Loaded || v.p.Reset == ResetAlways:
		return pass()
	case c.Value.OtherCA != "":
		return v.otherCA()
	case !v.p.AsksEndpoint:
		return pass()
	case v.unasked(Endpoint) != 0:
		return v.ask(Endpoint, Look), true
	case v.f.Endpoint.Known() && v.f.Endpoint.Value:
		return otherCluster("the API server at " + v.p.Endpoint + " has another CA")
	}
	return pass()
}

func otherCluster(what string) (Action, bool) {
	return end(Refusal, "this machine has kubelet credentials of another cluster: "+what,
		"if it shall leave that cluster, delete its Node there and run nodejoin with --reset=always", nil)
}

// kubeadmAtWork: our own kubeadm join runs, or has come back without credentials.
func (v *view) kubeadmAtWork() (Action, bool) {
	j := v.f.Join
	switch {
	case j.Running:
		every := CredentialsEvery
		if v.now.Sub(v.m.JoinedAt) >= credentialsLate {
			every = time.Second
		}
		a := v.wait(Joins, JoinFailed, "kubeadm join was still at work", "", nil).asking(v, Kubeconfig, every)
		a.Quiet = true
		k := v.f.Kubelet
		if heard := k.Known() && k.Acts == v.m.Acts && k.Value.Fatal != "" && !k.Value.Passes && !k.Value.Running; heard && v.m.Doomed {
			return KubeletRefuses(k.Value.Fatal, k.Value.Remedy, nil), true
		} else if heard {
			a.Message, a.Hint = a.Message+", and the kubelet refuses to run: "+k.Value.Fatal, k.Value.Remedy
		}
		if v.now.Sub(v.m.JoinedAt) >= kubeletLate {
			a = a.asking(v, Unit, lookEvery)
		}
		return a, true
	case v.state() == Loaded || !j.Back:
		return pass()
	case j.End != nil:
		return *j.End, true
	}
	if j.Err == nil {
		return fail("joining: kubeadm join succeeded, but left no credentials", "", v.f.Credentials.Value.Problem), true
	}
	return Action{Kind: BackOff, Reason: JoinFailed, Hint: j.Hint, Err: j.Err}, true
}

func (v *view) backOff() (Action, bool) {
	if !v.now.Before(v.m.BackOffUntil) {
		return pass()
	}
	a := v.wait(Backs, JoinFailed, "the last attempt failed", "", nil)
	a.Until, a.Quiet = v.m.BackOffUntil, true
	return a, true
}

// company: nothing is done below a mount point whose disk is yet to come, nor
// beside somebody else's kubeadm.
func (v *view) company() (Action, bool) {
	if v.unasked(Company) != 0 {
		return v.ask(Company, ""), true
	}
	here := v.f.Machine
	var a Action
	switch {
	case here.Err != nil:
		a = v.wait("", JoinFailed, "what else is at work on this machine cannot be seen", "nothing is done meanwhile", here.Err)
	case len(here.Value.Mounts) > 0:
		a = v.wait("", JoinFailed, "not mounted yet, though /etc/fstab or a mount unit says so: "+strings.Join(here.Value.Mounts, ", "),
			"what lies there decides whether this machine is a member: mount it, or take it out of /etc/fstab", nil)
	case here.Value.Kubeadm != "":
		a = v.wait("", JoinFailed, "somebody else's kubeadm is at work: "+here.Value.Kubeadm, "nodejoin goes on when it has ended", nil)
	default:
		return pass()
	}
	return a.asking(v, Company|Kubeconfig|Files, ProbeSilent), true
}

// programs: what is missing, or a person must mend, makes every attempt fail.
func (v *view) programs() (Action, bool) {
	if p := v.f.Programs; p.Acts != v.m.Acts || p.Asked.Before(v.m.FailedAt) || v.unasked(Programs) != 0 {
		v.beside |= Programs
	}
	if v.unasked(Unit) != 0 {
		return v.ask(Unit|v.ahead(), Discover), true
	}
	if v.f.Programs.Known() && v.f.Programs.Value.End != nil {
		return *v.f.Programs.Value.End, true
	}
	if a, unfit := v.unit(); unfit {
		if v.unasked(Programs) != 0 { // its word counts more
			return v.ask(0, Discover), true
		}
		return a, true
	}
	return pass()
}

// ahead is what the join of an empty machine asks for next, while init is slow to
// answer: our name and, once, the cluster.
func (v *view) ahead() Topic {
	switch n := v.f.Name; {
	case v.state() != NotThere || len(v.leftovers()) > 0:
		return 0
	case v.unasked(Naming) != 0:
		return Naming
	case n.Value.End == nil && n.Value.Wait == nil && v.f.Cluster.At.IsZero():
		return Token
	}
	return 0
}

// programsUnready: what they are like is not known yet, or cannot be found out.
func (v *view) programsUnready() (Action, bool) {
	switch {
	case v.beside&Programs != 0:
		return v.ask(0, ""), true
	case v.f.Programs.Err != nil:
		return fail("", "", v.f.Programs.Err), true
	}
	return pass()
}

// unit is what a person must mend of the kubelet's service.
func (v *view) unit() (Action, bool) {
	k := v.f.Kubelet
	switch {
	case k.Err != nil:
		return v.wait("", JoinFailed, "the kubelet's service cannot be asked for", "nothing is done meanwhile", k.Err).asking(v, Unit, ProbeSilent), true
	case k.Value.NoInit:
		return end(HostUnfit, "neither systemd nor OpenRC is here to run the kubelet", "", nil)
	case k.Value.Missing:
		return end(HostUnfit, `there is no service "kubelet"`, "install the kubelet's package, or its unit file", nil)
	case k.Value.Masked:
		return end(HostUnfit, `the service "kubelet" is masked`, "run `systemctl unmask kubelet`", nil)
	case k.Value.Blocked != "" && !k.Value.Running:
		return end(HostUnfit, fmt.Sprintf(`the service "kubelet" is to start after %s, which waits for this nodejoin to end`, k.Value.Blocked),
			"take that After= out of its drop-ins (`systemctl cat kubelet` shows them), or run nodejoin as nodejoin.service, and not in user data", nil)
	// a kubelet without credentials may have no configuration yet, and one whose certificate has expired has nothing to start with
	case k.Value.Running: // what it last refused for is over
	case v.m.Doomed && v.state() >= NotUnderstood && v.m.Is != Refused,
		k.Value.Shown && v.state() == Loaded && v.m.Is != Member:
		return KubeletRefuses(k.Value.Fatal, k.Value.Remedy, nil), true
	}
	return pass()
}

// name that a join would give our Node.
func (v *view) name() (Action, bool) {
	n := v.f.Name
	switch {
	case v.unasked(Naming) != 0:
		return v.ask(Naming, Discover), true
	case n.Value.End != nil:
		return *n.Value.End, true
	case n.Value.Wait != nil:
		return n.Value.Wait.asking(v, Naming, ProbeSilent), true
	}
	return pass()
}

// notUnderstood: a kubelet may well be able to use what this program cannot. Its
// Node is looked at with the token, and nothing harsher than a restart is done.
func (v *view) notUnderstood() (Action, bool) {
	if v.state() != NotUnderstood || v.forced() {
		return pass()
	}
	switch {
	case v.nodeName() != v.f.Name.Value.Name: // that it is wanted under that name is a guess
		return v.refuseUnderstanding()
	case v.m.Is == Unheard || v.unasked(TokensNode) != 0:
		return v.ask(v.stale(TokensNode), Verify).asking(v, TokensNode, ProbeSilent), true
	}
	if a, decided := v.condition(); decided && a.Kind != BackOff {
		if a.Kind == Wait && a.Ask == 0 { // or the Node, asked for meanwhile, makes what is looked at old
			a = a.asking(v, TokensNode|Unit, ProbeSilent)
		}
		return a, true
	}
	return v.refuseUnderstanding()
}

func (v *view) refuseUnderstanding() (Action, bool) {
	return end(Refusal, fmt.Sprintf("this machine has kubelet credentials of Node %q that nodejoin cannot use itself, and whether they are a member's is not certain", v.nodeName()),
		"nothing was reset; a nodejoin that understands them can go on, or drain this machine and run nodejoin with --reset=always", v.f.Credentials.Value.Problem)
}

// join is what is left to do.
func (v *view) join() (Action, bool) {
	needed := Files | Company | Kubeconfig | Unit | Token
	if old := v.staleAfter(needed, justNow); old != 0 {
		return v.ask(old, ""), true
	}
	if a, unready := v.programsUnready(); unready {
		return a, true
	}
	return Action{Kind: Join, Phase: Joins, Because: needed, Message: fmt.Sprintf("run kubeadm join as Node %q: the kubelet has no credentials, "+
		"nothing is left of an earlier join that hinders it, and no live Node has the name", v.f.Name.Value.Name)}, true
}

// KubeletRefuses ends the run: kubeadm waits for such a kubelet, and does not say why; on a slow host it refuses after it has got
// its certificate.
func KubeletRefuses(words, remedy string, err error) Action {
	a, _ := end(HostUnfit, "the kubelet refuses to run: "+words, remedy, err)
	return a
}
