package testbed

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// must turns an error into the end of the test; it is called as must(f())(t).
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func bareJoin(t testing.TB, cp *ControlPlane, n *Node, more ...string) {
	t.Helper()
	token := must(cp.ReadyToken(within(t, time.Minute)))(t)
	args := slices.Concat([]string{"kubeadm"}, cp.JoinArgs(token), PreflightArgs(), more)
	must(n.Run(within(t, time.Minute), args...))(t)
}

func TestBareKubeadmJoinsALightNode(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	bareJoin(t, cp, n)
	node := must(cp.WaitNode(within(t, 20*time.Second), "n1", nil))(t)
	if got, want := node.Status.NodeInfo.BootID, n.BootID(); got != want {
		t.Errorf("the Node's bootID is %q, the machine's %q", got, want)
	}
	if got := n.KubeadmCount("join"); got != 1 {
		t.Errorf("%d joins recorded, want 1", got)
	}

	// Without a CNI configuration it stays NotReady.
	time.Sleep(2 * time.Second)
	if Ready(must(cp.GetNode(t.Context(), "n1"))(t)) {
		t.Error("the Node is Ready without a CNI configuration")
	}
	ok(t, n.AddCNI())
	must(cp.WaitNode(within(t, 30*time.Second), "n1", Ready))(t)

	before := must(n.UnitState("kubelet"))(t)
	must(n.Run(t.Context(), "systemctl", "restart", "kubelet"))(t)
	after := must(n.UnitState("kubelet"))(t)
	if before.MainPID == after.MainPID || after.MainPID == 0 {
		t.Errorf("main PID %d before the restart, %d after", before.MainPID, after.MainPID)
	}
	calls := must(n.SystemctlCalls())(t)
	if last := calls[len(calls)-1]; !slices.Equal(last.Args, []string{"restart", "kubelet"}) || last.Code != 0 {
		t.Errorf("last call of systemctl recorded: %+v", last)
	}
	out := must(n.Run(t.Context(), "journalctl", "-u", "kubelet", "-n", "5", "--no-pager", "-o", "cat"))(t)
	if strings.Count(out, "\n") != 5 {
		t.Errorf("journalctl -n 5 printed:\n%s", out)
	}

	// A deleted Node stays away until its kubelet is started again. (This one has just been: let it register first.)
	ok(t, poll(within(t, 20*time.Second), 100*time.Millisecond, func() (bool, error) {
		return strings.Contains(n.Log("kubelet"), "was previously registered"), nil
	}))
	ok(t, cp.DeleteNode(t.Context(), "n1"))
	time.Sleep(3 * time.Second)
	if _, err := cp.GetNode(t.Context(), "n1"); err == nil {
		t.Error("a deleted Node came back by itself")
	}
	must(n.Run(t.Context(), "systemctl", "restart", "kubelet"))(t)
	must(cp.WaitNode(within(t, 20*time.Second), "n1", nil))(t)

	// kubeadm reset ends it all, and it can join again.
	must(n.Run(within(t, time.Minute), "kubeadm", "reset", "-f"))(t)
	if n.Exists("/etc/kubernetes/kubelet.conf") {
		t.Error("kubelet.conf is still there after a reset")
	}
}

func TestTwoNodesAreTwoMachines(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	names := []string{"n1", "n2"}
	nodes := map[string]*Node{}
	for _, name := range names {
		nodes[name] = must(tb.Node(t.Context(), name, NodeOptions{CNI: true}))(t)
		bareJoin(t, cp, nodes[name])
	}
	infos := map[string]core.NodeSystemInfo{}
	for _, name := range names {
		infos[name] = must(cp.WaitNode(within(t, 30*time.Second), name, Ready))(t).Status.NodeInfo
	}
	a, b := infos["n1"], infos["n2"]
	if a.BootID == b.BootID || a.MachineID == b.MachineID || a.SystemUUID == b.SystemUUID {
		t.Errorf("two machines look like one: %+v, %+v", a, b)
	}

	// Reboot: same disk, so the same Node, with another bootID.
	n1 := nodes["n1"]
	ok(t, n1.WriteFile("/run/volatile", "", 0o600))
	old := n1.BootID()
	ok(t, n1.Reboot())
	if n1.BootID() == old {
		t.Error("the boot_id survived a reboot")
	}
	if n1.Exists("/run/volatile") || !n1.Exists("/etc/kubernetes/kubelet.conf") {
		t.Error("a reboot should empty /run and keep the disk")
	}
	must(cp.WaitNode(within(t, 60*time.Second), "n1", func(n *core.Node) bool { return n.Status.NodeInfo.BootID == n1.BootID() }))(t)
}

