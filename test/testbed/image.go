package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// imagePackages are what a booted node has of its distribution, besides a minimal system.
var imagePackages = []string{
	"systemd-sysv", "dbus", "libpam-systemd", "cloud-init", "openssh-server", "containerd", // a node's services
	"kmod", "iproute2", "iptables", "conntrack", "ethtool", "socat", // what kubeadm's packages depend on
	"ca-certificates", "curl",
}

// imageMasked are units that cost a test time and have nothing to do in it.
var imageMasked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
	"console-getty.service", "getty@tty1.service", "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
}

const (
	kubeletService = "/usr/lib/systemd/system/kubelet.service"
	kubeletDropIn  = kubeletService + ".d/10-kubeadm.conf"
)

// imageFiles come on top of the packages. The kubelet's unit and drop-in say what those of kubeadm's packages say.
var imageFiles = map[string]string{
	kubeletService: `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`,
	kubeletDropIn: `[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`,
	// systemd-nspawn shows /proc/sys and the controllers of cgroup v1 read-only. The kubelet sets the one and makes groups in
	// the other: it gets files of its own, so that the host stays as it is, and what is below the machine's own cgroup.
	"/usr/lib/systemd/system/testbed.service": `[Unit]
Description=What the kubelet wants of the kernel
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'cd /usr/lib/testbed; find proc -type f | while read f; do mount --bind $f /$f; done'
ExecStart=/bin/sh -ec 'findmnt --list --noheadings --types cgroup --output TARGET | while read d; do mount -o remount,bind,rw $d; done'
`,
	// All of the journal is in the machine's log on the host too, for a test that fails.
	"/etc/systemd/journald.conf.d/testbed.conf": "[Journal]\nStorage=persistent\nForwardToConsole=yes\n",
	// The network and the SSH host key are there already.
	"/etc/cloud/cloud.cfg.d/99-testbed.cfg": "datasource_list: [NoCloud]\nnetwork: {config: disabled}\nssh_deletekeys: false\nssh_genkeytypes: [ed25519]\nlocale: false\n",
	"/etc/dpkg/dpkg.cfg.d/99mmdebstrap":     "force-unsafe-io\n", // in place of what kept documents out of the image
}

var imageLinks = map[string]string{
	"/etc/systemd/system/multi-user.target.wants/kubelet.service": kubeletService,
	"/etc/systemd/system/sysinit.target.wants/testbed.service":    "/usr/lib/systemd/system/testbed.service",
}

