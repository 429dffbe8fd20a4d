package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestPinOfAnotherClusterStopsBeforeKubeadmAndToken(t *testing.T) {
	s := tellLive(t, ready())
	stranger, err := s.tb.NewStranger(testbed.StrangerOptions{})
	s.must(err)
	stranger.Sign(s.token)
	args := append([]string{"nodejoin", "join", stranger.Endpoint(), "--token", s.token, "--discovery-token-ca-cert-hash", s.cp.CAHash()}, testbed.PreflightArgs()...)
	s.join(args...).is(4, "WrongCluster").counts(0, 0, 0, 0).within(5 * time.Second)
	if len(stranger.Requests()) == 0 || stranger.Saw(s.token) || stranger.Saw(s.token[7:]) {
		t.Errorf("the stranger saw %+v", stranger.Requests())
	}
	if calls, err := s.node.KubeadmCalls(); err != nil || s.node.KubeadmCount("join") != 0 {
		t.Errorf("kubeadm calls %v, %v", calls, err)
	}
}

func TestUnknownTokenIsRejected(t *testing.T) {
	s := tellLive(t, ready())
	s.token = testbed.NewToken()
	s.join(s.args()...).is(5, "TokenRejected").counts(0, 0, 0, 0).within(90 * time.Second)
}

// An API server ends an anonymous HTTP/2 connection after each request: a node that waits by HTTP/2 would shake hands with
// each probe, which costs more than all else that it asks for.
func TestNodeThatWaitsForItsTokenKeepsItsConnection(t *testing.T) {
	s := tellLive(t, ready())
	s.token = testbed.NewToken()
	before, _, err := s.node.Connections(s.ctx)
	s.must(err)
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "does not take our token"))
	s.sleep(8 * time.Second) // some forty probes
	after, _, err := s.node.Connections(s.ctx)
	s.must(err)
	if made := after - before; made != 2 {
		t.Errorf("%d connections in 8 s, wanted one for probes and one to show the token, twice", made)
	}
	_, err = s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}

func TestTokenCreatedFifteenSecondsLateIsWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	s.token = testbed.NewToken()
	p := s.start(s.node, s.args()...)
	s.sleep(15 * time.Second)
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}

func TestRewrittenTokenFileIsReadAgain(t *testing.T) {
	s := tellLive(t, ready())
	good := s.token
	s.source(s.node, "/root/token", testbed.NewToken()+"\n", 0o600)
	p := s.start(s.node, s.argsWithout("--token-file", "/root/token")...)
	s.must(p.Stderr.WaitFor(s.ctx, "does not take our token"))
	s.source(s.node, "/root/token", good+"\n", 0o600)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}

func TestTokenFromCommandAndFromStandardInput(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/secret", s.token+"\n", 0o600)
	s.member(s.join(s.argsWithout("--token-command", "echo noise >&2; cat /root/secret")...).is(0, "Joined"))

	other := s.newNode("w2", ready())
	r := s.startAs(other, testbed.Command{Args: s.argsWithout("--token-file", "-"), Stdin: strings.NewReader(s.token + "\n")})
	s.member(r.end().is(0, "Joined").counts(1, 0, 0, 0))
}

func TestNothingListensUntilTheDeadline(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	s.join(s.args("--timeout", "20s", "--hold", "5s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says("connection refused").within(30 * time.Second)
}

func TestSIGTERMWhileKubeadmRunsLeavesNothingBehind(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/token", s.token, 0o600)
	// kubeadm waits for a kubelet that never comes up
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Command: []string{"sleep", "1000"}}))
	p := s.start(s.node, s.argsWithout("--token-file", "/root/token")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.sleep(3 * time.Second)
	if procs, err := s.node.Running("kubeadm"); err != nil || len(procs) == 0 {
		t.Fatalf("kubeadm does not run: %v", err)
	}
	asked := time.Now()
	s.must(p.Signal(syscall.SIGTERM))
	p.end().is(143, "Interrupted")
	if d := time.Since(asked); d > 10*time.Second {
		t.Errorf("took %s to stop", d)
	}
	if procs, err := s.node.Running("kubeadm"); err != nil || len(procs) != 0 {
		t.Errorf("left behind: %v %v", procs, err)
	}
}
