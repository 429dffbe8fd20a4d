package e2e

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

const (
	kubeletConf   = "/etc/kubernetes/kubelet.conf"
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
	journal       = "/var/lib/nodejoin/journal"
)

// killedOnce ends kubeadm join with the word of a power failure as soon as it has written this file; another one goes well.
func killedOnce(path string) string {
	return instead("join", "[ -e /srv/killed ] && exec "+testbed.RealKubeadm+` "$@"
`+testbed.RealKubeadm+` "$@" &
child=$!
while [ ! -s `+path+` ]; do kill -0 $child || exit 1; done
kill -9 $child
: >/srv/killed
exec sleep 1000`)
}

// kill ends nodejoin as nobody can resist, once that file is there, and returns when its children are gone.
func (s *story) kill(p *running, path string) {
	s.Helper()
	s.eventually(30*time.Second, func() bool { return p.node.Exists(path) }, path+" is not written")
	s.must(p.Signal(syscall.SIGKILL))
	p.Wait()
	there := *s
	there.node = p.node
	s.eventually(10*time.Second, func() bool { return len(there.alive("kubeadm", "kubeadm-script", "sleep")) == 0 }, "kubeadm is left behind")
	s.sleep(time.Second) // the canary is to see what a killed one has left
}

// The first join got as far as the cluster's CA. The next one is of another cluster, whose CA is another.
func TestWhatAKilledJoinLeftIsTidiedAwayAndNothingElse(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(35)
	second, token := s.secondCluster(testbed.ControlPlaneOptions{})
	const ca, corp, pod = "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/corp.crt", "/etc/kubernetes/manifests/proxy.yaml"
	other := slices.Concat([]string{"nodejoin", "join", second.Endpoint(), "--token", token, "--discovery-token-ca-cert-hash", second.CAHash(), "--hold", "5s"}, testbed.PreflightArgs())
	killed := func(name string) *testbed.Node {
		n := s.newNode(name, ready())
		s.must(n.WriteFile(pod, staticPod, 0o600))
		s.must(n.WriteFile(corp, "precious\n", 0o644))
		s.must(n.WrapKubeadm(killedOnce(ca)))
		s.kill(s.start(n, s.args()...), "/srv/killed")
		return n
	}
	keeps := func(n *testbed.Node) {
		for path, content := range map[string]string{pod: staticPod, corp: "precious\n"} {
			if raw, err := n.ReadFile(path); err != nil || string(raw) != content {
				t.Errorf("%s on %s is %q, %v", path, n.Name, raw, err)
			}
		}
	}

	t.Log("as the killed join has left it")
	n := killed("tidied")
	if info, err := os.Stat(n.Path(journal)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the journal: %v, %v", info, err)
	}
	s.start(n, other...).end().is(0, "Joined").counts(1, 0, 0, 0).says("taking away", ca)
	keeps(n)
	if raw, err := n.ReadFile(ca); err != nil || string(raw) != string(second.CA()) {
		t.Errorf("ca.crt is %s, %v", raw, err)
	}
	if n.Exists(journal) {
		t.Error("the journal is left, and lists what is a member's now")
	}

	t.Log("changed by hand since, and the token taken away")
	n = killed("changed")
	s.must(os.Remove(n.Path(bootstrapConf)))
	raw, err := n.ReadFile(ca)
	s.must(err)
	s.must(n.WriteFile(ca, "# ours\n"+string(raw), 0o644))
	was := s.traceOf(n, "/etc/kubernetes", "/var/lib/kubelet")
	s.start(n, append(other, "--timeout", "30s")...).end().is(10, "Refused").counts(0, 0, 0, 0).says(pod, corp)
	s.untouched(n, was)

	t.Log("with a journal that others could have written")
	n = killed("doubtful")
	s.must(os.Remove(n.Path(bootstrapConf)))
	s.must(os.Chmod(n.Path(journal), 0o666))
	was = s.traceOf(n, "/etc/kubernetes", "/var/lib/kubelet")
	s.start(n, append(other, "--timeout", "30s")...).end().is(10, "Refused").counts(0, 0, 0, 0).says(pod, "proves nothing")
	s.untouched(n, was)
}

