package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

const (
	token = "abcdef.0123456789abcdef"
	other = "fedcba.fedcba9876543210"
	pin   = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
)

// buffer may be read while a writer left behind still holds it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// called is one run of the program with a scripted library.
type called struct {
	program
	stdout, stderr buffer
	statusPath     string
	configs        []join.Config // what the library was called with
	removed        []string      // from the environment
}

// calling scripts the library; nil ends it as joined.
func calling(t *testing.T, script library) *called {
	t.Helper()
	c := &called{statusPath: filepath.Join(t.TempDir(), "status.json")}
	if script == nil {
		script = func(context.Context, join.Config) (join.Report, error) { return report(join.Joined), nil }
	}
	run := func(ctx context.Context, config join.Config) (join.Report, error) {
		c.configs = append(c.configs, config)
		return script(ctx, config)
	}
	c.program = program{
		out: &c.stdout, err: &c.stderr, in: strings.NewReader(""), run: run, check: run,
		signals:  func(chan<- os.Signal) {},
		unsetenv: func(name string) error { c.removed = append(c.removed, name); return nil },
		patience: patience,
		exit:     func(int) { t.Error("exit was called") },
	}
	return c
}

// do runs a command line; join gets a status file of the test's own, unless it
// names one.
func (c *called) do(args ...string) int {
	if len(args) > 0 && args[0] == "join" && !strings.Contains(strings.Join(args, " "), "--status-file") && c.env["NODEJOIN_STATUS_FILE"] == "" {
		args = append([]string{"join", "--status-file=" + c.statusPath}, args[1:]...)
	}
	c.args = args
	return c.main()
}

func (c *called) with(env ...string) *called {
	c.env = readEnvironment(env)
	return c
}

// config is what the library got in its only call.
func (c *called) config(t *testing.T) join.Config {
	t.Helper()
	if len(c.configs) != 1 {
		t.Fatalf("the library was called %d times; standard error:\n%s", len(c.configs), c.stderr.String())
	}
	return c.configs[0]
}

// report is one as the library would return it at its end.
func report(reason join.Reason) join.Report {
	at := time.Date(2026, 3, 1, 2, 59, 7, 0, time.UTC)
	end := at.Add(74 * time.Second)
	result := join.Failure
	if outcomes[reason].status == 0 {
		result = join.Success
	}
	return join.Report{
		SchemaVersion: 1, Version: "v1", PID: 7, Phase: join.Done, Reason: reason, Result: &result,
		Message: "the message of " + string(reason), Node: join.NodeRef{Name: "w1"},
		StartedAt: at, FinishedAt: &end, Duration: join.Seconds(74 * time.Second),
		Counts: join.Counts{Attempts: 2, Joins: 1, KubeletRestarts: 1},
	}
}

func failure(reason join.Reason) error {
	return &join.Error{Reason: reason, Message: "the message of " + string(reason), Hint: "the hint"}
}

// ending is a library that ends at once.
func ending(reason join.Reason) library {
	return func(context.Context, join.Config) (join.Report, error) {
		if outcomes[reason].status == 0 {
			return report(reason), nil
		}
		return report(reason), failure(reason)
	}
}

// running sends one transition before it ends.
func running(then library) library {
	return func(ctx context.Context, c join.Config) (join.Report, error) {
		c.Observe(transition("joining"))
		return then(ctx, c)
	}
}

func transition(message string) join.Event {
	rep := report("")
	rep.Phase, rep.Result, rep.FinishedAt, rep.Message = join.Join, nil, nil, message
	return join.Event{Time: rep.StartedAt, Phase: join.Join, Severity: join.Info, Message: message, Report: rep}
}

func decode(t *testing.T, raw string) join.Report {
	t.Helper()
	var rep join.Report
	d := json.NewDecoder(strings.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&rep); err != nil {
		t.Fatalf("no report: %v in %q", err, raw)
	}
	if d.More() {
		t.Fatalf("more than one object: %q", raw)
	}
	return rep
}

func (c *called) status(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(c.statusPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func wantText(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, got)
		}
	}
}
