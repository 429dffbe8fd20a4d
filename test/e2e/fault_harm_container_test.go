package e2e

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// neighbour are the options of a container on the same host as another one.
func neighbour(of *testbed.Node, hostname string) testbed.NodeOptions {
	return testbed.NodeOptions{CNI: true, Hostname: hostname, KernelOf: of}
}

// Their boot_id is one, so it does not tell whose a Node is: the machine-ids differ.
func TestNameOfANeighbourOfTheSameKernelIsTaken(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{}) // its network plugin is late: alive, and not Ready
	s.fault(50)
	s.join(s.args("--hold", "0")...).is(0, "Joined")
	before := s.nodeNamed("w1")
	twin := s.newNode("twin", neighbour(s.node, "w1"))
	if twin.BootID() != s.node.BootID() {
		t.Fatalf("bootIDs %s and %s", twin.BootID(), s.node.BootID())
	}
	p := s.start(twin, s.args()...)
	p.until("is not known to be dead")
	s.sleep(3 * time.Second) // a heartbeat has whole seconds
	s.must(s.node.AddCNI())  // its kubelet reports
	p.end().is(9, "NameTaken").counts(0, 0, 0, 0).says("its kubelet has just reported", "--node-name")
	if n := twin.KubeadmCount("join"); n != 0 {
		t.Errorf("kubeadm join ran %d times on the second machine", n)
	}
	s.undisturbed(before)
}

func TestCopyOfANeighbourOfTheSameKernelJoinsUnderItsOwnName(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{CNI: true, Hostname: "golden"})
	s.fault(51)
	s.join(s.args()...).is(0, "Joined")
	s.reportOften(s.node)
	before := s.nodeNamed("golden")
	copied := s.newNode("copy", neighbour(s.node, "copy"))
	s.clone(s.node, copied)
	t.Run("check", func(t *testing.T) { s.in(t).checks(copied, 20, "golden") })
	e := s.start(copied, s.args()...).end()
	s.member(e.is(0, "Joined").counts(1, 1, anyNumber, 0).says("a cloned image", `Node "golden"`))
	if e.report.Node.Name != "copy" {
		t.Errorf("joined as %q", e.report.Node.Name)
	}
	s.undisturbed(before)

	t.Log("both are members, each for itself")
	s.checks(copied, 0)
	s.checks(s.node, 0)
}

// reportOften makes a machine's kubelet report every 10 s; by default it is every 5 minutes, where nothing changes.
func (s *story) reportOften(n *testbed.Node) {
	s.Helper()
	s.rewrite(n, "/var/lib/kubelet/config.yaml", "nodeStatusReportFrequency: 0s", "nodeStatusReportFrequency: 5s")
	s.must(n.StopUnit("kubelet"))
	s.must(n.StartUnit("kubelet"))
}
