package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestWhatFollowsGetsTheReport(t *testing.T) {
	for reason, follows := range map[join.Reason]string{
		join.Joined: "success", join.AlreadyJoined: "success", join.Recovered: "success",
		join.JoinFailed: "failure", join.Refused: "failure", join.HostUnfit: "failure", join.Usage: "failure", join.Internal: "failure",
		join.Locked: "",
	} {
		c := calling(t, running(ending(reason)))
		dir := t.TempDir()
		status := c.do("join", "--on-success", "cat > "+dir+"/success", "--on-failure", "cat > "+dir+"/failure")
		if status != outcomes[reason].status {
			t.Errorf("%s: exit status %d", reason, status)
		}
		for _, which := range []string{"success", "failure"} {
			raw, err := os.ReadFile(filepath.Join(dir, which))
			if (err == nil) != (which == follows) {
				t.Errorf("%s: --on-%s ran: %v", reason, which, err == nil)
			}
			if err == nil {
				if rep := decode(t, string(raw)); rep.Reason != reason || *rep.ExitCode != status || string(raw) != c.status(t) {
					t.Errorf("%s: it was told %s", reason, raw)
				}
			}
		}
	}
}

// Usage that the library finds before anything runs is an end as any other.
func TestAWrongConfigurationIsAFailureToo(t *testing.T) {
	c := calling(t, ending(join.Usage))
	out := filepath.Join(t.TempDir(), "out")
	if got := c.do("join", "--on-failure", "cat > "+out); got != 2 {
		t.Errorf("exit status %d", got)
	}
	raw, err := os.ReadFile(out)
	must(t, err)
	if rep := decode(t, string(raw)); rep.Reason != join.Usage {
		t.Errorf("it was told %s", raw)
	}
}

// What follows runs without the lock: the next run may have begun, and the file is its own then.
func TestWhatFollowsTooLongLeavesTheNextRunsStatusFileAlone(t *testing.T) {
	c := calling(t, running(ending(join.JoinFailed)))
	next := report("")
	next.PID, next.StartedAt = 8, next.StartedAt.Add(time.Hour)
	file := filepath.Join(t.TempDir(), "next.json")
	must(t, os.WriteFile(file, encode(next), 0o600))
	c.do("join", "--on-failure", "sleep 0.2; cp "+file+" "+c.statusPath+"; exit 1")
	if got := decode(t, c.status(t)); got.PID != next.PID {
		t.Errorf("it says %+v", got)
	}
	wantText(t, "standard output", c.stdout.String(), "--on-failure: exit status 1")
}

func TestWhatFollowsMayFail(t *testing.T) {
	for script, words := range map[string]string{
		"echo out; echo err >&2; exit 7": "exit status 7", "kill -9 $$": "signal: killed", "/no/such/program": "exit status 127",
	} {
		c := calling(t, running(ending(join.Joined)))
		if got := c.do("join", "--on-success", script); got != 0 {
			t.Errorf("%s: exit status %d", script, got)
		}
		wantText(t, "standard error", c.stderr.String(), "WARN", "--on-success: "+words)
		wantText(t, "standard output", c.stdout.String(), "--on-success: "+words)
		if rep := decode(t, c.status(t)); !slices.Contains(rep.Warnings, "--on-success: "+words) || rep.Reason != join.Joined {
			t.Errorf("%s: the status file says %+v", script, rep)
		}
		if strings.Contains(script, "echo") {
			wantText(t, "standard error", c.stderr.String(), "--on-success: out", "--on-success: err")
		}
	}
}

func TestWhatFollowsSeesNoSecret(t *testing.T) {
	t.Setenv("NODEJOIN_TOKEN", token)
	t.Setenv("NODEJOIN_ON_SUCCESS", "true")
	c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) { return report(join.Joined), nil })
	c.unsetenv = os.Unsetenv
	out := filepath.Join(t.TempDir(), "out")
	c.do("join", "--token", token, "--on-success", "env > "+out+"; echo "+token)
	raw, err := os.ReadFile(out)
	must(t, err)
	if strings.Contains(string(raw), "NODEJOIN_") {
		t.Errorf("its environment:\n%s", raw)
	}
	if strings.Contains(c.stderr.String(), token) || !strings.Contains(c.stderr.String(), "abcdef.<redacted>") && !strings.Contains(c.stderr.String(), "<redacted>") {
		t.Errorf("the token is in the log:\n%s", c.stderr.String())
	}
}

// Whoever does not read his input holds nobody up, however long the report is.
func TestWhatFollowsNeedNotRead(t *testing.T) {
	c := calling(t, func(context.Context, join.Config) (join.Report, error) {
		rep := report(join.Joined)
		rep.Message = strings.Repeat("long ", 100_000)
		return rep, nil
	})
	if got := c.do("join", "--on-success", "exec true"); got != 0 || strings.Contains(c.stderr.String(), "WARN") {
		t.Errorf("exit status %d: %s", got, fmt.Sprintf("%.300s", c.stderr.String()))
	}
}
