package judge

import (
	"fmt"
	"time"
)

// A kubelet whose credentials are gone, or useless for sure, needs no reset: it
// bootstraps again in place, its pods live, and its Node stays. That takes the
// proven cluster's word that it has this machine's Node: another cluster would
// have every pod here ended. Or the cluster is the one that this machine was in,
// and has no Node of its name any more: then a new one comes, as after a restart.

// lostCredentials: they are gone or torn. A kubelet that runs may have them in its
// memory; one whose Node reports has.
func (v *view) lostCredentials() (Action, bool) {
	node := v.f.Cluster.Value.Node
	as, gone := v.bootstrapsAs(node, v.f.Name.Value.Name), node.Answer == Absent
	k := v.f.Kubelet.Value
	runs := (k.Running || k.Starting) && !v.m.fails(k, v.now)
	switch {
	case v.forced() || v.state() == Loaded || v.state() == NotUnderstood || !v.f.Disk.Value.Configured || !v.f.Cluster.Value.Bearer:
		return pass()
	case !v.m.BootstrapAt.IsZero():
		return v.bootstraps()
	case gone && (runs || len(v.leftovers()) == 0 || v.tidies()): // what a plain join mends, and a kubelet that may be a member's
		return pass()
	case v.m.Barred != "" && as:
		return v.barred(), true
	case gone && as:
		return v.bringBack(Bootstrap, fmt.Sprintf("the kubelet's credentials in %s are gone, and the cluster, which is this machine's own, has no Node %q",
			v.f.Credentials.Value.Path, v.f.Kubelet.Value.Name), time.Time{}, Token|Certificate), true
	case !as,
		runs && (node.Node.Ready != "Unknown" || v.f.Request.Known() && !v.f.Request.Value.Approves):
		return pass()
	case node.Node.Ready == "Unknown" && (!runs || v.now.Sub(v.m.silentSince) >= silentPatience && !v.m.silentSince.IsZero() && v.now.Sub(v.m.ranSince) >= RestartPatience):
		return v.bringBack(Bootstrap, fmt.Sprintf("the kubelet's credentials in %s are gone, and nobody reports for Node %q, which is this machine's",
			v.f.Credentials.Value.Path, node.Node.Name), time.Time{}, Token|Certificate), true
	}
	return v.wait("", JoinFailed, fmt.Sprintf("the kubelet's credentials in %s are gone, and whether a kubelet still reports for Node %q is not known yet", v.f.Credentials.Value.Path, node.Node.Name),
		"the cluster notices within "+seconds(GracePeriod)+" that none does; then the kubelet is to get new ones", nil).asking(v, Token|Unit|Certificate, ProbeSilent), true
}

// bootstrapsAs: the Node is this machine's and stays, and the kubelet goes by its
// name: under another one it would get the certificate of another Node. Or there
// is none of that name in the cluster whose CA this machine has of before, and a
// reset would bring a new one, too. It is tried once, for a reset may help where
// no member comes of it; but who denied its request would deny any.
func (v *view) bootstrapsAs(s Sighting, name string) bool {
	n, is, wanted := s.Node, v.f.Kubelet.Value.Name, v.f.Name.Value.Name
	if s.Answer == Absent {
		return name == is && (!v.p.Named || wanted == is) && v.f.Cluster.Value.Bearer &&
			SharesKey(v.f.Credentials.Value.CA, v.f.Cluster.Value.CA) && (!v.m.BootstrapSpent || v.m.Barred != "")
	}
	return v.p.ofMachine(n) && n.DeletedAt.IsZero() && n.Name == is
}

// uselessCredentials: the API server refuses them, and they have expired by its
// clock; or the cluster has another CA than theirs, which their own server shows.
func (v *view) uselessCredentials(why string) (Action, bool) {
	c, node, gone := v.f.Cluster, v.f.Second.Value.Node, v.f.Second.Value.Answer == Absent
	switch {
	case !c.Known() || c.Value.Verdict != Proven || !c.Value.Bearer || !v.f.Disk.Value.Configured:
		return pass()
	case v.f.Second.At.IsZero() || v.older(TokensNode, TokenCheck) != 0:
		return v.ask(TokensNode, Verify), true
	case v.unasked(Unit) != 0:
		return v.ask(Unit, Verify), true
	case !v.bootstrapsAs(v.f.Second.Value, v.nodeName()):
		return pass()
	case v.m.Barred != "":
		return v.barred(), true
	case gone && v.stale(Certificate) != 0:
		return v.ask(Certificate, Verify), true
	case gone:
		if a, waits := v.requested(); waits {
			return a, true
		}
		why += ", and there is no Node of it"
	case node.Ready != "Unknown":
		return v.wait(Verify, JoinFailed, fmt.Sprintf("%s, and the cluster has yet to notice that nobody reports for Node %q", why, node.Name),
			"it does so within "+seconds(GracePeriod)+"; then the kubelet is to get new ones", nil).asking(v, TokensNode, ProbeSilent), true
	}
	return v.bringBack(Bootstrap, why, time.Time{}, Token|TokensNode|Certificate), true
}

// barred: who denied the kubelet's request would deny another one.
func (v *view) barred() Action {
	return v.wait(Verify, JoinFailed, v.m.Barred, "the kubelet has what it had, and asks again if there is another token; else see who denied it, and run nodejoin again", nil).
		asking(v, Token|Kubeconfig|Unit, ProbeSilent)
}

// otherCA: the cluster that is to be joined has another CA than the credentials.
// Either they are another cluster's, or its CA was changed.
func (v *view) otherCA() (Action, bool) {
	c, other := v.f.Cluster, v.f.Credentials.Value.OtherCA
	switch {
	case v.m.Is == Unheard || v.unasked(OwnNode) != 0:
		return v.ask(v.stale(OwnNode), "").asking(v, OwnNode, ProbeSilent), true
	case v.m.Is != Mute || v.sight().Answer == Forbidden || c.Known() && (c.Value.NoToken != nil || c.Value.Verdict >= BadSignature && c.Value.Verdict != Proven):
		return otherCluster(other) // their server has the CA that they name, or nothing more will be known
	case !c.Known() || c.Value.Verdict != Proven:
		a := v.wait(Discover, Refusal, "this machine has kubelet credentials of another cluster, or the CA of its own was changed: "+other,
			"the API server will tell; nothing is done until then", c.Value.Err)
		if a.Until = c.Value.NextAt; !v.now.Before(c.Value.NextAt) {
			a.Ask = Token
		}
		return a, true
	}
	if a, decided := v.uselessCredentials("the cluster has another CA than the kubelet's credentials"); decided {
		return a, true
	}
	return otherCluster(other)
}

// bootstraps: under way. A request that is pending is waited for before.
func (v *view) bootstraps() (Action, bool) {
	since := v.now.Sub(v.m.BootstrapAt)
	if since >= bootstrapPatience {
		return fail(fmt.Sprintf("bootstrapping again: the kubelet has no certificate after %s", seconds(since)), "its log says why: `journalctl -u kubelet`", nil), true
	}
	return v.wait(Verify, JoinFailed, "the kubelet asks for another certificate", "its log says why it gets none: `journalctl -u kubelet`", nil).
		asking(v, Kubeconfig, 2*CredentialsEvery).asking(v, Unit|Certificate, ProbeSilent), true
}
