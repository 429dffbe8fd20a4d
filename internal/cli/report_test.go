package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestSuccessIsThreeCalmLines(t *testing.T) {
	c := calling(t, func(context.Context, join.Config) (join.Report, error) {
		rep := report(join.Recovered)
		rep.Message = `Node "w1" is registered and has stayed for 60 s (UID 1-2)`
		rep.Counts.Deletions = 2
		rep.Warnings = []string{"no cloud controller has accepted it yet"}
		rep.FirstError, rep.LastError = "an error", "another"
		return rep, nil
	})
	if got := c.do("join"); got != 0 {
		t.Errorf("exit status %d", got)
	}
	want := `Recovered: Node "w1" is registered and has stayed for 60 s (UID 1-2)
  node:        w1
  took:        1m14s, 2 attempts, 1 kubeadm join, 1 kubelet restart, 2 deletions
  warning:     no cloud controller has accepted it yet
`
	if c.stdout.String() != want {
		t.Errorf("got\n%s\nwant\n%s", c.stdout.String(), want)
	}
}

func TestAFailureExplainsItself(t *testing.T) {
	c := calling(t, func(context.Context, join.Config) (join.Report, error) {
		rep := report(join.KeepsBeingDeleted)
		rep.Message = "Node \"w1\" was deleted 3 times: last one"
		rep.FirstError, rep.LastError = "the first one", "last one"
		rep.Deletions = []join.Deletion{{UID: "u3", At: rep.StartedAt, After: join.Seconds(4200 * time.Millisecond)}}
		rep.LogTail = join.LogTail{Kubeadm: []string{"[join] a"}, Kubelet: []string{"E1 b\x1b[0m", "E2 c"}}
		return rep, &join.Error{Reason: join.KeepsBeingDeleted, Message: rep.Message, Hint: "compare the names"}
	})
	if got := c.do("join"); got != 8 {
		t.Errorf("exit status %d", got)
	}
	want := `KeepsBeingDeleted: Node "w1" was deleted 3 times: last one
  this means:  the cluster deletes this Node again and again (exit status 8)
  do next:     compare the names
  took:        1m14s, 2 attempts, 1 kubeadm join, 1 kubelet restart
  last deleted: at 2026-03-01T02:59:07Z, 4.2s after it was first seen (UID u3)
  first error: the first one
  last lines of kubeadm:
      [join] a
  last lines of the kubelet:
      E1 b?[0m
      E2 c
`
	if c.stdout.String() != want {
		t.Errorf("got\n%s\nwant\n%s", c.stdout.String(), want)
	}
}

func TestJSONIsAloneOnStandardOutput(t *testing.T) {
	for _, args := range []string{"join -o json", "check -o json"} {
		c := calling(t, running(ending(join.Unknown)))
		if got := c.do(strings.Fields(args)...); got != 21 {
			t.Errorf("%s: exit status %d", args, got)
		}
		decode(t, c.stdout.String())
	}
}

func TestTheAnswerOfCheckIsToldOnce(t *testing.T) {
	c := calling(t, ending(join.NotMember))
	if got := c.do("check"); got != 20 || c.stderr.String() != "" {
		t.Errorf("exit status %d, standard error %q", got, c.stderr.String())
	}
	wantText(t, "standard output", c.stdout.String(), "NotMember: the message of NotMember\n", "exit status 20", "the hint")
}

func TestUsageFoundLateIsReportedAsAnyFailure(t *testing.T) {
	c := calling(t, running(ending(join.Usage)))
	c.do("join")
	wantText(t, "standard output", c.stdout.String(), "Usage: the message of Usage", "do next:     the hint")
	wantText(t, "standard error", c.stderr.String(), "ERROR done", "exit status 2")
}

func TestVersion(t *testing.T) {
	c := calling(t, nil)
	if got := c.do("version"); got != 0 {
		t.Errorf("exit status %d", got)
	}
	wantText(t, "version", c.stdout.String(), "nodejoin ", "(go1.", "commit ")
	c = calling(t, nil)
	c.do("version", "-o", "json")
	var v version
	if err := json.Unmarshal([]byte(c.stdout.String()), &v); err != nil || v.Go == "" || v.Version == "" {
		t.Errorf("%v in %q", err, c.stdout.String())
	}
	long := version{Version: "v1.2.3", Go: "go1.26", Commit: "0123456789abcdef0123", Changed: true}
	if got := long.String(); got != "nodejoin v1.2.3 (go1.26, commit 0123456789ab with changes)" {
		t.Errorf("got %q", got)
	}
}
