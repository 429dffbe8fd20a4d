// Package packages makes what a release is made of, for the tests: nodejoin's own packages, from the checkout as it is.
package packages

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Deb makes the Debian package for an architecture in the folder work, which must be empty or missing, and returns its path.
func Deb(ctx context.Context, work, arch string) (string, error) {
	if err := Snapshot(ctx, work, "SKIP=sign,sbom,archive"); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(work, "dist", "nodejoin_*_"+arch+".deb"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("`make snapshot` made the packages %q, want one", found)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// Snapshot runs `make snapshot` in a copy of the checkout, with changes that are not committed; what it makes is in
// work/dist. The copy is a repository of its own with a single commit, always the same: a version and a date that depend
// on nothing but the files.
func Snapshot(ctx context.Context, work string, settings ...string) error {
	root, err := checkout()
	if err != nil {
		return err
	}
	if err := copyFiles(root, work); err != nil {
		return fmt.Errorf("copying the checkout: %w", err)
	}
	for _, args := range [][]string{
		{"git", "init", "--quiet"},
		{"git", "add", "--all"},
		{"git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "commit", "--quiet", "--message=tests"},
		append([]string{"make", "snapshot"}, settings...),
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.WaitDelay = work, 5*time.Second
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, output)
		}
	}
	return nil
}

// checkout is the folder at or above the working folder that holds .goreleaser.yaml.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".goreleaser.yaml")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no .goreleaser.yaml at or above the working folder: run this inside the checkout")
		}
	}
}

// copyFiles leaves out what git and `make` keep at the top.
func copyFiles(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", "bin", "dist"}, name) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case entry.Type().IsRegular():
			return copyFile(path, filepath.Join(to, name))
		}
		return nil
	})
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}

// needs are what makes and looks at packages, and the Debian packages that it comes in.
var needs = map[string]string{
	"git": "git", "make": "make", "dpkg-deb": "dpkg", "rpm": "rpm", "systemd-analyze": "systemd", "shellcheck": "shellcheck",
	"man": "man-db", "mandoc": "mandoc", "bash": "bash", "zsh": "zsh", "fish": "fish", bashCompletion: "bash-completion",
}

const bashCompletion = "/usr/share/bash-completion/bash_completion"
