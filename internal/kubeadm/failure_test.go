package kubeadm

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testdata/v1.37.2 holds what kubeadm v1.37.2 printed, standard output and error as one, when each of these things was wrong.
const corpus = "testdata/v1.37.2"

func failed(t testing.TB, output string) *Failure {
	t.Helper()
	said := transcript{}
	for line := range strings.Lines(output) {
		if plain, listing := withoutColour(strings.TrimSuffix(line, "\n")); !listing {
			said.add(plain)
		}
	}
	return said.failure("kubeadm join", 1, &exec.ExitError{})
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpus, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFailuresOfRealKubeadm(t *testing.T) {
	for name, want := range map[string]struct {
		kind        Kind
		phase       string
		error, hint string // parts of them
	}{
		"verification": {Unfit, "preflight", "SystemVerification: missing required cgroups: memory", "--ignore-preflight-errors=SystemVerification"},
		"preflight":    {Unfit, "preflight", "CRI: could not connect to the container runtime", "install the kubelet"},
		"leftovers":    {Unfit, "preflight", "FileAvailable--etc-kubernetes-kubelet.conf: /etc/kubernetes/kubelet.conf already exists; ", "install the kubelet"},
		"pin":          {Pin, "preflight", "are pinned", "--discovery-token-ca-cert-hash"},
		"signature":    {Signature, "preflight", "failed to verify JWS signature", "token"},
		"unsigned":     {Unsigned, "preflight", `for token ID "abcdef"`, "kubeadm token create"},
		"unreachable":  {Retry, "preflight", "connect: network is unreachable", ""},
		"unauthorized": {Retry, "preflight", "failed to get config map: Unauthorized", ""},
		"ready":        {NodeReady, "kubelet-start", `a Node with name "n1" and status "Ready" already exists`, "--node-name"},
		"kubelet":      {Kubelet, "kubelet-wait-bootstrap", "connection refused", "journalctl -u kubelet"},
		"bootstrap":    {Bootstrap, "kubelet-wait-bootstrap", "failed while waiting for TLS bootstrap", "kubectl get csr"},
		"sockets":      {Usage, "", "found multiple CRI endpoints", "--cri-socket"},
		"malformed":    {Usage, "", "the bootstrap token is invalid", ""},
		"v1beta3":      {Usage, "", "uses an old API spec", ""},
		"v1":           {Usage, "", "experimental API spec", ""},
		"v1beta9":      {Usage, "", `no kind "JoinConfiguration" is registered`, ""},
		"twodocs":      {Usage, "", "is specified twice", ""},
		"mixed":        {Usage, "", "can not mix", ""},
		"badflag":      {Usage, "", "unknown flag: --nope", ""},
		"all-and-more": {Usage, "", "don't specify individual checks", ""},
	} {
		f := failed(t, read(t, name))
		if f.Kind() != want.kind || f.Phase != want.phase {
			t.Errorf("%s: kind %s in phase %q, want %s in %q", name, f.Kind(), f.Phase, want.kind, want.phase)
		}
		if text := f.Error(); !strings.Contains(text, want.error) || strings.Contains(text, "\n") || !strings.HasPrefix(text, "running kubeadm join: ") {
			t.Errorf("%s: error %q does not say %q", name, text, want.error)
		}
		if hint := f.Hint(); !strings.Contains(hint, want.hint) || want.hint == "" && hint != "" {
			t.Errorf("%s: hint %q, want %q in it", name, hint, want.hint)
		}
	}
}

func TestChecksByName(t *testing.T) {
	f := failed(t, read(t, "leftovers"))
	var names []string
	for _, c := range f.Checks {
		names = append(names, c.Name)
	}
	want := []string{"FileAvailable--etc-kubernetes-kubelet.conf", "FileAvailable--etc-kubernetes-bootstrap-kubelet.conf", "CRI",
		"ContainerRuntimeVersion", "SystemVerification", "KubeletVersion", "FileAvailable--etc-kubernetes-pki-ca.crt", "FileContent--proc-sys-net-ipv4-ip_forward"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	if len(f.Warnings) != 1 || f.Warnings[0].Name != "Service-kubelet" {
		t.Errorf("warnings: %+v", f.Warnings)
	}
	for name, want := range map[string]Kind{
		"Swap": Unfit, "IsPrivilegedUser": Unfit, "SystemVerification": Unfit, "KubeletVersion": Unfit, "NumCPU": Unfit, "Mem": Unfit,
		"FileContent--proc-sys-net-ipv4-ip_forward": Unfit, "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables": Unfit,
		"FileExisting-conntrack": Unfit, "CRI": Runtime, "Port-10250": Leftovers, "DirAvailable--etc-kubernetes-manifests": Leftovers,
		"FileAvailable--etc-kubernetes-pki-ca.crt": Leftovers,
		// Unknown ones may be cured by time: Memory is not Mem, and Port-10251 is nobody we know.
		"Memory": Retry, "Port-10251": Retry, "ImagePull": Retry, "QuantumState": Retry, "": Retry,
	} {
		if got := (Check{Name: name}).kind(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestTheCheckThatTimeCuresLeastDecides(t *testing.T) {
	const cri, left, swap, odd = "\t[ERROR CRI]: down\n", "\t[ERROR FileAvailable--etc-kubernetes-kubelet.conf]: there\n", "\t[ERROR Swap]: on\n", "\t[ERROR New]: x\n"
	for output, want := range map[string]Kind{
		"error: error execution phase kubelet-start: Invalid value: the API server's words, not kubeadm's": Retry,
		odd: Retry, odd + left: Leftovers, left + cri: Runtime, cri + left + swap: Unfit,
		"[preflight]\t[ERROR Swap]: not at the line's beginning\n": Retry,
	} {
		if got := failed(t, output).Kind(); got != want {
			t.Errorf("%q: %s, want %s", output, got, want)
		}
	}
}

func TestOlderKubeadmSaysItWithoutThePrefix(t *testing.T) {
	f := failed(t, "[preflight] Running pre-flight checks\nerror execution phase kubelet-start: a Node with name \"n1\" and status \"Ready\" already exists in the cluster. You must delete it\nTo see the stack trace of this error execute with --v=5 or higher\n")
	if f.Kind() != NodeReady || f.Phase != "kubelet-start" {
		t.Errorf("got %s in phase %q", f.Kind(), f.Phase)
	}
	f = failed(t, "found multiple CRI endpoints on the host. Please define which one\nTo see the stack trace of this error execute with --v=5 or higher\n")
	if f.Kind() != Usage || !strings.Contains(f.Error(), "found multiple CRI endpoints") {
		t.Errorf("got %s: %v", f.Kind(), f)
	}
}

func TestOlderKubeadmDoesNotSayWhatItWaitedFor(t *testing.T) {
	const (
		check = "[kubelet-check] Waiting for a healthy kubelet at http://127.0.0.1:10248/healthz. This can take up to 1m30s\n"
		tls   = "[kubelet-check] The kubelet is healthy after 501ms\n[kubelet-start] Waiting for the kubelet to perform the TLS Bootstrap\n"
		vain  = "error execution phase kubelet-start: context deadline exceeded\n"
		deaf  = "error execution phase kubelet-start: The HTTP call equal to 'curl -sSL http://127.0.0.1:10248/healthz' returned error: refused\n"
		other = "error execution phase kubelet-start: error uploading crisocket: nodes \"n1\" not found\n"
	)
	for output, want := range map[string]Kind{check + deaf: Kubelet, check + vain: Kubelet, check + tls + vain: Bootstrap, check + tls + other: Retry, vain: Retry} {
		if f := failed(t, output); f.Kind() != want || f.Phase != "kubelet-start" {
			t.Errorf("%q: %s in phase %q, want %s: %v", output, f.Kind(), f.Phase, want, f)
		}
	}
}

func TestAResetsWarningsAreNotItsFailure(t *testing.T) {
	f := failed(t, read(t, "reset"))
	if f.Kind() != Retry || len(f.Checks) != 0 || f.Phase != "" {
		t.Errorf("got %s, %+v, phase %q", f.Kind(), f.Checks, f.Phase)
	}
}

func TestTheTailIsBoundedAndTheErrorIsShort(t *testing.T) {
	f := failed(t, strings.Repeat("\t[ERROR Odd]: "+strings.Repeat("long ", 50)+"\n", 100))
	if len(f.Tail) != tailLines || len(f.Error()) > maxReason+100 {
		t.Errorf("tail of %d lines, error of %d bytes", len(f.Tail), len(f.Error()))
	}
}

func FuzzPreflight(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.txt")
	if len(files) == 0 {
		f.Fatal("no corpus")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, output string) {
		fail := failed(t, output)
		_ = fail.Hint()
		if strings.ContainsAny(fail.Error(), "\n") {
			t.Errorf("an error of several lines: %q", fail.Error())
		}
		if fail.Kind() == Unfit && len(fail.Checks) == 0 && !strings.Contains(fail.Said, tooNew) {
			t.Error("a host judged unfit without a failed check")
		}
		for _, c := range fail.Checks {
			if plain, _ := withoutColour(output); !strings.Contains(plain, "[ERROR "+c.Name+"]") {
				t.Errorf("invented check %q", c.Name)
			}
		}
	})
}
