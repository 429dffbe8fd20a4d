package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

const preciousPod = `apiVersion: v1
kind: Pod
metadata: {name: precious, namespace: default}
spec:
  hostNetwork: true
  hostPID: true
  containers: [{name: precious, image: "` + testbed.PauseImage + `", imagePullPolicy: Never, securityContext: {privileged: true}}]
`

const preciousManifest = "/etc/kubernetes/manifests/precious.yaml"

// withoutNode is a member with a static pod, whose Node an administrator has deleted after something was done to it.
func (s *story) withoutNode(n *testbed.Node, fault func(*testbed.Node) error) joined {
	s.Helper()
	s.must(n.ImportPause(s.ctx))
	s.must(n.WriteFile(preciousManifest, preciousPod, 0o600))
	s.start(n, s.args()...).end().is(0, "Joined")
	s.eventually(time.Minute, func() bool { return len(s.pidsOn(n, "pause")) == 2 }, "the static pod does not run on "+n.Name)
	was, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Ready)
	s.must(err)
	s.must(n.StopUnit("kubelet"))
	s.must(fault(n))
	s.must(s.cp.DeleteNode(s.ctx, n.Hostname))
	return joined{load{s, n, s.pidsOn(n, "pause")}, was}
}

// anew sees that a new Node has come in place, and that nothing on the machine was lost.
func (j joined) anew(e ended) {
	s := j.s
	s.Helper()
	j.lives()
	s.member(e)
	if e.report.Node.Name != j.was.Name || e.report.Node.UID == string(j.was.UID) {
		s.Errorf("Node %s has UID %s, as before it was deleted", e.report.Node.Name, e.report.Node.UID)
	}
	if raw, err := j.node.ReadFile(preciousManifest); err != nil || string(raw) != preciousPod {
		s.Errorf("the manifest of the static pod is %q, %v", raw, err)
	}
	s.tidy(j.node)
	_, err := s.cp.WaitNode(s.ctx, j.node.Hostname, testbed.Ready)
	s.must(err)
	j.lives()
}

// What is left tells which cluster the machine was in. A reset would end the pods and delete their manifests.
func TestMemberWithoutANodeWhoseKubeletConfDoesNotLoadBootstrapsAgainAndItsStaticPodsLive(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(31)
	conf := func(change func(whole string) string) func(n *testbed.Node) error {
		return func(n *testbed.Node) error {
			raw, err := n.ReadFile(kubeletConf)
			if err != nil {
				return err
			}
			return n.WriteFile(kubeletConf, change(string(raw)), 0o600)
		}
	}
	for name, fault := range map[string]func(n *testbed.Node) error{
		"torn":  conf(func(whole string) string { return whole[:len(whole)/2] }),
		"empty": conf(func(string) string { return "" }),
		"bare": func(n *testbed.Node) error { // its certificate is missing, and the kubelet ends again and again
			_, err := n.Run(s.ctx, "sh", "-c", "rm /var/lib/kubelet/pki/*")
			if err != nil {
				return err
			}
			return n.StartUnit("kubelet")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.node = s.newNode("w-"+name, ready())
			defer s.node.PowerOff()
			j := s.withoutNode(s.node, fault)
			j.anew(s.join(s.args()...).is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).
				says("having the kubelet bootstrap again", "are gone, and the cluster, which is this machine's own, has no Node").within(50 * time.Second))
		})
	}
}

// A machine that was off for a year, and whose Node somebody has deleted meanwhile.
func TestMemberWithoutANodeWhoseCertificateHasExpiredBootstrapsAgainAndItsStaticPodsLive(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(31)
	crashes := s.newNode("w-crashes", ready())
	stopped := s.withoutNode(s.node, func(n *testbed.Node) error { return s.cp.Outdate(n, false) })
	crashing := s.withoutNode(crashes, func(n *testbed.Node) error {
		if err := s.cp.Outdate(n, true); err != nil {
			return err
		}
		return n.StartUnit("kubelet")
	})
	for _, j := range []joined{stopped, crashing} {
		j.anew(s.start(j.node, s.args()...).end().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).
			says("having the kubelet bootstrap again", "which have expired, and there is no Node of it").within(20 * time.Second))
	}

	t.Log("nothing tells that the cluster was its own")
	other := s.newNode("w-other", ready())
	second, err := s.tb.NewStranger(testbed.StrangerOptions{})
	s.must(err)
	lost := s.withoutNode(other, func(n *testbed.Node) error {
		if err := os.Remove(n.Path(kubeletConf)); err != nil {
			return err
		}
		if err := n.WriteFile(kubeletConf, "", 0o600); err != nil {
			return err
		}
		return n.WriteFile("/etc/kubernetes/pki/ca.crt", string(second.CA()), 0o644)
	})
	s.start(other, s.args("--timeout", "20s", "--hold", "5s")...).end().is(10, "Refused").counts(0, 0, 0, 0).says(preciousManifest)
	lost.lives()
}