// mmdebstrap and not debootstrap, which takes no virtual package for a dependency: cloud-init's own have some.
func debootstrap(packages []string) []string {
	return []string{"mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io", "--include=" + strings.Join(packages, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*"}
}

// image is a recipe for the root folder of a system.
type image struct {
	name     string
	arch     string   // as Go and Debian call it
	command  []string // mmdebstrap with its options
	masked   []string
	files    map[string]string
	links    map[string]string
	sysctls  map[string]string                                              // files that a machine shows in place of /proc/sys'
	finished func(ctx context.Context, root string) (dir string, err error) // what becomes the image; nil: the root itself
}

var bootedImage = image{"image of booted nodes", runtime.GOARCH, debootstrap(imagePackages), imageMasked, imageFiles, imageLinks, sysctlsOfKubelet, nil}

// BuildImage makes the image that booted nodes start from, unless it is in the user's cache already, and tells on out what
// it is doing. It is the host's own Debian or Ubuntu, from the package sources that the host's apt has.
func BuildImage(ctx context.Context, out io.Writer) (string, error) {
	dir, err := bootedImage.build(ctx, out)
	if err != nil {
		return "", fmt.Errorf("making the booted node's image: %w", err)
	}
	return dir, nil
}

func (i image) build(ctx context.Context, out io.Writer) (string, error) {
	system, codename := hostSystem()
	if codename == "" {
		return "", fmt.Errorf("this host is %q, and it is made of Debian's or Ubuntu's packages\n  to mend it: run this on Debian or Ubuntu", system)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	cache = filepath.Join(cache, "nodejoin-testbed")
	recipe := fmt.Sprint(codename, i.arch, i.command, i.masked, i.files, i.links, i.sysctls)
	dir := filepath.Join(cache, "images", codename+"-"+digest(recipe))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "image.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	needs := map[string]string{"mmdebstrap": "mmdebstrap"}
	if i.arch != runtime.GOARCH {
		needs[foreigners[i.arch].emulator] = "qemu-user-static"
	}
	if err := Need(ctx, out, needs); err != nil {
		return "", err
	}
	label := fmt.Sprintf("%s (%s)", i.name, system)
	fmt.Fprintf(out, "%s: building ...\n", label)
	started, tmp := time.Now(), dir+".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return "", err
	}
	made := filepath.Join(tmp, "root")
	if err := i.bootstrap(ctx, codename, made); err != nil {
		return "", err
	}
	if err := i.finish(made); err != nil {
		return "", err
	}
	if i.finished != nil {
		if made, err = i.finished(ctx, made); err != nil {
			return "", err
		}
	}
	fmt.Fprintf(out, "%s: built in %s\n", label, time.Since(started).Round(time.Second))
	return dir, os.Rename(made, dir)
}

// bootstrap leaves nothing running or mounted, whatever ends it: it has PIDs and mounts of its own, and ends with this process.
func (i image) bootstrap(ctx context.Context, codename, dir string) error {
	sources, err := aptSources(ctx, codename)
	if err != nil {
		return err
	}
	script, command := `mount --make-rprivate / && mount -t proc proc /proc`, i.command
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setsid: true, Pdeathsig: syscall.SIGKILL}
	if i.arch != runtime.GOARCH {
		script += foreigners[i.arch].emulate(attr)
		command = append(slices.Clone(command), "--architectures="+i.arch, "--skip=check/qemu")
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", script+` && exec "$@"`, "sh")
	cmd.Args = slices.Concat(cmd.Args, command, []string{codename, dir, "-"})
	cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(dir))
	cmd.Stdin = strings.NewReader(sources)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = attr
	if err := onSpawner(cmd.Start); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s\n  to mend it, once the packages can be had: cd test && go run ./parts", err, tail(output.String(), tailLines))
	}
	return nil
}

// hostSystem names the host's distribution; the code name is empty if it is neither Debian nor Ubuntu.
func hostSystem() (name, codename string) {
	release, _ := os.ReadFile("/etc/os-release")
	field := map[string]string{}
	for line := range strings.Lines(string(release)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		field[key] = strings.Trim(value, `"'`)
	}
	if field["ID"] == "debian" || field["ID"] == "ubuntu" {
		codename = field["VERSION_CODENAME"]
	}
	return strings.TrimSpace(field["NAME"] + " " + codename), codename
}

// aptSources are the lines of a sources.list with the distribution's own of the host's sources.
func aptSources(ctx context.Context, codename string) (string, error) {
	list, err := exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(ORIGIN) deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("asking apt for the host's package sources: %w", err)
	}
	var sources strings.Builder
	for line := range strings.Lines(string(list)) {
		origin, source, _ := strings.Cut(line, " ")
		if (origin == "Debian" || origin == "Ubuntu") && strings.Contains(source, " "+codename) {
			sources.WriteString(source)
		}
	}
	if sources.Len() == 0 {
		return "", fmt.Errorf("the host's apt has no lists of %s\n  to mend it: apt-get update", codename)
	}
	return sources.String(), nil
}

func (i image) finish(dir string) error {
	files := map[string]string{"/etc/machine-id": "", "/etc/resolv.conf": ""}
	for path, text := range i.files {
		files[path] = text
	}
	for path, value := range i.sysctls {
		files["/usr/lib/testbed/proc/sys/"+path] = value + "\n"
	}
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // it may have been a symlink to the host's
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	links := map[string]string{}
	for _, unit := range i.masked {
		links["/etc/systemd/system/"+unit] = "/dev/null"
	}
	for path, target := range i.links {
		links[path] = target
	}
	for path, target := range links {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil {
			return err
		}
	}
	keys, err := filepath.Glob(filepath.Join(dir, "etc/ssh/ssh_host_*"))
	for _, key := range keys {
		err = errors.Join(err, os.Remove(key))
	}
	return err
}
