package testbed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// NodeOptions describe a node.
type NodeOptions struct {
	Hostname    string        // the machine's name in the testbed if empty; two machines may share one
	KubeletArgs []string      // KUBELET_EXTRA_ARGS in /etc/default/kubelet
	CNI         bool          // AddCNI from the start
	NoRuntime   bool          // containerd is installed but does not run: StartUnit("containerd")
	KubeletWait time.Duration // RestartSec of the kubelet's unit; 10 s, as in kubeadm's package, if zero
	Kubelet     []string      // run in place of the kubelet, for a crowd of nodes that one host could not bear
	Kubernetes  string        // the minor of its kubeadm and kubelet, as in "1.34"; "" as BuildNodeParts has it
	KernelOf    *Node         // a container beside this one: they have one boot_id and one firmware, and each its own machine-id
}

// Node is a machine that could become a Node: kubeadm, kubelet, kubectl and containerd are installed; containerd runs, and
// the kubelet is enabled, so it restarts for ever until a join gives it a configuration, as it does in the field.
type Node struct {
	*Machine
	kubeletWait time.Duration
	kubelet     []string
}

// CRISocket is where a node's containerd listens.
const CRISocket = "unix:///run/containerd/containerd.sock"

// RealKubeadm is the compiled kubeadm inside a machine, for scripts that stand before it.
const RealKubeadm = machine.PartsDir + "/kubeadm"

// TestbedFolder holds the testbed's own records inside a machine, among them the argv of every kubeadm.
const TestbedFolder = machine.DataDir

// Inside a container, where a testbed may well live, nobody may lower a process's oom_score_adj.
const containerdConfig = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "` + PauseImage + `"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
`

// The pid stays the same from the recorder to kubeadm, and so does the process group.
const kubeadmRecorder = `#!/bin/sh
{ printf '%%s\0' "$(date +%%s.%%N)" "$#" "$@"; } >> %s
exec %s "$@"
`

var kubeadmCalls = filepath.Join(machine.DataDir, "kubeadm.calls")

// Node makes and boots a node.
func (tb *Testbed) Node(ctx context.Context, name string, opts NodeOptions) (*Node, error) {
	if opts.Hostname == "" {
		opts.Hostname = name
	}
	if err := spareInotify(); err != nil {
		return nil, fmt.Errorf("making node %s: %w", name, err)
	}
	parts, err := BuildNodeParts(ctx, tb.out, opts.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("making node %s: %w", name, err)
	}
	m, err := tb.newMachine(name, opts.Hostname, parts)
	if err != nil {
		return nil, fmt.Errorf("making node %s: %w", name, err)
	}
	if opts.KernelOf != nil {
		if err := m.shareKernel(opts.KernelOf.Machine); err != nil {
			return nil, fmt.Errorf("making node %s: %w", name, err)
		}
	}
	n := &Node{m, opts.KubeletWait, opts.Kubelet}
	if n.kubeletWait == 0 {
		n.kubeletWait = 10 * time.Second
	}
	if err := n.prepare(opts); err != nil {
		return nil, fmt.Errorf("making node %s: %w", name, err)
	}
	if err := n.addPrograms(ctx); err != nil {
		return nil, fmt.Errorf("making node %s: %w", name, err)
	}
	n.sysctls["net/ipv4/ip_forward"] = "1" // kubeadm's preflight wants it
	if err := n.boot(); err != nil {
		return nil, err
	}
	if opts.NoRuntime {
		return n, nil
	}
	if err := n.WaitRuntime(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// spareInotify tells a full host apart from a broken node: a kubelet takes 6 inotify instances, containerd 2, and neither
// says clearly that it got none.
func spareInotify() error {
	for range 8 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			return fmt.Errorf("asking for inotify instances: %w\n  to mend it: sysctl -w fs.inotify.max_user_instances=1024", err)
		}
		defer unix.Close(fd)
	}
	return nil
}

func (n *Node) prepare(opts NodeOptions) error {
	for _, name := range []string{"kubelet", "kubectl", "containerd", "containerd-shim-runc-v2", "runc"} {
		if err := os.Symlink(filepath.Join(machine.PartsDir, name), n.disk(filepath.Join(machine.BinDir, name))); err != nil {
			return err
		}
	}
	if err := n.WrapKubeadm(""); err != nil {
		return err
	}
	if err := os.MkdirAll(n.disk("/etc/containerd"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(n.disk("/etc/containerd/config.toml"), []byte(containerdConfig), 0o644); err != nil {
		return err
	}
	if err := n.SetKubeletArgs(opts.KubeletArgs...); err != nil {
		return err
	}
	if opts.CNI {
		if err := n.AddCNI(); err != nil {
			return err
		}
	}
	units, err := json.Marshal([]machine.Unit{n.containerdUnit(!opts.NoRuntime), n.kubeletUnit()})
	if err != nil {
		return err
	}
	return os.WriteFile(n.disk(machine.DataDir+"/units.json"), units, 0o644)
}

// addPrograms adds those of the distribution that this minor's kubeadm wants to find in PATH. It does not run them.
func (n *Node) addPrograms(ctx context.Context) error {
	if len(n.parts.programs) == 0 {
		return nil
	}
	image, err := BuildImage(ctx, n.tb.out)
	for name, path := range n.parts.programs {
		if err == nil {
			err = n.Install(filepath.Join(image, path), name)
		}
	}
	return err
}

// kubeletUnit is kubeadm's drop-in of kubelet.service. The testbed's own flag comes first, so a test's wins.
func (n *Node) kubeletUnit() machine.Unit {
	command := inPlace(n.kubelet)
	if n.kubelet == nil {
		command = []string{"kubelet", "--cgroup-root=/" + n.cgroup,
			"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf", "--kubeconfig=/etc/kubernetes/kubelet.conf",
			"--config=/var/lib/kubelet/config.yaml", "$KUBELET_KUBEADM_ARGS", "$KUBELET_EXTRA_ARGS"}
	}
	return machine.Unit{
		Name: "kubelet.service", Description: "kubelet: The Kubernetes Node Agent", Command: command,
		EnvFiles: []string{"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet"},
		Restart:  true, RestartSec: n.kubeletWait, Enabled: true,
	}
}

func (n *Node) containerdUnit(enabled bool) machine.Unit {
	return machine.Unit{
		Name: "containerd.service", Description: "containerd container runtime", Command: []string{"containerd"},
		Restart: true, RestartSec: 5 * time.Second, Enabled: enabled,
	}
}

// distributionsConfig is containerdConfig as containerd 1 reads it.
const distributionsConfig = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
`