func TestAmazonControllerDeletesWhatEC2DoesNotKnow(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	cloud := must(cp.Cloud(t.Context()))(t)
	n := must(tb.Node(t.Context(), "ip-10-77-0-99.ec2.internal", NodeOptions{KubeletArgs: []string{"--cloud-provider=external"}}))(t)
	bareJoin(t, cp, n)
	must(cp.WaitNode(within(t, 20*time.Second), n.Hostname, nil))(t)
	started := time.Now()
	ok(t, cp.WaitNoNode(within(t, 30*time.Second), n.Hostname))
	t.Logf("deleted %s after it was seen", time.Since(started).Round(100*time.Millisecond))

	cloud.Know(n)
	must(n.Run(t.Context(), "systemctl", "restart", "kubelet"))(t)
	node := must(cp.WaitNode(within(t, 30*time.Second), n.Hostname, func(n *core.Node) bool {
		return !slices.ContainsFunc(n.Spec.Taints, func(t core.Taint) bool { return t.Key == "node.cloudprovider.kubernetes.io/uninitialized" })
	}))(t)
	if node.Spec.ProviderID != ProviderID(n.Hostname) {
		t.Errorf("the controller gave the Node the provider ID %q, want %q", node.Spec.ProviderID, ProviderID(n.Hostname))
	}
	time.Sleep(12 * time.Second) // two more looks of the controller
	if got := must(cp.GetNode(t.Context(), n.Hostname))(t); got.UID != node.UID {
		t.Error("the Node was deleted although EC2 knows it")
	}
	var reasons []string
	for _, e := range must(cp.Events(t.Context(), n.Hostname))(t) {
		reasons = append(reasons, e.Reason)
	}
	if !slices.Contains(reasons, "DeletingNode") {
		t.Errorf("no event DeletingNode among %q", reasons)
	}
	if len(cloud.Requests()) == 0 {
		t.Error("EC2 was never asked")
	}
	cloud.Forget(n)
	ok(t, cp.WaitNoNode(within(t, 30*time.Second), n.Hostname))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.NewControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	url := "https://" + cp.Endpoint() + "/healthz"
	get := func(d time.Duration) error {
		conn, err := n.DialContext(within(t, d), "tcp", cp.Endpoint())
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := get(time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("before the start: %v", err)
	}
	ok(t, cp.Start(t.Context()))
	ok(t, get(time.Second))

	ok(t, n.CutNetwork())
	if err := get(5 * time.Second); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("with the network cut: %v, want a timeout", err)
	}
	ok(t, n.RestoreNetwork())
	ok(t, get(5*time.Second))

	ok(t, cp.Pause(APIServer))
	if _, err := cp.Kubectl(within(t, 3*time.Second), "get", "nodes", "--request-timeout=1s"); err == nil {
		t.Errorf("a paused API server answered %s", url)
	}
	ok(t, cp.Resume(APIServer))
	must(cp.Kubectl(within(t, 10*time.Second), "get", "nodes"))(t)

	ok(t, cp.Kill())
	if err := get(time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("with the API server killed: %v", err)
	}
	ok(t, cp.RestartAPIServer(t.Context(), cp.OtherClientCA()...))
	if _, err := cp.Kubectl(t.Context(), "get", "nodes"); err == nil {
		t.Error("another client CA, and the administrator's certificate is still good")
	}
	ok(t, cp.RestartAPIServer(t.Context()))
	ok(t, cp.RefuseNodes(within(t, 20*time.Second)))
	ok(t, cp.AllowNodes(within(t, 20*time.Second)))

	pin := cp.CAHash()
	ok(t, cp.RotateCA(t.Context()))
	if cp.CAHash() == pin {
		t.Error("the CA's pin is the same after a rotation")
	}
	must(cp.ReadyToken(within(t, 60*time.Second)))(t)

	ok(t, n.FillDisk(t.Context(), "/etc/kubernetes"))
	ok(t, n.FillDisk(t.Context(), "/run"))
	for _, dir := range []string{"/etc/kubernetes", "/run"} {
		if err := n.WriteFile(dir+"/more", "x", 0o600); err == nil {
			t.Errorf("%s is full and takes a file", dir)
		}
		ok(t, n.EmptyDisk(dir))
		ok(t, n.WriteFile(dir+"/more", "x", 0o600))
	}
	ok(t, n.Cover("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n"))
	if out := must(n.Run(t.Context(), "cat", "/proc/swaps"))(t); !strings.Contains(out, "sda2") {
		t.Errorf("covered /proc/swaps reads %q", out)
	}
}

func TestCSRsWaitForAPerson(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	ok(t, cp.SetCSRApproval(false))
	n := must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	token := must(cp.ReadyToken(within(t, time.Minute)))(t)
	join := must(n.Start(t.Context(), Command{Args: slices.Concat([]string{"kubeadm"}, cp.JoinArgs(token), PreflightArgs())}))(t)
	ok(t, poll(within(t, 30*time.Second), 200*time.Millisecond, func() (bool, error) {
		all, err := cp.CSRs(t.Context())
		return len(all) > 0, err
	}))
	time.Sleep(2 * time.Second)
	if _, err := cp.GetNode(t.Context(), "n1"); err == nil {
		t.Error("a Node appeared before its CSR was approved")
	}
	if count := must(cp.ApproveCSRs(t.Context()))(t); count != 1 {
		t.Errorf("approved %d CSRs, want 1", count)
	}
	must(cp.WaitNode(within(t, 30*time.Second), "n1", nil))(t)
	if exit := join.Wait(); exit.Code != 0 {
		t.Errorf("kubeadm join: exit status %d\n%s", exit.Code, join.Stderr)
	}
}
