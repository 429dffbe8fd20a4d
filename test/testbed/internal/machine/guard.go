package machine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runGuard waits for the end of the test that started it, which it sees by the end of its standard input, and removes what
// the kernel does not: the run folder and the cgroups. So an interrupted, panicked or killed run cleans up like a good
// one; if the guard is killed too, the next run does it.
func runGuard(args []string) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	if len(args) != 2 {
		os.Exit(2)
	}
	io.Copy(io.Discard, os.Stdin)
	// Whoever holds the lock removes; after a regular end nothing is left to lock.
	lock, err := os.Open(filepath.Join(args[0], LockName))
	if err != nil {
		os.Exit(0)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err == nil {
		RemoveRun(args[0], args[1])
	}
	os.Exit(0)
}

// LockName is the file in a run folder that its test holds locked.
const LockName = "lock"

// RemoveRun removes a run's cgroups and its folder. Processes of the run may still be dying, so it tries for a while.
func RemoveRun(dir, cgroup string) error {
	var err error
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err = errors.Join(RemoveCgroups(cgroup), os.RemoveAll(dir))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// CgroupHierarchies are the mounted hierarchies: one on cgroup v2, one for each controller on v1.
func CgroupHierarchies() ([]string, error) {
	const top = "/sys/fs/cgroup"
	if IsCgroupV2() {
		return []string{top}, nil
	}
	entries, err := os.ReadDir(top)
	if err != nil {
		return nil, fmt.Errorf("listing cgroup hierarchies: %w", err)
	}
	var all []string
	for _, e := range entries {
		// "cpu" is often a symlink to "cpu,cpuacct"; "unified" is v2 beside v1.
		if e.IsDir() {
			all = append(all, filepath.Join(top, e.Name()))
		}
	}
	return all, nil
}

// IsCgroupV2 tells whether the host has the unified hierarchy alone.
func IsCgroupV2() bool {
	var st unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// RemoveCgroups removes a cgroup and all below it, in every hierarchy.
func RemoveCgroups(name string) error {
	hierarchies, err := CgroupHierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range hierarchies {
		errs = append(errs, removeCgroup(filepath.Join(h, name)))
	}
	return errors.Join(errs...)
}

// removeCgroup is not os.RemoveAll: the files in a cgroup folder cannot be removed, and need not be.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing cgroup %s: %w", dir, err)
	}
	return nil
}
