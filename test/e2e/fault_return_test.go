package e2e

import (
	"slices"
	"testing"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The other half is the same deletion answered by a restart: what is looked at here does get lost then.
func TestReadyNodeThatIsDeletedIsBackAsItWasAndItsPodsAndDriversDoNotNotice(t *testing.T) {
	s := tellIn(t, withPodCIDRs(), readyExternal()).live()
	again := []string{"--token-file", "/root/deleted", "--hold", "10s"}

	t.Log("as it was")
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	pod := s.loaded(s.node, "w1")
	drivers := s.drive(s.node, "w1")
	was := s.mark("w1")
	was = s.change("w1", func(n *core.Node) { n.Spec.ProviderID, n.Labels[roleLabel] = "testbed://here/w1", "" })
	kubelet, ready := s.mainPID(s.node), s.views("w1", nil)
	p := s.start(s.node, s.argsWithout(again...)...)
	p.until("holding it")
	s.sleep(2 * time.Second)
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	deleted := time.Now()
	is := s.back(was)
	t.Logf("there again after %s", time.Since(deleted).Round(time.Millisecond))
	s.eventually(2*time.Second, func() bool { return s.csiNode("w1").UID != drivers.UID && s.csiNode("w1").UID != "" }, "there is no CSINode")
	e := p.end().is(0, "Recovered").returned(1).counts(0, 0, 0, 1).says("putting the Node back as it was", "kubectl label node w1 "+roleLabel+"=")
	s.member(e)
	pod.lives()
	s.renewed("w1", deleted)
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
	for _, x := range ready.after(was) {
		if !testbed.Ready(x.node) {
			t.Errorf("a client has seen the Node so: %s", x)
		}
	}
	if now := s.csiNode("w1"); !slices.Contains(driversOf(now), driverName) || len(now.OwnerReferences) != 1 || now.OwnerReferences[0].UID != is.UID {
		t.Errorf("CSINode %+v of %s, before %+v", now, is.UID, drivers)
	}
	if d := e.report.Deletions[0]; d.UID != string(was.UID) || !d.Cordoned || d.PodCIDR != was.Spec.PodCIDR || d.ProviderID != was.Spec.ProviderID || !slices.Contains(d.Taints, "dedicated=web:NoExecute") {
		t.Errorf("deletion %+v", d)
	}
	plain := was.DeepCopy()
	plain.Labels = without(was.Labels, roleLabel)
	s.asItWas(plain, s.nodeNamed("w1"))
	e.does("kubectl label node ")
	s.asItWas(was, s.nodeNamed("w1"))

	t.Log("by a restart, and not as it was")
	s.must(s.cp.DeleteNode(s.ctx, "w1")) // the range of addresses is to be another
	s.node = s.newNode("w2", readyExternal())
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	was, kubelet = s.mark("w2"), s.mainPID(s.node)
	p = s.start(s.node, s.argsWithout(append(again, "--restore=never")...)...)
	p.until("holding it")
	s.sleep(2 * time.Second)
	s.must(s.cp.DeleteNode(s.ctx, "w2"))
	s.member(p.end().is(0, "Recovered").counts(0, 0, 1, 1))
	if now := s.mainPID(s.node); now == kubelet {
		t.Errorf("the kubelet is still process %d", now)
	}
	s.eventually(20*time.Second, func() bool { return s.nodeNamed("w2").Spec.PodCIDR != "" }, "the Node gets no podCIDR")
	if all := lost(was, s.nodeNamed("w2")); len(all) != 5 { // the provider ID is empty
		t.Errorf("a restart loses %q", all)
	}
}

// With no network plugin the Node is not Ready, which is when the controller looks.
func TestNodeThatAmazonsControllerDeletesTwiceInARowIsAsItWasBothTimes(t *testing.T) {
	s := tellIn(t, withPodCIDRs(), external()).live()
	s.fault(38)
	cloud, err := s.cp.NewCloud()
	s.must(err)
	p := s.start(s.node, s.args("--until", "initialized", "--hold", "5s")...)
	_, err = s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	was := s.mark("w1")
	kubelet := s.mainPID(s.node)
	s.sleep(time.Second)
	s.must(cloud.Start(s.ctx))
	first := s.back(was)
	s.asItWas(was, first)
	second := s.back(first)
	s.asItWas(was, second)
	cloud.Know(s.node)
	e := p.end().is(0, "Recovered").returned(some).counts(1, 0, 0, some).says("was deleted", "putting the Node back as it was")
	if c := e.report.Counts; c.Deletions < 2 || c.NodesPutBack != c.Deletions {
		t.Errorf("counts %+v", c)
	}
	s.member(e)
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
	is := s.nodeNamed("w1")
	initialized := was.DeepCopy() // by now it has a provider ID, and one taint less
	initialized.Spec.ProviderID = is.Spec.ProviderID
	initialized.Spec.Taints = slices.DeleteFunc(initialized.Spec.Taints, func(t core.Taint) bool { return t.Key == "node.cloudprovider.kubernetes.io/uninitialized" })
	s.asItWas(initialized, is)
	if is.Spec.ProviderID == "" {
		t.Error("it has no provider ID")
	}
}
