package judge

import (
	"fmt"
	"strings"
)

// cluster is waited for until it has proven itself and has taken our token.
// Whoever holds the kubelet's credentials is not ended by what the token meets.
func (v *view) cluster() (Action, bool) {
	c := v.f.Cluster
	if c.At.IsZero() || c.Asked.Before(v.m.BackOffUntil) && c.Value.Verdict != Proven {
		return v.ask(Token, Discover), true
	}
	a, stands := v.unproven()
	switch {
	case !stands && v.state() == Loaded && !v.forced() && v.p.Reset != ResetAlways && !SharesKey(c.Value.CA, v.f.Credentials.Value.CA):
		return otherCluster("its CA is not this cluster's")
	case !stands:
		return pass()
	case c.Value.Lost: // a member that needs nothing of it does not come here
		return a, true
	case a.Kind == End && v.beside&Programs != 0 && v.unasked(Programs) != 0: // its word counts more
		return v.ask(0, Discover), true
	case a.Kind == End && v.state() == NotUnderstood && !v.forced():
		return v.refuseUnderstanding()
	case v.ground != None && a.Kind != Wait:
		return fail(v.why(v.ground)+", but a reset must wait: "+Sentence(a.Message, a.Err), a.Hint, nil), true
	case v.ground != None:
		a.Message = v.why(v.ground) + ", but a reset must wait: " + a.Message
	}
	a.Phase = Discover
	if a.Kind == Wait {
		if !v.now.Before(c.Value.NextAt) {
			a.Ask |= Token
		} else {
			a.Until = c.Value.NextAt
		}
	}
	return a, true
}

// Sentence is a message with its cause.
func Sentence(message string, cause error) string {
	switch {
	case cause == nil:
		return message
	case message == "":
		return cause.Error()
	}
	return message + ": " + cause.Error()
}

// unproven is what stands between the last look and a join, if anything does.
func (v *view) unproven() (Action, bool) {
	c, where := v.f.Cluster.Value, v.p.Endpoint
	switch {
	case c.NoToken != nil && c.Usage:
		a, _ := end(Usage, "", c.Hint, c.NoToken)
		return a, true
	case c.NoToken != nil && v.p.TokenFixed: // a unit's credential is new with the unit's next start
		return end(TokenRejected, "there is no token", c.Hint, c.NoToken)
	case c.NoToken != nil:
		return v.wait("", TokenRejected, "the token's source has none yet", c.Hint, c.NoToken), true
	}
	switch c.Verdict {
	case Proven:
		if c.Node.Answer == Forbidden && v.m.Starting {
			// kubeadm would fail on it; a starting API server learns its own roles within seconds
			return v.wait("", JoinFailed, "our token may not ask for Nodes yet",
				"`kubeadm init phase bootstrap-token` sets up what tokens may do", c.Node.Err), true
		}
		return pass()
	case WrongCA:
		return end(WrongCluster, "this is not the cluster that was pinned",
			"take a fresh line from `kubeadm token create --print-join-command`; if the pin is right, somebody else answers at "+where, c.Err)
	case Unreachable:
		if c.Algorithm && v.f.Cluster.At.Sub(v.m.strangeSince) >= SignatureAgain {
			return end(HostUnfit, "no server of this cluster can prove itself to this nodejoin", c.Hint, c.Err)
		}
		message := "the API server does not answer"
		if c.Answered {
			message = "the API server answers, but not usefully"
		}
		return v.wait("", NoAnswer, message, c.Hint, c.Err), true
	case NotServed:
		return v.wait("", NoAnswer, "an API server answers, but does not serve cluster-info yet",
			"a starting one does so within seconds; where anonymous access is off for good, use --discovery-file with credentials in it", c.Err), true
	case BadSignature:
		return v.badSignature(c), true
	}
	return v.refusedToken(c), true
}

// badSignature: cluster-info is signed for our token's ID with another secret.
// It is looked at once more; then it is a wrong token where the CA is pinned
// and proven, and else anybody's server.
func (v *view) badSignature(c Cluster) Action {
	rejected := v.tokenRejected(c.Err)
	switch {
	case v.now.Sub(v.m.badSignSince) < SignatureAgain || v.f.Cluster.At.Sub(v.m.badSignSince) < SignatureAgain:
		return v.wait("", TokenRejected, "cluster-info has a signature that does not fit our token; looking again", "", c.Err)
	case !c.Pinned:
		rejected, _ = end(WrongCluster, "the token does not prove this cluster",
			"either the token's secret is mistyped or this is another cluster; --discovery-token-ca-cert-hash tells them apart", c.Err)
	case v.p.TokenFixed:
		rejected.Kind = End
	}
	return rejected
}

