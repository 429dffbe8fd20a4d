package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestALineForPeople(t *testing.T) {
	c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
		e := transition("waiting: nothing answers at 10.0.0.1:6443")
		e.Phase, e.Hint = join.Discover, "is the control plane up?"
		config.Observe(e)
		e = transition("that failed:\n\x1b[2Jjoining: \tno luck")
		e.Phase, e.Severity = join.Backoff, join.Warning
		config.Observe(e)
		return report(join.JoinFailed), failure(join.JoinFailed)
	})
	c.do("join")
	lines := strings.Split(strings.TrimSpace(c.stderr.String()), "\n")
	for i, want := range []string{
		"2026-03-01T02:59:07Z info  discover  waiting: nothing answers at 10.0.0.1:6443; is the control plane up?",
		"2026-03-01T02:59:07Z WARN  backoff   that failed: ?[2Jjoining:  no luck",
	} {
		if lines[i] != want {
			t.Errorf("got  %q\nwant %q", lines[i], want)
		}
	}
	if len(lines) != 3 || !strings.HasSuffix(lines[2], "Z ERROR done      JoinFailed (exit status 7): the message of JoinFailed; the hint") {
		t.Errorf("the end: %q", lines[2:])
	}
}

func TestALineForPrograms(t *testing.T) {
	c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
		e := transition("waiting")
		e.Hint, e.Repeat = "why", true
		config.Observe(e)
		config.Observe(join.Event{Time: e.Time, Phase: join.Join, Severity: join.Detail, Message: "kubeadm's words"})
		return report(join.Joined), nil
	})
	c.do("join", "--log-format", "json", "--log-level", "debug")
	var got []string
	for line := range strings.Lines(c.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
		got = append(got, strings.TrimSpace(line))
	}
	for i, want := range []string{
		`{"level":"info","ts":"2026-03-01T02:59:07.000Z","msg":"waiting","phase":"join","hint":"why","repeat":true,"node":"w1","attempt":2}`,
		`{"level":"debug","ts":"2026-03-01T02:59:07.000Z","msg":"kubeadm's words","phase":"join","hint":"","repeat":false,"node":"w1","attempt":2}`,
	} {
		if got[i] != want {
			t.Errorf("got  %s\nwant %s", got[i], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d lines", len(got))
	}
}

func TestWithJSONLogsAUsageErrorIsALineToo(t *testing.T) {
	c := calling(t, ending(join.Usage))
	c.do("join", "--log-format", "json")
	if !json.Valid([]byte(c.stderr.String())) {
		t.Errorf("got %q", c.stderr.String())
	}
}

func TestTheLevelIsObeyed(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
			for _, severity := range []join.Severity{join.Detail, join.Info, join.Warning} {
				e := transition("x")
				e.Severity = severity
				config.Observe(e)
			}
			return report(join.JoinFailed), failure(join.JoinFailed)
		})
		c.do("join", "--log-level", level)
		if got := strings.Count(c.stderr.String(), "\n"); got != want {
			t.Errorf("%s: %d lines, want %d", level, got, want)
		}
	}
}

func TestABlockedReaderStopsNothing(t *testing.T) {
	reader, blocked, err := os.Pipe()
	must(t, err)
	defer blocked.Close()
	defer reader.Close()
	var ran time.Duration
	c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
		began := time.Now()
		for i := range 3000 {
			config.Observe(transition(fmt.Sprintf("event %d %s", i, strings.Repeat("x", 50))))
		}
		ran = time.Since(began)
		return report(join.Joined), nil
	})
	c.err, c.out, c.patience = blocked, blocked, 100*time.Millisecond
	began := time.Now()
	if got := c.do("join"); got != 0 {
		t.Errorf("exit status %d", got)
	}
	if took := time.Since(began) - ran; ran > patience || took > patience {
		t.Errorf("the run took %s, its end %s", ran, took)
	}
	if rep := decode(t, c.status(t)); *rep.ExitCode != 0 {
		t.Errorf("the status file says %+v", rep)
	}
}

// stuck is a reader who comes back.
type stuck struct {
	buffer
	until chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.until
	return s.buffer.Write(p)
}

func TestLostLinesAreCounted(t *testing.T) {
	for _, format := range []string{"console", "json"} {
		w := &stuck{until: make(chan struct{})}
		l := openLogs(w, format, "info")
		for i := range queueLength + 100 {
			l.say(fmt.Sprintf("line %d.", i), "")
		}
		close(w.until)
		l.close(10 * time.Second)
		lines := strings.Split(strings.TrimSpace(w.String()), "\n")
		last := lines[len(lines)-1]
		if n := len(lines) - 1; !strings.Contains(last, fmt.Sprintf("%d lines of this log were lost", queueLength+100-n)) {
			t.Errorf("%d lines, then %q", n, last)
		}
		for i, line := range lines[:len(lines)-1] {
			wantText(t, "a line", line, fmt.Sprintf("line %d.", i))
		}
		if format == "json" && !json.Valid([]byte(last)) {
			t.Errorf("not JSON: %q", last)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("input/output error") }

func TestClosedOutputsChangeNothing(t *testing.T) {
	reader, gone, err := os.Pipe()
	must(t, err)
	must(t, reader.Close())
	defer gone.Close()
	closed, err := os.Open(os.DevNull)
	must(t, err)
	must(t, closed.Close())
	for name, w := range map[string]io.Writer{"a pipe nobody reads": gone, "a closed file": closed, "a disk error": broken{}} {
		for _, reason := range []join.Reason{join.Joined, join.JoinFailed} {
			c := calling(t, running(ending(reason)))
			c.out, c.err = w, w
			if got := c.do("join"); got != contract[reason] {
				t.Errorf("%s: exit status %d, want %d", name, got, contract[reason])
			}
		}
	}
}
