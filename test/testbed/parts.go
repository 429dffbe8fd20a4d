package testbed

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Parts is one folder with all compiled components, one executable each.
type Parts struct {
	Dir        string
	Kubernetes string // version of kubeadm, kubelet and the control plane, as in "v1.37.2"
	Kubelet    string // version of the kubelet, where it is another

	wantsNode bool              // as in release
	programs  map[string]string // likewise
}

// Path is the executable of one component: "kubeadm", "kube-apiserver", ...
func (p Parts) Path(name string) string { return filepath.Join(p.Dir, name) }

// modulePath is the module whose go.mod names the components as tools and pins them.
const modulePath = "github.com/nodejoin/nodejoin/test"

// toolchain is the Go with which all components are compiled, whichever runs this: the one that their releases are made with.
// Compiling them takes long, so a new Go for nodejoin is none for them.
const toolchain = "go1.26.8"

// Build compiles the components that test/go.mod lists as tools, unless they are in the user's cache already, and tells
// on out what it is doing. A component is compiled again only when a module that it is made of changes its version.
func Build(ctx context.Context, out io.Writer) (Parts, error) {
	dir, err := moduleDir()
	if err != nil {
		return Parts{}, fmt.Errorf("finding %s: %w", modulePath, err)
	}
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return Parts{}, fmt.Errorf("reading the pinned versions: %w", err)
	}
	parts, err := build(ctx, out, dir, goMod)
	if err != nil {
		return Parts{}, fmt.Errorf("building the testbed's components: %w\n  to mend it: cd %s && go mod download && go build tool", err, dir)
	}
	return parts, nil
}

func build(ctx context.Context, out io.Writer, dir string, goMod []byte) (Parts, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Parts{}, fmt.Errorf("finding the cache folder: %w", err)
	}
	cache = filepath.Join(cache, "nodejoin-testbed")
	version := requiredVersion(goMod, "k8s.io/kubernetes")
	tools := toolPackages(goMod)
	if version == "" || len(tools) == 0 {
		return Parts{}, errors.New("go.mod names no tools, or no version of k8s.io/kubernetes")
	}
	flags := buildFlags(version)
	// The set's key is cheap to know: go.mod's text. A part's key is exact: the modules it is made of. So a change of
	// go.mod that touches no part costs one `go list` per part and no compilation.
	set := Parts{Dir: filepath.Join(cache, "sets", digest(append(flags, toolchain, string(goMod))...)), Kubernetes: version}
	if complete(set, tools) {
		return set, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "build.lock"))
	if err != nil {
		return Parts{}, err
	}
	defer unlock()
	if complete(set, tools) {
		return set, nil
	}
	started := time.Now()
	from := map[string]string{}
	for i, tool := range tools {
		modules, err := modulesOf(ctx, dir, tool)
		if err != nil {
			return Parts{}, err
		}
		name := partName(tool)
		label := fmt.Sprintf("[%d/%d] %s (%s)", i+1, len(tools), name, ownerOf(tool, modules))
		from[name] = filepath.Join(cache, "parts", name+"-"+digest(append(slices.Concat(flags, modules), toolchain)...))
		c := compilation{dir: dir, pkg: tool, flags: flags, toolchain: toolchain}
		if err := c.buildPart(ctx, out, from[name], label); err != nil {
			return Parts{}, err
		}
	}
	if err := link(set, from); err != nil {
		return Parts{}, err
	}
	fmt.Fprintf(out, "all %d components ready after %s\n", len(tools), time.Since(started).Round(time.Second))
	return set, nil
}

// link makes a set of compiled parts, by name.
func link(set Parts, from map[string]string) error {
	if err := os.MkdirAll(filepath.Dir(set.Dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(set.Dir), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for name, part := range from {
		if err := os.Link(part, filepath.Join(tmp, name)); err != nil {
			return err
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	// What is in the way can only be an incomplete set: a damaged cache.
	if err := os.RemoveAll(set.Dir); err != nil {
		return err
	}
	return os.Rename(tmp, set.Dir)
}

// compilation is of one component, in a module that names its version.
type compilation struct {
	dir, pkg  string
	flags     []string
	toolchain string
	env       []string // for another architecture
}

func (c compilation) buildPart(ctx context.Context, out io.Writer, part, label string) error {
	if info, err := os.Stat(part); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		fmt.Fprintf(out, "%s: already built\n", label)
		return nil
	}
	fmt.Fprintf(out, "%s: building ...\n", label)
	started := time.Now()
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		return err
	}
	tmp := part + ".new"
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, c.flags...), "-o", tmp, c.pkg)...)
	cmd.Dir = c.dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED="+cgo(c.pkg), "GOWORK=off", "GOTOOLCHAIN="+c.toolchain), c.env...)
	cmd.WaitDelay = 5 * time.Second
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", partName(c.pkg), err, output)
	}
	if err := os.Rename(tmp, part); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: built in %s\n", label, time.Since(started).Round(time.Second))
	return nil
}

