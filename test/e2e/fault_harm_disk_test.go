package e2e

import (
	"testing"
	"time"
)

// A mount that nobody promised for the boot is not waited for.
func TestFstabThatPromisesNothingIsNotWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/etc/fstab", "# LABEL=old /var/lib/kubelet ext4 defaults 0 2\n"+
		"LABEL=spare /var/lib/kubelet ext4 noauto 0 2\nLABEL=swap none swap sw 0 0\nLABEL=logs /var/log/far ext4 defaults,nofail 0 2\n", 0o644))
	s.member(s.join(s.args("--timeout", "60s", "--hold", "5s")...).is(0, "Joined").counts(1, 0, 0, 0))
}

// The disk with /var/lib/kubelet or /etc/kubernetes may come long after the network (kubernetes/kubeadm 1176, cozystack/cozystack
// 2454). What is below the mount point meanwhile is not this machine's state.
func TestMemberWhoseDiskIsMountedLateIsNotTakenForAnEmptyMachine(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(55)
	for name, folder := range map[string]string{"w-state": "/var/lib/kubelet", "w-conf": "/etc/kubernetes"} {
		t.Log(folder)
		n := s.newNode(name, ready())
		uid := s.start(n, s.args()...).end().is(0, "Joined").report.Node.UID
		n.PowerOff()
		s.must(n.PutOnLateDisk(folder))
		s.must(n.Reboot())
		s.must(n.WaitRuntime(s.ctx))
		deeds := len(s.deedsOf(n))
		e := s.start(n, s.args("--timeout", "10s", "--hold", "1s")...).end()
		if more := s.deedsOf(n)[deeds:]; len(more) > 0 {
			t.Errorf("kubeadm was asked for %q below the mount point", more)
		}
		e.is(7, "JoinFailed").counts(0, 0, 0, 0).says(folder, "/etc/fstab")

		t.Log("it comes while nodejoin waits")
		p := s.start(n, s.args("--hold", "5s")...)
		p.until("/etc/fstab")
		p.waits(3 * time.Second)
		s.must(n.AttachDisk(folder))
		e = p.end().is(0, "AlreadyJoined", "Recovered").counts(0, 0, atMostOne, 0).says(folder, "/etc/fstab")
		s.member(e)
		if e.report.Node.UID != uid {
			t.Errorf("the Node has UID %s, before the reboot it had %s", e.report.Node.UID, uid)
		}
	}
}
