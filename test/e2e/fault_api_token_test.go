package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// holdBack makes kubeadm join wait for the file /root/go, so that something can happen between discover and join.
const holdBack = `#!/bin/sh
[ "$1" != join ] || while [ ! -e /root/go ]; do sleep 0.1; done
exec ` + testbed.RealKubeadm + ` "$@"
`

// The token is good when nodejoin looks, and expires before kubeadm does.
func TestTokenThatExpiresBetweenDiscoverAndJoin(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(19)
	fixed := s.newNode("w2", ready())
	s.source(s.node, "/root/token", s.token, 0o600)
	var all []*running
	for _, r := range []struct {
		node *testbed.Node
		args []string
	}{
		{s.node, s.argsWithout("--token-file", "/root/token", "--attempt-timeout", "40s")},
		{fixed, s.args("--attempt-timeout", "40s")},
	} {
		s.must(r.node.WrapKubeadm(holdBack))
		p := s.start(r.node, r.args...)
		s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
		all = append(all, p)
	}
	s.must(s.cp.ExpireToken(s.ctx, s.token))
	s.awaitUnsigned(s.token)
	s.sleep(11 * time.Second) // an API server takes a token that it has just seen for 10 s more
	for _, p := range all {
		s.must(p.node.WriteFile("/root/go", "", 0o600))
	}
	s.must(all[0].Stderr.WaitFor(s.ctx, "does not take our token"))
	successor, err := s.cp.ReadyToken(s.ctx)
	s.must(err)
	s.source(s.node, "/root/token", successor, 0o600)
	s.member(all[0].end().is(0, "Joined").counts(2, 0, 0, 0))

	t.Log("a token that was typed has no successor")
	all[1].end().is(5, "TokenRejected").counts(1, 0, 0, 0).says("expired", "kubeadm token create").within(3 * time.Minute)
}

// awaitUnsigned returns when the token is in force no more: the controllers have taken its signature away.
func (s *story) awaitUnsigned(token string) {
	s.Helper()
	for {
		out, err := s.cp.Kubectl(s.ctx, "get", "configmap", "-n", "kube-public", "cluster-info", "-o", "yaml")
		s.must(err)
		if !strings.Contains(out, "jws-kubeconfig-"+token[:6]) {
			return
		}
		s.sleep(200 * time.Millisecond)
	}
}

// The API server takes the token, and nothing has signed cluster-info with it: the signer may be late, so it is
// waited for; if it never comes, that is what the end says, not that the token is wrong.
func TestTokenThatIsSignedLateAndOneThatNeverIs(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(20)
	s.must(s.cp.Pause(testbed.ControllerManager))
	var err error
	s.token, err = s.cp.Token(s.ctx, testbed.TokenOptions{})
	s.must(err)
	s.join(s.args("--timeout", "15s", "--hold", "1s")...).is(5, "TokenRejected").counts(0, 0, 0, 0).
		says("cluster-info is not signed for our token yet", "bootstrapsigner")
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "not signed for our token yet"))
	s.sleep(12 * time.Second)
	s.must(s.cp.Resume(testbed.ControllerManager))
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))

	t.Log("a token that is not for signing")
	other := s.newNode("w2", ready())
	s.token, err = s.cp.Token(s.ctx, testbed.TokenOptions{NoSigning: true})
	s.must(err)
	s.start(other, s.args()...).end().is(5, "TokenRejected").counts(0, 0, 0, 0).within(100*time.Second).
		says("cluster-info is not signed for our token yet", "kubeadm token create --usages signing,authentication")
}

