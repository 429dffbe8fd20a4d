package e2e

import (
	"strings"
	"testing"
	"time"
)

// An image or a configuration tool has put the cluster's CA where kubeadm will want it, beside certificates of the company's
// (kubernetes/kubeadm 613, 1128). kubeadm goes on if it is told to; nodejoin knows that the file is the right one.
func TestCAThatWasPlacedBeforehandIsNoReasonForAReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(52)
	const corp = "-----BEGIN CERTIFICATE-----\nthe company's own\n-----END CERTIFICATE-----\n"
	for name, more := range map[string][]string{
		"w-told":   {"--ignore-preflight-errors=FileAvailable--etc-kubernetes-pki-ca.crt"},
		"w-untold": nil,
	} {
		t.Log(name)
		n := s.newNode(name, ready())
		s.must(n.WriteFile("/etc/kubernetes/pki/ca.crt", string(s.cp.CA()), 0o644))
		s.must(n.WriteFile("/etc/kubernetes/pki/corp.crt", corp, 0o644))
		e := s.start(n, s.args(more...)...).end()
		if raw, err := n.ReadFile("/etc/kubernetes/pki/corp.crt"); err != nil || string(raw) != corp {
			t.Errorf("%s: corp.crt is %q, %v", name, raw, err)
		}
		s.member(e.is(0, "Joined").counts(1, 0, 0, 0).says("running kubeadm join"))
	}
}

// The static pods are moved away for a repair and etcd is elsewhere: what is left to tell a control plane by is what a reset
// would destroy for good.
func TestControlPlaneUnderRepairIsNeverTouched(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(53)
	for name, proofs := range map[string][]string{
		"the CA's key":             {"pki/ca.key"},
		"the controllers' own":     {"controller-manager.conf"},
		"all that kubeadm has put": {"pki/ca.key", "pki/sa.key", "controller-manager.conf", "scheduler.conf", "admin.conf", "manifests.away/kube-apiserver.yaml"},
	} {
		t.Log(name)
		n := s.newNode("w-"+strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", ""), ready())
		s.must(n.WriteFile("/etc/kubernetes/pki/ca.crt", string(s.cp.CA()), 0o644))
		for _, proof := range proofs {
			s.must(n.WriteFile("/etc/kubernetes/"+proof, "precious\n", 0o600))
		}
		was := s.traceOf(n, "/etc/kubernetes", "/var/lib/kubelet")
		for _, reset := range []string{"auto", "always"} {
			e := s.start(n, s.args("--reset", reset)...).end()
			s.untouched(n, was)
			e.is(10, "Refused").counts(0, 0, 0, 0).says("control-plane host", "/etc/kubernetes/"+proofs[0], "nothing was touched").within(20 * time.Second)
		}
	}
}

// People copy it to workers, to have kubectl there. It is no proof, and too precious to be lost.
func TestAdminConfAloneForbidsAResetAndNothingElse(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(53)
	const admin = "/etc/kubernetes/admin.conf"
	s.must(s.node.WriteFile(admin, string(s.cp.Kubeconfig()), 0o600))
	t.Log("an empty machine joins")
	e := s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0).says(admin)
	s.member(e)
	if len(e.report.Warnings) == 0 || !strings.Contains(strings.Join(e.report.Warnings, "\n"), admin) {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	t.Log("a member is held, and brought back")
	s.member(s.join(s.args()...).is(0, "AlreadyJoined").counts(0, 0, 0, 0))
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	s.member(s.join(s.args()...).is(0, "Recovered").counts(0, 0, 1, 0))
	if !s.node.Exists(admin) {
		t.Errorf("%s is gone", admin)
	}

	t.Log("where only a reset would help it is refused")
	other := s.newNode("w2", ready())
	s.must(other.StopUnit("kubelet"))
	s.must(other.WriteFile(admin, string(s.cp.Kubeconfig()), 0o600))
	s.must(other.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
	was := s.traceOf(other, "/etc/kubernetes", "/var/lib/kubelet")
	e = s.start(other, s.args()...).end()
	s.untouched(other, was)
	e.is(10, "Refused").counts(0, 0, 0, 0).says(admin)
}
