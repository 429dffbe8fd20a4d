package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// onEC2 is what user data gives, but for where the name and the ID come from.
var onEC2 = []string{"--kubelet-extra-arg", "cloud-provider=external", "--until", "initialized"}

// privateName is what EC2 calls an instance of that address.
func privateName(m *testbed.Machine) string {
	return "ip-" + strings.ReplaceAll(m.IP, ".", "-") + ".ec2.internal"
}

// tellOnEC2 begins a story on an instance whose hostname is w1 and whose Node stays NotReady, so that the cloud controller
// looks. EC2 does not list the instance yet, though the metadata service, as in the field, knows it from the first moment.
func tellOnEC2(t *testing.T) (*story, *testbed.Cloud, testbed.Instance) {
	t.Helper()
	s := tellLive(t, testbed.NodeOptions{})
	cloud, err := s.cp.Cloud(s.ctx)
	s.must(err)
	i := testbed.Instance{PrivateDNSName: privateName(s.node.Machine), IP: s.node.IP}
	s.must(s.node.StartMetadata(i))
	return s, cloud, i
}

// startOnEC2 runs nodejoin as on a machine whose firmware says EC2: the host of these tests may have none to say it.
func (s *story) startOnEC2(args ...string) *running {
	s.Helper()
	p, err := s.node.Start(s.Context(), testbed.Command{Args: args, Env: []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254"}})
	s.must(err)
	return &running{s: s, node: s.node, Proc: p, began: time.Now()}
}

// registered checks the Node's name and provider ID as an administrator sees them.
func (s *story) registered(name, providerID string) *core.Node {
	s.Helper()
	n, err := s.cp.GetNode(s.ctx, name)
	s.must(err)
	if n.Spec.ProviderID != providerID {
		s.Errorf("Node %s has provider ID %q, wanted %q", name, n.Spec.ProviderID, providerID)
	}
	return n
}

func TestNodeIsNamedAsEC2NamesTheInstance(t *testing.T) {
	s, cloud, i := tellOnEC2(t)
	cloud.Add(i)
	e := s.join(s.args(append(onEC2, "--node-name-from", "ec2", "--hold", "15s")...)...).is(0, "Joined").counts(1, 0, 0, 0)
	s.member(e)
	s.registered(i.PrivateDNSName, testbed.ProviderID(i.PrivateDNSName))
	if len(e.report.ownWarnings()) > 0 || e.report.Node.Name != i.PrivateDNSName {
		t.Errorf("Node %+v, warnings %q", e.report.Node, e.report.Warnings)
	}
	log := s.node.Log(testbed.MetadataService)
	if !strings.Contains(log, "GenerateToken Received request") || strings.Contains(log, "No token provided") {
		t.Errorf("that was not IMDSv2:\n%s", log)
	}

	// A member needs no answer of EC2's, and no token.
	asked := strings.Count(log, "Received request")
	s.join(s.argsWithout(append(onEC2, "--node-name-from", "ec2", "--provider-id", "auto", "--hold", "5s")...)...).
		is(0, "AlreadyJoined").counts(0, 0, 0, 0)
	if again := strings.Count(s.node.Log(testbed.MetadataService), "Received request"); again != asked {
		t.Errorf("the metadata service was asked %d times by a member", again-asked)
	}
	s.must(s.node.StopUnit(testbed.MetadataService))
	s.member(s.startOnEC2(s.argsWithout(append(onEC2, "--node-name-from", "ec2", "--hold", "5s")...)...).end().
		is(0, "AlreadyJoined").counts(0, 0, 0, 0).within(20 * time.Second))
}

func TestInstanceThatUsesResourceNamesIsNamedByItsID(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	cloud, err := s.cp.Cloud(s.ctx)
	s.must(err)
	const id = "i-0a1b2c3d4e5f60718"
	i := testbed.Instance{ID: id, PrivateDNSName: id + ".ec2.internal", IP: s.node.IP}
	s.must(s.node.StartMetadata(i))
	cloud.Add(i)
	s.member(s.join(s.args(append(onEC2, "--node-name-from", "ec2", "--hold", "15s")...)...).is(0, "Joined").counts(1, 0, 0, 0))
	s.registered(id, "aws:///us-east-1a/"+id)
}

// The hostname is not what EC2 calls the instance (kubernetes/kubernetes 54482).
func TestProviderIDMakesUpForAnotherName(t *testing.T) {
	s, cloud, i := tellOnEC2(t)
	cloud.Add(i)
	e := s.startOnEC2(s.args(append(onEC2, "--max-deletions", "1")...)...).end().is(8, "KeepsBeingDeleted").returned(1).counts(1, 0, 0, 2).
		says(fmt.Sprintf("the Node will be called %q, but EC2 knows this instance as %q (ID %s)", "w1", i.PrivateDNSName, testbed.InstanceID(i.PrivateDNSName)),
			"--provider-id auto")
	for _, words := range []string{i.PrivateDNSName, `named "w1"`, "--provider-id auto (and --reset=always, since this machine has joined)"} {
		if !strings.Contains(e.report.Hint, words) {
			t.Errorf("the hint does not say %q: %s", words, e.report.Hint)
		}
	}
	// The remedy, word by word. The Node is gone, so nobody is disturbed.
	e = s.startOnEC2(s.args(append(onEC2, "--provider-id", "auto", "--reset", "always", "--hold", "30s")...)...).end().
		is(0, "Joined").counts(1, 1, 0, 0)
	s.member(e)
	s.registered("w1", testbed.ProviderID(i.PrivateDNSName))
	if len(e.report.ownWarnings()) > 0 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
}

// The API of EC2 is eventually consistent: an instance may know itself minutes before DescribeInstances does. The field's
// two minutes are 40 s here. A provider ID does not help: the controller asks by it, is told that there is no such
// instance, and deletes the Node all the same.
func TestEC2ThatListsTheInstanceLateIsWaitedFor(t *testing.T) {
	for how, flags := range map[string][]string{
		"by the name":        {"--node-name-from", "ec2"},
		"by the provider ID": {"--provider-id", "auto"},
	} {
		t.Run(how, func(t *testing.T) {
			s, cloud, i := tellOnEC2(t)
			p := s.startOnEC2(s.args(slices.Concat(onEC2, flags)...)...)
			s.must(p.Stderr.WaitFor(s.ctx, "was deleted"))
			s.sleep(40 * time.Second)
			select {
			case <-p.Done():
				t.Fatalf("ended before EC2 listed the instance:\n%s", p.Stderr)
			default:
			}
			cloud.Add(i)
			e := p.end().is(0, "Recovered").returned(some).counts(1, 0, anyNumber, some).says("EC2's API does not list the instance yet")
			c := e.report.Counts
			t.Logf("%s: %d deletions, %d returns in %s", how, c.Deletions, c.NodesPutBack, e.took.Round(time.Second))
			if c.Deletions < 2 || c.NodesPutBack < 2 {
				t.Errorf("counts %+v", c)
			}
			s.member(e)
			s.registered(e.report.Node.Name, testbed.ProviderID(i.PrivateDNSName))
		})
	}
}

func TestMetadataServiceThatIsLateIsWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	i := testbed.Instance{PrivateDNSName: privateName(s.node.Machine)}
	p := s.startOnEC2(s.args("--node-name-from", "ec2", "--provider-id", "auto")...)
	s.must(p.Stderr.WaitFor(s.ctx, "this is an EC2 instance, but its metadata service does not answer"))
	s.sleep(5 * time.Second)
	if n := s.node.KubeadmCount("join"); n > 0 {
		t.Errorf("kubeadm join ran %d times", n)
	}
	s.must(s.node.StartMetadata(i))
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
	s.registered(i.PrivateDNSName, testbed.ProviderID(i.PrivateDNSName))
}

func TestMachineThatIsNoEC2Instance(t *testing.T) {
	s := tellLive(t, ready())
	e := s.join(s.args("--node-name-from", "ec2")...).is(3, "HostUnfit").counts(0, 0, 0, 0).
		says("--node-name-from ec2: this machine is not an EC2 instance", "--node-name").within(3 * time.Second)
	if s.node.Exists("/etc/kubernetes/kubelet.conf") || s.node.KubeadmCount("join")+s.node.KubeadmCount("reset") > 0 {
		t.Error("something was touched")
	}
	e = s.join(s.args("--provider-id", "auto")...).is(0, "Joined").counts(1, 0, 0, 0).
		says("--provider-id auto: this machine is not an EC2 instance, so its Node gets no provider ID").within(30 * time.Second)
	s.member(e)
	s.registered("w1", "")
}

func TestLabelsTaintsAndArgumentsReachTheNode(t *testing.T) {
	s := tellLive(t, ready())
	s.join(s.args("--node-label", "tier=web", "--node-label", "node-role.kubernetes.io/worker=")...).is(2, "Usage").counts(0, 0, 0, 0).
		says(`--node-label: "node-role.kubernetes.io/worker" is not for a kubelet to set`, "kubectl label node")
	if n := s.node.KubeadmCount("join"); n > 0 || s.node.Exists("/etc/kubernetes/pki/ca.crt") {
		t.Errorf("kubeadm join ran %d times", n)
	}
	s.member(s.join(s.args("--node-label", "tier=web,node.kubernetes.io/pool=blue", "--taint", "dedicated=web:NoSchedule", "--taint", "example.com/new:PreferNoSchedule",
		"--kubelet-extra-arg", "max-pods=37", "--kubelet-extra-arg", "v=3", "--provider-id", "testbed://here/w1")...).is(0, "Joined").counts(1, 0, 0, 0))
	n := s.registered("w1", "testbed://here/w1")
	if n.Labels["tier"] != "web" || n.Labels["node.kubernetes.io/pool"] != "blue" {
		t.Errorf("labels %v", n.Labels)
	}
	for _, want := range []core.Taint{{Key: "dedicated", Value: "web", Effect: core.TaintEffectNoSchedule}, {Key: "example.com/new", Effect: core.TaintEffectPreferNoSchedule}} {
		if !slices.ContainsFunc(n.Spec.Taints, func(have core.Taint) bool { return have.MatchTaint(&want) && have.Value == want.Value }) {
			t.Errorf("taints %v lack %v", n.Spec.Taints, want)
		}
	}
	if got := n.Status.Capacity.Pods().Value(); got != 37 {
		t.Errorf("the kubelet has room for %d pods", got)
	}
}

// What a kubelet finds it takes over as it is. That is Kubernetes' way; nodejoin's is to say so.
func TestNodeThatIsThereAlreadyKeepsItsProviderIDAndLabels(t *testing.T) {
	s := tellLive(t, ready())
	_, err := s.cp.Client().CoreV1().Nodes().Create(s.ctx, &core.Node{ObjectMeta: meta.ObjectMeta{Name: "w1"}}, meta.CreateOptions{})
	s.must(err)
	flags := []string{"--provider-id", "testbed://here/w1", "--node-label", "tier=web"}
	s.member(s.join(s.args(flags...)...).is(0, "Joined").counts(1, 0, 0, 0).
		says(`a Node "w1" exists and will be taken over with the provider ID, labels and taints that it has`))
	if n := s.registered("w1", ""); n.Labels["tier"] != "" {
		t.Errorf("labels %v", n.Labels)
	}
	// The remedy that the warning names.
	s.must(s.cp.DeleteNode(s.ctx, "w1"))
	_, err = s.node.Run(s.ctx, "systemctl", "restart", "kubelet")
	s.must(err)
	_, err = s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	if n := s.registered("w1", "testbed://here/w1"); n.Labels["tier"] != "web" {
		t.Errorf("labels %v", n.Labels)
	}
}

func TestNodeIsNamedByItsFQDN(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/etc/hosts", "127.0.0.1 localhost\n"+s.node.IP+" w1.example.org w1\n", 0o644))
	s.member(s.join(s.args("--node-name-from", "fqdn")...).is(0, "Joined").counts(1, 0, 0, 0))
	s.registered("w1.example.org", "")
}

// A config file that says nothing of them is completed with what EC2 says.
func TestConfigFileIsCompletedWithNameAndProviderID(t *testing.T) {
	s, cloud, i := tellOnEC2(t)
	cloud.Add(i)
	s.source(s.node, "/root/join.yaml", `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken: {apiServerEndpoint: "`+s.cp.Endpoint()+`", token: `+s.token+`, caCertHashes: ["`+s.cp.CAHash()+`"]}
nodeRegistration:
  kubeletExtraArgs:
  - {name: cloud-provider, value: external}
`, 0o600)
	args := slices.Concat([]string{"nodejoin", "join", "--config", "/root/join.yaml", "--until", "initialized", "--node-name-from", "ec2", "--provider-id", "auto"}, testbed.PreflightArgs())
	s.join(append(args, "--node-label", "a=b")...).is(2, "Usage").says("--node-label: cannot be used with --config, set nodeRegistration.kubeletExtraArgs")
	s.member(s.join(append(args, "--hold", "10s")...).is(0, "Joined").counts(1, 0, 0, 0))
	s.registered(i.PrivateDNSName, testbed.ProviderID(i.PrivateDNSName))
}
