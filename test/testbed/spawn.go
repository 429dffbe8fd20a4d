package testbed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// onSpawner runs f on the one thread that starts machines. The kernel sends a machine its death signal when the thread
// that started it ends, not the process; this thread lives as long as the process.
func onSpawner(f func() error) error {
	done := make(chan error)
	spawner() <- func() { done <- f() }
	return <-done
}

var spawner = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// spawnInit starts process 1 of a machine and waits until it serves.
func spawnInit(spec machine.Spec) (*exec.Cmd, error) {
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specRead.Close()
	defer specWrite.Close()
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer readyRead.Close()
	defer readyWrite.Close()
	var stderr bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{machine.InitName, spec.Hostname}
	cmd.Env = []string{"PATH=" + machine.Path}
	cmd.Dir = "/"
	cmd.Stderr = &stderr
	cmd.ExtraFiles = []*os.File{specRead, readyWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true, // a Ctrl-C is for the test
	}
	if err := onSpawner(cmd.Start); err != nil {
		return nil, fmt.Errorf("starting process 1: %w", err)
	}
	if err := json.NewEncoder(specWrite).Encode(spec); err != nil {
		return nil, err
	}
	readyWrite.Close()
	answer, err := io.ReadAll(readyRead)
	if err == nil && string(answer) == "ok" {
		return cmd, nil
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, fmt.Errorf("starting process 1: %s%s", answer, stderr.Bytes())
}
