package testbed

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"
)

// Terminal is one at which a person would sit: what a program writes to it is drawn on a screen that can be read.
type Terminal struct {
	keyboard *os.File
	read     chan struct{}

	mu     sync.Mutex
	screen vt10x.Terminal
	raw    strings.Builder
}

// OpenTerminal opens a terminal of so many columns and lines. A program is started on the far end, which is the caller's to
// close.
func OpenTerminal(width, height int) (t *Terminal, farEnd *os.File, err error) {
	keyboard, farEnd, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	t = &Terminal{keyboard: keyboard, read: make(chan struct{}), screen: vt10x.New(vt10x.WithSize(width, height))}
	if err := pty.Setsize(keyboard, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		keyboard.Close()
		farEnd.Close()
		return nil, nil, err
	}
	go t.draw()
	return t, farEnd, nil
}

// OnTerminal is a command line as a person would start it on the terminal's far end: what is typed there reaches it, and so
// does a hangup.
func OnTerminal(farEnd *os.File, args ...string) Command {
	return Command{
		Args:       slices.Concat([]string{"sh", "-c", `exec 0<&1; exec setsid --ctty --wait "$@"`, "sh"}, args),
		Env:        []string{"TERM=xterm-256color"},
		StdoutFile: farEnd, StderrFile: farEnd,
	}
}

func (t *Terminal) draw() {
	defer close(t.read)
	buffer := make([]byte, 4096)
	for {
		n, err := t.keyboard.Read(buffer)
		t.mu.Lock()
		t.raw.Write(buffer[:n])
		t.screen.Write(buffer[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Type presses keys.
func (t *Terminal) Type(keys string) error {
	_, err := t.keyboard.WriteString(keys)
	return err
}

// Resize gives the terminal so many columns and lines.
func (t *Terminal) Resize(width, height int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.screen.Resize(width, height)
	return pty.Setsize(t.keyboard, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)})
}

// Text is what can be read on the screen now.
func (t *Terminal) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range strings.Lines(t.screen.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// Written is all that was ever written to it.
func (t *Terminal) Written() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raw.String()
}

// AtRest: the cursor is to be seen, at the beginning of a line.
func (t *Terminal) AtRest() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.CursorVisible() && t.screen.Cursor().X == 0
}

// Cells calls f for each character that stands on the screen; colour is one of the 16 of old terminals, -1 for the default.
func (t *Terminal) Cells(f func(column, line int, char rune, colour int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	width, height := t.screen.Size()
	for line := range height {
		for column := range width {
			if cell := t.screen.Cell(column, line); cell.Char != ' ' && cell.Char != 0 {
				colour := -1
				if cell.FG < 16 {
					colour = int(cell.FG)
				}
				f(column, line, cell.Char, colour)
			}
		}
	}
}

// Close hangs up.
func (t *Terminal) Close() {
	t.keyboard.Close()
	<-t.read
}
