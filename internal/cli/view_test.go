package cli

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hinshun/vt10x"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// screen is a terminal that can be read.
type screen struct {
	mu   sync.Mutex
	term vt10x.Terminal
	raw  strings.Builder
}

func newScreen(width, height int) *screen {
	return &screen{term: vt10x.New(vt10x.WithSize(width, height))}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(p)
	return s.term.Write(p)
}

// follow shows what a terminal prints until it is gone; the channel is closed then.
func (s *screen) follow(terminal *os.File) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		buffer := make([]byte, 4096)
		for {
			n, err := terminal.Read(buffer)
			_, _ = s.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	return gone
}

// lines are what can be read on it, without what is empty at the end.
func (s *screen) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for line := range strings.Lines(s.term.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// output is all that was ever written to it.
func (s *screen) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

func (s *screen) text() string { return strings.Join(s.lines(), "\n") }

// feed is the way from the view to the screen: as the kernel does, it makes
// two characters of a newline.
type feed struct{ *screen }

func (f feed) Write(p []byte) (int, error) {
	return f.screen.Write([]byte(strings.ReplaceAll(string(p), "\n", "\r\n")))
}

// seen runs a story of events before a view, under virtual time.
func seen(t *testing.T, width, height int, story func(v *view, s *screen, began time.Time)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(width, height)
		v := &view{w: feed{s}, foreground: func() bool { return true }}
		v.size = func() (int, int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.term.Size()
		}
		v.start()
		story(v, s, time.Now())
		v.close(time.Second)
	})
}

func wantScreen(t *testing.T, s *screen, want string) {
	t.Helper()
	synctest.Wait()
	if got := s.text(); got != strings.Trim(want, "\n") {
		t.Errorf("the screen shows\n%s\nwanted\n%s", got, strings.Trim(want, "\n"))
	}
}

func TestTheViewIsCalmAndSmall(t *testing.T) {
	seen(t, 100, 20, func(v *view, s *screen, began time.Time) {
		v.event(join.Event{Time: began, Since: began, Until: began.Add(30 * time.Minute), Phase: join.Discover, Severity: join.Info, Wait: true,
			Message: "waiting: the API server does not answer: connection refused", Hint: "is it up?"})
		time.Sleep(62*time.Second + time.Millisecond)
		wantScreen(t, s, `
      …  discover  waiting: the API server does not answer: connection refused
                   for 1m2s now, 28m58s more at most
                   is it up?`)
		now := time.Now()
		v.event(join.Event{Time: now, Since: began, Phase: join.Discover, Severity: join.Info, Message: "the API server at cp:6443 is proven"})
		v.event(join.Event{Time: now, Since: now, Until: now.Add(6 * time.Minute), Phase: join.Join, Severity: join.Info, Message: "running kubeadm join"})
		v.event(join.Event{Time: now, Since: now, Until: now.Add(6 * time.Minute), Phase: join.Join, Severity: join.Warning, Message: "the service is disabled"})
		v.event(join.Event{Severity: join.Detail, Message: "[preflight]"})
		time.Sleep(1200 * time.Millisecond)
		wantScreen(t, s, `
   1m2s  discover  the API server at cp:6443 is proven
warning  join      the service is disabled  (00:01:02Z)
      …  join      running kubeadm join
                   for 1s now, 5m59s more at most`)
		now = time.Now()
		v.event(join.Event{Time: now, Since: now, Phase: join.Verify, Severity: join.Info, Message: `Node "w1" is there and is this machine's (UID u)`})
		v.event(join.Event{Time: now, Since: now, Until: now.Add(time.Minute), Phase: join.Hold, Severity: join.Info, Wait: true,
			Message: "still waiting: holding it"})
		time.Sleep(20 * time.Second)
		wantScreen(t, s, `
   1m2s  discover  the API server at cp:6443 is proven
warning  join      the service is disabled  (00:01:02Z)
   1.2s  join      running kubeadm join
     0s  verify    Node "w1" is there and is this machine's (UID u)
      …  hold      waiting: holding it
                   for 20s now, 40s more at most`)
		v.end(conclude(t.Context(), report(join.Joined), nil, began))
		v.close(time.Second)
		wantScreen(t, s, `
   1m2s  discover  the API server at cp:6443 is proven
warning  join      the service is disabled  (00:01:02Z)
   1.2s  join      running kubeadm join
     0s  verify    Node "w1" is there and is this machine's (UID u)
    20s  hold      waiting: holding it
Joined: the message of Joined
  node:        w1
  took:        1m14s, 2 attempts, 1 kubeadm join, 1 kubelet restart`)
	})
}

