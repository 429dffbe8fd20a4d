package cli

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	source "go/token"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// contract is written down again, so that a changed number does not go unseen.
var contract = map[join.Reason]int{
	join.Joined: 0, join.Recovered: 0, join.AlreadyJoined: 0,
	join.Internal: 1, join.Usage: 2, join.HostUnfit: 3, join.WrongCluster: 4, join.TokenRejected: 5, join.Unreachable: 6,
	join.JoinFailed: 7, join.KeepsBeingDeleted: 8, join.NameTaken: 9, join.Refused: 10, join.Locked: 11,
	join.WouldJoin: 0, join.NotMember: 20, join.Unknown: 21, join.Interrupted: 130,
}

func TestEveryReasonHasItsExitStatus(t *testing.T) {
	for _, reason := range reasonsOfTheLibrary(t) {
		want, ok := contract[reason]
		if !ok {
			t.Errorf("the contract says nothing about %s", reason)
			continue
		}
		c := calling(t, ending(reason))
		if got := c.do("join", "-o", "json"); got != want {
			t.Errorf("%s: exit status %d, want %d", reason, got, want)
		}
		rep := decode(t, c.stdout.String())
		if rep.Reason != reason || *rep.ExitCode != want || (*rep.Result == join.Success) != (want == 0) {
			t.Errorf("%s: the report says %s, %d, %s", reason, rep.Reason, *rep.ExitCode, *rep.Result)
		}
	}
}

// reasonsOfTheLibrary reads them from its source, so that a new one cannot be
// forgotten here.
func reasonsOfTheLibrary(t *testing.T) []join.Reason {
	t.Helper()
	file, err := parser.ParseFile(source.NewFileSet(), "../../pkg/join/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []join.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Reason" {
				literal := spec.Values[0].(*ast.BasicLit).Value
				reasons = append(reasons, join.Reason(strings.Trim(literal, `"`)))
			}
		}
		return true
	})
	if len(reasons) != len(outcomes) {
		t.Errorf("the library has %d reasons, the table %d", len(reasons), len(outcomes))
	}
	return reasons
}

func TestDoubtIsNeverSuccess(t *testing.T) {
	for name, script := range map[string]library{
		"an empty report and no error": func(context.Context, join.Config) (join.Report, error) { return join.Report{}, nil },
		"success and an error":         func(context.Context, join.Config) (join.Report, error) { return report(join.Joined), errors.New("odd") },
		"failure without an error":     func(context.Context, join.Config) (join.Report, error) { return report(join.JoinFailed), nil },
		"an error with a good reason": func(context.Context, join.Config) (join.Report, error) {
			return report(join.Joined), failure(join.Joined)
		},
		"a reason nobody has heard of":  func(context.Context, join.Config) (join.Report, error) { return report("New"), failure("New") },
		"a panic":                       func(context.Context, join.Config) (join.Report, error) { panic("ouch") },
		"a panic after it began to run": running(func(context.Context, join.Config) (join.Report, error) { panic("ouch") }),
	} {
		c := calling(t, script)
		if got := c.do("join", "-o", "json"); got != 1 {
			t.Errorf("%s: exit status %d, want 1", name, got)
		}
		if rep := decode(t, c.stdout.String()); rep.Reason != join.Internal || *rep.Result != join.Failure || rep.Message == "" {
			t.Errorf("%s: the report says %s, %s, %q", name, rep.Reason, *rep.Result, rep.Message)
		}
		if strings.Contains(name, "began") {
			if rep := decode(t, c.status(t)); rep.Result == nil || rep.Counts.Attempts != 2 {
				t.Errorf("%s: the status file says that it still runs, or forgot what was done", name)
			}
		}
	}
}

func TestHelpTellsEveryExitStatus(t *testing.T) {
	c := calling(t, nil)
	if got := c.do("join", "--help"); got != 0 {
		t.Fatalf("exit status %d", got)
	}
	for reason, o := range outcomes {
		wantText(t, "--help", c.stdout.String(), string(reason), o.meaning)
	}
	if strings.Contains(c.stdout.String(), "control-plane ") {
		t.Error("--help shows hidden flags")
	}
}
