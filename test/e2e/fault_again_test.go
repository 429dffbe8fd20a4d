package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// tellImpatient is a live cluster that notices within 20 s that nobody reports for a Node.
func tellImpatient(t *testing.T) *story {
	t.Helper()
	return tellIn(t, testbed.ControlPlaneOptions{ControllerArgs: []string{"--node-monitor-grace-period=20s"}}, ready()).live()
}

// joined is a machine that is a member, with a pod and its Node as they were.
type joined struct {
	load
	was *core.Node
}

func (s *story) memberOn(n *testbed.Node) joined {
	s.Helper()
	s.start(n, s.args()...).end().is(0, "Joined")
	was, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Ready)
	s.must(err)
	return joined{s.loaded(n, n.Hostname), was}
}

// renewed sees that a kubelet has bootstrapped again in place, that its Node is the same, and that nothing is left of it.
func (j joined) renewed(e ended) {
	s := j.s
	s.Helper()
	j.lives()
	s.member(e)
	if e.report.Node.UID != string(j.was.UID) {
		s.Errorf("Node %s has UID %s, it had %s", j.was.Name, e.report.Node.UID, j.was.UID)
	}
	s.tidy(j.node)
}

// tidy: no credentials of before, and nothing with a token.
func (s *story) tidy(n *testbed.Node) {
	s.Helper()
	for _, pattern := range []string{"/etc/kubernetes/*.before-nodejoin", "/var/lib/kubelet/pki/*.before-nodejoin",
		"/etc/kubernetes/bootstrap-kubelet.conf", "/run/nodejoin/nodejoin-secret-*", "/dev/shm/nodejoin-*"} {
		if left, _ := filepath.Glob(n.Path(pattern)); len(left) > 0 {
			s.Errorf("left behind on %s: %q", n.Name, left)
		}
	}
}

// A machine was off for a year, or hibernated, or was restored; a script has replaced the link by a file; somebody has emptied
// kubelet.conf, or all of the kubelet's folder. With a reset it was 156 s, and the pods dead.
func TestKubeletWithoutUsableCredentialsBootstrapsAgainInPlaceAndItsPodsLive(t *testing.T) {
	s := tellImpatient(t)
	s.fault(31)
	file, torn, lost, off := s.newNode("w-file", ready()), s.newNode("w-torn", ready()), s.newNode("w-lost", ready()), s.newNode("w-off", ready())
	members := map[*testbed.Node]joined{}
	for _, n := range []*testbed.Node{s.node, file, torn, lost} {
		members[n] = s.memberOn(n)
	}
	s.start(off, s.args()...).end().is(0, "Joined")
	offWas := s.nodeNamed("w-off")

	off.PowerOff()
	s.must(s.cp.Outdate(off, false))
	s.must(off.Reboot())
	s.must(s.cp.Outdate(s.node, false))
	nowhere := s.node.Path("/etc/kubernetes/bootstrap-kubelet.conf") // of a run that was killed before a reboot
	s.must(os.Symlink("/run/nodejoin/nodejoin-secret-GONE", nowhere))
	s.must(s.node.StartUnit("kubelet")) // it crashes: there is no bootstrap-kubelet.conf
	s.must(s.cp.Outdate(file, true))
	s.must(torn.StopUnit("kubelet"))
	s.must(torn.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
	s.must(lost.StopUnit("kubelet"))
	s.must(os.Remove(lost.Path("/etc/kubernetes/kubelet.conf")))
	_, err := lost.Run(s.ctx, "sh", "-c", "rm /var/lib/kubelet/pki/*")
	s.must(err)
	s.must(lost.StartUnit("kubelet"))

	early := s.start(file, s.args()...) // before anybody has noticed
	runs := map[*testbed.Node]*running{}
	for _, n := range []*testbed.Node{s.node, torn, lost, off} {
		_, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Unknown)
		s.must(err)
		runs[n] = s.start(n, s.args()...)
	}
	says := map[*testbed.Node]string{s.node: "which have expired", off: "which have expired", torn: "are gone", lost: "are gone"}
	for n, r := range runs {
		e := r.end().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).says("having the kubelet bootstrap again", says[n]).within(20 * time.Second)
		if n == off {
			s.member(e)
			s.tidy(off)
			if e.report.Node.UID != string(offWas.UID) {
				t.Errorf("w-off has UID %s, it had %s", e.report.Node.UID, offWas.UID)
			}
			continue
		}
		members[n].renewed(e)
	}
	members[file].renewed(early.end().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).says("which have expired").within(70 * time.Second))
	for _, n := range []*testbed.Node{s.node, file, torn, lost, off} {
		_, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Ready)
		s.must(err)
	}
}

