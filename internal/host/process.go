package host

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// KubeletArgs are the arguments of a running kubelet that say where it keeps what nodejoin asks about, and under which
// name. They are as given, "" if not given; paths are absolute.
type KubeletArgs struct {
	Kubeconfig          string
	BootstrapKubeconfig string
	HostnameOverride    string
	Config              string
	RootDir             string
	CertDir             string
	RuntimeEndpoint     string // of its container runtime
	NoRegistration      string // what tells it to leave its Node to others; "" if nothing does
}

// NodeName is what they have the kubelet call its Node; "": what the host is called.
func (a KubeletArgs) NodeName() string {
	return strings.ToLower(strings.TrimSpace(a.HostnameOverride))
}

// KubeletProcess is a kubelet that runs, whoever started it.
type KubeletProcess struct {
	PID         int
	Ancestors   []int     // the processes that it comes from, nearest first
	Started     time.Time // zero: not known
	Args        KubeletArgs
	CommandLine []string
	Suspended   string // what keeps it from running, and how to undo that; "" if nothing does
}

// kubeletName also knows a kubelet with its version in its file's name, and none of the programs around it
// (kubelet-csr-approver).
var kubeletName = regexp.MustCompile(`^kubelet([-_.]?v?\d.*)?$`)

// kubeletWords make a kubelet print something and end; kubeadm's checks ask for its version.
var kubeletWords = []string{"--version", "--version=true", "--version=raw", "--help", "-h"}

// KubeletProcesses are the kubelets that run on this machine: by a unit of any name, by hand, from a file that an upgrade has
// replaced. Those of containers (kind's nodes, nested ones) are not this machine's. An error means that it is not known
// whether one runs.
func (h Host) KubeletProcesses() ([]KubeletProcess, error) {
	all, err := h.processes()
	if err != nil {
		return nil, fmt.Errorf("looking for running kubelets: %w", err)
	}
	parents := map[int]int{}
	for _, p := range all {
		parents[p.pid] = p.parent
	}
	var kubelets []KubeletProcess
	for _, p := range all {
		k, err := h.kubelet(p)
		switch {
		case errors.Is(err, errEnded):
		case err != nil:
			return nil, fmt.Errorf("looking for running kubelets: %w", err)
		case k != nil:
			for from := p.parent; from > 0 && len(k.Ancestors) < len(all); from = parents[from] {
				k.Ancestors = append(k.Ancestors, from)
			}
			kubelets = append(kubelets, *k)
		}
	}
	return kubelets, nil
}

// ComesFrom tells whether a kubelet is this process or comes from it, as from a wrapper that a unit starts.
func (k KubeletProcess) ComesFrom(pid int) bool {
	return k.PID == pid || slices.Contains(k.Ancestors, pid)
}

// kubelet is what a process is as one; nil if it is none, or another machine's.
func (h Host) kubelet(p process) (*KubeletProcess, error) {
	is, err := h.program(p)
	line := is.line
	if err != nil || len(line) == 0 {
		return nil, err
	}
	hyperkube := filepath.Base(line[0]) == "hyperkube" && len(line) > 1 && line[1] == "kubelet"
	if !hyperkube && !slices.ContainsFunc(is.names, kubeletName.MatchString) {
		return nil, nil
	}
	if slices.ContainsFunc(line, func(arg string) bool { return slices.Contains(kubeletWords, arg) }) {
		return nil, nil
	}
	if local, err := h.local(p.pid); err != nil || !local {
		return nil, err
	}
	args, err := h.argsOf(line, func() (string, error) { return os.Readlink(h.proc(p.pid, "cwd")) })
	if err != nil {
		return nil, h.unlessEnded(p.pid, fmt.Errorf("reading the arguments of process %d: %w", p.pid, err))
	}
	return &KubeletProcess{PID: p.pid, Started: h.started(p), Args: args, CommandLine: line, Suspended: h.suspended(p)}, nil
}

