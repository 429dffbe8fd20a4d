package testbed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// release is a Kubernetes beside the one that test/go.mod pins. A Go module has one version of k8s.io/kubernetes, so the parts
// of a release are compiled in a module that is made for it, out of Kubernetes' own go.mod.
type release struct {
	minor   string // as in "1.34"
	version string // of k8s.io/kubernetes
	// older are staging modules of which no proxy serves this patch release, missing those that are not served at all.
	older   map[string]string
	missing []string
	// toolchain is Go's, where the other components' is too old.
	toolchain string
	// pins are requirements that only go up by themselves.
	pins []string
	// wantsNode: `kubeadm init` marks the Node of the control plane, and waits for it.
	wantsNode bool
	// programs are what this kubeadm wants to find, which need not be on the host, by their paths in the image of booted nodes.
	programs map[string]string
	// noIptables: sigs.k8s.io/iptables-wrappers is not served. The kubelet has, in its place, one that finds no iptables.
	noIptables bool
	// only is what can be compiled of a release whose modules are not all served; nil: everything.
	only []string
}

const (
	conntrack = "/usr/sbin/conntrack"
	iptables  = "/usr/sbin/xtables-nft-multi"
)

// releases are Kubernetes' minors, oldest first. The pinned one needs no entry.
var releases = []release{
	{minor: "1.31", version: "v1.31.14", wantsNode: true, programs: map[string]string{"conntrack": conntrack, "iptables": iptables}, older: map[string]string{
		"endpointslice": "v0.31.13", "kube-controller-manager": "v0.31.13", "kube-scheduler": "v0.31.13", "kube-proxy": "v0.31.11",
	}},
	{minor: "1.32", version: "v1.32.13", wantsNode: true, programs: map[string]string{"iptables": iptables}, older: map[string]string{
		"endpointslice": "v0.32.12",
	}},
	{minor: "1.33", version: "v1.33.13", wantsNode: true},
	{minor: "1.34", version: "v1.34.4"},
	{minor: "1.35", version: "v1.35.4"},
	{minor: "1.36", version: "v1.36.3"},
	{minor: "1.38", version: "v1.38.0-beta.0", toolchain: "go1.27.4", pins: []string{"sigs.k8s.io/structured-merge-diff/v7@v7.0.0"},
		missing: []string{"k8s.io/apiextensions-api", "k8s.io/ktesting"}, noIptables: true, only: nodeParts},
}

// OldNodes is the minor that every run of the stories has beside the pinned one: the oldest whose kubelets that one's API server
// takes.
const OldNodes = "1.34"

// ErrNoControlPlane: not all modules of this release's control plane are served.
var ErrNoControlPlane = errors.New("the testbed has no control plane")

// The components of Kubernetes that a machine of another minor has; all others are the pinned ones.
var (
	nodeParts         = []string{"kubeadm", "kubelet"}
	controlPlaneParts = []string{"kubeadm", "kube-apiserver", "kube-controller-manager"}
)

// Where a story names no minor these variables do, so that every story can be told of other ones.
const (
	NodesVariable        = "TESTBED_NODES"
	ControlPlaneVariable = "TESTBED_CONTROL_PLANE"
)

// BuildNodeParts is Build for nodes of another minor, as in "1.34". "" is the one that NodesVariable names, else the pinned one.
func BuildNodeParts(ctx context.Context, out io.Writer, minor string) (Parts, error) {
	return buildRelease(ctx, out, cmp.Or(minor, os.Getenv(NodesVariable)), nodeParts)
}

// BuildControlPlaneParts is the same for control planes, and ControlPlaneVariable.
func BuildControlPlaneParts(ctx context.Context, out io.Writer, minor string) (Parts, error) {
	return buildRelease(ctx, out, cmp.Or(minor, os.Getenv(ControlPlaneVariable)), controlPlaneParts)
}

// buildRelease is the pinned set with some of its components replaced by those of another minor.
func buildRelease(ctx context.Context, out io.Writer, minor string, names []string) (Parts, error) {
	pinned, err := Build(ctx, out)
	if err != nil || minor == "" || strings.HasPrefix(pinned.Kubernetes, "v"+minor+".") {
		return pinned, err
	}
	i := slices.IndexFunc(releases, func(r release) bool { return r.minor == minor })
	if i < 0 {
		return Parts{}, fmt.Errorf("the testbed knows no Kubernetes %q", minor)
	}
	r := releases[i]
	if r.only != nil {
		if slices.Contains(names, "kube-apiserver") && !slices.Contains(r.only, "kube-apiserver") {
			return Parts{}, fmt.Errorf("%w of Kubernetes %s", ErrNoControlPlane, minor)
		}
		names = r.only
	}
	parts, err := r.build(ctx, out, pinned, names)
	if err != nil {
		return Parts{}, fmt.Errorf("building %s of Kubernetes %s: %w", strings.Join(names, ", "), r.version, err)
	}
	return parts, nil
}