// refusedToken: not signed for, or answered with 401. Late is not wrong, but
// after TokenPatience it is.
func (v *view) refusedToken(c Cluster) Action {
	at := v.f.Cluster.At
	if passed := v.m.passedOver; !passed.IsZero() && at.Sub(passed) >= TokenPatience { // the signer is at work
		a := v.wait("", TokenRejected, "the cluster takes our token, and signs cluster-info for others and not for it",
			"it lacks the usage \"signing\": `kubeadm token create --usages signing,authentication` makes one that has it", c.Err)
		if v.p.TokenFixed {
			a.Kind = End
		}
		return a
	}
	if !c.unknownToken() {
		return v.wait("", TokenRejected, "cluster-info is not signed for our token yet",
			"the bootstrapsigner controller signs it within seconds of its start; `kubeadm token list` shows whether the token exists", c.Err)
	}
	rejected := v.tokenRejected(c.Err)
	if v.p.TokenFixed && !c.Old && at.Sub(v.m.servesSince) >= TokenPatience && at.Sub(v.m.refusedSince) >= TokenPatience/2 {
		rejected.Kind = End
	}
	return rejected
}

func (v *view) tokenRejected(cause error) Action {
	return v.wait("", TokenRejected, "the cluster does not take our token",
		"it is expired, deleted or mistyped; on a control-plane host `kubeadm token create` makes a new one", cause)
}

// request of ours that is pending is waited for: a reset would throw it away, and
// approving it is all that is missing.
func (v *view) request() (Action, bool) {
	if v.state() == Loaded || v.forced() || len(v.leftovers()) == 0 && !v.f.Kubelet.Value.Running {
		return pass()
	}
	if v.stale(Certificate) != 0 {
		return v.ask(Certificate, Discover), true
	}
	return v.requested()
}

// requested: a word about our request is there.
func (v *view) requested() (Action, bool) {
	r := v.f.Request
	switch {
	case r.Err != nil: // no word about a request is not the word that there is none
		return v.wait(Discover, JoinFailed, "whether a certificate request of ours is pending is not known", "", r.Err).asking(v, Certificate|Kubeconfig|Unit, ProbeSilent), true
	case r.Value.Denied && v.m.Denial != v.m.DenialTold:
		return fail(v.m.Denial, "", nil), true
	case !v.requestLives():
		return pass()
	}
	message := fmt.Sprintf("certificate request %s of Node %q is pending", r.Value.Name, r.Value.NodeName)
	hint := fmt.Sprintf("approve it with `kubectl certificate approve %s`, or see why nothing approves it", r.Value.Name)
	if !r.Value.Pending {
		message, hint = fmt.Sprintf("certificate request %s of Node %q is approved; the kubelet is to fetch its certificate", r.Value.Name, r.Value.NodeName), ""
	} else if v.m.Denial != "" {
		hint += "; before it, " + v.m.Denial
	}
	return v.wait(Discover, JoinFailed, message, hint, nil).asking(v, Certificate|Kubeconfig|Unit, ProbeSilent), true
}

// requestLives: it is pending, or was approved just now, and its key is still
// there: on the disk, or in the memory of a kubelet that runs.
func (v *view) requestLives() bool {
	r, k := v.f.Request.Value, v.f.Kubelet.Value
	switch {
	case r.Name == "" || r.Denied || !r.Own && (!k.Running && !k.Starting || v.m.fails(k, v.now)):
		return false
	case r.Pending:
		return true
	case !r.Own: // issued long ago, for an earlier key
		return false
	}
	return v.now.Sub(v.m.issuedSince) <= issuedPatience
}

