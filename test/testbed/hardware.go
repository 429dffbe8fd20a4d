package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// hardware is the computer that QEMU makes for an architecture.
type hardware struct {
	arch    string // as Go and Debian call it
	qemu    string // the program, and the package that has it
	pkg     string
	machine string
	kernel  string // Debian's package
	console string
	// translated is the processor without KVM.
	translated string
	product    string // the instance type, as the firmware says it
	// firmware is a file, where QEMU brings none that tells the kernel what SMBIOS says; it is of the package beside it.
	firmware, firmwarePkg string
}

// The kernels are those of Debian's own images for EC2. Translating ARM's newest processor takes several times longer than
// this one, which is Graviton 2's: it authenticates pointers.
var computers = map[string]hardware{
	"amd64": {arch: "amd64", qemu: "qemu-system-x86_64", pkg: "qemu-system-x86", machine: "q35", translated: "max,la57=off", kernel: "linux-image-cloud-amd64", console: "ttyS0", product: "m5.large"},
	"arm64": {arch: "arm64", qemu: "qemu-system-aarch64", pkg: "qemu-system-arm", machine: "virt,gic-version=3", translated: "neoverse-n1", kernel: "linux-image-cloud-arm64", console: "ttyAMA0", product: "m6g.large",
		firmware: "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", firmwarePkg: "qemu-efi-aarch64"},
}

// needs are the programs that make its image and run it, and the packages that they come in.
func (h hardware) needs() map[string]string {
	needs := map[string]string{h.qemu: h.pkg, "mke2fs": "e2fsprogs", "ssh": "openssh-client", "ip": "iproute2"}
	if h.firmware != "" {
		needs[h.firmware] = h.firmwarePkg
	}
	return needs
}

// Files of a real machine's image.
const (
	imageDisk   = "disk"
	imageKernel = "kernel"
	imageInitrd = "initrd"
)

// realPackages are those of booted nodes, the other init system (started by a word on the kernel's command line) and what an
// initrd checks disks with. Packages that an emulator configures take minutes, and those of Python an hour: no other
// architecture has cloud-init.
func (h hardware) realPackages() []string {
	packages := append(slices.Clone(imagePackages), h.kernel, "e2fsprogs")
	if h.foreign() {
		return slices.DeleteFunc(packages, func(name string) bool { return name == "cloud-init" })
	}
	return append(packages, "openrc")
}

// smallInitrd: every module of an initrd costs an emulator seconds, and Debian's has hundreds. This one has what the disk takes.
const smallInitrd = `--essential-hook=cd "$1" && mkdir -p etc/initramfs-tools/conf.d usr/share/initramfs-tools/modules.d &&
echo MODULES=list >etc/initramfs-tools/conf.d/testbed && printf "%s\n" virtio_pci virtio_blk ext4 crc32c_generic >usr/share/initramfs-tools/modules.d/testbed`

// foreign: it is none that the host's own programs run on.
func (h hardware) foreign() bool { return h.arch != runtime.GOARCH }

// diskSize is what a machine may grow to; its file has holes.
const diskSize = "8G"

// BuildRealImage makes what real machines of an architecture start from, unless it is in the user's cache already: a disk with
// the host's own distribution, and its kernel.
func BuildRealImage(ctx context.Context, out io.Writer, arch string) (string, error) {
	h, ok := computers[arch]
	if !ok {
		return "", fmt.Errorf("making the real machine's image: there is none for %s", arch)
	}
	if err := Need(ctx, out, h.needs()); err != nil {
		return "", err
	}
	dir, err := h.image().build(ctx, out)
	if err != nil {
		return "", fmt.Errorf("making the real machine's image: %w", err)
	}
	return dir, nil
}

// parts are what is installed on its disk.
func (h hardware) parts(ctx context.Context, out io.Writer) (Parts, error) {
	if h.foreign() {
		return BuildForeignParts(ctx, out, h.arch)
	}
	return BuildNodeParts(ctx, out, "")
}

// programs are the parts of the disk, by name, with their paths there.
func (h hardware) programs() map[string]string {
	programs := map[string]string{"kubeadm": RealKubeadm, "kubelet": "/usr/bin/kubelet", "kubectl": "/usr/bin/kubectl"}
	if h.foreign() {
		delete(programs, "kubectl")
		for _, name := range []string{"containerd", "containerd-shim-runc-v2"} {
			programs[name] = "/usr/bin/" + name // in the place of the distribution's
		}
		programs["runc"] = "/usr/sbin/runc"
	}
	return programs
}

