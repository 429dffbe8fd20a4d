// Package cli is the command line of nodejoin: the first user of pkg/join, and
// the only part of the program that prints.
//
// A call goes through it in one direction. The flags, and where they are
// silent the environment, become a join.Config. The library runs with it and
// tells what happens, event by event. Each event becomes one line on standard
// error, or changes what a person at a terminal sees there, and, if it is a transition, the new content of the status file; both
// are written by goroutines of their own, so that neither a full pipe nor a
// hung disk can hold a join up. At the end the library's reason becomes an exit
// status by the one table there is, and the report goes to standard output.
//
// Signals are the other way in: the first SIGINT or SIGTERM asks the library to
// stop, the second leaves at once, and a terminal that goes away stops nothing.
package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// Main runs the command and returns its exit status.
func Main(args, env []string, in io.Reader, out, err io.Writer) int {
	protect()
	return newProgram(args, env, in, out, err).main()
}

// protect keeps the loss of a terminal or of a reader from killing a join.
// With nobody to read it, a line now fails with EPIPE. SIGPIPE is caught and
// not ignored, because children would inherit that; for SIGHUP just that is
// wanted: kubeadm survives the terminal too.
func protect() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	signal.Ignore(syscall.SIGHUP)
}

func newProgram(args, env []string, in io.Reader, out, err io.Writer) *program {
	return &program{
		args: args, env: readEnvironment(env), terminal: readTerminal(env), in: in, out: out, err: err,
		run: join.Run, check: join.Check,
		signals:  func(c chan<- os.Signal) { signal.Notify(c, syscall.SIGINT, syscall.SIGTERM) },
		unsetenv: os.Unsetenv, exit: os.Exit, patience: patience, //nolint:forbidigo // for the second signal, which ends the program at once
	}
}

// patience is how long the end waits for each reader: of the status file's
// disk, of the log, of the report. One that is alive needs none.
const patience = 2 * time.Second

// program is everything a call touches; tests put their own in its place.
type program struct {
	args     []string
	env      environment
	terminal map[string]string // what the environment says of it
	in       io.Reader
	out, err io.Writer

	run, check func(context.Context, join.Config) (join.Report, error)

	signals  func(chan<- os.Signal)
	unsetenv func(string) error
	exit     func(int) // for the second signal only
	patience time.Duration

	status int
}

func (p *program) main() int {
	for _, name := range secretVariables {
		_ = p.unsetenv(name) // children must not inherit the token
	}
	root := p.command()
	root.SetArgs(p.args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	if command, err := root.ExecuteC(); err != nil {
		return p.misuse(command, err)
	}
	return p.status
}
