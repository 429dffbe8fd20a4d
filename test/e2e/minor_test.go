package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// These stories are about what Kubernetes' minors do each in its own way. `make matrix` tells them of all.

// inConfigMap changes what kubeadm has stored in the cluster, for every machine that joins from then on.
func (s *story) inConfigMap(name, pattern, text string) {
	s.Helper()
	maps := s.cp.Client().CoreV1().ConfigMaps("kube-system")
	m, err := maps.Get(s.ctx, name, meta.GetOptions{})
	s.must(err)
	found := false
	for key, was := range m.Data {
		m.Data[key] = regexp.MustCompile(pattern).ReplaceAllString(was, text)
		found = found || m.Data[key] != was
	}
	if !found {
		s.Fatalf("there is no %q in %s", pattern, name)
	}
	_, err = maps.Update(s.ctx, m, meta.UpdateOptions{})
	s.must(err)
}

// minorOf is the minor of a node's kubeadm: 34 of v1.34.4.
func (s *story) minorOf(n *testbed.Node) int {
	s.Helper()
	out, err := n.Run(s.ctx, "kubeadm", "version", "-o", "short")
	s.must(err)
	minor, err := strconv.Atoi(strings.Split(out, ".")[1])
	s.must(err)
	return minor
}

// It takes its own minor and the one before, a pre-release one more, and says so only after it has asked the cluster.
func TestKubeadmMinorsNewerThanTheClusterIsAPersonsJob(t *testing.T) {
	s := tellLive(t, ready())
	older := "v1." + strconv.Itoa(s.minorOf(s.node)-3) + ".0"
	s.inConfigMap("kubeadm-config", `kubernetesVersion: v\S+`, "kubernetesVersion: "+older)
	s.join(s.args("--timeout", "2m")...).is(3, "HostUnfit").counts(1, 0, 0, 0).within(30*time.Second).
		says(older, "install a kubelet and kubeadm")
}

// Since 1.35 a kubelet refuses cgroup v1 unless its configuration says that it may not; older ones can be told to.
func TestKubeletThatRefusesCgroupV1IsReportedWithItsWords(t *testing.T) {
	s := tellLive(t, ready())
	if testbed.PreflightArgs() == nil { // this host has cgroup v2
		s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
		return
	}
	refused := s.args("--attempt-timeout", "30s", "--timeout", "50s", "--hold", "5s")
	s.inConfigMap("kubelet-config", "failCgroupV1: false", "failCgroupV1: true")
	s.join(refused...).withoutItsKubelet(s.node, "cgroup v1").says("unified_cgroup_hierarchy")
}

// From containerd 2 on the runtime tells the kubelet its cgroup driver. An older one does not, and these machines have no
// systemd that would make the cgroups which the cluster's configuration wants.
func TestCgroupDriverIsTheRuntimesWhereItTells(t *testing.T) {
	s := tellLive(t, ready())
	s.inConfigMap("kubelet-config", "cgroupDriver: cgroupfs", "cgroupDriver: systemd")
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
	old := s.newNode("old", ready())
	s.must(old.UseDistributionsRuntime(s.ctx))
	s.start(old, s.args("--attempt-timeout", "30s", "--timeout", "50s", "--hold", "5s")...).end().withoutItsKubelet(old, "some missing paths")
}

// withoutItsKubelet is the end of a run whose kubelet does not start, with these words: with 3 where it said them twice to a
// start of ours, else when the time is up.
func (e ended) withoutItsKubelet(n *testbed.Node, words string) ended {
	e.s.Helper()
	if e.code == 3 {
		e.is(3, "HostUnfit").counts(some, anyNumber, anyNumber, 0).says(words)
	} else {
		e.is(7, "JoinFailed").counts(some, anyNumber, anyNumber, 0).says("waiting for the kubelet to start")
	}
	if !strings.Contains(n.Log("kubelet"), words) {
		e.s.Errorf("the kubelet of %s does not say %q", n.Name, words)
	}
	return e
}

func TestNodesOfTwoContainerdsJoinAndAreBackAfterADeletion(t *testing.T) {
	s := tellLive(t, readyExternal()) // with a taint that nobody lifts, so that the hold is not cut short
	old := s.newNode("old", readyExternal())
	s.must(old.UseDistributionsRuntime(s.ctx))
	for _, n := range []*testbed.Node{s.node, old} {
		p := s.start(n, s.args("--hold", "20s")...)
		_, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Ready)
		s.must(err)
		s.sleep(3 * time.Second)
		s.must(s.cp.DeleteNode(s.ctx, n.Hostname))
		s.member(p.end().is(0, "Recovered").returned(1).counts(1, 0, 0, 1))
	}
}

// Its kubeadm would go on without a runtime, and its kubelet does not make its CSINode anew.
func TestNodeThreeMinorsBehindWhoseRuntimeIsLateJoinsAndIsBackAsItWas(t *testing.T) {
	behind := readyExternal()
	behind.Kubernetes, behind.NoRuntime = testbed.OldNodes, true
	s := tellIn(t, withPodCIDRs(), behind).live()
	p := s.start(s.node, s.args("--hold", "20s")...)
	p.until("CRI: could not connect to the container runtime")
	s.sleep(5 * time.Second)
	s.must(s.node.StartUnit("containerd"))
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	was := s.mark("w1")
	s.eventually(10*time.Second, func() bool { return s.csiNode("w1").UID != "" }, "there is no CSINode")
	before := s.csiNode("w1")
	s.sleep(2 * time.Second) // nodejoin has seen it
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.asItWas(was, s.back(was))
	e := p.end().is(0, "Recovered").returned(1).counts(1, 0, 0, 1)
	s.member(e)
	s.eventually(5*time.Second, func() bool { now := s.csiNode("w1").UID; return now != "" && now != before.UID }, "there is no CSINode")
	if n := s.node.KubeadmCount("join"); n != 1 {
		t.Errorf("kubeadm join was run %d times", n)
	}
}
