package machine

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is a program to run in the machine.
type Command struct {
	Args []string
	Env  []string // on top of PATH, HOME and the like; a later value wins
	Dir  string
	UID  uint32 // user and group
}

// Exit is how a program ended.
type Exit struct {
	Code   int            // exit status; -1 if a signal ended it
	Signal syscall.Signal // 0 if it exited by itself
	MaxRSS int64          // bytes, at its peak
	CPU    time.Duration  // of it and of the children that it has waited for
}

// children starts processes and reaps all that are left to process 1. It owns every wait of this process: two waiters
// would steal each other's exit statuses, so os/exec's Wait is not used here.
type children struct {
	mu   sync.Mutex
	done map[int]func(Exit)
}

func newChildren() *children {
	c := &children{done: map[int]func(Exit){}}
	sigchld := make(chan os.Signal, 1)
	signal.Notify(sigchld, syscall.SIGCHLD)
	go func() {
		for range sigchld {
			c.reap()
		}
	}()
	return c
}

func (c *children) reap() {
	for {
		c.mu.Lock()
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &usage)
		done := c.done[pid]
		delete(c.done, pid)
		c.mu.Unlock()
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
		if done == nil {
			continue // an orphan that process 1 inherited
		}
		exit := Exit{Code: status.ExitStatus(), MaxRSS: usage.Maxrss * 1024,
			CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
		if status.Signaled() {
			exit.Signal = status.Signal()
		}
		done(exit)
	}
}

// start runs a command in a session of its own; done is called once, from another goroutine.
func (c *children) start(cmd Command, stdin, stdout, stderr uintptr, done func(Exit)) (int, error) {
	if len(cmd.Args) == 0 {
		return 0, errors.New("empty command")
	}
	env := environment(cmd.Env)
	path, err := lookPath(cmd.Args[0], env)
	if err != nil {
		return 0, err
	}
	dir := cmd.Dir
	if dir == "" {
		dir = "/root"
	}
	attr := &syscall.SysProcAttr{Setsid: true}
	if cmd.UID != 0 {
		attr.Credential = &syscall.Credential{Uid: cmd.UID, Gid: cmd.UID}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	pid, err := syscall.ForkExec(path, cmd.Args, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{stdin, stdout, stderr}, Sys: attr,
	})
	if err != nil {
		return 0, &os.PathError{Op: "starting", Path: path, Err: err}
	}
	c.done[pid] = done
	return pid, nil
}

// environment is the base that a login shell on a server would have; each later word replaces an earlier one.
func environment(more []string) []string {
	env := []string{"PATH=" + Path, "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "LANG=C.UTF-8", "TERM=dumb"}
	for _, kv := range more {
		key, _, _ := strings.Cut(kv, "=")
		kept := env[:0]
		for _, old := range env {
			if !strings.HasPrefix(old, key+"=") {
				kept = append(kept, old)
			}
		}
		env = append(kept, kv)
	}
	return env
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		list, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
