package kubeadm

// diagnosis is what some words of kubeadm's amount to.
type diagnosis struct {
	check  string // a preflight check that failed, or with a dash at the end any that begins so; "": kubeadm's last word is looked at
	text   string // in the check's message, or in the last word
	early  bool   // counts only before kubeadm's first phase
	warned string // counts only beside this warning
	kind   Kind   // says whether time cures it
	hint   string // the remedy, with subject for what the check is about
}

// subject stands for what a check is about.
const subject = "SUBJECT"

// tooNew is what a kubeadm says that is two minors newer than the cluster, after it has read the cluster's configuration.
const tooNew = "this version of kubeadm only supports deploying clusters with the control plane version"

// What it says of a wait in vain, since 1.33.
const (
	kubeletInVain   = "failed while waiting for the kubelet to start"
	bootstrapInVain = "failed while waiting for TLS bootstrap"
)

const (
	versionHint = "install a kubelet and kubeadm that fit the cluster's version: not newer than its control plane"
	runtimeHint = "start the container runtime, or name its socket with --cri-socket"
	criHint     = "the container runtime runs and serves no kubelets: take \"cri\" out of disabled_plugins in /etc/containerd/config.toml, where Docker's package puts it, " +
		"or install a newer one (containerd 1.6 or later), and restart it"
)

// diagnoses are all that nodejoin understands of kubeadm's words; the first row that fits counts. testdata has the words of every
// minor. A check that is not here, because a later kubeadm invented it, is worth another try.
var diagnoses = []diagnosis{
	{check: "Swap", kind: Unfit, hint: "turn swap off (`swapoff -a`, and /etc/fstab), or set failSwapOn: false in the KubeletConfiguration"},
	{check: "IsPrivilegedUser", kind: Unfit, hint: "run nodejoin as root"},
	{check: "SystemVerification", text: "kubelet version", kind: Unfit, hint: "install the kubelet, of the same minor release as the cluster's control plane or an older one"},
	{check: "SystemVerification", text: "cgroups v1 support", kind: Unfit, hint: "boot this machine with cgroup v2 (`systemd.unified_cgroup_hierarchy=1` on the kernel's command line); to go on with v1 set " +
		"failCgroupV1: false in the cluster's KubeletConfiguration and give --ignore-preflight-errors=SystemVerification"},
	{check: "SystemVerification", kind: Unfit, hint: "see the report of the system verification in kubeadm's output; --ignore-preflight-errors=SystemVerification goes on regardless"},
	{check: "KubeletVersion", text: "not found", kind: Unfit, hint: "install the kubelet, of the same minor release as the cluster's control plane or an older one"},
	{check: "KubeletVersion", text: "couldn't get kubelet version", kind: Retry}, // a kubelet that is just being installed, or a machine without memory,
	{check: "KubeletVersion", kind: Unfit, hint: versionHint},
	{check: "KubernetesVersion", kind: Unfit, hint: versionHint},
	{check: "FileContent--proc-sys-", text: "does not exist", kind: Unfit, hint: "load the kernel module that brings " + subject + " (`modprobe br_netfilter` for net.bridge.*)"},
	{check: "FileContent--proc-sys-", kind: Unfit, hint: "set it now with `sysctl -w " + subject + "=1`, and in /etc/sysctl.d for the next boot"},
	{check: "FileExisting-", kind: Unfit, hint: "install " + subject},
	{check: "NumCPU", kind: Unfit, hint: "use a larger machine, or --ignore-preflight-errors=NumCPU"},
	{check: "Mem", kind: Unfit, hint: "use a larger machine, or --ignore-preflight-errors=Mem"},
	{check: "CRI", text: "code = Unimplemented", kind: Unserved, hint: criHint}, // gRPC, in cri-client/pkg/remote_runtime.go
	{check: "CRI", kind: Runtime, hint: runtimeHint},
	{check: "ContainerRuntimeVersion", kind: Runtime, hint: runtimeHint},
	{check: "FileAvailable-", kind: Leftovers},
	{check: "DirAvailable-", kind: Leftovers},
	{check: "Port-10250", kind: Leftovers},

	{text: tooNew, kind: Unfit, hint: versionHint},                                                                     // util/config/common.go
	{text: "found multiple CRI endpoints", kind: Usage, hint: "name the container runtime's socket with --cri-socket"}, // util/runtime/runtime.go
	{text: "none of the public keys", kind: Pin, // util/pubkeypin/pubkeypin.go
		hint: "compare --discovery-token-ca-cert-hash with the cluster's: `kubeadm token create --print-join-command` on its control plane prints it"},
	{text: "failed to verify JWS signature", kind: Signature, // discovery/token/token.go
		hint: "the token's secret is not the cluster's: check the token, or make one with `kubeadm token create`"},
	{text: "could not find a JWS signature", kind: Unsigned, hint: unsignedHint},                // discovery/token/token.go, at the end of its time
	{text: "is invalid for this cluster or it has expired", kind: Unsigned, hint: unsignedHint}, // discovery/token/token.go, the signature went meanwhile
	{text: kubeletInVain, warned: "Swap", kind: Kubelet, // cmd/phases/join/kubelet.go
		hint: "swap is on, which the kubelet refuses by default: turn it off (`swapoff -a`, and /etc/fstab), or set failSwapOn: false in the KubeletConfiguration"},
	{text: kubeletInVain, kind: Kubelet, hint: "see the kubelet's log: `journalctl -u kubelet`"},
	{text: bootstrapInVain, kind: Bootstrap, // cmd/phases/join/kubelet.go
		hint: "see whether the request is pending or denied: `kubectl get csr` with an administrator's kubeconfig"},
	{text: "already exists in the cluster", kind: NodeReady, // cmd/phases/join/kubelet.go: a Node with name "n1" and status "Ready"
		hint: "the cluster has a Ready Node of this name: give this machine another one with --node-name, or delete that Node"},

	// of a kubeadm that refused before its first phase
	{text: "Invalid value: ", early: true, kind: Usage}, // validation's field errors
	{text: "Required value: ", early: true, kind: Usage},
	{text: "can not mix '--config'", early: true, kind: Usage},
	{text: "unknown flag: ", early: true, kind: Usage},
	{text: "invalid phase name: ", early: true, kind: Usage},
	{text: "experimental API spec: ", early: true, kind: Usage},
	{text: "uses an old API spec: ", early: true, kind: Usage},
	{text: "no kind \"JoinConfiguration\"", early: true, kind: Usage},
	{text: "no JoinConfiguration found", early: true, kind: Usage},
	{text: "invalid configuration", early: true, kind: Usage},
	{text: "error unmarshaling configuration", early: true, kind: Usage},
	{text: "strict decoding error", early: true, kind: Usage},
}

const unsignedHint = "the token may have expired: make one with `kubeadm token create`"
