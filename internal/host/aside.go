package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// aside is what the name of a file ends with that was moved out of the kubelet's way. It stays in its directory, so that
// the move is one step, and both it and the way back work whatever is mounted where.
const aside = ".before-nodejoin"

// MoveAside moves files, or links, out of the kubelet's way. One that is not there is fine, and one that was moved before
// stays as it is: what an unfinished try has left is older, and so what there was.
func (h Host) MoveAside(paths ...string) error {
	var failed error
	for _, path := range paths {
		from := h.Path(path)
		if _, err := os.Lstat(from + aside); err == nil {
			failed = errors.Join(failed, removeFile(from))
			continue
		}
		if err := os.Rename(from, from+aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("moving the kubelet's credentials aside: %w", failed)
	}
	return nil
}

// MoveBack puts back what MoveAside has moved, in place of what has come since.
func (h Host) MoveBack(paths ...string) error {
	var failed error
	for _, path := range paths {
		if err := os.Rename(h.Path(path)+aside, h.Path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		return fmt.Errorf("moving the kubelet's credentials back: %w", failed)
	}
	return nil
}

// RemoveAside removes what MoveAside has moved: it is of no use any more.
func (h Host) RemoveAside(paths ...string) error {
	var failed error
	for _, path := range paths {
		failed = errors.Join(failed, removeFile(h.Path(path)+aside))
	}
	if failed != nil {
		return fmt.Errorf("removing the kubelet's credentials of before: %w", failed)
	}
	return nil
}

// MovedAside is when the last of them was; zero: none is.
func (h Host) MovedAside(paths ...string) (last time.Time) {
	for _, path := range paths {
		var stat syscall.Stat_t
		if syscall.Lstat(h.Path(path)+aside, &stat) != nil {
			continue
		}
		if at := time.Unix(stat.Ctim.Unix()); at.After(last) {
			last = at
		}
	}
	return last
}

// WriteBootstrapConf puts a kubeconfig with a token in it where the kubelet looks for one: a link, to a file in memory.
// remove takes both away, and nothing that somebody has put there since.
func (h Host) WriteBootstrapConf(path string, content []byte) (removeConf func() error, err error) {
	secret, removeSecret, err := h.SecretFile(content)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(removeFile(h.Path(path)), os.Symlink(secret, h.Path(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a bootstrap kubeconfig: %w", err), removeSecret())
	}
	return func() error { return errors.Join(h.RemoveSecretLink(path), removeSecret()) }, nil
}

// RemoveSecretLink removes the link that WriteBootstrapConf makes, also that of a run that was killed. Anything else stays.
func (h Host) RemoveSecretLink(path string) error {
	to, err := os.Readlink(h.Path(path))
	if err != nil || !strings.HasPrefix(filepath.Base(to), secretPrefix) {
		return nil //nolint:nilerror // it is none
	}
	if err := removeFile(h.Path(path)); err != nil {
		return fmt.Errorf("removing a bootstrap kubeconfig: %w", err)
	}
	return nil
}

// removeFile removes a file, or a link; none there is fine.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
