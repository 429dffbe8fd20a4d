package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// statusWriter holds the report as it is now, for whoever looks. A goroutine of
// its own writes it, and of two contents that wait the newer: a slow disk must
// not slow the run down.
type statusWriter struct {
	write func([]byte) error
	fail  func(error) // told of the first failure

	mu     sync.Mutex
	next   []byte
	closed bool
	wake   chan struct{}
	done   chan struct{}
}

func openStatusFile(path string, fail func(error)) *statusWriter {
	return openStatus(func(content []byte) error { return replace(path, content) }, fail)
}

func openStatus(write func([]byte) error, fail func(error)) *statusWriter {
	s := &statusWriter{write: write, fail: fail, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.serve()
	return s
}

// put replaces the content, soon.
func (s *statusWriter) put(content []byte) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.next = content
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close waits until what was put has been written, but not for ever.
func (s *statusWriter) close(limit time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.wake)
	}
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(limit):
	}
}

func (s *statusWriter) serve() {
	defer close(s.done)
	failed := false
	for range s.wake {
		s.mu.Lock()
		content := s.next
		s.next = nil
		s.mu.Unlock()
		if content == nil {
			continue
		}
		if err := s.write(content); err != nil && !failed {
			failed = true
			s.fail(err)
		}
	}
}

// replace writes a file so that a reader sees all of the old content or all of
// the new. Only a regular file is replaced: somebody will say
// --status-file=/dev/stdout, and a rename would take that from the whole
// machine.
func replace(path string, content []byte) error {
	if filepath.Dir(path) == runtimeDir {
		if err := os.Mkdir(runtimeDir, 0o755); err == nil {
			_ = os.Chmod(runtimeDir, 0o755) // the umask took its part
		}
		// the lock's own test: where others can write, or a link leads, nothing is written by root
		info, err := os.Lstat(runtimeDir)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !info.IsDir() || !ok || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("%q is not a directory that this user alone can write to (%s)", runtimeDir, info.Mode())
		}
	}
	switch info, err := os.Lstat(path); {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file (%s)", path, info.Mode().Type())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err := renewed(path, content)
	if err != nil && os.Remove(path) == nil {
		// What cannot be brought up to date would go on telling of another run, or of this one as running: no file is
		// better. On a full disk its room may also be what the new one needs.
		err = renewed(path, content)
	}
	return err
}

// renewed writes a new file and gives it the old one's name.
func renewed(path string, content []byte) error {
	dir, name := filepath.Split(path)
	// One name and not a random one: what a killed run left behind is cleared away here.
	temporary := dir + "." + name + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// Chmod for the umask; Sync because after a crash the name may else be there before the content.
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
	}
	return err
}

const runtimeDir = "/run/nodejoin"
