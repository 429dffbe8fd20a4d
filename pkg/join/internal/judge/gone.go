package judge

import (
	"fmt"
	"time"
)

// gone: a kubelet registers once in its life, so only a restart brings a deleted
// Node back.
func (v *view) gone() Action {
	name := v.nodeName()
	if wanted := v.f.Name.Value.Name; v.p.Named && wanted != "" && name != wanted {
		a, _ := end(Refusal, fmt.Sprintf("this machine has credentials of Node %q, which does not exist, and is to be %q", name, wanted),
			"leave out --node-name, or run nodejoin with --reset=always", nil)
		return a
	}
	if v.m.Lost && v.m.Mark != "" {
		a, _ := end(KeepsBeingDeleted, fmt.Sprintf("Node %q was deleted, and had the mark of its owner's will: %s", name, v.m.Mark),
			"it is not brought back; if it shall be, run nodejoin with --bring-back", nil)
		a.Mark = v.m.Mark
		return a
	}
	still := v.wait(Verify, JoinFailed, fmt.Sprintf("the API server has no Node %q yet", name),
		"the kubelet registers it; its log says why it does not: `journalctl -u kubelet`", nil)
	why := fmt.Sprintf("the API server has no Node %q", name)
	since := v.m.lasting(v.m.Restarted, v.now)
	switch {
	case v.f.Join.Running, !v.m.Lost && v.m.lasting(v.m.Newborn, v.now) < registerPatience:
		return still
	case v.mayPutBack():
		return v.bringBack(PutBack, why, later(v.m.Since, v.m.PutBackAt), OwnNode)
	case v.restartWanted(v.m.Since):
		if v.m.Lost && v.now.Sub(v.m.OwnSeen) > podPatience {
			why += ", and the pods of it are deleted by now"
		}
		return v.restart(why, later(v.m.Since, v.m.FailedAt))
	}
	if a, unfit := v.unit(); unfit {
		return a
	}
	k := v.f.Kubelet.Value
	if k.Unread {
		still.Hint = "why the kubelet does not register it is not known, for `journalctl -u kubelet` gives nothing, so nothing is reset: look where its log goes"
	}
	switch {
	case k.Unregistered != "":
		still.Message, still.Hint = fmt.Sprintf("the kubelet runs and cannot register Node %q: %s", name, k.Unregistered),
			"it tries again every few seconds, and a reset would not help; whatever refuses it is in the cluster"
	case since < RestartPatience:
	case v.m.Heard.After(v.m.Restarted): // not 404 all the time since
		return v.restart(why, v.m.Heard)
	case v.state() == Loaded && k.Running && v.m.lasting(v.m.ranSince, v.now) < RestartPatience: // nor did it run all the while
	default:
		return fail(fmt.Sprintf("verifying: still no Node %q %s after a kubelet restart", name, seconds(since)), still.Hint, nil)
	}
	return still.asking(v, Unit, ProbeSilent)
}

// mayPutBack: the one that this run has just seen, or a run that was killed a
// moment ago, and that nobody has put back yet; a kubelet runs that takes it up,
// and did so before it was deleted: one started since registers by itself, and one
// that is suspended does not run.
func (v *view) mayPutBack() bool {
	k := v.f.Kubelet.Value
	return v.p.Restore && v.m.Lost && v.m.Deleted[0] != v.m.PutBackUID && v.state() == Loaded && v.now.Sub(v.m.OwnSeen) <= podPatience &&
		k.Running && !v.m.fails(k, v.now) && v.m.ranSince.Before(v.m.DeletedAt)
}

// takingUp: our Node was put back, and its kubelet, which was not restarted, is
// to renew its Lease and to report.
func (v *view) takingUp() (Action, bool) {
	name, since := v.nodeName(), v.now.Sub(v.m.PutBackAt)
	overdue := since >= takeupPatience || since >= steadyFor && v.f.Untaken.Known() && v.f.Untaken.Value.Stays
	switch k := v.f.Kubelet.Value; {
	case v.m.PutBackAt.IsZero() || v.f.Kubelet.Known() && (!k.Running || v.m.fails(k, v.now)):
		return pass()
	case v.state() != Loaded: // renewed meanwhile, so that nobody can ask; a restarted kubelet has to report
		if since < takeupPatience {
			return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is back as it was; the kubelet is to take it up", name),
				"its credentials cannot be used to see whether it has, so it is restarted", v.f.Credentials.Value.Problem).asking(v, v.eyes()|Unit, ProbeSilent), true
		}
		return v.restart(fmt.Sprintf("Node %q was put back, and whether the kubelet has taken it up in %s cannot be asked", name, seconds(since)), v.m.PutBackAt), true
	case overdue && v.stale(Takeup) != 0:
		return v.ask(Takeup, Verify), true
	case !overdue || v.f.Untaken.Err != nil:
		return v.wait(Verify, JoinFailed, fmt.Sprintf("Node %q is back as it was; the kubelet is to take it up", name),
			"it does so within some 10 s, or it is restarted", v.f.Untaken.Err).asking(v, Takeup|Unit, ProbeSilent), true
	}
	return v.restart(fmt.Sprintf("Node %q was put back, and the kubelet has not taken it up in %s: %s", name, seconds(since), v.f.Untaken.Value.Missing), v.m.PutBackAt), true
}

func (v *view) restart(why string, wanted time.Time) Action {
	return v.bringBack(RestartKubelet, why, wanted, v.eyes())
}

// bringBack is at once the first time, and after a back-off from when it is wanted
// the next. What was seen of others is what it rests on beside this machine.
func (v *view) bringBack(how Kind, why string, wanted time.Time, seen Topic) Action {
	if a, backs := v.backOff(); backs {
		return a
	}
	if a, alone := v.company(); alone {
		return a
	}
	if v.unasked(Unit) != 0 {
		return v.ask(Unit, Verify)
	}
	if a, unfit := v.unit(); unfit {
		return a
	}
	if a, other := v.renamed(); other && how == RestartKubelet {
		return a
	}
	if k := v.f.Kubelet.Value; k.Stray && how != PutBack {
		return v.wait(Verify, JoinFailed, fmt.Sprintf("%s, and the kubelet that runs (process %d) is not the service's", why, k.PID),
			"a restart of the service would start a second one: see who has started it", nil).asking(v, Unit, ProbeSilent)
	}
	pause := v.m.RestartPause
	if v.m.Is == Gone && v.m.Lost {
		pause = min(pause, returnPause)
	}
	if due := wanted.Add(pause); v.now.Before(due) {
		a := v.wait(Verify, JoinFailed, why+", again; backing off before it is brought back", "", nil)
		a.Until = due
		return a
	}
	needed := local | seen
	if old := v.stale(needed); old != 0 {
		return v.ask(old, Verify)
	}
	return Action{Kind: how, Phase: Verify, Message: why, Because: needed, Ready: how == PutBack && v.f.Kubelet.Value.Healthy}
}
