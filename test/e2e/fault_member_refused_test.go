package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// There is no override: a worker's program has no business there.
func TestControlPlaneHostIsNeverTouched(t *testing.T) {
	s := tell(t, ready())
	s.fault(7)
	s.token = testbed.NewToken()
	for _, proof := range []string{"/etc/kubernetes/manifests/kube-apiserver.yaml", "/var/lib/etcd/member/snap/db"} {
		s.must(s.node.WriteFile(proof, "precious\n", 0o600))
		s.must(s.node.WriteFile("/etc/kubernetes/pki/ca.crt", "a leftover\n", 0o644))
		s.must(s.node.WriteFile("/etc/kubernetes/bootstrap-kubelet.conf", "another\n", 0o600))
		was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/etcd", "/var/lib/kubelet")
		for _, reset := range []string{"auto", "always"} {
			e := s.join(s.args("--reset", reset)...).is(10, "Refused").counts(0, 0, 0, 0).says("control-plane host", "nothing was touched")
			if e.took.Seconds() > 10 {
				t.Errorf("it took %s to see that", e.took)
			}
			s.untouched(s.node, was)
		}
		for _, folder := range []string{"etc/kubernetes", "var/lib/etcd"} {
			s.must(os.RemoveAll(filepath.Join(s.node.Root(), folder)))
		}
	}
}

// On a machine where an API server is really at work for a cluster of its own.
func TestWorkingControlPlaneIsRefusedByItsFilesAlone(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(7)
	s.must(s.cp.Install(nodejoin, "nodejoin"))
	s.must(s.cp.WriteFile("/etc/kubernetes/manifests/kube-apiserver.yaml", "kind: Pod\n", 0o600))
	p, err := s.cp.Machine.Start(s.ctx, testbed.Command{Args: s.args("--reset", "always", "-o", "json")})
	s.must(err)
	e := ended{s: s, code: p.Wait().Code, stdout: p.Stdout.String(), stderr: p.Stderr.String(), hasReport: true}
	s.must(json.Unmarshal([]byte(e.stdout), &e.report))
	e.is(10, "Refused").counts(0, 0, 0, 0).says("kube-apiserver.yaml")
	if _, err := s.cp.GetNode(s.ctx, "w1"); err == nil || !s.cp.Exists("/etc/kubernetes/manifests/kube-apiserver.yaml") {
		t.Errorf("the control plane does not work any more: %v", err)
	}
}

// secondCluster is another one, that runs, and a token of it.
func (s *story) secondCluster(options testbed.ControlPlaneOptions) (second *testbed.ControlPlane, token string) {
	s.Helper()
	options.Name = "cp2"
	second, err := s.tb.ControlPlane(s.ctx, options)
	s.must(err)
	token, err = second.ReadyToken(s.ctx)
	s.must(err)
	return second, token
}

