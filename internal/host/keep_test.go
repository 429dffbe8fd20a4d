package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsKeptForANextRun(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "nodejoin-kept-")
	if err != nil {
		t.Skipf("no memory to keep it in: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := Host{Root: dir}
	if h.Kept() != nil {
		t.Error("something is kept before anything was")
	}
	for _, content := range []string{"one", "two"} {
		if err := h.Keep([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := string(h.Kept()); got != content {
			t.Errorf("kept %q, found %q", content, got)
		}
	}
	info, err := os.Stat(filepath.Join(h.Path(runtimeDir), keptName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	entries, _ := os.ReadDir(h.Path(runtimeDir))
	if len(entries) != 1 {
		t.Errorf("%d files", len(entries))
	}
	if err := h.Forget(); err != nil || h.Kept() != nil {
		t.Errorf("not forgotten: %v", err)
	}
	if err := h.Forget(); err != nil {
		t.Errorf("forgetting nothing: %v", err)
	}
}

// What a Node's object holds must not reach a disk.
func TestNothingIsKeptOnADisk(t *testing.T) {
	h := Host{Root: t.TempDir()}
	if inMemory(h.Root) {
		t.Skip("temporary files are in memory here")
	}
	if err := h.Keep([]byte("x")); err == nil || h.Kept() != nil {
		t.Errorf("kept on a disk: %v", err)
	}
}

// Nor is it put among the files of everybody, where the runtime folder is on a disk and /dev/shm is not.
func TestNothingIsKeptWhereEverybodyMayWrite(t *testing.T) {
	shared, err := os.MkdirTemp("/dev/shm", "nodejoin-kept-")
	if err != nil {
		t.Skipf("no memory to keep it in: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	h := Host{Root: t.TempDir()}
	if inMemory(h.Root) {
		t.Skip("temporary files are in memory here")
	}
	if err := errors.Join(os.Mkdir(h.Path("/dev"), 0o755), os.Symlink(shared, h.Path("/dev/shm"))); err != nil {
		t.Fatal(err)
	}
	err = h.Keep([]byte("x"))
	if left, _ := os.ReadDir(shared); err == nil || len(left) > 0 {
		t.Errorf("%v, and %d files are left", err, len(left))
	}
}