// The kubelet writes kubelet.conf as soon as it asks for a certificate, and none has come when nodejoin is killed.
func TestJoinThatWasKilledBeforeItsCertificateCameNeedsNoReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(35)
	s.must(s.cp.SetCSRApproval(false))
	s.kill(s.start(s.node, s.args()...), kubeletConf)
	s.must(s.node.StopUnit("kubelet")) // its key goes with it, and what it asked for is of no use
	copied, err := s.node.ReadFile(kubeletConf)
	s.must(err)
	listed, err := s.node.ReadFile(journal)
	s.must(err)
	s.must(s.cp.SetCSRApproval(true))
	e := s.join(s.args("--hold", "5s")...)
	s.member(e.is(0, "Joined").counts(1, 0, 0, 0).says("taking away", kubeletConf))

	t.Log("on another machine the journal proves nothing")
	n := s.newNode("copy", ready())
	s.must(n.StopUnit("kubelet"))
	s.must(n.WriteFile(kubeletConf, string(copied), 0o600))
	s.must(n.WriteFile(journal, string(listed), 0o600))
	s.start(n, s.args("--hold", "5s", "--reset=never")...).end().is(10, "Refused").counts(0, 0, 0, 0).says("of another machine", "proves nothing", "--reset=never")
	s.member(s.start(n, s.args("--hold", "5s")...).end().is(0, "Joined").counts(1, 1, 0, 0).says("of another machine"))
}

// kubeadm reset leaves a CA that the user's configuration put elsewhere.
func TestCAElsewhereIsTidiedAwayOnlyIfTheJournalListsIt(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(35)
	second, token := s.secondCluster(testbed.ControlPlaneOptions{})
	const ca = "/srv/trust/ca.crt"
	const patch = "authentication:\n  x509:\n    clientCAFile: " + ca + "\n"
	configure := func(n *testbed.Node, cp *testbed.ControlPlane, token string) []string {
		config := `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
caCertPath: ` + ca + `
discovery:
  bootstrapToken:
    apiServerEndpoint: ` + cp.Endpoint() + `
    caCertHashes: ["` + cp.CAHash() + `"]
patches:
  directory: /srv/patches
`
		s.must(n.WriteFile("/srv/patches/kubeletconfiguration+merge.yaml", patch, 0o644))
		s.must(n.WriteFile("/root/join.yaml", config, 0o600))
		s.source(n, "/root/token", token, 0o600)
		return slices.Concat([]string{"nodejoin", "join", "--config", "/root/join.yaml", "--token-file", "/root/token", "--hold", "5s"}, testbed.PreflightArgs())
	}
	for name, journaled := range map[string]bool{"listed": true, "not-listed": false} {
		t.Log(name)
		n := s.newNode(name, ready())
		s.must(n.WrapKubeadm(killedOnce(ca)))
		s.kill(s.start(n, configure(n, s.cp, s.token)...), "/srv/killed")
		if journaled {
			s.start(n, configure(n, second, token)...).end().is(0, "Joined").counts(1, 0, 0, 0).says("taking away", ca)
			continue
		}
		s.must(os.Remove(n.Path(journal)))
		e := s.start(n, append(configure(n, second, token), "--timeout", "20s")...).end().is(7, "JoinFailed").counts(anyNumber, 0, 0, 0).says("FileAvailable-" + strings.ReplaceAll(ca, "/", "-"))
		if raw, err := n.ReadFile(ca); err != nil || string(raw) != string(s.cp.CA()) {
			t.Errorf("%s is %q, %v (%s)", ca, raw, err, e.report.Message)
		}
	}
}
