package cli

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// view is what a person at a terminal sees of a run: a line for each step that
// is over, with its time, and below them up to three that are drawn anew each
// second: what goes on, for how long already and how long it may still take, and
// what could be done about it.
//
//	 12s  discover  the API server at https://10.0.0.10:6443 is proven and takes our token
//	1.1s  join      running kubeadm join
//	   …  hold      waiting: Node "w1" is registered; holding it for up to 60 s
//	                for 23s now, 37s more at most
//
// It only writes. The terminal keeps its modes, its cursor and its keys, and the
// cursor rests on a line of its own: whatever ends the program, there is nothing
// to put back. A goroutine of its own draws, so a terminal that is stopped or
// gone delays nobody.
type view struct {
	w          io.Writer
	size       func() (width, height int)
	foreground func() bool
	continued  chan os.Signal
	colours    bool
	told       bool // standard output, with the report, is on this terminal too

	mu      sync.Mutex
	stay    []string // lines that are to be written and stay
	lost    int      // that did not fit in there
	now     step
	closed  bool
	wake    chan struct{}
	stopped chan struct{}

	drawn []string // the lines that are drawn anew; the goroutine's own
}

// step is what goes on in one phase until the next thing has been done.
type step struct {
	phase        join.Phase
	since, until time.Time
	said         string // what is being done, or has been
	waiting      string // what is waited for meanwhile
	hint         string
	noted        bool // a line that stays has told it already
}

// onTerminal returns the terminal on which a run can be shown live, if that is
// what the user has.
func (p *program) onTerminal(o *options) *os.File {
	f, ok := p.err.(*os.File)
	switch ci := p.terminal["CI"]; {
	case !ok || o.asked || o.logFormat != "auto" || o.logLevel != "info":
	case p.terminal["TERM"] == "" || p.terminal["TERM"] == "dumb" || ci != "" && ci != "false":
	case !isTerminal(f) || o.config.Token.File == "-" && isTerminal(p.in): // a token that is typed would be drawn over
	default:
		return f
	}
	return nil
}

// isTerminal holds for streams that are none, too.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *program) openView(f *os.File, o *options) *view {
	fd := int(f.Fd())
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	v := &view{
		w: f, continued: continued, colours: p.terminal["NO_COLOR"] == "", told: o.output == "text" && isTerminal(p.out),
		size: func() (int, int) {
			if width, height, err := term.GetSize(fd); err == nil && width > 0 && height > 0 {
				return width, height
			}
			return 80, 24
		},
		foreground: func() bool {
			group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
			return err != nil || group == unix.Getpgrp()
		},
	}
	v.start()
	return v
}

func (v *view) start() {
	v.wake, v.stopped = make(chan struct{}, 1), make(chan struct{})
	go v.serve()
}

func (v *view) event(e join.Event) {
	if e.Severity == join.Detail {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	message := oneLine(e.Message)
	if e.Phase != v.now.phase {
		v.over(e.Since)
		v.now = step{phase: e.Phase, since: e.Since}
	}
	now := &v.now
	now.until = e.Until
	hint := oneLine(e.Hint)
	switch {
	case e.Severity == join.Warning && e.Phase == join.Backoff:
		v.warn(e.Time, e.Phase, message)
		now.waiting, now.hint, now.noted = hint, "", true
	case e.Severity == join.Warning:
		v.warn(e.Time, e.Phase, message)
		if hint != "" {
			v.keep(indent + v.faint(hint))
		}
	case e.Wait:
		now.waiting, now.hint = strings.TrimPrefix(message, "still "), hint
	default:
		if now.said != "" {
			v.over(e.Time)
			now.since = e.Time
		}
		now.said, now.waiting, now.hint, now.noted = message, "", hint, false
	}
	v.nudge()
}

// over writes down the step that has come to its end.
func (v *view) over(at time.Time) {
	words := v.now.said
	if words == "" {
		words = v.now.waiting
	}
	if words != "" && !v.now.noted {
		v.keep(v.row(short(join.Seconds(at.Sub(v.now.since))), v.now.phase, words))
	}
}

const indent = "                   "

func (v *view) row(first string, phase join.Phase, words string) string {
	return v.faint(fmt.Sprintf("%7s  %-8s", first, phase)) + "  " + words
}

func (v *view) warn(at time.Time, phase join.Phase, words string) {
	if phase == "" {
		phase = "nodejoin"
	}
	v.keep(v.paint(ansi.Yellow, "warning") + "  " + v.faint(fmt.Sprintf("%-8s", phase)) + "  " + words + v.faint(at.UTC().Format("  (15:04:05Z)")))
}

// keep holds as many lines for a terminal that is stopped as a log does.
func (v *view) keep(line string) {
	if len(v.stay) >= queueLength {
		v.lost++
		return
	}
	v.stay = append(v.stay, line)
}

func (v *view) say(message, hint string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.warn(time.Now(), "", oneLine(message))
	if hint != "" {
		v.keep(indent + v.faint(oneLine(hint)))
	}
	v.nudge()
}

func (v *view) note(message string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(indent + oneLine(message))
	v.nudge()
}

// end writes the report, unless standard output brings it to the same screen.
func (v *view) end(rep join.Report) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over(time.Now())
	v.now = step{}
	if !v.told {
		for line := range strings.Lines(text(rep)) {
			v.keep(strings.TrimRight(line, "\n"))
		}
	}
	v.nudge()
}