// argsOf reads a command line as the kubelet does, in a working directory: the last of several counts, an underscore is a dash
// (k8s.io/component-base/cli/flag WordSepNormalizeFunc).
func (h Host) argsOf(line []string, workingDir func() (string, error)) (KubeletArgs, error) {
	var args KubeletArgs
	flags := map[string]*string{
		"kubeconfig": &args.Kubeconfig, "bootstrap-kubeconfig": &args.BootstrapKubeconfig, "config": &args.Config,
		"root-dir": &args.RootDir, "cert-dir": &args.CertDir, "hostname-override": &args.HostnameOverride,
		"container-runtime-endpoint": &args.RuntimeEndpoint,
	}
	registers := ""
	for i := 1; i < len(line) && line[i] != "--"; i++ {
		if !strings.HasPrefix(line[i], "-") {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(line[i], "-"), "=")
		name = strings.ReplaceAll(name, "_", "-")
		if name == "register-node" { // it needs no value
			registers = cmp.Or(value, "true")
		}
		into := flags[name]
		if into == nil {
			continue
		}
		if !given {
			if i++; i == len(line) {
				break
			}
			value = line[i]
		}
		*into = value
	}
	for _, path := range []*string{&args.Kubeconfig, &args.BootstrapKubeconfig, &args.Config, &args.RootDir, &args.CertDir} {
		if *path == "" || filepath.IsAbs(*path) {
			continue
		}
		dir, err := workingDir()
		if err != nil {
			return KubeletArgs{}, fmt.Errorf("finding %q: %w", *path, err)
		}
		*path = filepath.Join(dir, *path)
	}
	args.NoRegistration = h.noRegistration(registers, args.Config)
	return args, nil
}

// noRegistration: a flag outweighs the file.
func (h Host) noRegistration(flag, file string) string {
	if on, err := strconv.ParseBool(flag); flag != "" {
		return map[bool]string{true: "--register-node=" + flag}[err == nil && !on]
	}
	raw, err := os.ReadFile(h.Path(file))
	var config struct {
		RegisterNode *bool `json:"registerNode"`
	}
	if file == "" || err != nil || !bytes.Contains(raw, []byte("registerNode")) || yaml.Unmarshal(raw, &config) != nil || config.RegisterNode == nil || *config.RegisterNode {
		return ""
	}
	return "registerNode: false in " + file
}

// KubeadmProcess is a kubeadm at work on this machine.
type KubeadmProcess struct {
	PID     int
	Command string // join, init, reset or upgrade
}

// kubeadmCommands are kubeadm's; true are those that change what a join or a reset changes.
var kubeadmCommands = map[string]bool{
	"join": true, "init": true, "reset": true, "upgrade": true,
	"alpha": false, "certs": false, "completion": false, "config": false, "help": false, "kubeconfig": false, "token": false, "version": false,
}

// Kubeadms are the kubeadms of others that join, init, reset or upgrade this machine now. An error means that it is not known
// whether one does.
//
// Our own are left out: children, also through a wrapper such as sudo, and what such a wrapper left behind in its process
// group. So are our ancestors: a wrapper by the name of kubeadm that waits for us must not be waited for.
func (h Host) Kubeadms() ([]KubeadmProcess, error) {
	all, err := h.processes()
	if err != nil {
		return nil, fmt.Errorf("looking for other kubeadms: %w", err)
	}
	byPID := map[int]process{}
	for _, p := range all {
		byPID[p.pid] = p
	}
	self := h.self()
	var kubeadms []KubeadmProcess
	for _, p := range all {
		// internal/child gives each child a process group whose number is the child's.
		if descends(byPID, p.pid, self) || descends(byPID, self, p.pid) || p.group != byPID[self].group && descends(byPID, p.group, self) {
			continue
		}
		command, err := h.kubeadmCommand(p)
		if errors.Is(err, errEnded) || err == nil && command == "" {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("looking for other kubeadms: %w", err)
		}
		kubeadms = append(kubeadms, KubeadmProcess{PID: p.pid, Command: command})
	}
	return kubeadms, nil
}

// descends tells whether a process is another or comes from it.
func descends(all map[int]process, pid, from int) bool {
	for range len(all) { // the parents were not read at one moment, so there may be a circle
		if pid == from {
			return true
		}
		p, ok := all[pid]
		if !ok {
			return false
		}
		pid = p.parent
	}
	return false
}

// kubeadmCommand is what a kubeadm of this machine does to it; "" if that is nothing, or the process is something else.
func (h Host) kubeadmCommand(p process) (string, error) {
	is, err := h.program(p)
	if err != nil || !slices.Contains(is.names, "kubeadm") {
		return "", err
	}
	// Options, with or without a value of their own, may come first. To know which have one, one would have to know all.
	for _, arg := range is.line[1:] {
		changes, known := kubeadmCommands[arg]
		if known && !changes {
			return "", nil
		} else if known {
			local, err := h.local(p.pid)
			return map[bool]string{true: arg}[local], err
		}
	}
	return "", nil
}
