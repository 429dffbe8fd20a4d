package e2e

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	event "k8s.io/apimachinery/pkg/watch"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A policy that looks at what a Node brings along refuses it as it was, and lets a kubelet register its own.
func TestNodeThatMayNotComeAsItWasComesAsANewOneWithAWarning(t *testing.T) {
	s := tellIn(t, withPodCIDRs(), readyExternal()).live()
	s.fault(57)
	p := s.start(s.node, s.args("--hold", "20s")...)
	p.until("holding it")
	was := s.mark("w1")
	s.must(s.cp.RefuseAnnotatedNodes(s.ctx, "example.com/note"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	e := p.end().is(0, "Recovered").counts(1, 0, 1, 1).says("cannot be put back as it was", testbed.RefusalMessage)
	s.member(e)
	if len(e.report.ownWarnings()) != 2 { // and that no cloud controller has accepted it
		t.Errorf("warnings %q", e.report.Warnings)
	}
	if is := s.nodeNamed("w1"); is.Spec.Unschedulable || is.Annotations["example.com/note"] != "" {
		t.Errorf("it is not a new one: lost is %q", lost(was, is))
	}
}

// What somebody makes at once is theirs, and its kubelet moves in, as it does into any Node with its name.
func TestNodeThatSomebodyElseMakesAtOnceIsNotPutOver(t *testing.T) {
	s := tellLive(t, readyExternal())
	p := s.start(s.node, s.args("--hold", "10s")...)
	p.until("holding it")
	s.sleep(2 * time.Second)
	was := s.nodeNamed("w1")
	made := make(chan *core.Node)
	go func() {
		defer close(made)
		for s.ctx.Err() == nil { // from before the deletion on, or nodejoin is the first
			by := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "w1", Labels: map[string]string{"made": "by-hand"}}}
			if n, err := s.cp.Client().CoreV1().Nodes().Create(s.ctx, by, meta.CreateOptions{}); err == nil {
				made <- n
				return
			}
		}
	}()
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	byHand := <-made
	e := p.end().is(0, "Recovered").counts(1, 0, 0, 1).says("was deleted")
	s.member(e)
	if e.report.Node.UID != string(byHand.UID) || s.nodeNamed("w1").Labels["made"] != "by-hand" {
		t.Errorf("the Node has UID %s, made by hand was %s, deleted %s", e.report.Node.UID, byHand.UID, was.UID)
	}
}

// Whoever deletes does so again as soon as it sees the Node: before it has its CSINode, and before its kubelet has taken it up.
func TestNodeThatIsDeletedAgainTheMomentItIsBackIsBackAgain(t *testing.T) {
	s := tellIn(t, withPodCIDRs(), readyExternal()).live()
	s.fault(38)
	p := s.start(s.node, s.args("--hold", "10s")...)
	p.until("holding it")
	was := s.mark("w1")
	s.eventually(10*time.Second, func() bool { return s.csiNode("w1").UID != "" }, "the kubelet makes no CSINode")
	s.sleep(4 * time.Second) // enough to be seen
	kubelet, strikes := s.mainPID(s.node), 0
	s.views("w1", func(kind event.EventType, n *core.Node) {
		if kind == event.Added && n.UID != was.UID && strikes < 2 {
			strikes++
			if err := s.cp.DeleteNode(s.ctx, "w1"); err != nil {
				t.Error(err)
			}
		}
	})
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.member(p.end().is(0, "Recovered").returned(3).counts(1, 0, 0, 3).says("was deleted", "putting the Node back as it was"))
	is := s.nodeNamed("w1")
	s.asItWas(was, is)
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
	if owners := s.csiNode("w1").OwnerReferences; len(owners) != 1 || owners[0].UID != is.UID {
		t.Errorf("CSINode of %+v, the Node is %s", owners, is.UID)
	}
}

// A kubelet makes its CSINode when it starts, and not again: nobody has seen the one that went with the first Node.
func TestNodeThatIsDeletedAtItsFirstAppearanceHasACSINodeInTheEnd(t *testing.T) {
	s := tellLive(t, readyExternal())
	s.fault(38)
	var once sync.Once
	s.views("w1", func(event.EventType, *core.Node) {
		once.Do(func() {
			for s.csiNode("w1").UID == "" && s.ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
			}
			if err := s.cp.DeleteNode(s.ctx, "w1"); err != nil {
				t.Error(err)
			}
		})
	})
	e := s.join(s.args("--hold", "15s")...).is(0, "Recovered").returned(1).counts(1, 0, atMostOne, 1).says("was deleted")
	s.member(e)
	if owners := s.csiNode("w1").OwnerReferences; len(owners) != 1 || string(owners[0].UID) != e.report.Node.UID {
		t.Errorf("CSINode of %+v, the Node is %s", owners, e.report.Node.UID)
	}
}

