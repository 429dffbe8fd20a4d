package host

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// secretPrefix is how Sweep knows the files of a nodejoin that was killed.
const secretPrefix = "nodejoin-secret-"

// SecretFile writes content to a new file, mode 0600, that lives in memory: in /run/nodejoin, or in /dev/shm where /run is on a
// disk. If neither is in memory, the error says so. remove deletes it; once is enough, twice is fine.
func (h Host) SecretFile(content []byte) (path string, remove func() error, err error) {
	dir, err := h.memory()
	if err != nil {
		return "", nil, fmt.Errorf("finding a place for a secret: %w", err)
	}
	// A name that nobody can foresee, and O_EXCL, which also refuses a symlink: /dev/shm is open to everyone.
	path = filepath.Join(dir, secretPrefix+rand.Text())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("writing a secret: %w", err)
	}
	remove = func() error {
		if err := removeFile(path); err != nil {
			return fmt.Errorf("removing a secret: %w", err)
		}
		return nil
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", nil, errors.Join(fmt.Errorf("writing a secret: %w", err), remove())
	}
	return path, remove, nil
}

func (h Host) memory() (string, error) {
	run, err := h.makeRuntimeDir()
	if err == nil && inMemory(run) {
		return run, nil
	}
	shm := h.Path("/dev/shm")
	if inMemory(shm) {
		return shm, nil
	}
	return "", errors.Join(err, fmt.Errorf("neither %q nor %q is in memory (tmpfs or ramfs), and a token must not reach a disk",
		h.Path(runtimeDir), shm))
}

func inMemory(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && (uint32(s.Type) == unix.TMPFS_MAGIC || uint32(s.Type) == unix.RAMFS_MAGIC)
}

// Sweep removes the secret files that a killed nodejoin left: regular files of this user with the right name. Call it with the
// lock held, or it removes those of a nodejoin at work.
func (h Host) Sweep() error {
	var failed error
	for _, dir := range []string{h.Path(runtimeDir), h.Path("/dev/shm")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), secretPrefix) {
				continue
			}
			info, err := e.Info()
			if err != nil {
				continue // gone meanwhile
			}
			stat, ok := info.Sys().(*syscall.Stat_t)
			if !info.Mode().IsRegular() || !ok || int(stat.Uid) != os.Geteuid() {
				continue // not ours
			}
			if err := removeFile(filepath.Join(dir, e.Name())); err != nil {
				failed = errors.Join(failed, err)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("removing secrets left by an earlier run: %w", failed)
	}
	return nil
}
