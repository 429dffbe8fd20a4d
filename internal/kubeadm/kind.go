package kubeadm

import (
	"slices"
	"strings"
)

// Kind sorts failures by what can be done about them.
type Kind int

const (
	Retry     Kind = iota // time may cure it, or nothing is known about it
	Unfit                 // a person must mend this host
	Usage                 // the configuration is wrong, or does not say enough
	Runtime               // the container runtime does not answer
	Leftovers             // files of an earlier join, or a kubelet at work, are in the way
	NodeReady             // the cluster has a Ready Node of this name: our own stale one, or another machine's
	Pin                   // the cluster's CA is not the pinned one
	Signature             // cluster-info is not signed with this token's secret
	Unsigned              // cluster-info has no signature for this token ID: not yet, or the token has expired
	Kubelet               // the kubelet does not become healthy
	Bootstrap             // the kubelet is healthy but gets no certificate
)

func (k Kind) String() string {
	return [...]string{"Retry", "Unfit", "Usage", "Runtime", "Leftovers", "NodeReady", "Pin", "Signature", "Unsigned",
		"Kubelet", "Bootstrap"}[k]
}

// unfit are the checks that time does not cure, as whole names or, with a dash at the end, as beginnings. A check that is not
// listed here, because a later kubeadm invented it, is worth another try.
var unfit = []string{"FileContent--proc-sys-", "FileExisting-", "IsPrivilegedUser", "KubeletVersion", "KubernetesVersion",
	"Mem", "NumCPU", "Swap", "SystemVerification"}

// tooNew is what a kubeadm says that is two minors newer than the cluster, after it has read the cluster's configuration.
const tooNew = "this version of kubeadm only supports deploying clusters with the control plane version"

// What it says of a wait in vain, since 1.33.
const (
	kubeletInVain   = "failed while waiting for the kubelet to start"
	bootstrapInVain = "failed while waiting for TLS bootstrap"
)

// words are kubeadm's texts that tell more than the phase does. testdata has them of every minor.
var words = []struct {
	text string
	kind Kind
}{
	{tooNew, Unfit},                                             // util/config/common.go
	{"found multiple CRI endpoints", Usage},                     // util/runtime/runtime.go
	{"none of the public keys", Pin},                            // util/pubkeypin/pubkeypin.go
	{"failed to verify JWS signature", Signature},               // discovery/token/token.go
	{"could not find a JWS signature", Unsigned},                // discovery/token/token.go, at the end of its time
	{"is invalid for this cluster or it has expired", Unsigned}, // discovery/token/token.go, the signature went meanwhile
	{kubeletInVain, Kubelet},                                    // cmd/phases/join/kubelet.go
	{bootstrapInVain, Bootstrap},                                // cmd/phases/join/kubelet.go
}

// usage are texts of a kubeadm that refused before its first phase.
var usage = []string{
	"Invalid value: ", "Required value: ", // validation's field errors
	"can not mix '--config'", "unknown flag: ", "invalid phase name: ",
	"experimental API spec: ", "uses an old API spec: ", "no kind \"JoinConfiguration\"", "no JoinConfiguration found",
	"invalid configuration", "error unmarshaling configuration", "strict decoding error",
}

// Kind tells what the failure looks like. Of several failed checks the one that time cures least decides, and the runtime
// before leftovers: a reset without it leaves pods running.
func (f *Failure) Kind() Kind {
	var kinds []Kind
	for _, c := range f.Checks {
		kinds = append(kinds, c.kind())
	}
	for _, k := range []Kind{Unfit, Runtime, Leftovers} {
		if slices.Contains(kinds, k) {
			return k
		}
	}
	for _, w := range words {
		if strings.Contains(f.reason, w.text) {
			return w.kind
		}
	}
	// cmd/phases/join/kubelet.go: a Node with name "n1" and status "Ready" already exists in the cluster.
	if strings.Contains(f.reason, "a Node with name") && strings.Contains(f.reason, "already exists in the cluster") {
		return NodeReady
	}
	if f.Phase == "" && slices.ContainsFunc(usage, func(u string) bool { return strings.Contains(f.reason, u) }) {
		return Usage
	}
	return Retry
}