func (v *view) plain(text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(strings.TrimRight(text, "\n"))
	v.nudge()
}

func (v *view) prose() bool { return true }

func (v *view) nudge() {
	if v.closed {
		return
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (v *view) close(limit time.Duration) {
	v.mu.Lock()
	if !v.closed {
		v.closed = true
		close(v.wake)
	}
	v.mu.Unlock()
	select {
	case <-v.stopped:
	case <-time.After(limit):
	}
}

func (v *view) serve() {
	defer close(v.stopped)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for open := true; open; {
		select {
		case _, open = <-v.wake:
		case <-tick.C:
		case <-v.continued: // after Ctrl-Z the shell has written below
			v.drawn = nil
		}
		v.draw(open)
	}
}

// draw writes the lines that stay where the others were, and those anew below.
func (v *view) draw(live bool) {
	width, height := v.size()
	live = live && v.foreground()
	v.mu.Lock()
	stay := v.stay
	if v.lost > 0 {
		stay = append(stay, v.paint(ansi.Yellow, fmt.Sprintf("%d lines were lost: the terminal was stopped", v.lost)))
	}
	v.stay, v.lost = nil, 0
	var next []string
	if live {
		next = v.now.lines(v, time.Now())
	}
	v.mu.Unlock()
	for i, line := range next {
		next[i] = ansi.Truncate(line, max(width-1, 1), "…")
	}
	next = next[:min(len(next), max(height-2, 0))]
	if len(stay) == 0 && strings.Join(next, "\n") == strings.Join(v.drawn, "\n") {
		return
	}
	var b strings.Builder
	if len(v.drawn) > 0 {
		// Where a terminal that was made narrower folds lines, this is too few of them: a piece is left, and nothing else goes.
		b.WriteString("\r" + ansi.CursorUp(len(v.drawn)) + ansi.EraseScreenBelow)
	}
	for _, line := range append(stay, next...) {
		b.WriteString(line + "\n")
	}
	v.drawn = next
	_, _ = io.WriteString(v.w, b.String()) // whoever is gone is gone
}

// lines are those of the present.
func (s step) lines(v *view, now time.Time) []string {
	words := s.waiting
	if words == "" {
		words = s.said
	}
	if words == "" {
		return nil
	}
	times := "for " + whole(now.Sub(s.since)) + " now"
	if !s.until.IsZero() {
		times += ", " + whole(max(s.until.Sub(now), 0)) + " more at most"
	}
	lines := []string{v.row("…", s.phase, words), indent + v.faint(times)}
	if s.hint != "" {
		lines = append(lines, indent+v.faint(s.hint))
	}
	return lines
}

func whole(d time.Duration) string { return d.Round(time.Second).String() }

func (v *view) faint(words string) string {
	if !v.colours {
		return words
	}
	return ansi.Style{}.Faint().Styled(words)
}

func (v *view) paint(colour ansi.Color, words string) string {
	if !v.colours {
		return words
	}
	return ansi.Style{}.ForegroundColor(colour).Styled(words)
}