// Nothing approves a kubelet's request by itself here. Whoever approves is named what to approve; who is killed meanwhile leaves
// it to the next run; and after a refusal the machine has what it had.
func TestBootstrapAgainWaitsForAPersonsApprovalAndTakesANoForAnAnswer(t *testing.T) {
	s := tellImpatient(t)
	s.fault(23)
	killed, denied := s.newNode("w-killed", ready()), s.newNode("w-denied", ready())
	members := map[*testbed.Node]joined{}
	for _, n := range []*testbed.Node{s.node, killed, denied} {
		members[n] = s.memberOn(n)
	}
	s.must(s.cp.SetCSRApproval(false))
	for n := range members {
		s.must(s.cp.Outdate(n, false))
		s.must(n.StartUnit("kubelet"))
	}
	for n := range members {
		_, err := s.cp.WaitNode(s.ctx, n.Hostname, testbed.Unknown)
		s.must(err)
	}

	t.Run("approved", func(t *testing.T) {
		s := s.in(t)
		p := s.start(s.node, s.args()...)
		p.until("approve it with `kubectl certificate approve csr-")
		s.sleep(3 * time.Second)
		_, err := s.cp.ApproveCSRs(s.ctx)
		s.must(err)
		members[s.node].renewed(p.end().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).says("is pending", "kubectl certificate approve"))
	})
	t.Run("killed, and out of time", func(t *testing.T) {
		s := s.in(t)
		p := s.start(killed, s.args()...)
		p.until("approve it with `kubectl certificate approve csr-")
		s.must(p.Signal(syscall.SIGKILL))
		p.Wait()
		s.start(killed, s.args("--timeout", "6s", "--hold", "1s")...).end().is(7, "JoinFailed").counts(0, 0, 0, 0).
			says("is pending", "kubectl certificate approve")
		p = s.start(killed, s.args()...)
		p.until("approve it with `kubectl certificate approve csr-")
		_, err := s.cp.ApproveCSRs(s.ctx)
		s.must(err)
		members[killed].renewed(p.end().is(0, "Recovered", "AlreadyJoined").bootstrapped(atMostOne).counts(0, 0, 0, 0).says("is pending"))
	})
	t.Run("denied", func(t *testing.T) {
		s := s.in(t)
		was := s.traceOf(denied, "/etc/kubernetes", "/var/lib/kubelet/pki")
		p := s.start(denied, s.args("--timeout", "45s", "--hold", "5s")...)
		requests := 0
		for ended := false; !ended; {
			select {
			case <-p.Done():
				ended = true
			case <-time.After(time.Second):
				n, err := s.cp.DenyCSRs(s.ctx)
				s.must(err)
				requests += n
			}
		}
		e := p.end()
		members[denied].lives()
		e.is(7, "JoinFailed").bootstrapped(1).counts(0, 0, 1, 0).says("certificate request csr-", "was denied: decided by the testbed", "run nodejoin again")
		if requests != 1 {
			t.Errorf("the kubelet has made %d requests, each denied", requests)
		}
		is := s.traceOf(denied, "/etc/kubernetes", "/var/lib/kubelet/pki")
		for path := range was.files {
			if is.files[path] != was.files[path] {
				t.Errorf("%s is %q, it was %q", path, is.files[path], was.files[path])
			}
		}
		s.tidy(denied)

		t.Log("and what was denied then says nothing of what is asked for now")
		s.must(s.cp.SetCSRApproval(true))
		members[denied].renewed(s.start(denied, s.args()...).end().is(0, "Recovered").bootstrapped(1).counts(0, 0, 0, 0).within(20 * time.Second))
	})
}