// UseDistributionsRuntime puts the containerd of the host's distribution, often an old one, in the place of the testbed's.
func (n *Node) UseDistributionsRuntime(ctx context.Context) error {
	image, err := BuildImage(ctx, n.tb.out)
	if err != nil {
		return err
	}
	err = n.StopUnit("containerd")
	for _, program := range []string{"containerd", "containerd-shim-runc-v2"} {
		err = errors.Join(err, n.Install(filepath.Join(image, "usr/bin", program), program))
	}
	err = errors.Join(err, n.WriteFile("/etc/containerd/config.toml", distributionsConfig, 0o644), n.StartUnit("containerd"))
	if err != nil {
		return fmt.Errorf("installing the distribution's containerd on %s: %w", n.Name, err)
	}
	return n.WaitRuntime(ctx)
}

// WaitRuntime returns when containerd listens.
func (n *Node) WaitRuntime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		conn, err := net.Dial("unix", n.Path("/run/containerd/containerd.sock"))
		if err != nil {
			return false, err
		}
		return true, conn.Close()
	})
	if err != nil {
		return fmt.Errorf("waiting for containerd on %s: %w\n%s", n.Name, err, n.Log("containerd"))
	}
	return nil
}

// AddCNI adds a network configuration that names only the loopback plugin: the Node becomes Ready. Without one it stays
// NotReady, as nodes do whose CNI comes late.
func (n *Node) AddCNI() error { return os.WriteFile(n.disk(cniFile), []byte(cniConfig), 0o644) }

const (
	cniFile   = "/etc/cni/net.d/10-testbed.conflist"
	cniConfig = `{"cniVersion":"1.0.0","name":"testbed","plugins":[{"type":"loopback"}]}` + "\n"
)

// RemoveCNI undoes AddCNI.
func (n *Node) RemoveCNI() error { return os.Remove(n.disk(cniFile)) }

// SetKubeletArgs writes KUBELET_EXTRA_ARGS; the kubelet reads it at its next start.
func (n *Node) SetKubeletArgs(args ...string) error {
	text := fmt.Sprintf("KUBELET_EXTRA_ARGS=%q\n", strings.Join(args, " "))
	return os.WriteFile(n.disk("/etc/default/kubelet"), []byte(text), 0o644)
}

