package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestCleanHostJoinsALiveCluster(t *testing.T) {
	s := tellLive(t, ready())
	e := s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)

	t.Log("again: a member is not touched, and needs no token")
	before, err := s.node.KubeadmCalls()
	s.must(err)
	e = s.join(s.argsWithout("--token-file", "/root/deleted")...).is(0, "AlreadyJoined").counts(0, 0, 0, 0).within(2 * time.Second)
	s.member(e)
	calls, err := s.node.KubeadmCalls()
	s.must(err)
	if len(calls) != len(before) {
		t.Errorf("kubeadm was called: %v", calls[len(before):])
	}
}

func TestControlPlaneThatStartsTwentySecondsLateIsWaitedFor(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	p := s.start(s.node, s.args()...)
	s.sleep(20 * time.Second)
	s.must(s.cp.Start(s.ctx))
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	e := p.end().is(0, "Joined").counts(1, 0, 0, 0)
	if e.report.Counts.Attempts != 1 {
		t.Errorf("%d attempts", e.report.Counts.Attempts)
	}
	s.member(e)
}

// They are kubeadm's own, and the machine never got to a certificate: nothing has to be reset.
func TestLeftoversOfADeadAttemptAreTidiedAway(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/etc/kubernetes/bootstrap-kubelet.conf", "apiVersion: v1\nkind: Config\n", 0o600))
	s.must(s.node.WriteFile("/etc/kubernetes/pki/ca.crt", string(s.cp.CA()), 0o644))
	s.must(s.node.WriteFile("/etc/kubernetes/pki/corp.crt", "the company's own\n", 0o644))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
	if raw, err := s.node.ReadFile("/etc/kubernetes/pki/corp.crt"); err != nil || string(raw) != "the company's own\n" {
		t.Errorf("corp.crt is %q, %v", raw, err)
	}
}

// kubeadm kept refusing with `a Node with name "n1" and status "Ready" already exists`: ten failed joins for the loop of old.
func TestOwnStaleNodeIsWaitedOutAfterAReset(t *testing.T) {
	s := tellLive(t, ready())
	s.join(s.args()...).is(0, "Joined")
	out, err := s.node.Run(s.ctx, "kubeadm", "reset", "-f", "--cri-socket", testbed.CRISocket)
	if err != nil {
		t.Fatal(out, err)
	}
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says("still Ready"))
}

func TestUntilReadyNeedsANetworkPlugin(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	s.join(s.args("--until", "ready", "--timeout", "40s", "--hold", "10s")...).is(7, "JoinFailed").counts(1, 0, 0, 0).
		says("network not ready", "cni")
	p := s.start(s.node, s.args("--until", "ready", "--hold", "10s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "not Ready"))
	s.must(s.node.AddCNI())
	s.member(p.end().is(0, "AlreadyJoined"))
}

func TestTaintThatNoControllerLifts(t *testing.T) {
	s := tellLive(t, external())
	s.must(s.node.AddCNI())
	s.join(s.args("--hold", "15s")...).is(0, "Joined").says("no cloud controller has accepted")
	s.join(s.args("--until", "initialized", "--timeout", "25s", "--hold", "15s")...).is(7, "JoinFailed").says("no cloud controller has accepted")
}

func TestJoinCommandOfKubeadmWorksVerbatim(t *testing.T) {
	s := tellLive(t, ready())
	out, err := s.cp.Run(s.ctx, "kubeadm", "token", "create", testbed.NewToken(), "--print-join-command", "--kubeconfig", "/etc/kubernetes/admin.conf")
	if err != nil {
		t.Fatal(out, err)
	}
	i := strings.Index(out, "kubeadm join")
	line := strings.TrimSpace(strings.Split(out[i:], "\n")[0])
	line = strings.Replace(line, "kubeadm", "nodejoin", 1) + " " + strings.Join(testbed.PreflightArgs(), " ")
	s.token = strings.Fields(line)[slices.Index(strings.Fields(line), "--token")+1]
	s.member(s.join("sh", "-c", "exec "+line).is(0, "Joined").counts(1, 0, 0, 0))
}

func TestUsersOwnConfigIsHonoured(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/join.yaml", `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: `+s.cp.Endpoint()+`
    token: `+s.token+`
    caCertHashes: ["`+s.cp.CAHash()+`"]
nodeRegistration:
  name: Named-By-File
  kubeletExtraArgs: [{name: node-labels, value: from=file}]
  ignorePreflightErrors: [SystemVerification]
`, 0o600)
	e := s.join("nodejoin", "join", "--config", "/root/join.yaml").is(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)
	n, err := s.cp.GetNode(s.ctx, "named-by-file")
	s.must(err)
	if n.Labels["from"] != "file" {
		t.Errorf("labels %v", n.Labels)
	}
}

func TestDiscoveryFileWithCredentialsNeedsNoToken(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/root/discovery.conf", string(s.cp.Kubeconfig()), 0o600))
	s.member(s.join(slices.Concat([]string{"nodejoin", "join", "--discovery-file", "/root/discovery.conf"}, testbed.PreflightArgs())...).
		is(0, "Joined").counts(1, 0, 0, 0))
}

func TestCheckTellsAMemberFromAnyOther(t *testing.T) {
	s := tellLive(t, ready())
	s.join("nodejoin", "check").is(20, "NotMember").says("has not joined")
	s.join(s.args("--status-file=")...).is(0, "")
	s.join("nodejoin", "check").is(0, "")
	s.must(s.cp.Stop())
	s.join("nodejoin", "check", "--timeout", "5s").is(21, "Unknown")
}