// The next run, which has not seen that, is told of it; somebody who wants the Node back says so.
func TestNodeThatItsOwnerHasMarkedToGoIsNotBroughtBackByTheRunThatSawIt(t *testing.T) {
	s := tellLive(t, readyExternal())
	s.fault(39)
	taint := func(key string) func(*core.Node) {
		return func(n *core.Node) {
			n.Spec.Taints = append(n.Spec.Taints, core.Taint{Key: key, Effect: core.TaintEffectNoSchedule})
		}
	}
	reason, back := "", []string(nil)
	restarts, joins := 0, 1
	for _, c := range []struct {
		mark string
		put  func(*core.Node)
	}{
		{"taint karpenter.sh/disrupted", taint("karpenter.sh/disrupted")},
		{"annotation nodejoin.io/leave", func(n *core.Node) { n.Annotations["nodejoin.io/leave"] = "" }},
		{"taint ToBeDeletedByClusterAutoscaler", taint("ToBeDeletedByClusterAutoscaler")},
	} {
		t.Logf("%s; last run: %s", c.mark, reason)
		p := s.start(s.node, append(s.args("--hold", "30s"), back...)...)
		p.until("holding it")
		s.sleep(3 * time.Second) // a kubelet that was just started is to be held to have taken up its Node
		was, kubelet := s.change("w1", c.put), s.mainPID(s.node)
		s.must(s.cp.DeleteNode(s.ctx, "w1"))
		e := p.end().is(8, "KeepsBeingDeleted").counts(joins, 0, restarts, 1).says(c.mark, "--bring-back").within(30 * time.Second)
		reason, joins, restarts, back = e.report.Message, 0, 1, []string{"--bring-back"}
		s.join(s.args()...).is(10, "Refused").counts(0, 0, 0, 0).says(c.mark, "--bring-back").within(5 * time.Second)
		s.sleep(5 * time.Second)
		if n, err := s.cp.GetNode(s.ctx, "w1"); err == nil {
			t.Errorf("%s: the Node is back: UID %s, before %s", c.mark, n.UID, was.UID)
		}
		if now := s.mainPID(s.node); now != kubelet {
			t.Errorf("%s: the kubelet is process %d, before it was %d", c.mark, now, kubelet)
		}
	}
	t.Log("somebody restarts the kubelet: the Node is there, and left no more")
	_, err := s.node.Run(s.ctx, "systemctl", "restart", "kubelet")
	s.must(err)
	_, err = s.cp.WaitNode(s.ctx, "w1", func(*core.Node) bool { return true })
	s.must(err)
	s.member(s.join(s.args("--hold", "5s")...).is(0, "AlreadyJoined").counts(0, 0, 0, 0))
	if _, err := os.Stat(s.node.Path("/run/nodejoin/left.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still said to be left: %v", err)
	}
	is := s.nodeNamed("w1")
	if slices.ContainsFunc(is.Spec.Taints, func(t core.Taint) bool { return t.Key == "ToBeDeletedByClusterAutoscaler" }) {
		t.Errorf("taints %v", is.Spec.Taints)
	}
}

// kept is what a run leaves to the next one, should it be killed.
const kept = "/run/nodejoin/node.json"

// In between nobody watched. 40 s after the deletion its pods are deleted, so from then on a return as it was is none.
func TestRunThatWasKilledLeavesItsNodeToTheNextOneForFortySeconds(t *testing.T) {
	s := tellIn(t, withPodCIDRs(), readyExternal()).live()
	s.fault(35)
	soon, late := s.node, s.newNode("w2", readyExternal())
	was := map[*testbed.Node]*core.Node{}
	for _, n := range []*testbed.Node{soon, late} {
		p := s.start(n, s.args("--hold", "2m")...)
		p.until("holding it")
		was[n] = s.mark(n.Name)
		s.sleep(2 * time.Second)
		if info, err := os.Stat(n.Path(kept)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", kept, info, err)
		}
		s.must(p.Signal(syscall.SIGKILL))
		p.Wait()
		s.must(s.cp.DeleteNode(s.ctx, n.Name))
	}
	deleted := time.Now()

	t.Log("soon: it is put back, but for the podCIDR, which another Node may have by now")
	s.sleep(3 * time.Second)
	kubelet := s.mainPID(soon)
	e := s.start(soon, s.args("--hold", "5s")...).end().is(0, "Recovered").returned(1).counts(0, 0, 0, 1).says("kubectl patch node w1", was[soon].Spec.PodCIDR)
	s.member(e)
	is := s.nodeNamed("w1")
	if all := lost(was[soon], is); !is.Spec.Unschedulable || len(all) > 1 {
		t.Errorf("lost is %q", all)
	}
	if now := s.mainPID(soon); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}

	t.Log("late: it comes as a new one")
	s.sleep(time.Until(deleted.Add(50 * time.Second)))
	e = s.start(late, s.args("--hold", "5s")...).end().is(0, "Recovered").counts(0, 0, 1, 0).says(`no Node "w2"`)
	s.member(e)
	if is := s.nodeNamed("w2"); is.Spec.Unschedulable {
		t.Errorf("lost is %q", lost(was[late], is))
	}
	for _, n := range []*testbed.Node{soon, late} {
		if n.Exists(kept) {
			t.Errorf("%s is left on %s", kept, n.Name)
		}
	}
}
