package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// outcome is what a reason is to the world outside.
type outcome struct {
	status  int
	meaning string // for --help, and with a failure
}

// outcomes is the one table from reason to exit status.
var outcomes = map[join.Reason]outcome{
	join.Joined:        {0, "member, and held"},
	join.Recovered:     {0, "member, and held, after a deletion or a kubelet restart"},
	join.AlreadyJoined: {0, "was a member; nothing was touched"},
	join.WouldJoin:     {0, "with --dry-run: nothing stands in the way of a join"},

	join.Internal:          {1, "a bug or an unforeseen error"},
	join.Usage:             {2, "flags, config file or token are malformed"},
	join.HostUnfit:         {3, "a person must mend this host first"},
	join.WrongCluster:      {4, "the cluster is not the one that was asked for; this is never retried"},
	join.TokenRejected:     {5, "the API server refuses the token, or the token's source has none"},
	join.Unreachable:       {6, "the API server never answered usefully"},
	join.JoinFailed:        {7, "this Node did not come, or did not stay, in the time there was"},
	join.KeepsBeingDeleted: {8, "the cluster deletes this Node again and again"},
	join.NameTaken:         {9, "another live machine holds this Node name"},
	join.Refused:           {10, "it would destroy something, or bring back what its owner wants gone"},
	join.Locked:            {11, "another nodejoin is at work"},
	join.NotMember:         {20, "proven not to be a member (check)"},
	join.Unknown:           {21, "nothing proves it a member, nor the contrary (check)"},
	join.Interrupted:       {130, "stopped by a signal: 130 for SIGINT, 143 for SIGTERM"},
}

// exitStatusHelp is the table for --help.
func exitStatusHelp() string {
	reasons := make([]join.Reason, 0, len(outcomes))
	for reason := range outcomes {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(a, b join.Reason) int {
		return 1000*(outcomes[a].status-outcomes[b].status) + strings.Compare(string(a), string(b))
	})
	var b strings.Builder
	for _, reason := range reasons {
		fmt.Fprintf(&b, "  %3d  %-17s  %s\n", outcomes[reason].status, reason, outcomes[reason].meaning)
	}
	return b.String()
}

// stopped is the cause of a context that a signal ended.
type stopped struct{ signal syscall.Signal }

func (s stopped) Error() string {
	if s.signal == syscall.SIGTERM {
		return "SIGTERM received"
	}
	return "SIGINT received"
}

func (s stopped) status() int { return 128 + int(s.signal) }

// conclude completes the report of a run that has ended. What it does not
// understand is Internal: doubt is never success.
func conclude(ctx context.Context, rep join.Report, err error, began time.Time) join.Report {
	var ended *join.Error
	var signal stopped
	switch {
	case errors.As(err, &ended):
		rep.Reason = ended.Reason
	case err != nil:
		rep.Reason = join.Internal
	}
	// A check that was stopped knows nothing, but that is not what happened.
	if rep.Reason == join.Unknown && errors.As(context.Cause(ctx), &signal) {
		rep.Reason = join.Interrupted
	}
	known, ok := outcomes[rep.Reason]
	if !ok || (err != nil && known.status == 0) || (err == nil && known.status != 0) {
		rep.Message = fmt.Sprintf("the run ended with reason %q and error %v, which is a bug; %s", rep.Reason, err, rep.Message)
		rep.Reason = join.Internal
	}
	status, result := outcomes[rep.Reason].status, join.Failure
	switch {
	case rep.Reason == join.Interrupted && errors.As(context.Cause(ctx), &signal):
		status = signal.status()
	case status == 0:
		result = join.Success
	}
	rep.ExitCode, rep.Result, rep.Phase = &status, &result, join.Done
	if rep.Message == "" && err != nil {
		rep.Message = err.Error()
	}
	if rep.Hint == "" && ended != nil {
		rep.Hint = ended.Hint
	}
	fill(&rep, began)
	return rep
}

// fill gives a report that was made outside the library its form: lists are
// never null.
func fill(rep *join.Report, began time.Time) {
	rep.SchemaVersion = join.SchemaVersion
	if rep.StartedAt.IsZero() {
		rep.StartedAt = began.UTC().Truncate(time.Millisecond)
	}
	if rep.FinishedAt == nil {
		now := time.Now().UTC().Truncate(time.Millisecond)
		rep.FinishedAt = &now
		rep.Duration = join.Seconds(now.Sub(rep.StartedAt))
	}
	if rep.Attempts == nil {
		rep.Attempts = []join.Attempt{}
	}
	if rep.Deletions == nil {
		rep.Deletions = []join.Deletion{}
	}
	if rep.Because == nil {
		rep.Because = []string{}
	}
	if rep.Warnings == nil {
		rep.Warnings = []string{}
	}
	if rep.LogTail.Kubeadm == nil {
		rep.LogTail.Kubeadm = []string{}
	}
	if rep.LogTail.Kubelet == nil {
		rep.LogTail.Kubelet = []string{}
	}
	if outcomes[rep.Reason].status != 0 && rep.LastError == "" {
		rep.LastError = rep.Message
	}
	if rep.FirstError == "" {
		rep.FirstError = rep.LastError
	}
}
