package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// checking answers as the library does for a member.
func checking(context.Context, join.Config) (join.Report, error) {
	rep := report(join.AlreadyJoined)
	rep.Message = `member: Node "w1" is this machine's, Ready is True`
	rep.Node = join.NodeRef{Name: "w1", UID: "1-2", BootID: "this boot"}
	rep.Endpoint = "https://cp:6443"
	since, until := time.Now().Add(-50*time.Hour), time.Now().Add(time.Hour)
	rep.Check = &join.Checked{Level: join.Ready, Since: &since, CredentialsExpire: &until, Kubelet: "active/running", Unseen: []string{"something: no"}}
	rep.Check.Left = &join.Left{Name: "w1", UID: "1-1", Mark: "taint example.com/gone", At: since}
	return rep, nil
}

func TestCheckTellsWhatAPersonWantsToKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status.json")
	ended := time.Now().Add(-5 * time.Minute)
	last := report(join.Joined)
	last.FinishedAt, last.Node.BootID = &ended, "this boot"
	must(t, os.WriteFile(path, encode(last), 0o600))
	c := calling(t, checking)
	if got := c.do("check", "--status-file", path); got != 0 || c.stderr.String() != "" {
		t.Errorf("exit status %d, standard error %q", got, c.stderr.String())
	}
	lines := strings.Split(c.stdout.String(), "\n")
	for i, want := range []string{
		`AlreadyJoined: member: Node "w1" is this machine's, Ready is True`,
		"  node:        w1 (UID 1-2) at https://cp:6443",
		"  level:       ready",
		"  since:       20* (2 days ago)",
		"  credentials: valid until 20*",
		"  kubelet:     active/running",
		"  left:        Node w1, missed 20* (2 days ago), had the mark of its owner's will: taint example.com/gone",
		"  last run:    Joined, 20* (5 min ago): the message of Joined",
		"  not seen:    something: no",
		"",
	} {
		if ok, err := filepath.Match(strings.ReplaceAll(want, "/", "|"), strings.ReplaceAll(lines[i], "/", "|")); err != nil || !ok {
			t.Errorf("line %d is %q, wanted %q", i+1, lines[i], want)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != string(encode(last)) {
		t.Error("check wrote the status file")
	}
	c = calling(t, checking)
	c.do("check", "-o", "json", "--status-file", path)
	if l := decode(t, c.stdout.String()).Check.LastRun; l == nil || l.Reason != join.Joined || l.Running || l.EarlierBoot {
		t.Errorf("the last run is %+v", l)
	}
}

func TestCheckTellsOfAnyStatusFile(t *testing.T) {
	dir := t.TempDir()
	running := func(pid int, boot string) string {
		rep := report("")
		rep.Phase, rep.Result, rep.FinishedAt, rep.PID, rep.Message = join.Hold, nil, nil, pid, "holding it"
		rep.Node.BootID = boot
		return string(encode(rep))
	}
	for name, file := range map[string]struct{ content, want string }{
		"of a run at work":         {running(os.Getpid(), "this boot"), "at work since 2026-03-01T02:59:07Z"},
		"of a run that was killed": {running(1<<30, "this boot"), "did not come to its end: it began 2026-03-01T02:59:07Z"},
		"of an earlier boot":       {running(os.Getpid(), "another boot"), "before the last boot: did not come to its end"},
		"that is broken":           {"{", "not seen:    the last run: "},
		"of the future":            {`{"schemaVersion": 2}`, "has schemaVersion 2, not 1"},
		"that is empty":            {"", "is not a status file"},
	} {
		path := filepath.Join(dir, "status.json")
		must(t, os.WriteFile(path, []byte(file.content), 0o600))
		c := calling(t, checking)
		if got := c.do("check", "--status-file", path); got != 0 {
			t.Errorf("%s: exit status %d", name, got)
		}
		wantText(t, "a status file "+name, c.stdout.String(), file.want)
	}
	for _, path := range []string{dir, filepath.Join(dir, "none"), ""} {
		c := calling(t, checking)
		if got := c.do("check", "--status-file", path); got != 0 {
			t.Errorf("%q: exit status %d", path, got)
		}
		if said := strings.Contains(c.stdout.String(), "is not a regular file"); said != (path == dir) || strings.Contains(c.stdout.String(), "\n  last run:") {
			t.Errorf("%q: %s", path, c.stdout.String())
		}
	}
}

func TestADryRunWritesNoStatusFile(t *testing.T) {
	c := calling(t, running(ending(join.WouldJoin)))
	if got := c.do("join", "--dry-run"); got != 0 {
		t.Errorf("exit status %d", got)
	}
	if _, err := os.Stat(c.statusPath); err == nil {
		t.Error("there is a status file")
	}
	wantText(t, "standard output", c.stdout.String(), fmt.Sprintf("%s: ", join.WouldJoin))
}