func TestAFailedAttemptStaysOnTheScreen(t *testing.T) {
	seen(t, 80, 20, func(v *view, s *screen, began time.Time) {
		v.event(join.Event{Time: began, Since: began, Phase: join.Join, Severity: join.Info, Message: "running kubeadm join"})
		time.Sleep(3 * time.Second)
		now := time.Now()
		v.event(join.Event{Time: now, Since: now, Until: now.Add(4 * time.Second), Phase: join.Backoff, Severity: join.Warning,
			Message: "that failed: no luck", Hint: "trying again in 4s"})
		time.Sleep(2100 * time.Millisecond)
		wantScreen(t, s, `
     3s  join      running kubeadm join
warning  backoff   that failed: no luck  (00:00:03Z)
      …  backoff   trying again in 4s
                   for 2s now, 2s more at most`)
		v.say("SIGINT received: stopping", "a second one ends nodejoin at once")
		wantScreen(t, s, `
     3s  join      running kubeadm join
warning  backoff   that failed: no luck  (00:00:03Z)
warning  nodejoin  SIGINT received: stopping  (00:00:05Z)
                   a second one ends nodejoin at once
      …  backoff   trying again in 4s
                   for 2s now, 2s more at most`)
	})
}

// waiting is an event of a wait without a limit.
func waiting(began time.Time, message string) join.Event {
	return join.Event{Time: began, Since: began, Phase: join.Verify, Severity: join.Info, Wait: true, Message: message}
}

func TestWhatAServerSaysDoesNotSteerTheTerminal(t *testing.T) {
	seen(t, 80, 10, func(v *view, s *screen, began time.Time) {
		e := waiting(began, "waiting: \x1b[2J\x1b]0;title\x07 \u009b31m \u202e gone\nand\tmore")
		e.Hint = "\x1bc"
		v.event(e)
		e.Severity, e.Message = join.Warning, "\x1b[8mhidden"
		v.event(e)
		synctest.Wait()
		for _, bad := range []string{"\x1b[2J", "\x1b]", "\x07", "\u009b", "\u202e", "\x1bc", "\x1b[8m"} {
			if strings.Contains(s.output(), bad) {
				t.Errorf("%q came through", bad)
			}
		}
	})
}

func TestTheViewFitsTheTerminal(t *testing.T) {
	long := "waiting: " + strings.Repeat("機械の世界 ", 30) // each character is two cells wide
	for _, size := range [][2]int{{200, 50}, {80, 24}, {40, 4}, {20, 3}, {5, 3}, {1, 1}} {
		seen(t, size[0], size[1], func(v *view, s *screen, began time.Time) {
			v.event(waiting(began, long))
			time.Sleep(10 * time.Second)
			synctest.Wait()
			lines := s.lines()
			if len(lines) > 3 || len(lines) >= size[1] {
				t.Errorf("%v: %d lines: %q", size, len(lines), lines)
			}
			if size[0] > 40 && !strings.Contains(s.output(), "機械") {
				t.Errorf("%v: nothing is seen: %q", size, lines)
			}
		})
	}
}

// fold makes it narrower as most terminals do today: what does not fit any more
// goes on in the next line.
func (s *screen) fold(width int) {
	lines := s.lines()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = vt10x.New(vt10x.WithSize(width, 20))
	for _, line := range lines {
		_, _ = s.term.Write([]byte(line + "\r\n"))
	}
}

func TestAResizeErasesNothingElse(t *testing.T) {
	for _, width := range []int{120, 60, 30, -60, -30} {
		seen(t, 80, 20, func(v *view, s *screen, began time.Time) {
			_, _ = feed{s}.Write([]byte("$ nodejoin join\n"))
			v.event(waiting(began, "waiting: "+strings.Repeat("x", 60)))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if width > 0 {
				s.mu.Lock()
				s.term.Resize(width, 20)
				s.mu.Unlock()
			} else {
				s.fold(-width)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			lines := s.lines()
			if lines[0] != "$ nodejoin join" {
				t.Errorf("%d: the line above is gone: %q", width, lines)
			}
			if last := lines[len(lines)-1]; !strings.HasPrefix(strings.TrimSpace(last), "for 4s n") {
				t.Errorf("%d: the last line is %q", width, last)
			}
			if n := len(lines); width > 0 && n != 3 || n > 6 {
				t.Errorf("%d: %d lines: %q", width, n, lines)
			}
		})
	}
}

func TestInTheBackgroundOnlyWhatStaysIsWritten(t *testing.T) {
	seen(t, 80, 20, func(v *view, s *screen, began time.Time) {
		v.foreground = func() bool { return false }
		v.event(waiting(began, "waiting: for it"))
		e := waiting(began, "look here")
		e.Severity = join.Warning
		v.event(e)
		time.Sleep(5 * time.Second)
		wantScreen(t, s, `warning  verify    look here  (00:00:00Z)`)
	})
}

func TestAStoppedTerminalDelaysNobodyAndLosesCount(t *testing.T) {
	w := &stuck{until: make(chan struct{})}
	v := &view{w: w, size: func() (int, int) { return 80, 24 }, foreground: func() bool { return true }}
	v.start()
	began := time.Now()
	for i := range 3000 {
		v.event(join.Event{Time: began, Since: began, Phase: join.Verify, Severity: join.Info, Message: fmt.Sprint("step ", i)})
	}
	if took := time.Since(began); took > patience {
		t.Errorf("the events took %s", took)
	}
	v.close(10 * time.Millisecond)
	close(w.until)
	v.close(patience)
	wantText(t, "the terminal", w.String(), "lines were lost: the terminal was stopped")
}