// runningKubelet: one that runs and does not fail, without credentials that load,
// may be a member's all the same: they are in its memory. Only one that waits for
// its first certificate, on a machine without pods, or started by this very run,
// is stopped for another attempt.
func (v *view) runningKubelet() (Action, bool) {
	k, c := v.f.Kubelet, v.f.Cluster.Value
	if v.state() == Loaded || v.forced() || v.state() == NotThere && len(v.leftovers()) == 0 {
		return pass()
	}
	switch old := v.stale(local | Token | Certificate); {
	case old != 0:
		return v.ask(old, ""), true
	case v.m.fails(k.Value, v.now) || !k.Value.Running && !k.Value.Starting:
		return pass()
	case !k.Value.Running || v.now.Sub(v.m.ranSince) < steadyFor:
		return v.wait("", JoinFailed, fmt.Sprintf("there are remains of an earlier join, and whether the kubelet runs is not clear yet (%s)", k.Value.State),
			"its log says what it does: `journalctl -u kubelet`", nil).asking(v, Unit|Kubeconfig, ProbeSilent/2), true
	}
	ownAttempt := !v.m.JoinedAt.IsZero() && !v.m.ranSince.Before(v.m.JoinedAt) && v.m.Newborn.Before(v.m.JoinedAt)
	other := v.nodeName() != v.f.Name.Value.Name
	alive := func(s Sighting) bool {
		return s.Answer == Present && v.p.Ours(s.Node) && s.Node.Ready != "Unknown"
	}
	switch {
	case v.state() != NotThere || !ownAttempt && v.f.Machine.Value.Pods > 0 || alive(c.Node):
	case other && v.stale(TokensNode) != 0:
		return v.ask(TokensNode, ""), true
	case other && alive(v.f.Second.Value):
	case c.Node.Answer == Forbidden || other && v.f.Second.Value.Answer < Absent:
		return fail("the kubelet runs, and our token may not ask whether it is a member's", "", c.Node.Err), true
	default:
		return pass()
	}
	message := fmt.Sprintf("a kubelet runs here as Node %q, but its credentials in %s cannot be used: it may be a member's", v.nodeName(), v.f.Credentials.Value.Path)
	if alive(c.Node) {
		message = fmt.Sprintf("Node %q is this machine and its kubelet runs, but kubelet.conf or its certificate cannot be read", c.Node.Node.Name)
	}
	if k.Value.Arguments != "" {
		message += fmt.Sprintf(" (process %d: %s)", k.Value.PID, k.Value.Arguments)
	}
	return end(Refusal, message, fmt.Sprintf("restore %s, or drain the Node and run nodejoin with --reset=always", v.f.Credentials.Value.Path), v.f.Credentials.Value.Problem)
}

// nodeOfOurName: kubeadm refuses to join beside a Node of our name that is Ready,
// and takes over one that is not. Another machine's that lives is never touched,
// and one that is being deleted would be gone minutes after the join.
func (v *view) nodeOfOurName() (Action, bool) {
	s := v.f.Cluster.Value.Node
	node := s.Node
	again := func(a Action) (Action, bool) {
		a.Phase = Discover
		if !v.now.Before(v.f.Cluster.Value.NextAt) {
			a.Ask |= Token
		} else {
			a.Until = v.f.Cluster.Value.NextAt
		}
		return a, true
	}
	hinders := len(v.leftovers()) > 0 || v.forced()
	switch {
	case v.stale(Token) != 0:
		return v.ask(Token, Discover), true
	case s.Answer == Forbidden && v.ground != None:
		return fail(v.why(v.ground)+", but a reset must wait", "", s.Err), true
	case s.Answer != Present:
		return pass()
	case !node.DeletedAt.IsZero():
		return again(v.leaving(node, "it would be gone soon after the join: nodejoin joins once it is; `kubectl get node "+node.Name+" -o yaml` shows who holds it up"))
	case v.p.Ours(node):
		if v.ground != None && node.Ready != "Unknown" && node.Name == v.nodeName() {
			return again(v.wait("", JoinFailed, fmt.Sprintf("%s, but our Node %q has come back", v.why(v.ground), node.Name), "", nil))
		}
		if pods := v.f.Machine.Value.Pods; v.ground == None && hinders && !v.forced() && pods > 0 && (node.Ready == "True" || node.Ready == "False") {
			return end(Refusal, fmt.Sprintf("Node %q is this machine's and was alive a moment ago, and %d pods live here, but the kubelet's credentials in %s cannot be used",
				node.Name, pods, v.f.Credentials.Value.Path),
				fmt.Sprintf("restore %s and start the kubelet, or drain the Node and run nodejoin with --reset=always", v.f.Credentials.Value.Path), v.f.Credentials.Value.Problem)
		}
		if v.ground != None || hinders || node.Ready != "True" {
			return pass()
		}
		return again(v.wait("", JoinFailed, fmt.Sprintf("our own Node %q from before the reset is still Ready", node.Name),
			"the cluster notices that its kubelet is gone within "+seconds(GracePeriod), nil))
	case node.Ready == "Unknown" || node.Ready == "":
		return pass()
	case v.m.Twin.Moved:
		return v.nameTaken(node), true
	}
	return again(v.notKnownDead(node, v.m.Twin))
}

func sameID(a, b string) bool { return strings.EqualFold(a, b) }