// WrapKubeadm lets a script run in kubeadm's place; "" is kubeadm again. Its calls are recorded either way, and the script
// finds the real one at RealKubeadm.
func (n *Node) WrapKubeadm(script string) error {
	target := RealKubeadm
	if script != "" {
		if err := n.SetProgram("kubeadm-script", script); err != nil {
			return err
		}
		target = filepath.Join(machine.BinDir, "kubeadm-script")
	}
	return n.SetProgram("kubeadm", fmt.Sprintf(kubeadmRecorder, kubeadmCalls, target))
}

// KubeadmCalls lists all calls of kubeadm, oldest first. They have no exit status: the recorder becomes kubeadm.
func (m *Machine) KubeadmCalls() ([]Call, error) {
	data, err := m.ReadFile(kubeadmCalls)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the calls of kubeadm on %s: %w", m.Name, err)
	}
	words := strings.Split(string(data), "\x00")
	var calls []Call
	for len(words) > 2 {
		seconds, _ := strconv.ParseFloat(words[0], 64)
		count, err := strconv.Atoi(words[1])
		if err != nil || len(words) < 2+count {
			return calls, fmt.Errorf("reading the calls of kubeadm on %s: record %d is torn", m.Name, len(calls)+1)
		}
		calls = append(calls, Call{At: time.UnixMicro(int64(seconds * 1e6)), Args: words[2 : 2+count]})
		words = words[2+count:]
	}
	return calls, nil
}

// KubeadmCount counts the calls of kubeadm with the given first argument: "join", "reset".
func (m *Machine) KubeadmCount(verb string) int {
	calls, _ := m.KubeadmCalls()
	count := 0
	for _, c := range calls {
		if len(c.Args) > 0 && c.Args[0] == verb {
			count++
		}
	}
	return count
}

// SystemctlCalls lists all calls of systemctl, oldest first.
func (n *Node) SystemctlCalls() ([]Call, error) {
	data, err := os.ReadFile(n.disk(machine.CallsFile))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the calls of systemctl on %s: %w", n.Name, err)
	}
	var calls []Call
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var c Call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return calls, fmt.Errorf("reading the calls of systemctl on %s: %w", n.Name, err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// KubeletFault is what is wrong with a node's kubelet unit.
type KubeletFault struct {
	Missing  bool              // there is no kubelet.service
	Masked   bool              // systemctl mask kubelet
	Disabled bool              // does not start at boot
	Fail     map[string]string // verb of systemctl -> what it prints before it exits with 1
	Env      []string          // environment of the kubelet
	Command  []string          // run in place of the kubelet
}

// SetKubeletFault changes the kubelet's unit; the zero value mends it. A running kubelet keeps running.
func (n *Node) SetKubeletFault(f KubeletFault) error {
	u := n.kubeletUnit()
	u.Missing, u.Masked, u.Enabled, u.Fail, u.Env = f.Missing, f.Masked, !f.Disabled, f.Fail, f.Env
	if f.Command != nil {
		u.Command = inPlace(f.Command)
	}
	return n.setUnit(u)
}

// inPlace is a command line that says as much of where the kubelet keeps its files as kubeadm's own.
func inPlace(command []string) []string {
	return []string{"sh", "-c", "exec " + strings.Join(command, " "), "kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf"}
}

// WrapKubelet has the unit run a script that alone knows the kubelet's arguments, these among them.
func (n *Node) WrapKubelet(args ...string) error {
	u := n.kubeletUnit()
	if err := n.SetProgram("start-kubelet", "#!/bin/sh\nexec "+strings.Join(append(u.Command, args...), " ")+"\n"); err != nil {
		return err
	}
	u.Command = []string{"start-kubelet"}
	return n.setUnit(u)
}

// ShowKubelet lets the kubelet, from its next start on, see other content at a path than the rest of the machine does: a key
// that it understands and nobody else. A symlink is followed; where there is nothing at that path nothing is shown.
func (n *Node) ShowKubelet(path, text string) error {
	source := filepath.Join(TestbedFolder, "kubelets-"+randomHex(4))
	if err := os.WriteFile(n.disk(source), []byte(text), 0o600); err != nil {
		return err
	}
	u := n.kubeletUnit()
	script := "[ ! -e " + path + " ] || mount --bind " + source + ` "$(readlink -f ` + path + `)"; exec "$@"`
	u.Command = append([]string{"unshare", "--mount", "sh", "-c", script, "kubelet"}, u.Command...)
	return n.setUnit(u)
}
