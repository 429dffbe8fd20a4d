package judge

import (
	"fmt"
	"strings"
	"time"
)

// groundForReset is what allows a reset of a machine whose kubelet has
// credentials that load: the Node stays away from a kubelet that was restarted
// and runs, or the API server refuses a kubelet whose certificate is useless, or
// the credentials are another machine's. Once the kubelet was stopped for it, it
// lasts as long as the API server says the same.
func (v *view) groundForReset() Ground {
	m, k := v.m, v.f.Kubelet.Value
	stopped := !m.StoppedAt.IsZero() && m.Since.Before(m.StoppedAt)
	since := m.lasting(m.Restarted, v.now)
	switch {
	case v.f.Join.Running:
	case m.Is == Gone && !m.GoneSpent && v.p.Reset != ResetNever && !m.Restarted.IsZero() && !m.Restarted.Before(m.Since) &&
		since >= RestartPatience && !m.Heard.After(m.Restarted) && k.Unregistered == "" && !k.Unread && !m.Doomed &&
		(stopped || k.Running && !m.fails(k, v.now) && m.lasting(m.ranSince, v.now) >= RestartPatience):
		return StaysAway
	case m.Is == Refused && !m.takenSince.IsZero() && v.now.Sub(m.takenSince) >= RefusedPatience && v.expired() &&
		(!v.p.ofMachine(v.f.Second.Value.Node) && !v.bootstrapsAs(v.f.Second.Value, v.nodeName()) || !v.f.Disk.Value.Configured):
		return RefusesKubelet
	case m.Is == Foreign && !m.CloneDoubted && m.Joins == 0 && v.f.Name.Value.Name != "" && v.sight().Node.Name != v.f.Name.Value.Name && v.sight().Node.DeletedAt.IsZero() &&
		(v.p.another(v.sight().Node) || m.Heartbeat.Moved || stopped && m.StoppedFor == Clone):
		return Clone
	}
	return None
}

// why there is a ground for a reset, for a person.
func (v *view) why(ground Ground) string {
	switch ground {
	case StaysAway:
		return fmt.Sprintf("no Node %q for %s after a kubelet restart", v.nodeName(), seconds(v.m.lasting(v.m.Restarted, v.now)))
	case RefusesKubelet:
		return fmt.Sprintf("the API server refused the kubelet (401) for %s while it took the token, its certificate has expired, and our Node is gone or dead",
			seconds(v.now.Sub(v.m.takenSince)))
	case Clone:
		return fmt.Sprintf("a cloned image: the credentials are those of Node %q, which is another machine (machineID %s)",
			v.sight().Node.Name, v.sight().Node.MachineID)
	case Asked:
		return "--reset=always"
	}
	return "leftovers of an earlier join, without credentials that load: " + strings.Join(v.leftovers(), ", ")
}

// reset is due where something hinders kubeadm join, or the credentials are of no
// use. For those the kubelet is stopped first, and what speaks for the reset is
// looked at again.
func (v *view) reset() (Action, bool) {
	disk, k := v.f.Disk.Value, v.f.Kubelet.Value
	ground := v.ground
	switch {
	case v.forced():
		ground = Asked
	case ground != None:
	case len(v.leftovers()) > 0:
		ground = NoCredentials
	default:
		return pass()
	}
	needed, tidies, act := v.restsOn(ground), ground == NoCredentials && v.tidies(), "a reset"
	if tidies {
		act = "tidying"
	}
	switch {
	case ground == NoCredentials && v.m.StoppedFor > NoCredentials && v.f.Machine.Value.Pods > 0: // it had them in its memory
		return end(Refusal, fmt.Sprintf("the kubelet's credentials in %s went while it was stopped, and %d pods live here", v.f.Credentials.Value.Path, v.f.Machine.Value.Pods),
			"restore them, or drain this machine and run nodejoin with --reset=always", v.f.Credentials.Value.Problem)
	case tidies: // it loses nothing, and is no reset
	case v.p.Reset == ResetNever:
		return end(Refusal, "a reset is needed and --reset=never forbids it: "+v.why(ground), "run `kubeadm reset` by hand, or nodejoin without --reset=never", nil)
	case len(disk.Losses) > 0 && v.p.Reset != ResetAlways:
		return end(Refusal, "a reset is needed, and kubeadm reset would delete what is this machine's own: "+strings.Join(disk.Losses, ", "),
			"move that away, or run nodejoin with --reset=always to have it deleted", nil)
	case disk.AdminConf && v.p.Reset != ResetAlways:
		return end(Refusal, "a reset is needed, and /etc/kubernetes/admin.conf is here, as on a control-plane host: "+v.why(ground),
			"move that file away if this is a worker, or run nodejoin with --reset=always", nil)
	}
	if old := v.staleAfter(needed, justNow); old != 0 {
		return v.ask(old, ""), true
	}
	if a, unready := v.programsUnready(); unready {
		return a, true
	}
	why := v.why(ground)
	switch {
	case k.Stray && ground != Asked && !v.m.fails(k, v.now):
		return v.wait("", JoinFailed, fmt.Sprintf("%s, and the kubelet that runs (process %d) is not the service's", why, k.PID),
			"to stop the service would not stop it: see who has started it", nil).asking(v, Unit|Kubeconfig, ProbeSilent), true
	case ground > NoCredentials && ground != Asked && v.m.StoppedAt.IsZero(), ground == NoCredentials && k.Running && !v.m.fails(k, v.now):
		return Action{Kind: StopKubelet, Ground: ground, Because: needed, Message: "before " + act + ", so that nothing changes meanwhile: " + why}, true
	case ground == Clone && !v.otherLives():
		return v.otherMayBeDead(), true
	}
	switch {
	case tidies && mayTidy(v.p, v.m, v.f, v.now):
		return Action{Kind: Tidy, Because: needed, Message: why}, true
	case tidies || !mayReset(v.p, v.m, v.f, v.now, ground):
		return v.wait("", JoinFailed, act+" must wait: "+why, "nothing is done while what speaks for it is not certain", nil).
			asking(v, needed, ProbeSilent), true
	}
	if k.Running && v.p.Reset != ResetAlways {
		why += fmt.Sprintf("; the kubelet is failing (%s)", k.State)
	}
	return Action{Kind: Reset, Phase: Resets, Ground: ground, Because: needed, Message: why}, true
}