func (h hardware) image() image {
	files := map[string]string{
		"/etc/fstab":                    "/dev/vda / ext4 defaults 0 1\n",
		"/etc/sysctl.d/kubernetes.conf": "net.ipv4.ip_forward = 1\n",
		"/etc/cloud/cloud.cfg.d/99-testbed.cfg": imageFiles["/etc/cloud/cloud.cfg.d/99-testbed.cfg"] +
			"growpart: {mode: 'off'}\nresize_rootfs: false\n",
	}
	for _, path := range []string{kubeletService, kubeletDropIn, "/etc/systemd/journald.conf.d/testbed.conf", "/etc/dpkg/dpkg.cfg.d/99mmdebstrap"} {
		files[path] = imageFiles[path]
	}
	const units, enabled = "/usr/lib/systemd/system/", "/etc/systemd/system/"
	links := map[string]string{
		enabled + "multi-user.target.wants/kubelet.service":                          kubeletService,
		enabled + "multi-user.target.wants/systemd-networkd.service":                 units + "systemd-networkd.service",
		enabled + "network-online.target.wants/systemd-networkd-wait-online.service": units + "systemd-networkd-wait-online.service",
	}
	masked := append([]string{"serial-getty@" + h.console + ".service"}, imageMasked...)
	command := debootstrap(h.realPackages())
	if h.foreign() {
		command = append(command, smallInitrd)
	}
	return image{"image of real machines, " + h.arch, h.arch, command, masked, files, links, nil, writeDisk}
}

// writeDisk makes the image of a root folder: a disk, and beside it the kernel that boots it.
func writeDisk(ctx context.Context, root string) (string, error) {
	dir := root + "-disk"
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for pattern, name := range map[string]string{"vmlinuz-*": imageKernel, "initrd.img-*": imageInitrd} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("the image has the kernels %q: %w", found, errors.Join(err, errors.New("there must be one")))
		}
		if err := copyFile(found[0], filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	command := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", root, filepath.Join(dir, imageDisk), diskSize)
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("writing the disk: %w\n%s", err, out)
	}
	return dir, nil
}

// copyFile keeps the holes of a file.
func copyFile(from, to string) error {
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying %s: %w\n%s", from, err, out)
	}
	return nil
}

// accelerator is KVM where it runs a kernel, which takes more than a device of that name: inside some hosts that are virtual
// themselves a guest hangs. Otherwise QEMU translates, some ten times slower.
func (h hardware) accelerator(image string) []string {
	if !h.foreign() && runsKernel(h, image) {
		return h.kvm()
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", h.translated}
}

// BuildReal makes all that real machines of an architecture, as in "arm64", are made of, which one without KVM or of another
// architecture has no time for in a story. It names what runs them here: "KVM", or "TCG", which translates.
func BuildReal(ctx context.Context, out io.Writer, arch string) (accelerator string, err error) {
	image, err := BuildRealImage(ctx, out, arch)
	if err != nil {
		return "", err
	}
	h := computers[arch]
	if _, err := h.parts(ctx, out); err != nil {
		return "", err
	}
	if h.accelerator(image)[1] == "kvm" {
		return "KVM", nil
	}
	return "TCG", nil
}

// kvm: a host that is virtual itself may refuse the register of arch-capabilities, which nothing here needs.
func (h hardware) kvm() []string {
	if h.arch == "amd64" {
		return []string{"-accel", "kvm", "-cpu", "host,arch-capabilities=off"}
	}
	return []string{"-accel", "kvm", "-cpu", "host"}
}

// kvmPatience is for a kernel's first line, which takes a second.
const kvmPatience = 10 * time.Second

var kvmOnce struct {
	sync.Mutex
	asked, runs bool
}

func runsKernel(h hardware, image string) bool {
	kvmOnce.Lock()
	defer kvmOnce.Unlock()
	if kvmOnce.asked {
		return kvmOnce.runs
	}
	kvmOnce.asked = true
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), kvmPatience)
	defer cancel()
	args := append(h.kvm(), "-nodefaults", "-no-user-config", "-display", "none", "-machine", h.machine, "-m", "512", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(image, imageKernel), "-append", "panic=-1 console="+h.console)
	cmd := exec.CommandContext(ctx, h.qemu, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	cmd.Stdout = &said
	// Without a root disk the kernel panics and QEMU ends.
	if err := onSpawner(cmd.Start); err != nil {
		return false
	}
	_ = cmd.Wait()
	kvmOnce.runs = strings.Contains(said.String(), "Linux version")
	return kvmOnce.runs
}
