package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// runtimeDir holds the lock and, where /run is in memory, secrets.
const runtimeDir = "/run/nodejoin"

// makeRuntimeDir makes the directory, and refuses one in which somebody else could plant files.
func (h Host) makeRuntimeDir() (string, error) {
	dir := h.Path(runtimeDir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		// whatever the umask: everybody may read the status file
		if err := os.Chmod(dir, 0o755); err != nil {
			return "", err
		}
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%q is not a directory that this user alone can write to (%s)", dir, info.Mode())
	}
	return dir, nil
}
