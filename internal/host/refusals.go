package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Refusal is what the words with which a kubelet refused to run amount to.
type Refusal struct {
	Passes bool   // time cures it
	Shown  bool   // this machine is as they say: once is enough
	Remedy string // in one line; "" where there are no words
}

const startRuntime = "start the container runtime: `systemctl status containerd` (or crio)"

// refusals are the kubelet's words of all supported minors that tell what they come from. The first row that fits counts.
var refusals = []struct {
	words  string
	passes bool
	shown  func(Host) bool // nil: nothing shows it
	remedy string
}{
	{words: "running with swap on is not supported", shown: Host.SwapOn, // pkg/kubelet/cm/container_manager_linux.go; kubeadm only warns
		remedy: "run `swapoff -a` and take swap out of /etc/fstab, or set failSwapOn: false in the cluster's KubeletConfiguration"},
	{words: "on a host using cgroup v1", // pkg/kubelet/apis/config/validation/validation_linux.go
		remedy: "boot this machine with cgroup v2 (`systemd.unified_cgroup_hierarchy=1` on the kernel's command line), or set failCgroupV1: false in the cluster's KubeletConfiguration"},
	{words: "code = Unimplemented", // cri-client/pkg/remote_runtime.go
		remedy: "the container runtime serves no kubelets: take \"cri\" out of disabled_plugins in /etc/containerd/config.toml, or install a newer one, and restart it"},
	{words: "code = Unavailable", passes: true, remedy: startRuntime},
	{words: "code = DeadlineExceeded", passes: true, remedy: startRuntime},
	{words: "no space left on device", passes: true, remedy: "make room on the disk of /var/lib/kubelet"},
	{words: "validate service connection", passes: true, remedy: startRuntime},
	{words: "failed to read kubelet config file", passes: true, remedy: "kubeadm join writes its configuration"}, // pkg/kubelet/kubeletconfig/configfiles
	{words: "unable to load bootstrap kubeconfig", passes: true, remedy: "its certificate is missing or has expired, and it has no token to get another with: `nodejoin join` brings one"},
	{words: "certificate signing request", passes: true, remedy: "is the API server up?"}, // pkg/kubelet/certificate/bootstrap
	{words: "dial tcp ", passes: true, remedy: "is the API server up?"},
	{words: "address already in use", remedy: "another process has the kubelet's port: `ss -ltnp` names it"},
}

// mistakes are the words of a kubelet that does not understand its flags or its configuration (cmd/kubelet/app/server.go,
// pkg/kubelet/apis/config/validation, spf13/pflag): only a person mends them. Whatever else it says may pass.
var mistakes = []string{"unknown flag", "unknown shorthand flag", "flag needs an argument", "invalid argument", "kubelet flag", "failed to load kubelet config",
	"failed to validate kubelet config", "invalid configuration", "feature gate", "unknown 'kubernetes.io'", "not supported"}

// RefusalOf says what to do about a kubelet that refused to run with these words.
func (h Host) RefusalOf(fatal string) Refusal {
	if fatal == "" {
		return Refusal{}
	}
	for _, r := range refusals {
		if strings.Contains(fatal, r.words) {
			return Refusal{r.passes, r.shown != nil && r.shown(h), r.remedy}
		}
	}
	if !slices.ContainsFunc(mistakes, func(words string) bool { return strings.Contains(fatal, words) }) {
		return Refusal{Passes: true, Remedy: "its log says more, and systemd starts it again: `journalctl -u kubelet`"}
	}
	from := "/etc/default/kubelet, a drop-in of kubelet.service, /var/lib/kubelet/kubeadm-flags.env or config.yaml"
	if files := h.namedIn(fatal); len(files) > 0 {
		from = strings.Join(files, ", ")
	}
	return Refusal{Remedy: fmt.Sprintf("mend that where it comes from (%s), and run nodejoin again", from)}
}

// argumentFiles are where the kubelet's arguments come from, by kubeadm's unit and the packages of the distributions.
var argumentFiles = []string{
	"/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/conf.d/kubelet", "/var/lib/kubelet/kubeadm-flags.env",
	"/etc/systemd/system/kubelet.service.d/*.conf", "/run/systemd/system/kubelet.service.d/*.conf", "/usr/lib/systemd/system/kubelet.service.d/*.conf",
	"/lib/systemd/system/kubelet.service.d/*.conf", "/etc/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service", "/lib/systemd/system/kubelet.service",
}

var flagInWords = regexp.MustCompile(`--([a-z][a-z0-9-]+)`)

// namedIn are the files that hold the flag, or are the configuration, of which the words tell.
func (h Host) namedIn(words string) (files []string) {
	for _, flag := range flagInWords.FindAllString(words, -1) {
		for _, pattern := range argumentFiles {
			paths, _ := filepath.Glob(h.Path(pattern))
			for _, path := range paths {
				text, err := os.ReadFile(path)
				path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, h.Path("/")), "/")
				if err == nil && bytes.Contains(text, []byte(flag)) && !slices.Contains(files, path) {
					files = append(files, path)
				}
			}
		}
	}
	if strings.Contains(words, "kubelet config") && len(files) == 0 { // as in "failed to load kubelet config file" and "failed to validate kubelet configuration"
		files = append(files, kubeletConfig)
	}
	return files
}