func (r release) build(ctx context.Context, out io.Writer, pinned Parts, names []string) (Parts, error) {
	cache := filepath.Dir(filepath.Dir(pinned.Dir))
	flags := buildFlags(r.version)
	key := digest(slices.Concat(flags, r.pins, []string{fmt.Sprint(r.version, r.older), cmp.Or(r.toolchain, toolchain)})...)
	set := Parts{Dir: filepath.Join(cache, "sets", digest(append(slices.Clone(names), pinned.Dir, key)...)), Kubernetes: r.version, wantsNode: r.wantsNode, programs: r.programs}
	if !slices.Contains(names, "kubelet") {
		set.Kubelet = pinned.Kubernetes
	}
	if complete(set, names) {
		return set, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "build-"+r.version+".lock"))
	if err != nil {
		return Parts{}, err
	}
	defer unlock()
	if complete(set, names) {
		return set, nil
	}
	module, err := r.module(ctx)
	if err != nil {
		return Parts{}, err
	}
	defer os.RemoveAll(module)
	from := map[string]string{}
	pinnedParts, err := os.ReadDir(pinned.Dir)
	if err != nil {
		return Parts{}, err
	}
	for _, p := range pinnedParts {
		from[p.Name()] = pinned.Path(p.Name())
	}
	for i, name := range names {
		from[name] = filepath.Join(cache, "parts", name+"-"+r.version+"-"+key)
		label := fmt.Sprintf("[%d/%d] %s (Kubernetes %s)", i+1, len(names), name, r.version)
		c := compilation{dir: module, pkg: "k8s.io/kubernetes/cmd/" + name, flags: append(flags, "-mod=mod"), toolchain: cmp.Or(r.toolchain, toolchain)}
		if err := c.buildPart(ctx, out, from[name], label); err != nil {
			return Parts{}, err
		}
	}
	return set, link(set, from)
}

// stagingReplacement is how Kubernetes' go.mod names the modules that live in its own repository, which are published one by one.
var stagingReplacement = regexp.MustCompile(`^\s*k8s\.io/([a-z-]+) => \./staging/src/`)

// module makes the release's module in a temporary folder: Kubernetes' own go.mod, so that all versions are those of its
// release, in which the staging modules are the published ones.
func (r release) module(ctx context.Context) (dir string, err error) {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", "k8s.io/kubernetes@"+r.version)
	download.Dir, download.Env = os.TempDir(), append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOTOOLCHAIN="+cmp.Or(r.toolchain, toolchain))
	var stderr bytes.Buffer
	download.Stderr = &stderr
	said, err := download.Output()
	var source struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(said, &source); err != nil || jsonErr != nil || source.Dir == "" {
		return "", fmt.Errorf("downloading it: %w\n%s%s", errors.Join(err, jsonErr), source.Error, stderr.Bytes())
	}
	goMod, err := os.ReadFile(filepath.Join(source.Dir, "go.mod"))
	if err != nil {
		return "", err
	}
	goSum, err := os.ReadFile(filepath.Join(source.Dir, "go.sum"))
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "nodejoin-kubernetes-"); err != nil {
		return "", err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), r.goMod(goMod), 0o644),
		os.WriteFile(filepath.Join(dir, "go.sum"), goSum, 0o644))
	if r.noIptables {
		wrappers := filepath.Join(dir, "iptables-wrappers")
		err = errors.Join(err, os.MkdirAll(filepath.Join(wrappers, "pkg/iptables"), 0o755),
			os.WriteFile(filepath.Join(wrappers, "go.mod"), []byte("module sigs.k8s.io/iptables-wrappers\n"), 0o644),
			os.WriteFile(filepath.Join(wrappers, "pkg/iptables/iptables.go"), []byte(noIptables), 0o644))
	}
	return dir, err
}

func (r release) goMod(kubernetes []byte) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(string(kubernetes)) {
		if strings.HasPrefix(line, "module ") {
			line = "module nodejoin.test/kubernetes\n\nrequire k8s.io/kubernetes " + r.version + "\n"
		}
		// The samples are no part of anything, and not always served.
		if path, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(path, "k8s.io/sample-") || slices.Contains(r.missing, path) {
			continue
		}
		if m := stagingReplacement.FindStringSubmatch(line); m != nil {
			line = fmt.Sprintf("\tk8s.io/%s => k8s.io/%[1]s %s\n", m[1], r.staging(m[1]))
		}
		b.WriteString(line)
	}
	if r.noIptables {
		b.WriteString("replace sigs.k8s.io/iptables-wrappers => ./iptables-wrappers\n")
	}
	for _, pin := range r.pins {
		path, version, _ := strings.Cut(pin, "@")
		fmt.Fprintf(&b, "replace %s => %[1]s %s\n", path, version)
	}
	return b.Bytes()
}

// noIptables is what a kubelet asks of that package. Without any iptables it goes on (pkg/kubelet/kubelet_network_linux.go).
const noIptables = `package iptables

import (
	"context"
	"time"
)

type (
	Protocol  string
	Table     string
	Chain     string
	Position  string
	Mode      string
	Interface interface {
		EnsureChain(context.Context, Table, Chain) (bool, error)
		EnsureRule(context.Context, Position, Table, Chain, ...string) (bool, error)
		IsIPv6() bool
		Protocol() Protocol
		Monitor(context.Context, Chain, []Table, func(), time.Duration)
	}
)

const (
	TableMangle, TableNAT, TableFilter Table    = "mangle", "nat", "filter"
	ChainOutput, ChainInput            Chain    = "OUTPUT", "INPUT"
	Prepend, Append                    Position = "-I", "-A"
	UseInstalledMode                   Mode     = ""
)

func NewBestEffort(context.Context, Mode) map[Protocol]Interface { return nil }
`

func (r release) staging(module string) string {
	if older, ok := r.older[module]; ok {
		return older
	}
	return "v0" + strings.TrimPrefix(r.version, "v1")
}