// kubeadm prints a malformed token in full; it never gets to see one. What is almost a token is a secret too.
func TestMalformedTokenIsRefusedUnseenAndNeverEchoed(t *testing.T) {
	s := tell(t, ready())
	s.fault(21)
	s.token = testbed.NewToken()
	id, secret := s.token[:6], s.token[7:]
	for _, bad := range []string{id + "." + secret[:15], id + "." + secret + "x", id + ":" + secret, strings.ToUpper(s.token), "Bearer " + s.token, `"` + s.token + `"`, id + ".\n" + secret} {
		s.source(s.node, "/root/token", bad, 0o600)
		for _, source := range [][]string{
			{"--token", bad}, {"--tls-bootstrap-token", bad, "--discovery-token", s.token},
			{"--token-file", "/root/token"}, {"--token-command", "cat /root/token"},
		} {
			t.Logf("%s %q", source[0], bad)
			e := s.join(s.argsWithout(append(source, "--timeout", "2s", "--hold", "1s")...)...)
			if source[0] == "--token-file" || source[0] == "--token-command" { // it may have a good one yet
				e = e.is(5, "TokenRejected")
			} else {
				e = e.is(2, "Usage")
			}
			e.counts(0, 0, 0, 0).says(source[0])
			if said := strings.ToLower(e.stdout + e.stderr); strings.Contains(said, secret[:15]) {
				t.Errorf("it is echoed:\n%s", said)
			}
		}
	}
	if n := s.node.KubeadmCount("join"); n != 0 {
		t.Errorf("kubeadm join ran %d times", n)
	}
}

// The cluster is rebuilt, with another CA, while the first attempt fails.
func TestCARotatedBetweenAttemptsStopsWhoPinnedTheOldOneAlone(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(22)
	unpinned := s.newNode("w2", ready())
	args := append([]string{"nodejoin", "join", s.cp.Endpoint(), "--token", s.token, "--discovery-token-unsafe-skip-ca-verification"}, testbed.PreflightArgs()...)
	pinnedRun, unpinnedRun := s.args("--attempt-timeout", "40s"), append(args, "--attempt-timeout", "40s")
	var all []*running
	for n, args := range map[*testbed.Node][]string{s.node: pinnedRun, unpinned: unpinnedRun} {
		s.must(n.WrapKubeadm(holdBack))
		p := s.start(n, args...)
		s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
		all = append(all, p)
	}
	s.must(s.cp.RotateCA(s.ctx))
	s.must(s.cp.WaitSigned(s.ctx, s.token))
	for _, p := range all {
		// the attempt under way fails as a crash of kubeadm would let it; the next is kubeadm itself
		procs, err := p.node.Running("sh")
		s.must(err)
		s.must(p.node.WrapKubeadm(""))
		for _, proc := range procs {
			s.must(proc.Signal(9))
		}
	}
	for _, p := range all {
		if p.node == s.node {
			p.end().is(4, "WrongCluster").counts(1, 0, 0, 0).says("not the cluster that was pinned", s.cp.CAHash()).within(2 * time.Minute)
		} else {
			s.member(p.end().is(0, "Joined").counts(2, 0, 0, 0))
		}
	}
	if n := s.node.KubeadmCount("join"); n != 1 {
		t.Errorf("kubeadm join ran %d times against a cluster that is not the pinned one", n)
	}
}

// Nobody approves the certificate request: that is named, and a reset, which would throw it away, never comes.
func TestPendingCertificateRequestIsWaitedForAndNamed(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(23)
	s.must(s.cp.SetCSRApproval(false))
	p := s.start(s.node, s.args("--attempt-timeout", "30s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "is pending"))
	all, err := s.cp.CSRs(s.ctx)
	s.must(err)
	s.sleep(5 * time.Second)
	_, err = s.cp.ApproveCSRs(s.ctx)
	s.must(err)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0).says("certificate request "+all[0].Name, "kubectl certificate approve "+all[0].Name))
}

// Somebody denies every request. The kubelet does not take no for an answer: it asks again after each denial.
func TestDeniedCertificateRequestsFailTheRunAndAreNamed(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(23)
	s.must(s.cp.SetCSRApproval(false))
	p := s.start(s.node, s.args("--attempt-timeout", "30s", "--timeout", "60s", "--hold", "5s")...)
	for ended := false; !ended; {
		select {
		case <-p.Done():
			ended = true
		case <-time.After(time.Second):
			_, err := s.cp.DenyCSRs(s.ctx)
			s.must(err)
		}
	}
	e := p.end().is(7, "JoinFailed").counts(some, anyNumber, anyNumber, 0).says("certificate request csr-", "was denied: decided by the testbed")
	if last := e.report.Message + e.report.Hint; !strings.Contains(last, "certificate request csr-") || !strings.Contains(last, "was denied: decided by the testbed") {
		t.Errorf("the report does not end with the denial: %s", last)
	}
}
