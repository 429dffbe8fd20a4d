package e2e

import (
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestUserDataJoinsAtTheFirstBootAndARebootIsANoOp(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	s.startCluster()
	join := strings.Join(s.argsWithout("--token-file", tokenFile, "--until", "ready", "--timeout", "3m"), " ")
	s.must(s.node.SetUserData("#!/bin/sh\nset -eu\numask 077\necho " + s.token + " >" + tokenFile + "\n" + join + "\nrm " + tokenFile + "\n"))
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.cloudInitIsDone()
	e := s.ended(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)
	if id := s.node.BootID(); e.report.Node.BootID != id {
		t.Errorf("the Node's bootID is %s, the machine's %s", e.report.Node.BootID, id)
	}

	calls := s.node.KubeadmCount("join")
	t.Log("after a reboot the kubelet comes back by itself, and nodejoin has nothing to do")
	s.must(s.node.Reboot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.cloudInitIsDone()
	again := s.run(s.argsWithout("--token-file", tokenFile, "--until", "ready")...).is(0, "AlreadyJoined").counts(0, 0, 0, 0)
	s.member(again)
	if calls != 1 || s.node.KubeadmCount("join") != 1 {
		t.Errorf("kubeadm join was called %d times, and %d times after the reboot", calls, s.node.KubeadmCount("join"))
	}
	if again.report.Node.UID != e.report.Node.UID || again.report.Node.BootID != s.node.BootID() || again.report.Node.BootID == e.report.Node.BootID {
		t.Errorf("Node %+v after the reboot, %+v before", again.report.Node, e.report.Node)
	}
}
