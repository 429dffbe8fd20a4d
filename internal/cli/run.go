package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// session is one run of the library and all who are told of it.
type session struct {
	logs   teller
	status *statusWriter // nil: none
	path   string        // of the file that it writes
	unit   *statusWriter // the line that systemd shows of our unit; nil: we are no unit
	out    io.Writer
	json   bool
	names  names
	mask   mask
	help   string // the hint that is better than none
	asked  bool   // a question, whose answer is the report and no line of a log

	patience time.Duration

	ctx                  context.Context // of the run; the first signal ends it
	onSuccess, onFailure string          // commands

	mu    sync.Mutex
	last  *join.Report // as of the last event
	final *join.Report
	kill  func() // ends the command that runs just now; nil: none does
}

// teller tells, on standard error, how a run goes: line by line, or in a view.
type teller interface {
	event(join.Event)
	say(message, hint string) // a warning of the program's own
	note(message string)      // and what is none
	end(join.Report)
	plain(text string)
	prose() bool // it is read by people
	close(limit time.Duration)
}

type library func(context.Context, join.Config) (join.Report, error)

// call runs the library from beginning to end and returns the exit status.
func (p *program) call(run library, o *options, given names, warnings []string) int {
	began := time.Now()
	s := &session{
		logs: p.openTeller(o), out: p.out, json: o.output == "json",
		names: given, mask: masked(p.args, p.env), help: o.help, asked: o.asked, patience: p.patience,
	}
	if o.statusFile != "" && !o.asked && !o.config.DryRun {
		s.path, s.status = o.statusFile, openStatusFile(o.statusFile, s.statusTrouble)
	}
	s.unit = openUnitStatus()
	for _, warning := range warnings {
		s.logs.say(warning, "")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	p.signals(signals)
	defer signal.Stop(signals)
	over := make(chan struct{})
	defer close(over)
	s.ctx = ctx
	if !o.config.DryRun {
		s.onSuccess, s.onFailure = o.onSuccess, o.onFailure
	}
	go s.heed(signals, cancel, p.exit, over)

	c := o.config
	c.Version, c.Observe = programVersion().Version, s.observe
	rep, err := s.guard(ctx, run, c)
	rep = conclude(ctx, rep, err, began)
	if rep.Check != nil && o.statusFile != "" {
		seeLastRun(&rep, o.statusFile)
	}
	return s.close(rep)
}

func (p *program) openTeller(o *options) teller {
	if terminal := p.onTerminal(o); terminal != nil {
		return p.openView(terminal, o)
	}
	return openLogs(p.err, o.logFormat, o.logLevel)
}

// guard makes a panic an Internal error: the Go runtime would end with status
// 2, which is Usage, and leave a status file that says it still runs.
func (s *session) guard(ctx context.Context, run library, c join.Config) (rep join.Report, err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		for line := range strings.Lines(string(debug.Stack())) {
			s.logs.say(s.mask.Replace(strings.TrimRight(line, "\n")), "")
		}
		rep = s.blank()
		err = &join.Error{Reason: join.Internal, Message: s.mask.Replace(fmt.Sprintf("panic: %v", value)), Hint: "this is a bug: please report it, with the log"}
	}()
	return run(ctx, c)
}

// blank is the report of a run that returned none: what is known of it.
func (s *session) blank() join.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return join.Report{Version: programVersion().Version, PID: os.Getpid()}
	}
	rep := *s.last
	rep.Message, rep.Hint = "", ""
	return rep
}

// observe tells of one event. The last one it leaves to close, which knows the
// exit status.
func (s *session) observe(e join.Event) {
	if e.Report.Result != nil {
		return
	}
	s.logs.event(e)
	if e.Severity == join.Detail {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = &e.Report
	if s.final == nil {
		s.status.put(encode(e.Report))
		s.unit.put(statusLine(e.Report))
	}
}

// close tells how the run ended and returns the exit status. Nothing that goes
// wrong here changes it.
func (s *session) close(rep join.Report) int {
	if rep.Reason == join.Usage {
		if rep.Hint == "" {
			rep.Hint = s.help
		}
		for _, words := range []*string{&rep.Message, &rep.Hint, &rep.FirstError, &rep.LastError} {
			if words != &rep.Hint { // a hint says what to type
				*words = s.names.rename(*words)
			}
			*words = s.mask.Replace(*words)
		}
	}
	s.mu.Lock()
	s.final = &rep
	ran := s.last != nil
	s.mu.Unlock()

	mistyped := rep.Reason == join.Usage && !ran
	// The file is of the nodejoin that holds the lock, and tells of runs; but what this very run wrote must not go on saying that it runs.
	if rep.Reason != join.Locked && !mistyped {
		s.status.put(encode(rep))
	}
	if trouble := s.follow(rep); trouble != "" {
		rep.Warnings = append(rep.Warnings, trouble)
		if !mistyped && !s.overtaken(rep) {
			s.status.put(encode(rep))
		}
	}
	s.status.close(s.patience)
	s.unit.put(statusLine(rep))
	s.unit.close(s.patience)
	switch {
	case mistyped && s.logs.prose():
		s.logs.plain(usageText(rep))
	case mistyped || !s.asked:
		s.logs.end(rep)
	}
	s.logs.close(s.patience)
	switch {
	case s.json:
		writeWithin(s.out, encode(rep), s.patience)
	case !mistyped:
		writeWithin(s.out, []byte(text(rep)), s.patience)
	}
	return *rep.ExitCode
}

// statusTrouble is told once: the file is a convenience, the join is the job.
func (s *session) statusTrouble(err error) {
	s.logs.say(fmt.Sprintf("writing the status file: %v", err), "the run goes on without it")
}

// writeWithin gives up on a reader who does not read, and on one who has gone.
func writeWithin(w io.Writer, raw []byte, limit time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.Write(raw)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}
