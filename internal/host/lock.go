package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Lock keeps a second nodejoin away from this machine.
type Lock struct{ file *os.File }

// LockedError: another nodejoin is at work.
type LockedError struct {
	PID int // its process; 0 if it has not written that yet
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "another nodejoin is at work on this machine"
	}
	return fmt.Sprintf("another nodejoin is at work on this machine (process %d)", e.PID)
}

// Lock takes the lock without waiting; the error is *LockedError if another process has it. It is a flock(2), which the
// kernel drops with its holder, so what a killed nodejoin leaves behind does not block. Children do not inherit it.
func (h Host) Lock() (*Lock, error) {
	dir, err := h.makeRuntimeDir()
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	// O_NONBLOCK: a FIFO at this path must not hang us. The file is never removed: a second process could hold the
	// removed one while a third locks a new one.
	f, err := os.OpenFile(dir+"/lock", os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{PID: holder(f)}
		}
		return nil, fmt.Errorf("locking %q: %w", f.Name(), err)
	}
	// The number is for people; a lock whose number could not be written is still a lock.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: f}, nil
}

// SeeLock is Lock for one who only looks: it makes no file and keeps nothing. The error is *LockedError if another process
// has the lock.
func (h Host) SeeLock() (*Lock, error) {
	f, err := os.OpenFile(h.Path(runtimeDir)+"/lock", os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{}, nil
	} else if err != nil {
		return nil, fmt.Errorf("looking at the lock: %w", err)
	}
	defer f.Close() // and with it goes the shared lock
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &LockedError{PID: holder(f)}
	} else if err != nil {
		return nil, fmt.Errorf("looking at the lock %q: %w", f.Name(), err)
	}
	return &Lock{}, nil
}

func holder(f *os.File) int {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

// Unlock gives the lock back. A second call does nothing.
func (l *Lock) Unlock() error {
	if l.file == nil {
		return nil
	}
	_ = l.file.Truncate(0)
	err := l.file.Close()
	l.file = nil
	return err
}
