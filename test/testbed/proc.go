package testbed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// Command is a program to run in a machine.
type Command struct {
	Args  []string
	Env   []string // on top of PATH, HOME and the like; a later value wins
	Dir   string   // /root if empty
	Stdin io.Reader
	// Out gets standard output and standard error as they come, besides the Proc's own buffers.
	Out io.Writer
	// StdoutFile and StderrFile, if set, are handed to the program as they are: a full pipe, /dev/full, a closed reader.
	StdoutFile, StderrFile *os.File
}

// Exit is how a program ended: Code is -1 if it was Signal.
type Exit = machine.Exit

// Proc is a program that runs in a machine. It leads a session of its own.
type Proc struct {
	PID            int // as seen inside the machine
	Stdout, Stderr *Buffer

	running *machine.Running
	mu      sync.Mutex // one Signal at a time
	done    chan struct{}
	exit    Exit
	args    []string
}

// Start runs a program in the machine. If ctx ends first, its whole process group is killed.
func (m *Machine) Start(ctx context.Context, cmd Command) (*Proc, error) {
	inside, err := m.enter(machine.Command{Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir})
	if err != nil {
		return nil, err
	}
	return m.startOuter(ctx, cmd, inside)
}

// startOuter is Start for what a command becomes in the outer system of a booted node.
func (m *Machine) startOuter(ctx context.Context, cmd Command, inside machine.Command) (*Proc, error) {
	p := &Proc{Stdout: &Buffer{}, Stderr: &Buffer{}, done: make(chan struct{}), args: cmd.Args}
	var copies sync.WaitGroup
	var readers []*os.File
	capture := func(given *os.File, into *Buffer) (*os.File, func(), error) {
		if given != nil {
			return given, func() {}, nil
		}
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		readers = append(readers, r)
		var target io.Writer = into
		if cmd.Out != nil {
			target = io.MultiWriter(into, cmd.Out)
		}
		copies.Go(func() { io.Copy(target, r) })
		return w, func() { w.Close() }, nil
	}
	stdin, closeStdin, err := feed(cmd.Stdin)
	if err != nil {
		return nil, err
	}
	defer closeStdin()
	stdout, closeStdout, err := capture(cmd.StdoutFile, p.Stdout)
	if err != nil {
		return nil, err
	}
	defer closeStdout()
	stderr, closeStderr, err := capture(cmd.StderrFile, p.Stderr)
	if err != nil {
		return nil, err
	}
	defer closeStderr()
	p.running, err = machine.Run(m.socket(), inside, stdin, stdout, stderr)
	if err != nil {
		return nil, fmt.Errorf("running %q on %s: %w", cmd.Args, m.Name, err)
	}
	p.PID = p.running.PID
	stop := context.AfterFunc(ctx, func() { p.SignalGroup(syscall.SIGKILL) })
	go func() {
		exit := p.running.Wait()
		stop()
		// What it leaves running may hold its output open for ever: wait only for what is in the pipe.
		drained := make(chan struct{})
		go func() { copies.Wait(); close(drained) }()
		select {
		case <-drained:
		case <-time.After(500 * time.Millisecond):
		}
		for _, r := range readers {
			r.Close()
		}
		p.exit = exit
		close(p.done)
	}()
	return p, nil
}

func feed(r io.Reader) (*os.File, func(), error) {
	if r == nil {
		f, err := os.Open(os.DevNull)
		return f, func() { f.Close() }, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	go func() {
		io.Copy(write, r)
		write.Close()
	}()
	return read, func() { read.Close() }, nil
}

// Signal signals the program itself.
func (p *Proc) Signal(sig syscall.Signal) error { return p.signal(sig, false) }

// SignalGroup signals its whole process group, as a terminal does.
func (p *Proc) SignalGroup(sig syscall.Signal) error { return p.signal(sig, true) }

func (p *Proc) signal(sig syscall.Signal, group bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.running.Signal(sig, group); err != nil {
		return fmt.Errorf("signalling %q: %w", p.args, err)
	}
	return nil
}

// Done is closed when the program has ended and its output is read.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Wait returns when the program has ended.
func (p *Proc) Wait() Exit {
	<-p.done
	return p.exit
}

// Run runs a program to its end and returns its standard output. A program that fails is an error that ends with what it
// printed.
func (m *Machine) Run(ctx context.Context, args ...string) (string, error) {
	p, err := m.Start(ctx, Command{Args: args})
	if err != nil {
		return "", err
	}
	return m.ended(ctx, p, args)
}

// runOuter is Run in the outer system of a booted node.
func (m *Machine) runOuter(ctx context.Context, args ...string) (string, error) {
	p, err := m.startOuter(ctx, Command{Args: args}, machine.Command{Args: args})
	if err != nil {
		return "", err
	}
	return m.ended(ctx, p, args)
}

func (m *Machine) ended(ctx context.Context, p *Proc, args []string) (string, error) {
	exit := p.Wait()
	if ctx.Err() != nil {
		return p.Stdout.String(), fmt.Errorf("running %q on %s: %w\n%s%s", args, m.Name, context.Cause(ctx), p.Stdout, p.Stderr)
	}
	if exit.Code != 0 {
		return p.Stdout.String(), fmt.Errorf("running %q on %s: exit status %d, signal %d\n%s%s", args, m.Name, exit.Code, exit.Signal, p.Stdout, p.Stderr)
	}
	return p.Stdout.String(), nil
}

// Buffer collects output and may be read meanwhile.
type Buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Contains tells whether a text has been printed so far.
func (b *Buffer) Contains(text string) bool { return strings.Contains(b.String(), text) }

// WaitFor returns when the text has been printed.
func (b *Buffer) WaitFor(ctx context.Context, text string) error {
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return b.Contains(text), nil })
	if err != nil {
		return fmt.Errorf("waiting for %q in the output: %w\n%s", text, err, b)
	}
	return nil
}