// cgo: runc enters namespaces before Go's runtime has started, which takes C and its compiler. Nothing else does.
func cgo(tool string) string {
	if partName(tool) == "runc" {
		return "1"
	}
	return "0"
}

// buildFlags stamps the version into the components: kubeadm does not work without one.
func buildFlags(version string) []string {
	numbers := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(numbers) < 3 {
		numbers = []string{"0", "0", "0"}
	}
	ldflags := []string{"-s", "-w"}
	for _, kv := range []string{
		"gitVersion=" + version, "gitMajor=" + numbers[0], "gitMinor=" + numbers[1], "gitTreeState=clean",
		"gitCommit=" + strings.Repeat("0", 40), "buildDate=1970-01-01T00:00:00Z",
	} {
		ldflags = append(ldflags, "-X", "k8s.io/component-base/version."+kv)
	}
	return []string{"-trimpath", "-ldflags", strings.Join(ldflags, " ")}
}

func complete(p Parts, tools []string) bool {
	for _, tool := range tools {
		if info, err := os.Stat(p.Path(partName(tool))); err != nil || info.Size() == 0 {
			return false
		}
	}
	return true
}

// partName is the last word of the package path; etcd's is its version.
func partName(tool string) string {
	if strings.HasPrefix(tool, "go.etcd.io/etcd/server/") {
		return "etcd"
	}
	return filepath.Base(tool)
}

// modulesOf lists the modules whose code goes into a package, with their versions.
func modulesOf(ctx context.Context, dir, pkg string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{with .Replace}} {{.Version}}{{end}}{{end}}", pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTOOLCHAIN="+toolchain)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the modules of %s: %w\n%s", pkg, err, stderr.Bytes())
	}
	lines := strings.FieldsFunc(string(output), func(r rune) bool { return r == '\n' })
	slices.Sort(lines)
	return slices.Compact(lines), nil
}

// ownerOf is the module that a tool comes from, with its version: the longest path that is a prefix of the tool's.
func ownerOf(tool string, modules []string) string {
	owner := ""
	for _, m := range modules {
		path, _, _ := strings.Cut(m, " ")
		if (tool == path || strings.HasPrefix(tool, path+"/")) && len(m) > len(owner) {
			owner = m
		}
	}
	return owner
}

// toolPackages reads the `tool` directives of a go.mod.
func toolPackages(goMod []byte) []string {
	var tools []string
	inBlock := false
	for line := range strings.Lines(string(goMod)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "tool (":
			inBlock = true
		case line == ")":
			inBlock = false
		case inBlock && line != "":
			tools = append(tools, line)
		case strings.HasPrefix(line, "tool "):
			tools = append(tools, strings.TrimSpace(strings.TrimPrefix(line, "tool ")))
		}
	}
	return tools
}

func requiredVersion(goMod []byte, module string) string {
	for line := range strings.Lines(string(goMod)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && strings.HasPrefix(fields[1], "v") {
			return fields[1]
		}
	}
	return ""
}

// moduleDir finds the test module from the working folder: at or above it, or in a folder "test" at or above it, so that
// both `go test` here and a program started in the checkout find it.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		for _, candidate := range []string{dir, filepath.Join(dir, "test")} {
			if moduleOf(filepath.Join(candidate, "go.mod")) == modulePath {
				return candidate, nil
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of that module at or above the working folder: run this inside the checkout")
		}
		dir = parent
	}
}

func moduleOf(goMod string) string {
	f, err := os.Open(goMod)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

func digest(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// lockFile waits for an exclusive lock; the kernel gives it up with the process, however that ends.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
