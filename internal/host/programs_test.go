package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idleThreads counts those of this process that read at idle priority.
func idleThreads(t *testing.T) (idle int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		id, _ := strconv.Atoi(task.Name())
		if prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, ioprioThread, uintptr(id), 0); errno == 0 && prio == ioprioIdle {
			idle++
		}
	}
	return idle
}

func TestProgramsAreReadToTheirEndsAtIdlePriority(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	pipe := filepath.Join(dir, "kubelet")
	if err := unix.Mkfifo(pipe, 0o755); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { ReadPrograms(t.Context(), "not-there", "kubelet"); close(done) }()
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := writer.Write(make([]byte, 300<<10)); err != nil { // more than a pipe holds: it is read
			t.Fatal(err)
		}
		if n := idleThreads(t); n != 1 {
			t.Errorf("%d threads at idle priority", n)
		}
	}
	writer.Close()
	<-done
	for deadline := time.Now().Add(5 * time.Second); idleThreads(t) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a thread is left at idle priority")
		}
	}
}

func TestReadingProgramsEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	endless := filepath.Join(dir, "kubelet")
	if err := errors.Join(os.WriteFile(endless, nil, 0o755), os.Truncate(endless, 1<<42)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { ReadPrograms(ctx, "kubelet"); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it reads on")
	}
}