func TestMemberOfAnotherClusterLeavesItOnlyWhenTold(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(8)
	second, token := s.secondCluster(testbed.ControlPlaneOptions{})
	for name, proof := range map[string][]string{
		"pinned":   {"--discovery-token-ca-cert-hash", second.CAHash()},
		"unpinned": {"--discovery-token-unsafe-skip-ca-verification"},
	} {
		t.Log(name)
		n := s.newNode(name, ready())
		s.start(n, s.args()...).end().is(0, "Joined")
		before := s.nodeNamed(name)
		was := s.traceOf(n, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")
		other := slices.Concat([]string{"nodejoin", "join", second.Endpoint(), "--token", token}, proof, testbed.PreflightArgs())
		s.start(n, other...).end().is(10, "Refused").counts(0, 0, 0, 0).says("another cluster", "--reset=always")
		s.untouched(n, was)
		s.undisturbed(before)

		e := s.start(n, append(other, "--reset=always")...).end().is(0, "Joined").counts(1, 1, 0, 0)
		there, err := second.GetNode(s.ctx, name)
		s.must(err)
		if string(there.UID) != e.report.Node.UID || there.Status.NodeInfo.BootID != n.BootID() {
			t.Errorf("the second cluster has UID %s with bootID %s, reported is %+v", there.UID, there.Status.NodeInfo.BootID, e.report.Node)
		}
	}
}

// The same machine in the same cluster, under a name that it does not have.
func TestHealthyMemberIsRenamedOnlyWhenTold(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(8)
	s.join(s.args()...).is(0, "Joined")
	before := s.nodeNamed("w1")
	was := s.traceOf(s.node, "/etc/kubernetes", "/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml")
	s.join(s.args("--node-name", "renamed")...).is(10, "Refused").counts(0, 0, 0, 0).says(`healthy member as Node "w1", not "renamed"`)
	s.untouched(s.node, was)
	s.undisturbed(before)

	e := s.join(s.args("--node-name", "renamed", "--reset=always")...).is(0, "Joined").counts(1, 1, 0, 0)
	s.member(e)
	if e.report.Node.Name != "renamed" {
		t.Errorf("joined as %q", e.report.Node.Name)
	}
}

const staticPod = `apiVersion: v1
kind: Pod
metadata: {name: proxy, namespace: default}
spec:
  containers: [{name: proxy, image: registry.invalid/proxy:1, imagePullPolicy: Never}]
`

// Where what a reset would delete is the machine's own.
func TestStaticPodsOfAWorkerAreLostOnlyWhenTold(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(8)
	const pod = "/etc/kubernetes/manifests/proxy.yaml"
	s.must(s.node.WriteFile(pod, staticPod, 0o600))

	t.Log("without leftovers nothing has to be reset")
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
	_, err := s.cp.WaitNode(s.ctx, "w1", func(n *core.Node) bool { return testbed.Ready(n) })
	s.must(err)
	s.join(s.args()...).is(0, "AlreadyJoined").counts(0, 0, 0, 0)

	t.Log("with leftovers that only a reset takes away it is refused")
	other := s.newNode("w2", ready())
	s.must(other.WriteFile(pod, staticPod, 0o600))
	s.must(other.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
	was := s.traceOf(other, "/etc/kubernetes", "/var/lib/kubelet")
	s.start(other, s.args()...).end().is(10, "Refused").counts(0, 0, 0, 0).says(pod, "--reset=always")
	s.untouched(other, was)
	s.member(s.start(other, s.args("--reset=always")...).end().is(0, "Joined").counts(1, 1, 0, 0))
	if other.Exists(pod) {
		t.Error("kubeadm reset spares static pods now: nodejoin need not refuse")
	}
	if raw, err := s.node.ReadFile(pod); err != nil || string(raw) != staticPod {
		t.Errorf("the first machine's static pod: %q, %v", raw, err)
	}
}

// trace is what would show a hand laid on a machine: its files, what kubeadm was told to do and what became of its units.
type trace struct {
	folders []string
	files   map[string]string
	deeds   []string
}

func (s *story) traceOf(n *testbed.Node, folders ...string) trace {
	s.Helper()
	t := trace{folders: folders, files: map[string]string{}}
	for _, folder := range folders {
		s.must(filepath.WalkDir(n.Path(folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			what := info.Mode().String()
			switch {
			case info.Mode().IsRegular():
				raw, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				what += fmt.Sprintf(" %s %q", info.ModTime(), raw)
			case d.Type()&fs.ModeSymlink != 0:
				link, err := os.Readlink(path)
				if err != nil {
					return err
				}
				what += " " + link
			}
			t.files[strings.TrimPrefix(path, n.Path("/"))] = what
			return nil
		}))
	}
	kubeadm, err := n.KubeadmCalls()
	s.must(err)
	systemctl, err := n.SystemctlCalls()
	s.must(err)
	for _, call := range slices.Concat(kubeadm, systemctl) {
		if len(call.Args) > 0 && !slices.Contains([]string{"version", "show", "is-active", "status"}, call.Args[0]) {
			t.deeds = append(t.deeds, strings.Join(call.Args, " "))
		}
	}
	return t
}

// untouched sees that nothing has been done to a machine since.
func (s *story) untouched(n *testbed.Node, was trace) {
	s.Helper()
	is := s.traceOf(n, was.folders...)
	for path := range was.files {
		if is.files[path] != was.files[path] {
			s.Errorf("%s is %q, it was %q", path, is.files[path], was.files[path])
		}
	}
	for path := range is.files {
		if _, before := was.files[path]; !before {
			s.Errorf("%s is new", path)
		}
	}
	if !slices.Equal(is.deeds, was.deeds) {
		s.Errorf("done: %q, before: %q", is.deeds, was.deeds)
	}
}
