package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Need installs with apt-get, and says so on out, the Debian packages of what this host lacks. What is needed is a program in
// PATH, or a file by its absolute path: one that no other package has, for a folder may be there before its package is.
// One at a time on a machine: a program whose package is being unpacked is there, and does not work yet.
func Need(ctx context.Context, out io.Writer, packageOf map[string]string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Minute, errors.New("apt-get takes too long"))
	defer cancel()
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("finding the cache folder: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "nodejoin-testbed", "apt.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	var missing []string
	for what, pkg := range packageOf {
		_, err := exec.LookPath(what)
		if filepath.IsAbs(what) {
			_, err = os.Stat(what)
		}
		if err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	fmt.Fprintf(out, "the tests need more on this host: installing %s\n", strings.Join(missing, " "))
	install := append([]string{"install", "--yes", "--no-install-recommends"}, missing...)
	for _, args := range [][]string{{"update"}, install} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=600"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // and no dpkg is left at work
		cmd.WaitDelay = 20 * time.Second
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("running %q: %w\n%s\n  to mend it: apt-get update && apt-get %s", cmd.Args, err, tail(string(output), tailLines), strings.Join(install, " "))
		}
	}
	return nil
}
