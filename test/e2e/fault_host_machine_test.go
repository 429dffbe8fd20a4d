package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestFullDiskUnderEtcKubernetesIsWaitedOut(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(28)
	s.must(s.node.FillDisk(s.ctx, "/etc/kubernetes"))
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "no space left on device"))
	s.must(p.Stderr.WaitFor(s.ctx, "trying again"))
	s.must(s.node.EmptyDisk("/etc/kubernetes"))
	s.member(p.end().is(0, "Joined").counts(anyNumber, anyNumber, 0, 0).says("no space left on device"))
}

// The lock and the secret of kubeadm live in /run: without room there nothing can be done, and it is said why.
func TestFullRunIsSaidAndLeavesNoSecret(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(28)
	s.must(s.node.FillDisk(s.ctx, "/run"))
	s.join(s.args("--timeout", "30s", "--hold", "5s")...).is(3, "HostUnfit").counts(0, 0, 0, 0).says("no space left on device", "make room in /run/nodejoin")
	if found, _ := filepath.Glob(s.node.Path("/run/nodejoin/nodejoin-secret-*")); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	s.must(s.node.EmptyDisk("/run"))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
}

// The status file is a convenience, the join is the job.
func TestFullDiskUnderTheStatusFileStopsNothing(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(28)
	s.must(s.node.FillDisk(s.ctx, "/var/lib/status"))
	e := s.join(s.args("--status-file", "/var/lib/status/status.json", "-o", "json")...).is(0, "Joined").counts(1, 0, 0, 0).
		says("writing the status file", "no space left on device", "the run goes on without it")
	if n := strings.Count(e.stderr, "writing the status file"); n != 1 {
		t.Errorf("said %d times", n)
	}
	s.member(e)
}

// A machine without a battery begins in the past, and a fresh cluster's certificates are in its future.
func TestCertificateThatBeginsInAnHourIsSaid(t *testing.T) {
	s := tell(t, ready())
	s.fault(29)
	s.token = testbed.NewToken()
	early, err := s.tb.NewStranger(testbed.StrangerOptions{NotBefore: time.Now().Add(time.Hour)})
	s.must(err)
	early.Sign(s.token)
	args := append([]string{"nodejoin", "join", early.Endpoint(), "--token", s.token, "--discovery-token-ca-cert-hash", early.CAHash(),
		"--timeout", "15s", "--hold", "5s"}, testbed.PreflightArgs()...)
	s.join(args...).is(6, "Unreachable").counts(0, 0, 0, 0).says("not yet valid", "is before")
	if early.Saw(s.token) || early.Saw(s.token[7:]) {
		t.Error("the token was shown to a server whose certificate is not valid")
	}
}

const swapOn = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t4194300\t\t0\t\t-2\n"

// In 1.37 kubeadm only warns of swap; it is the kubelet that refuses, now and then only after it has got its certificate: then
// it is restarted before it is given up, and a restart is all that it needs once the swap is off.
func TestSwapIsAPersonsJob(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(30)
	s.must(s.node.Cover("/proc/swaps", swapOn))
	s.join(s.args("--attempt-timeout", "30s", "--timeout", "90s")...).is(3, "HostUnfit").counts(1, 0, atMostOne, 0).
		says("swap", "swapoff -a", "/etc/fstab", "failSwapOn").within(90 * time.Second)
	s.must(s.node.Uncover("/proc/swaps"))
	s.member(s.join(s.args()...).is(0, "Joined", "Recovered", "AlreadyJoined").counts(atMostOne, atMostOne, atMostOne, 0))
}

// A member whose Node was deleted while swap was on: a restart of the kubelet does not help, and a reset would not either.
func TestSwapIsNoReasonForAReset(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(30)
	s.join(s.args()...).is(0, "Joined")
	s.must(s.node.Cover("/proc/swaps", swapOn))
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.cp.DeleteNode(t.Context(), "w1"))
	s.join(s.args()...).is(3, "HostUnfit").counts(0, 0, 1, 0).says("swap", "swapoff -a").within(2 * time.Minute)
	s.must(s.node.Uncover("/proc/swaps"))
	s.member(s.join(s.args()...).is(0, "Recovered", "AlreadyJoined").counts(0, 0, atMostOne, 0))
}

func TestForwardingTurnedOffIsAPersonsJob(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(30)
	s.must(s.node.SetSysctl("net/ipv4/ip_forward", "0"))
	s.join(s.args()...).is(3, "HostUnfit").counts(1, 0, 0, 0).says("sysctl -w net.ipv4.ip_forward=1", "/etc/sysctl.d").within(30 * time.Second)
	s.must(s.node.SetSysctl("net/ipv4/ip_forward", "1"))
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
}

func TestSeveralRuntimesNeedAName(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(30)
	s.must(os.MkdirAll(s.node.Path("/run/crio"), 0o755))
	other, err := net.Listen("unix", s.node.Path("/run/crio/crio.sock"))
	s.must(err)
	defer other.Close()
	go http.Serve(other, http.NotFoundHandler()) // the kubelet asks every runtime it knows, and waits for one that says nothing
	s.join(s.args()...).is(2, "Usage").counts(anyNumber, 0, 0, 0).says("multiple CRI endpoints", "--cri-socket").within(30 * time.Second)
	s.member(s.join(s.args("--cri-socket", testbed.CRISocket)...).is(0, "Joined").counts(1, anyNumber, 0, 0))
}

// There is no Node of this machine, and nothing here that a kubelet could run with, so that none can bootstrap. By its own clock
// it cannot know that a certificate has expired: the API server must refuse it, for long enough, while it takes the token.
func TestExpiredKubeletCertificateWithoutAConfigurationIsResetOnTheServersWord(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.expiredKubeletConf())
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "401"))
	s.sleep(60 * time.Second)
	if n := s.node.KubeadmCount("reset"); n != 0 {
		t.Errorf("%d resets after a minute", n)
	}
	s.member(p.end().is(0, "Joined").counts(1, 1, 0, 0).says("refuses the kubelet's credentials (401)", "the certificate is valid until"))
	calls, err := s.node.KubeadmCalls()
	s.must(err)
	if verbs := callVerbs(calls); !slices.Contains(verbs, "reset") {
		t.Errorf("kubeadm was called for %q", verbs)
	}
}

func callVerbs(calls []testbed.Call) []string {
	var verbs []string
	for _, c := range calls {
		if len(c.Args) > 0 {
			verbs = append(verbs, c.Args[0])
		}
	}
	return verbs
}

// A machine that boots is called as its image until DHCP or cloud-init has named it.
func TestMachineThatHasNoNameYetIsWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	rename := func(name string) {
		t.Helper()
		_, err := s.node.Run(s.ctx, "hostname", name)
		s.must(err)
	}
	rename("localhost")
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, `no name of its own yet, only "localhost"`))
	rename("w1")
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}
