package kubeadm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// heard are words that no transcript has, of what is not brought about on one machine for all: kind and a part of the remedy.
var heard = map[string]struct {
	kind Kind
	hint string
}{
	"\t[ERROR FileContent--proc-sys-net-ipv4-ip_forward]: /proc/sys/net/ipv4/ip_forward contents are not set to 1":                           {Unfit, "sysctl -w net.ipv4.ip_forward=1"},
	"\t[ERROR FileContent--proc-sys-net-bridge-bridge-nf-call-iptables]: /proc/sys/net/bridge/bridge-nf-call-iptables does not exist":        {Unfit, "net.bridge.bridge-nf-call-iptables (`modprobe br_netfilter`"},
	"\t[ERROR KubeletVersion]: couldn't get kubelet version: cannot execute 'kubelet --version': fork/exec /usr/bin/kubelet: text file busy": {Retry, ""},
	"\t[ERROR Swap]: running with swap on is not supported. Please disable swap":                                                             {Unfit, "swapoff -a"},
	"\t[ERROR IsPrivilegedUser]: user is not running as root":                                                                                {Unfit, "as root"},
	"\t[ERROR FileExisting-conntrack]: conntrack not found in system path":                                                                   {Unfit, "install conntrack"},
	"\t[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2":                                                           {Unfit, "=NumCPU"},
	"\t[ERROR Mem]: the system RAM (512 MB) is less than the minimum 1700 MB":                                                                {Unfit, "=Mem"},
	"\t[ERROR KubernetesVersion]: it is not supported":                                                                                       {Unfit, "install a kubelet and kubeadm"},
	"\t[ERROR SystemVerification]: cgroups v1 support is deprecated and will be removed in a future release":                                 {Unfit, "unified_cgroup_hierarchy=1"},
	"\t[ERROR DirAvailable--etc-kubernetes-manifests]: /etc/kubernetes/manifests is not empty":                                               {Leftovers, ""},
	"\t[ERROR CRI]: container runtime is not running":                                                                                        {Runtime, "start the container runtime"},
	"\t[ERROR ContainerRuntimeVersion]: container runtime is not running":                                                                    {Runtime, "start the container runtime"},
	// Docker's package of containerd, asked by kubeadm 1.37.
	"\t[ERROR CRI]: could not connect to the container runtime: failed to create new CRI runtime service: validate service connection: validate CRI v1 runtime API for endpoint " +
		`"unix:///var/run/containerd/containerd.sock": rpc error: code = Unimplemented desc = unknown service runtime.v1.RuntimeService` + "\n\t[ERROR ContainerRuntimeVersion]: the same": {Unserved, "disabled_plugins"},
	"error: error execution phase preflight: unable to fetch the kubeadm-config ConfigMap: this version of kubeadm only supports deploying clusters with the control plane version >= 1.36.0. Current version: v1.35.0": {Unfit, "install a kubelet and kubeadm"},
	"\t[WARNING Swap]: swap is supported for cgroup v2 only.\nerror: error execution phase kubelet-wait-bootstrap: failed while waiting for the kubelet to start: x":                                                    {Kubelet, "failSwapOn"},
	"error: error execution phase preflight: couldn't validate the identity of the API Server: token id \"abcdef\" is invalid for this cluster or it has expired":                                                       {Unsigned, "kubeadm token create"},
	"Invalid value: \"x\"":                 {Usage, ""},
	"Required value: x":                    {Usage, ""},
	"no JoinConfiguration found in x":      {Usage, ""},
	"invalid configuration for x":          {Usage, ""},
	"error unmarshaling configuration x":   {Usage, ""},
	"strict decoding error: unknown field": {Usage, ""},
}

func TestRemediesOfWhatIsHeard(t *testing.T) {
	for output, want := range heard {
		f := failed(t, output)
		if got := f.Hint(); f.Kind() != want.kind || !strings.Contains(got, want.hint) || want.hint == "" && got != "" || strings.ContainsAny(got, "\n") || strings.Contains(got, subject) {
			t.Errorf("%q: %s, hint %q, want %s with %q in it", output, f.Kind(), got, want.kind, want.hint)
		}
	}
	asked := Version{}.NoRuntime(errors.New("the socket does not serve the container runtime interface: code = Unimplemented desc = unknown service runtime.v1.RuntimeService"))
	if asked.Kind() != Unserved {
		t.Errorf("a runtime that nodejoin has asked itself: %s", asked.Kind())
	}
}

// A row that no words reach is none, or stands behind another one.
func TestEveryRowIsHeardOf(t *testing.T) {
	type row struct{ check, text, warned string }
	reached := map[row]bool{}
	listen := func(output string) {
		f := failed(t, output)
		found := []diagnosis{f.diagnosis()}
		for _, c := range f.Checks {
			found = append(found, c.diagnosis())
		}
		for _, d := range found {
			reached[row{d.check, d.text, d.warned}] = true
		}
	}
	files, _ := filepath.Glob("testdata/*/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		listen(string(text))
	}
	for output := range heard {
		listen(output)
	}
	for _, d := range diagnoses {
		if !reached[row{d.check, d.text, d.warned}] {
			t.Errorf("neither a transcript nor the table of this test has words for %+v", d)
		}
	}
}
