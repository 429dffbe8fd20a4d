package child

import (
	"fmt"
	"path/filepath"
	"sync"
)

// StuckError: a program did not end on SIGKILL. The kernel lets a process die only when it leaves uninterruptible sleep, and a
// mount or a disk that does not answer can keep it there for ever. It will do nothing more: the signal is waiting for it.
type StuckError struct {
	Path  string // of the program, as it was given
	PID   int
	cause error // why it was to end; nil when a second one was wanted
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("process %d (%s) cannot be killed, most likely because it is stuck on a mount or a disk that does not answer; "+
		"no other is started beside it", e.PID, filepath.Base(e.Path))
}

func (e *StuckError) Unwrap() error { return e.cause }

// left are the programs that could not be killed and are still there, by path.
var left = struct {
	sync.Mutex
	pids map[string]int
}{pids: map[string]int{}}

// leave remembers a stuck program until wait returns.
func leave(path string, pid int, wait func() error) {
	left.Lock()
	defer left.Unlock()
	left.pids[path] = pid
	go func() {
		_ = wait()
		left.Lock()
		defer left.Unlock()
		delete(left.pids, path)
	}()
}

// alone is a *StuckError if an earlier run of the program is still there.
func alone(path string) error {
	left.Lock()
	defer left.Unlock()
	if pid, there := left.pids[path]; there {
		return &StuckError{Path: path, PID: pid}
	}
	return nil
}