// restsOn is what must be fresh for a reset.
func (v *view) restsOn(ground Ground) Topic {
	needed := Files | Company | Kubeconfig | Unit | Token
	switch ground {
	case NoCredentials:
		needed |= Certificate
	case StaysAway, Clone:
		needed |= OwnNode
	case RefusesKubelet:
		needed |= OwnNode | TokensNode
	}
	return needed
}

// mayReset is the one place that allows `kubeadm reset`, which kills every pod
// here and deletes the files of all who have some among its own. It is asked on
// facts that are younger than the last act and than 2 s.
//
// Nothing but the user's own word allows it while a kubelet runs and does not
// fail, whatever its Node is called and whatever can be read of its files, nor
// while it is not known whether one does.
func mayReset(p Policy, m Memory, f *Facts, now time.Time, ground Ground) bool {
	v := view{p: p, m: m, f: f, now: now}
	disk, here, creds, kubelet := f.Disk, f.Machine, f.Credentials, f.Kubelet
	switch {
	case v.stale(v.restsOn(ground)) != 0,
		!disk.Known() || disk.Value.ControlPlane != "",
		!here.Known() || here.Value.Kubeadm != "" || len(here.Value.Mounts) > 0,
		f.Join.Running, p.Reset == ResetNever:
		return false
	case ground == Asked:
		return v.forced()
	case !kubelet.Known() || !creds.Known() || kubelet.Value.Running && !m.fails(kubelet.Value, now) ||
		kubelet.Value.Starting && !m.fails(kubelet.Value, now),
		len(disk.Value.Losses) > 0 && p.Reset != ResetAlways,
		disk.Value.AdminConf && p.Reset != ResetAlways:
		return false
	case ground == NoCredentials:
		return (creds.Value.State == NotThere || creds.Value.State == Unusable) && f.Request.Known() && !v.requestLives()
	case creds.Value.State != Loaded:
		return false
	}
	return v.groundForReset() == ground && !m.StoppedAt.IsZero() && (ground != Clone || v.otherLives())
}

// otherLives: our kubelet does not run, and the heartbeat of the Node whose
// credentials it has goes on.
func (v *view) otherLives() bool {
	return v.m.Heartbeat.Moved || v.f.Lease.Known() && !v.m.Renewed.IsZero() && v.f.Lease.Value.After(v.m.Renewed)
}

func (v *view) otherMayBeDead() Action {
	if v.now.Sub(v.m.StoppedAt) > heartbeatPatience {
		return Action{Kind: StartKubelet, Phase: Verify, Ground: Clone, Message: "nobody reports for Node \"" + v.nodeName() + "\" while our kubelet is stopped: it may be this machine's own"}
	}
	return v.wait(Verify, JoinFailed, v.why(v.ground)+"; our kubelet is stopped to see whether that machine lives",
		"a living one renews its Lease within 10 s, or reports within 5 minutes", nil).asking(v, OwnNode|Renewal|Unit, ProbeSilent)
}

// leftovers hinder kubeadm join. A pki/ca.crt that is the proven cluster's own
// does not: kubeadm is told to leave it where it is. Nor does a
// bootstrap-kubelet.conf that no kubelet needs: it is taken away before a join.
func (v *view) leftovers() []string {
	disk, k := v.f.Disk.Value, v.f.Kubelet
	left := disk.Leftovers[:len(disk.Leftovers):len(disk.Leftovers)]
	if disk.Bootstrap != "" && (!k.Known() || (k.Value.Running || k.Value.Starting) && !v.m.fails(k.Value, v.now)) {
		left = append(left, disk.Bootstrap)
	}
	if disk.CAFile != "" && !HarmlessCA(v.f) {
		left = append(left, disk.CAFile)
	}
	return left
}

// HarmlessCA reports whether the file at pki/ca.crt is what kubeadm join itself
// would write there.
func HarmlessCA(f *Facts) bool {
	return f.Disk.Value.CAFile != "" && SharesKey(f.Disk.Value.CA, f.Cluster.Value.CA)
}
