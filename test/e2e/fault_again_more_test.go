package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The Node in the second cluster is this very machine's, of before it moved, and nobody reports for it there. A kubelet that
// went back would end every pod here.
func TestMemberThatAnotherClusterHasANodeOfIsNotBootstrappedThere(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(8)
	second, token := s.secondCluster(testbed.ControlPlaneOptions{ControllerArgs: []string{"--node-monitor-grace-period=20s"}})
	other := slices.Concat([]string{"nodejoin", "join", second.Endpoint(), "--token", token, "--discovery-token-ca-cert-hash", second.CAHash()}, testbed.PreflightArgs())
	s.join(other...).is(0, "Joined")
	e := s.join(s.args("--reset=always")...).is(0, "Joined").counts(1, 1, 0, 0)
	s.member(e)
	pods, before, kubelet := s.loaded(s.node, "w1"), s.nodeNamed("w1"), s.mainPID(s.node)
	there, err := second.WaitNode(s.ctx, "w1", testbed.Unknown)
	s.must(err)
	if there.Status.NodeInfo.MachineID != before.Status.NodeInfo.MachineID {
		t.Fatalf("machineID %q there, %q here: the story tells nothing", there.Status.NodeInfo.MachineID, before.Status.NodeInfo.MachineID)
	}
	was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")
	for name, fault := range map[string]func() error{"its own answers": func() error { return nil }, "its own is down": s.cp.Stop} {
		t.Log(name)
		s.must(fault())
		s.join(append(other, "--timeout", "20s", "--hold", "1s")...).is(10, "Refused").counts(0, 0, 0, 0).says("another cluster", "--reset=always")
		s.untouched(s.node, was)
		s.must(s.cp.Start(s.ctx))
	}
	if now := pods.s.pidsOn(s.node, "pause"); !slices.Equal(now, pods.pids) || s.mainPID(s.node) != kubelet {
		t.Errorf("the pod has the processes %v, it had %v; the kubelet is process %d, it was %d", now, pods.pids, s.mainPID(s.node), kubelet)
	}
	s.undisturbed(before)
}

// A disk was copied to another machine, or moved there: the Node that is in the cluster is not this machine's.
func TestCopyOfADiskIsNotBootstrappedAsTheMachineThatItCameFrom(t *testing.T) {
	s := tellImpatient(t)
	s.fault(4)
	const machineID, firmware = "/etc/machine-id", "/sys/class/dmi/id/product_uuid"
	m := s.memberOn(s.node)
	s.must(s.cp.Outdate(s.node, false))
	_, err := s.cp.WaitNode(s.ctx, "w1", testbed.Unknown)
	s.must(err)
	requests, err := s.cp.CSRs(s.ctx)
	s.must(err)
	id, err := s.node.ReadFile(machineID)
	s.must(err)
	was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/kubelet/pki")
	refused := func() {
		t.Helper()
		s.join(s.args("--reset=never", "--timeout", "12s", "--hold", "1s")...).is(7, "JoinFailed").counts(0, 0, 0, 0).says("refuses the kubelet's credentials (401)")
		s.untouched(s.node, was)
		if now, err := s.cp.CSRs(s.ctx); err != nil || len(now) != len(requests) {
			t.Errorf("%d certificate requests, before there were %d, %v", len(now), len(requests), err)
		}
	}
	t.Log("another machine-id")
	s.must(s.node.WriteFile(machineID, strings.Repeat("0123456789abcdef", 2)+"\n", 0o444))
	refused()
	s.must(s.node.WriteFile(machineID, string(id), 0o444))
	if s.node.Exists(firmware) { // not every host has one
		t.Log("another firmware")
		s.must(s.node.Cover(firmware, "ffffffff-1111-2222-3333-444444444444\n"))
		refused()
		s.must(s.node.Uncover(firmware))
	}
	t.Log("the machine itself")
	m.renewed(s.join(s.args()...).is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).within(20 * time.Second))
}

// kubeadm does not join beside a Node of the name that is Ready, and the cluster takes 50 s to see that its kubelet has
// stopped: nodejoin says so itself, with the member's own credentials.
func TestReadyMemberThatIsToRejoinIsReadyAgainWithoutTheGracePeriod(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(8)
	s.join(s.args()...).is(0, "Joined")
	before, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	e := s.join(s.args("--reset=always")...).is(0, "Joined").counts(1, 1, 0, 0).says("running kubeadm reset: --reset=always").within(25 * time.Second)
	s.member(e)
	after, err := s.cp.WaitNode(s.ctx, "w1", testbed.Ready)
	s.must(err)
	if after.UID != before.UID {
		t.Errorf("the Node has UID %s, it had %s", after.UID, before.UID)
	}
}