func (c Check) kind() Kind {
	switch {
	case slices.ContainsFunc(unfit, func(u string) bool {
		return c.Name == u || strings.HasSuffix(u, "-") && strings.HasPrefix(c.Name, u)
	}):
		return Unfit
	case c.Name == "CRI", c.Name == "ContainerRuntimeVersion":
		return Runtime
	case strings.HasPrefix(c.Name, "FileAvailable-"), strings.HasPrefix(c.Name, "DirAvailable-"), c.Name == "Port-10250":
		return Leftovers
	}
	return Retry
}

// Hint is one line that tells a person what to do, or "" if there is nothing to say.
func (f *Failure) Hint() string {
	kind := f.Kind()
	for _, c := range f.Checks {
		if c.kind() == kind {
			if hint := c.hint(); hint != "" {
				return hint
			}
		}
	}
	switch kind {
	case Unfit: // and no check
		return versionHint
	case Usage:
		if strings.Contains(f.reason, "found multiple CRI endpoints") {
			return "name the container runtime's socket with --cri-socket"
		}
	case NodeReady:
		return "the cluster has a Ready Node of this name: give this machine another one with --node-name, or delete that Node"
	case Pin:
		return "compare --discovery-token-ca-cert-hash with the cluster's: `kubeadm token create --print-join-command` on its control plane prints it"
	case Signature:
		return "the token's secret is not the cluster's: check the token, or make one with `kubeadm token create`"
	case Unsigned:
		return "the token may have expired: make one with `kubeadm token create`"
	case Kubelet:
		if slices.ContainsFunc(f.Warnings, func(c Check) bool { return c.Name == "Swap" }) {
			return "swap is on, which the kubelet refuses by default: turn it off (`swapoff -a`, and /etc/fstab), or set failSwapOn: false in the KubeletConfiguration"
		}
		return "see the kubelet's log: `journalctl -u kubelet`"
	case Bootstrap:
		return "see whether the request is pending or denied: `kubectl get csr` with an administrator's kubeconfig"
	}
	return ""
}

const versionHint = "install a kubelet and kubeadm that fit the cluster's version: not newer than its control plane"

func (c Check) hint() string {
	switch {
	case c.Name == "Swap":
		return "turn swap off (`swapoff -a`, and /etc/fstab), or set failSwapOn: false in the KubeletConfiguration"
	case c.Name == "IsPrivilegedUser":
		return "run nodejoin as root"
	case c.Name == "SystemVerification" && strings.Contains(c.Message, "kubelet version"),
		c.Name == "KubeletVersion" && strings.Contains(c.Message, "not found"):
		return "install the kubelet, of the same minor release as the cluster's control plane or an older one"
	case c.Name == "KubeletVersion", c.Name == "KubernetesVersion":
		return versionHint
	case c.Name == "SystemVerification":
		return "see the report of the system verification in kubeadm's output; --ignore-preflight-errors=SystemVerification goes on regardless"
	case strings.HasPrefix(c.Name, "FileContent--proc-sys-"):
		key := strings.TrimPrefix(c.Name, "FileContent--proc-sys-")
		if path, _, ok := strings.Cut(strings.TrimPrefix(c.Message, "/proc/sys/"), " "); ok {
			key = strings.ReplaceAll(path, "/", ".")
		}
		if strings.Contains(c.Message, "does not exist") {
			return "load the kernel module that brings " + key + " (`modprobe br_netfilter` for net.bridge.*)"
		}
		return "set it now with `sysctl -w " + key + "=1`, and in /etc/sysctl.d for the next boot"
	case strings.HasPrefix(c.Name, "FileExisting-"):
		return "install " + strings.TrimPrefix(c.Name, "FileExisting-")
	case c.Name == "NumCPU", c.Name == "Mem":
		return "use a larger machine, or --ignore-preflight-errors=" + c.Name
	case c.Name == "CRI", c.Name == "ContainerRuntimeVersion":
		return "start the container runtime, or name its socket with --cri-socket"
	}
	return ""
}
