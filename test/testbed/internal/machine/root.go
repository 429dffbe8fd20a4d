package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// hostFolders are shown read-only: programs and their data. Everything else of the host is out of sight, so that nothing
// in a machine can write there.
var hostFolders = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
	"/etc/alternatives", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/ld.so.conf.d", "/nix", "/gnu"}

// devices are the nodes of /dev that kubelet, containerd and shells need.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty", "kmsg", "fuse"}

// buildRoot runs in the new namespaces and ends with spec.Root as /.
func buildRoot(spec Spec) error {
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("setting the hostname: %w", err)
	}
	// First of all: nothing that is mounted here may reach the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	root := spec.Root
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s: %w", root, err)
	}
	for _, dir := range hostFolders {
		if err := showFolder(root, dir); err != nil {
			return err
		}
	}
	if err := bindReadOnly(spec.Parts, filepath.Join(root, PartsDir)); err != nil {
		return err
	}
	if spec.Image != "" {
		if err := bindReadOnly(spec.Image, filepath.Join(root, ImageDir)); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		fstype, target string
		flags          uintptr
		data           string
	}{
		{"proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"tmpfs", "run", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"tmpfs", "dev", unix.MS_NOSUID, "mode=755"},
		{"devpts", "dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"},
		{"tmpfs", "dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		target := filepath.Join(root, m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fstype, target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on /%s: %w", m.fstype, m.target, err)
		}
	}
	if err := populateDev(filepath.Join(root, "dev")); err != nil {
		return err
	}
	cgroups := filepath.Join(root, "sys/fs/cgroup")
	if err := unix.Mount("/sys/fs/cgroup", cgroups, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("showing the cgroups: %w", err)
	}
	for target, source := range spec.Over {
		target = filepath.Join(root, target)
		if _, err := os.Stat(target); err != nil {
			continue // not every machine has a DMI table
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("covering %s: %w", target, err)
		}
	}
	// /run/systemd/system is how programs ask whether systemd is the init system.
	for _, dir := range []string{"run/lock", "run/systemd/system"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return enterRoot(root)
}

func enterRoot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// pivot_root onto itself stacks the old root over the new one; detaching it leaves the new one alone.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivoting the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detaching the host's root: %w", err)
	}
	return os.Chdir("/")
}

// showFolder shows one of the host's folders at the same place; a symlink (/bin -> usr/bin) is copied as one.
func showFolder(root, dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil // the host does not have it
	}
	target := filepath.Join(root, dir)
	if info.Mode()&os.ModeSymlink != 0 {
		link, err := os.Readlink(dir)
		if err != nil {
			return err
		}
		if err := os.Symlink(link, target); err != nil && !os.IsExist(err) {
			return err
		}
		return nil
	}
	return bindReadOnly(dir, target)
}

func bindReadOnly(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s: %w", source, err)
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", source, err)
	}
	return nil
}

func populateDev(dev string) error {
	for _, name := range devices {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		target := filepath.Join(dev, name)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding /dev/%s: %w", name, err)
		}
	}
	for link, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
		"stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}
