package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestTheReportOnStandardOutputIsTheStatusFile(t *testing.T) {
	for _, reason := range []join.Reason{join.Joined, join.JoinFailed} {
		c := calling(t, running(ending(reason)))
		c.do("join", "-o", "json")
		if c.stdout.String() != c.status(t) {
			t.Errorf("standard output:\n%s\nstatus file:\n%s", c.stdout.String(), c.status(t))
		}
		decode(t, c.stdout.String())
	}
}

func TestTheStatusFileFollowsTheRun(t *testing.T) {
	c := calling(t, nil)
	c.run = func(_ context.Context, config join.Config) (join.Report, error) {
		for _, message := range []string{"first", "second"} {
			config.Observe(transition(message))
			config.Observe(join.Event{Severity: join.Detail, Message: "kubeadm's words"})
			until(t, func() bool {
				raw, _ := os.ReadFile(c.statusPath)
				return strings.Contains(string(raw), message)
			})
			if rep := decode(t, c.status(t)); rep.Result != nil || rep.ExitCode != nil || rep.Phase != join.Join {
				t.Errorf("while it runs the file says %+v", rep)
			}
		}
		last := report(join.Joined)
		config.Observe(join.Event{Phase: join.Done, Severity: join.Info, Report: last})
		return last, nil
	}
	c.do("join")
	if rep := decode(t, c.status(t)); rep.Reason != join.Joined || *rep.ExitCode != 0 || *rep.Result != join.Success {
		t.Errorf("at the end the file says %+v", rep)
	}
	if n := strings.Count(c.stderr.String(), " done "); n != 1 {
		t.Errorf("the end is told %d times:\n%s", n, c.stderr.String())
	}
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
	}
}

func TestAReaderNeverSeesHalfAStatusFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 150 {
			rep := report(join.Joined)
			rep.Warnings = []string{strings.Repeat("x", 1000*(i%20))}
			if err := replace(path, encode(rep)); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		raw, err := os.ReadFile(path)
		if err == nil && !json.Valid(raw) {
			t.Fatalf("half a file: %q", raw)
		}
	}
}

func TestTheStatusFileIsForAllToRead(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	c := calling(t, running(ending(join.Joined)))
	// What a run that was killed while writing left behind is no obstacle, and no litter.
	if err := os.WriteFile(filepath.Join(filepath.Dir(c.statusPath), ".status.json.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.do("join")
	info, err := os.Stat(c.statusPath)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info, err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(c.statusPath)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestAStatusFileThatCannotBeWrittenStopsNothing(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, path string){
		"a directory":  func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o755)) },
		"a symlink":    func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) },
		"a device":     func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o644)) },
		"no directory": func(t *testing.T, path string) { must(t, os.Remove(filepath.Dir(path))) },
		"a temporary file in the way": func(t *testing.T, path string) {
			must(t, os.Mkdir(filepath.Join(filepath.Dir(path), ".status.json.new"), 0o755))
			must(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".status.json.new", "f"), nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
				for range 3 {
					config.Observe(transition("joining"))
					time.Sleep(5 * time.Millisecond)
				}
				return report(join.Joined), nil
			})
			prepare(t, c.statusPath)
			before, _ := os.Lstat(c.statusPath)
			if got := c.do("join"); got != 0 {
				t.Errorf("exit status %d", got)
			}
			if n := strings.Count(c.stderr.String(), "writing the status file"); n != 1 {
				t.Errorf("%d warnings:\n%s", n, c.stderr.String())
			}
			after, _ := os.Lstat(c.statusPath)
			if (before == nil) != (after == nil) || before != nil && before.Mode() != after.Mode() {
				t.Errorf("%v became %v", before, after)
			}
		})
	}
}

// Nothing is better than a file that says for ever that a run goes on.
func TestAStatusFileThatCannotBeBroughtUpToDateIsTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	must(t, replace(path, []byte(`{"phase": "join"}`)))
	inTheWay := filepath.Join(filepath.Dir(path), ".status.json.new")
	must(t, os.MkdirAll(filepath.Join(inTheWay, "f"), 0o755))
	if err := replace(path, []byte(`{"phase": "done"}`)); err == nil {
		t.Error("it was written all the same")
	}
	if raw, err := os.ReadFile(path); err == nil {
		t.Errorf("the old one is still there: %q", raw)
	}
	must(t, os.RemoveAll(inTheWay))
	must(t, replace(path, []byte(`{"phase": "done"}`)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhoMayWriteTheStatusFile(t *testing.T) {
	const foreign = "{\"pid\": 1}\n"
	for _, test := range []struct {
		name   string
		args   string
		script library
		want   string // what it says then
	}{
		{"another nodejoin's stays when this one is locked out", "join", ending(join.Locked), foreign},
		{"mistyped flags are no run", "join", ending(join.Usage), foreign},
		{"mistyped flags that cli finds are none either", "join --bogus", nil, foreign},
		{"check changes nothing", "check", running(ending(join.NotMember)), foreign},
		{"nobody wants one", "join --status-file=", running(ending(join.Joined)), foreign},
		{"what this run wrote must not go on saying that it runs", "join", running(ending(join.Usage)), `"exitCode": 2`},
		{"a host that is unfit from the start", "join", ending(join.HostUnfit), `"exitCode": 3`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := calling(t, test.script)
			must(t, os.WriteFile(c.statusPath, []byte(foreign), 0o644))
			if !strings.Contains(test.args, "--status-file") {
				c.with("NODEJOIN_STATUS_FILE=" + c.statusPath)
			}
			c.do(strings.Fields(test.args)...)
			if got := c.status(t); !strings.Contains(got, test.want) {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestASlowDiskDoesNotSlowTheRun(t *testing.T) {
	s := &statusWriter{wake: make(chan struct{}, 1), done: make(chan struct{})} // and nobody to serve it
	began := time.Now()
	for range 100 {
		s.put([]byte("old"))
	}
	s.put([]byte("new"))
	s.close(20 * time.Millisecond)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
	var written []byte
	s.write = func(content []byte) error { written = append(written, content...); return nil }
	s.serve()
	if !bytes.Equal(written, []byte("new")) {
		t.Errorf("what was written is %q", written)
	}
}
