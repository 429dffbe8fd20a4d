package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodejoin/nodejoin/internal/child"
	"github.com/nodejoin/nodejoin/pkg/join"
)

const (
	// followTime bounds --on-success and --on-failure: what they call, a cloud's
	// API most often, answers in seconds or not at all.
	followTime = time.Minute
	// followHaste is what is left of it after a signal: whoever sent that waits.
	followHaste = 5 * time.Second
)

var errLate = fmt.Errorf("it was ended: it may take %s, and %s after a signal", followTime, followHaste)

// follow runs the command that is to follow this end, and returns what went
// wrong with it. The end is what it is: nothing here changes the exit status.
func (s *session) follow(rep join.Report) (trouble string) {
	flag, command := "--on-failure", s.onFailure
	if *rep.ExitCode == 0 {
		flag, command = "--on-success", s.onSuccess
	}
	// Locked is the other nodejoin's story, and it will tell the end of it.
	if command == "" || rep.Reason == join.Locked {
		return ""
	}
	in, err := inMemory(encode(rep))
	if err != nil {
		return s.trouble(flag, err)
	}
	defer in.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	limit := time.AfterFunc(followTime, func() { cancel(errLate) })
	defer limit.Stop()
	defer context.AfterFunc(s.ctx, func() { limit.Reset(followHaste) })()
	over := make(chan struct{})
	defer close(over)
	s.setKill(func() {
		cancel(context.Canceled)
		select {
		case <-over:
		case <-time.After(2 * haste):
		}
	})
	defer s.setKill(nil)
	_, err = child.Run(ctx, child.Cmd{
		Path: "/bin/sh", Args: []string{"-c", command}, Stdin: in, Grace: haste,
		Line: func(line string) { s.logs.note(s.mask.Replace(flag + ": " + line)) },
	})
	return s.trouble(flag, err)
}

// overtaken tells whether another run has begun since this one gave the lock
// back: the status file is that one's now.
func (s *session) overtaken(rep join.Report) bool {
	now, err := readStatusFile(s.path)
	return err == nil && now.PID != rep.PID && now.StartedAt.After(rep.StartedAt)
}

func (s *session) setKill(kill func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill = kill
}

func (s *session) trouble(flag string, err error) string {
	if err == nil {
		return ""
	}
	words := s.mask.Replace(fmt.Sprintf("%s: %v", flag, err))
	s.logs.say(words, "")
	return words
}

// inMemory is a file without a name: its reader may take its time, or none, and
// nobody waits for that.
func inMemory(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("report", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("keeping the report for it: %w", err)
	}
	f := os.NewFile(uintptr(fd), "report")
	if _, err = f.Write(content); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("keeping the report for it: %w", err)
	}
	return f, nil
}
