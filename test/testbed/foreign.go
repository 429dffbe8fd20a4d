package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// foreign is what it takes to make programs and images for another architecture than the host's.
type foreign struct {
	compiler    string            // of C, which runc takes
	packages    map[string]string // what it and its headers come in
	emulator    string            // which runs its programs on the host: packages are configured by them
	magic, mask string            // by which the kernel knows them, as in binfmt_misc
}

// foreigners are by architecture, in Go's and Debian's word.
var foreigners = map[string]foreign{
	"arm64": {
		compiler: "aarch64-linux-gnu-gcc", emulator: "/usr/bin/qemu-aarch64-static",
		packages: map[string]string{"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "/usr/aarch64-linux-gnu/include/stdlib.h": "libc6-dev-arm64-cross"},
		magic:    `\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`,
		mask:     `\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`,
	},
}

// foreignParts are what a machine needs to become a Node.
var foreignParts = []string{"containerd", "containerd-shim-runc-v2", "kubeadm", "kubelet", "runc"}

// foreignToolchain is the Go that compiles them.
const foreignToolchain = "go1.27.4"

// emulate is the end of a shell's line that lets the kernel run the architecture's programs, and what the line's process has to
// be for it: in a user namespace of its own, whose binfmt_misc is nobody else's, and which ends with it. Linux has that since 6.7.
func (f foreign) emulate(attr *syscall.SysProcAttr) string {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{Size: 1 << 16}}
	attr.GidMappings, attr.GidMappingsEnableSetgroups = attr.UidMappings, true
	const binfmt = "/proc/sys/fs/binfmt_misc"
	return fmt.Sprintf(" && mount -t binfmt_misc binfmt_misc %s && printf %%s ':foreign:M::%s:%s:%s:F' >%[1]s/register", binfmt, f.magic, f.mask, f.emulator)
}

// BuildForeignParts is Build for machines of another architecture, in Go's words, which have parts of their own.
func BuildForeignParts(ctx context.Context, out io.Writer, arch string) (Parts, error) {
	parts, err := buildForeignParts(ctx, out, arch)
	if err != nil {
		return Parts{}, fmt.Errorf("building the components of machines with %s: %w", arch, err)
	}
	return parts, nil
}

func buildForeignParts(ctx context.Context, out io.Writer, arch string) (Parts, error) {
	f, known := foreigners[arch]
	if !known {
		return Parts{}, errors.New("the testbed does not know how")
	}
	dir, err := moduleDir()
	if err != nil {
		return Parts{}, err
	}
	goMod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return Parts{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return Parts{}, err
	}
	cache = filepath.Join(cache, "nodejoin-testbed")
	tools := slices.DeleteFunc(toolPackages(goMod), func(tool string) bool { return !slices.Contains(foreignParts, partName(tool)) })
	version := requiredVersion(goMod, "k8s.io/kubernetes")
	flags, env := buildFlags(version), []string{"GOOS=linux", "GOARCH=" + arch, "CC=" + f.compiler, "GOTOOLCHAIN=" + foreignToolchain}
	// Keys as those of the host's own parts.
	set := Parts{Dir: filepath.Join(cache, "sets", digest(slices.Concat(flags, env, []string{string(goMod)})...)), Kubernetes: version}
	if complete(set, tools) {
		return set, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "build-"+arch+".lock"))
	if err != nil {
		return Parts{}, err
	}
	defer unlock()
	if complete(set, tools) {
		return set, nil
	}
	if err := Need(ctx, out, f.packages); err != nil {
		return Parts{}, err
	}
	started, from := time.Now(), map[string]string{}
	for i, tool := range tools {
		modules, err := modulesOf(ctx, dir, tool)
		if err != nil {
			return Parts{}, err
		}
		name := partName(tool)
		label := fmt.Sprintf("[%d/%d] %s for %s (%s)", i+1, len(tools), name, arch, ownerOf(tool, modules))
		from[name] = filepath.Join(cache, "parts", name+"-"+arch+"-"+digest(slices.Concat(flags, env, modules)...))
		c := compilation{dir: dir, pkg: tool, flags: flags, toolchain: foreignToolchain, env: env}
		if err := c.buildPart(ctx, out, from[name], label); err != nil {
			return Parts{}, err
		}
	}
	if err := link(set, from); err != nil {
		return Parts{}, err
	}
	fmt.Fprintf(out, "all %d components for %s ready after %s\n", len(tools), arch, time.Since(started).Round(time.Second))
	return set, nil
}
