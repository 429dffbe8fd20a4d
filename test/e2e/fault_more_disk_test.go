package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// /run, with the lock, the status file and the runtime's socket, fills while kubeadm is at work. (The kubelet starts
// on a full one, too.) Who else lives there may free a page or take it, so the status file is of the end, or there is none.
func TestRunThatFillsDuringAJoinStopsNothing(t *testing.T) {
	s := tellLive(t, external())
	s.fault(28)
	s.must(s.node.WrapKubeadm(instead("join", "while [ ! -e /srv/go ]; do sleep 0.1; done")))
	p := s.start(s.node, s.args("--hold", "10s", "-o", "json")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.sleep(time.Second) // nodejoin has written kubeadm's secret, and the status file
	s.must(s.node.FillDisk(s.ctx, "/run"))
	s.must(s.node.WriteFile("/srv/go", "", 0o600))
	s.must(p.Stderr.WaitFor(s.ctx, "holding it"))
	s.sleep(time.Second)
	s.must(s.node.FillDisk(s.ctx, "/run")) // again: the secret's room is free now
	p.end().is(0, "Joined").counts(1, 0, 0, 0).says("has stayed for 10 s")
	if _, err := s.cp.GetNode(s.ctx, "w1"); err != nil {
		t.Error(err)
	}
	s.must(s.node.EmptyDisk("/run"))
	s.member(s.join(s.args("--hold", "0")...).is(0, "AlreadyJoined").counts(0, 0, 0, 0))
}

// The disk of the status file fills during hold; what is there is of this run, or of an earlier one.
func TestDiskOfTheStatusFileThatFillsDuringARunStopsNothing(t *testing.T) {
	s := tellLive(t, external())
	s.fault(28)
	const path = "/var/lib/status/status.json"
	s.must(s.node.FillDisk(s.ctx, "/var/lib/status")) // to be a file system of its own
	s.must(s.node.EmptyDisk("/var/lib/status"))
	p := s.start(s.node, s.args("--hold", "15s", "--status-file", path, "-o", "json")...)
	s.must(p.Stderr.WaitFor(s.ctx, "holding it"))
	s.sleep(time.Second)
	s.must(s.node.FillDisk(s.ctx, "/var/lib/status"))
	p.end().is(0, "Joined").counts(1, 0, 0, 0).says("has stayed for")
	s.saysOnly(s.node, path, "Joined")

	t.Log("full from the beginning, with the file of an earlier run")
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.node.RemoveProgram("kubeadm"))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	p = s.start(s.node, s.args("--timeout", "10s", "--hold", "1s", "--reset=always", "--status-file", path, "-o", "json")...)
	p.end().is(3, "HostUnfit")
	s.saysOnly(s.node, path, "HostUnfit")
}

// saysOnly checks that the status file is of a run that ended so, or that there is none.
func (s *story) saysOnly(n *testbed.Node, path, reason string) {
	s.Helper()
	raw, err := n.ReadFile(path)
	if err != nil {
		s.Logf("there is no %s", path)
		return
	}
	var is report
	s.must(json.Unmarshal(raw, &is))
	if is.Result == nil || is.Reason != reason {
		s.Errorf("%s says %s", path, raw)
	}
}
