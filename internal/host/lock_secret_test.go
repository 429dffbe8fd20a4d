package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestOnlyOneHoldsTheLock(t *testing.T) {
	h := machine(t, nil)
	first, err := h.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Lock()
	var locked *LockedError
	if _, err := h.SeeLock(); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("who only looks: got %v, want LockedError with %d", err, os.Getpid())
	}
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second: got %v, want LockedError with %d", err, os.Getpid())
	}
	if err := errors.Join(first.Unlock(), first.Unlock()); err != nil {
		t.Error(err)
	}
	again, err := h.Lock()
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	_ = again.Unlock()
}

func TestLookingAtTheLockLeavesNothing(t *testing.T) {
	h := machine(t, nil)
	if _, err := h.SeeLock(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(h.Path(runtimeDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	l, err := h.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Unlock()
	seen, err := h.SeeLock()
	if err != nil {
		t.Fatal(err)
	}
	if l, err = h.Lock(); err != nil {
		t.Errorf("who looked kept it: %v", err)
	}
	_ = l.Unlock()
	_ = seen.Unlock()
}

func TestALockLeftByAKilledHolderDoesNotBlock(t *testing.T) {
	h := machine(t, nil)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "HOST_TEST_LOCK="+h.Root)
	out, err := holder.StdoutPipe()
	if err != nil || holder.Start() != nil {
		t.Fatal(err)
	}
	said := make([]byte, 6)
	if _, err := out.Read(said); err != nil || !strings.HasPrefix(string(said), "<nil>") {
		t.Fatalf("the holder said %q, %v", said, err)
	}
	var locked *LockedError
	if _, err := h.Lock(); !errors.As(err, &locked) || locked.PID != holder.Process.Pid {
		t.Errorf("got %v, want LockedError with %d", err, holder.Process.Pid)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	l, err := h.Lock()
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	_ = l.Unlock()
}

func TestTheLockFollowsNoLinkAndTrustsNoOpenDirectory(t *testing.T) {
	h := machine(t, map[string]string{"/precious": "x"})
	if err := os.Mkdir(h.Path("/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func() error{
		"a link for the directory": func() error { return os.Symlink(t.TempDir(), h.Path(runtimeDir)) },
		"a directory open to all": func() error {
			return errors.Join(os.Mkdir(h.Path(runtimeDir), 0o777), os.Chmod(h.Path(runtimeDir), 0o777))
		},
		"a link for the file": func() error {
			return errors.Join(os.Mkdir(h.Path(runtimeDir), 0o755), os.Symlink(h.Path("/precious"), h.Path(runtimeDir+"/lock")))
		},
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Lock(); err == nil {
			t.Errorf("%s: got the lock", name)
		}
		if b, _ := os.ReadFile(h.Path("/precious")); string(b) != "x" {
			t.Errorf("%s: wrote through it", name)
		}
		if err := os.RemoveAll(h.Path(runtimeDir)); err != nil {
			t.Fatal(err)
		}
	}
}

// inMemoryMachine is a host whose root, like /run on most machines, is in memory.
func inMemoryMachine(t *testing.T) Host {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return Host{Root: root}
}

func TestASecretLivesInMemoryAndForItsOwnerAlone(t *testing.T) {
	h := inMemoryMachine(t)
	path, remove, err := h.SecretFile([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 || filepath.Dir(path) != h.Path(runtimeDir) {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
	if b, _ := os.ReadFile(path); string(b) != "secret" {
		t.Errorf("holds %q", b)
	}
	second, removeSecond, err := h.SecretFile(nil)
	if err != nil || second == path {
		t.Errorf("second: %q, %v", second, err)
	}
	if err := errors.Join(remove(), remove(), removeSecond()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestASecretNeverReachesADisk(t *testing.T) {
	for dir, want := range map[string]bool{"/dev/shm": true, "/proc": false, "/no/such/place": false} {
		if got := inMemory(dir); got != want {
			t.Errorf("%s in memory: %v, want %v", dir, got, want)
		}
	}
	h := machine(t, nil)
	if inMemory(h.Root) {
		h = Host{Root: "/proc/self"} // the temporary directory is in memory here; nothing can be made in this one
	}
	if path, _, err := h.SecretFile([]byte("secret")); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestSweepTakesOnlyItsOwn(t *testing.T) {
	h := inMemoryMachine(t)
	if err := h.Sweep(); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	left, _, err := h.SecretFile([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.Path("/dev/shm/nodejoin-secret-OTHER"), "secret", 0o600)
	write(t, h.Path("/precious"), "x", 0o600)
	write(t, h.Path("/run/nodejoin/status.json"), "x", 0o644)
	write(t, h.Path("/dev/shm/nodejoin-secret-dir/file"), "x", 0o600)
	if err := os.Symlink(h.Path("/precious"), h.Path("/run/nodejoin/nodejoin-secret-link")); err != nil {
		t.Fatal(err)
	}
	if err := h.Sweep(); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]bool{left: false, h.Path("/dev/shm/nodejoin-secret-OTHER"): false, h.Path("/precious"): true,
		h.Path("/run/nodejoin/status.json"): true, h.Path("/dev/shm/nodejoin-secret-dir/file"): true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: still there: %v, want %v", path, err == nil, want)
		}
	}
}
