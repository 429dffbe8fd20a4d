package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// outage is for how long the API server is away: long enough for every request and probe of nodejoin's to time out.
const outage = 20 * time.Second

// The sockets close at once, and connections are refused until it is back.
func TestJoinInAnyPhaseOutlastsAKilledAPIServer(t *testing.T) {
	p := everyPhase(t)
	p.fault(10)
	p.must(p.cp.Kill())
	p.sleep(outage)
	p.must(p.cp.Start(p.ctx))
	p.letThemEnd()
}

// Connections stay open and are accepted, and nothing answers: only the own timeouts tell.
func TestJoinInAnyPhaseOutlastsAFrozenAPIServer(t *testing.T) {
	p := everyPhase(t)
	p.fault(11)
	p.must(p.cp.Pause(testbed.APIServer))
	p.sleep(outage)
	p.must(p.cp.Resume(testbed.APIServer))
	p.letThemEnd()
}

// It never thaws: the deadline is kept all the same.
func TestAPIServerThatStaysFrozenIsUnreachableAtTheDeadline(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(11)
	s.must(s.cp.Pause(testbed.APIServer))
	s.join(s.args("--timeout", "20s", "--hold", "5s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says("the API server does not answer", s.cp.Endpoint()).within(30 * time.Second)
	s.must(s.cp.Resume(testbed.APIServer))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))

	t.Log("frozen again, while a member is looked at")
	s.must(s.cp.Pause(testbed.APIServer))
	s.join(s.args("--timeout", "20s", "--hold", "5s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says("nothing is done to it while the API server does not answer").within(30 * time.Second)
	s.must(s.cp.Resume(testbed.APIServer))
}

// Every packet of the machines vanishes, in both directions, and their own links look well.
func TestJoinInAnyPhaseOutlastsACutNetwork(t *testing.T) {
	p := everyPhase(t)
	p.fault(17)
	for _, r := range p.running {
		p.must(r.node.CutNetwork())
	}
	p.sleep(outage)
	for _, r := range p.running {
		p.must(r.node.RestoreNetwork())
	}
	p.letThemEnd()
}

// Packets vanish, so the watch dies without a word; what happens meanwhile is seen later.
func TestWatchCutSilentlyIsNoticedAndADeletionMeanwhileIsSeen(t *testing.T) {
	s := tellLive(t, external())
	s.fault(15)
	p := s.start(s.node, s.args("--hold", "20s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "holding it"))
	first, err := s.cp.GetNode(s.ctx, "w1")
	s.must(err)
	s.must(s.node.CutNetwork())
	cut := time.Now()
	s.must(p.Stderr.WaitFor(s.ctx, "gives no useful answer"))
	if d := time.Since(cut); d > 30*time.Second {
		t.Errorf("the dead watch was noticed after %s", d)
	}
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.must(s.node.RestoreNetwork())
	restored := time.Now()
	s.must(p.Stderr.WaitFor(s.ctx, "was deleted"))
	if d := time.Since(restored); d > 30*time.Second {
		t.Errorf("the deletion was noticed %s after the network was back", d)
	}
	// Back as it was, or as a new one: by then it may have been out of sight for more than 40 s.
	e := p.end().is(0, "Recovered").returned(atMostOne).counts(1, 0, atMostOne, 1).says("gives no useful answer", "was deleted")
	if c := e.report.Counts; c.NodesPutBack+c.KubeletRestarts != 1 {
		t.Errorf("counts %+v", c)
	}
	if e.report.Deletions[0].UID != string(first.UID) {
		t.Errorf("deletions %+v, the first Node's UID was %s", e.report.Deletions, first.UID)
	}
	s.member(e)
}

// phases is a cluster with four machines, each kept in another phase of its join.
type phases struct {
	*story
	late    string // the token that discover waits for
	running map[string]*running
	held    string // UID of the Node in hold
}

func everyPhase(t *testing.T) *phases {
	t.Helper()
	p := &phases{story: tellLive(t, external()), late: testbed.NewToken(), running: map[string]*running{}}
	// the hold must still last when the outage is over
	p.running["hold"] = p.start(p.node, p.args("--hold", "70s")...)
	verify, join, discover := p.newNode("verify", external()), p.newNode("join", external()), p.newNode("discover", external())
	p.must(p.running["hold"].Stderr.WaitFor(p.ctx, "holding it"))
	node, err := p.cp.GetNode(p.ctx, "w1")
	p.must(err)
	p.held = string(node.UID)

	p.must(p.cp.RefuseNodes(p.ctx)) // now there are credentials without a Node
	p.running["verify"] = p.start(verify, p.args("--hold", "5s")...)
	p.must(p.running["verify"].Stderr.WaitFor(p.ctx, "has no Node"))

	p.must(p.cp.SetCSRApproval(false)) // now kubeadm waits for the certificate
	p.running["join"] = p.start(join, p.args("--hold", "5s")...)
	p.awaitCSR()

	p.running["discover"] = p.start(discover, p.argsWithout("--token", p.late, "--hold", "5s")...)
	p.must(p.running["discover"].Stderr.WaitFor(p.ctx, "does not take our token"))
	return p
}

// awaitCSR returns when a kubelet waits for its certificate.
func (s *story) awaitCSR() {
	s.Helper()
	for {
		all, err := s.cp.CSRs(s.ctx)
		s.must(err)
		for _, csr := range all {
			if len(csr.Status.Conditions) == 0 {
				return
			}
		}
		s.sleep(200 * time.Millisecond)
	}
}

// letThemEnd takes every obstacle away and sees each machine become a member, by one join and no reset.
func (p *phases) letThemEnd() {
	p.Helper()
	p.must(p.cp.AllowNodes(p.ctx))
	p.must(p.cp.SetCSRApproval(true))
	_, err := p.cp.Token(p.ctx, testbed.TokenOptions{Value: p.late})
	p.must(err)
	for _, phase := range []string{"hold", "verify", "join", "discover"} {
		e := p.running[phase].end()
		if phase == "verify" {
			// Only the kubelet that the API server refused may have been restarted: its Node was not there for too long.
			e.is(0, "Joined", "Recovered").counts(1, 0, atMostOne, 0).says("has stayed for")
		} else {
			e.is(0, "Joined").counts(1, 0, 0, 0).says("has stayed for")
		}
		p.member(e)
		if phase == "hold" && e.report.Node.UID != p.held {
			p.Errorf("the Node in hold has another UID: %s, not %s", e.report.Node.UID, p.held)
		}
	}
}
