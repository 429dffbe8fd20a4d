package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// seeLastRun adds to the answer of a check what the status file says of the
// last run. None there is no trouble: nothing has run since the boot.
func seeLastRun(rep *join.Report, path string) {
	last, err := readStatusFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		rep.Check.Unseen = append(rep.Check.Unseen, fmt.Sprintf("the last run: %v", err))
		return
	}
	run := &join.LastRun{
		Reason: last.Reason, ExitCode: last.ExitCode, Phase: last.Phase, Message: last.Message,
		PID: last.PID, StartedAt: last.StartedAt, FinishedAt: last.FinishedAt,
		EarlierBoot: last.Node.BootID != "" && rep.Node.BootID != "" && last.Node.BootID != rep.Node.BootID,
	}
	run.Running = last.FinishedAt == nil && !run.EarlierBoot && lives(last.PID)
	rep.Check.LastRun = run
}

func readStatusFile(path string) (join.Report, error) {
	var rep join.Report
	info, err := os.Stat(path)
	if err != nil {
		return rep, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return rep, fmt.Errorf("%q is not a regular file (%s)", path, info.Mode().Type())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return rep, err
	}
	if err := json.Unmarshal(raw, &rep); err != nil {
		return rep, fmt.Errorf("%q is not a status file: %w", path, err)
	}
	if rep.SchemaVersion != join.SchemaVersion {
		return rep, fmt.Errorf("%q has schemaVersion %d, not %d", path, rep.SchemaVersion, join.SchemaVersion)
	}
	return rep, nil
}

func lives(pid int) bool { return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// checkLines are what a person wants to know first, besides the answer.
func checkLines(line func(label, words string), rep join.Report) {
	c := rep.Check
	line("node", nodeWords(rep))
	line("level", string(c.Level))
	if c.Since != nil {
		line("since", when(*c.Since))
	}
	if c.CredentialsExpire != nil {
		verb := "valid until"
		if c.CredentialsExpire.Before(time.Now()) {
			verb = "expired, by this machine's clock:"
		}
		line("credentials", verb+" "+c.CredentialsExpire.UTC().Format(time.RFC3339))
	}
	line("kubelet", c.Kubelet)
	if l := c.Left; l != nil {
		line("left", fmt.Sprintf("Node %s, missed %s, had the mark of its owner's will: %s", l.Name, when(l.At), l.Mark))
	}
	if c.LastRun != nil {
		line("last run", lastRunWords(*c.LastRun))
	}
	for _, unseen := range c.Unseen {
		line("not seen", unseen)
	}
}

// rungLines are for a person who goes through them, or for a ticket.
func rungLines(b *strings.Builder, rungs []join.Rung) {
	words := map[join.RungState]string{join.Well: "ok", join.Wrong: "NO", join.Unseen: "could not see"}
	for _, r := range rungs {
		fmt.Fprintf(b, "  %-12s %-14s %s\n", r.Name, words[r.State], oneLine(r.Message))
		if r.Hint != "" {
			fmt.Fprintf(b, "  %-27s do: %s\n", "", oneLine(r.Hint))
		}
	}
}

func nodeWords(rep join.Report) string {
	words := rep.Node.Name
	if rep.Node.UID != "" {
		words += " (UID " + rep.Node.UID + ")"
	}
	if rep.Endpoint != "" {
		words += " at " + rep.Endpoint
	}
	return words
}

func lastRunWords(l join.LastRun) string {
	words := ""
	switch {
	case l.Running:
		words = fmt.Sprintf("at work since %s, process %d, in phase %s: %s", when(l.StartedAt), l.PID, l.Phase, l.Message)
	case l.FinishedAt == nil:
		words = fmt.Sprintf("did not come to its end: it began %s and its process is gone; it was in phase %s: %s", when(l.StartedAt), l.Phase, l.Message)
	default:
		words = fmt.Sprintf("%s, %s: %s", l.Reason, when(*l.FinishedAt), l.Message)
	}
	if l.EarlierBoot {
		words = "before the last boot: " + words
	}
	return words
}

// when is a time as a log has it, and as a person counts it.
func when(t time.Time) string {
	d := time.Since(t)
	ago := d.Round(time.Second).String()
	switch {
	case d >= 48*time.Hour:
		ago = fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		ago = fmt.Sprintf("%d h", d/time.Hour)
	case d >= time.Minute:
		ago = fmt.Sprintf("%d min", d/time.Minute)
	}
	if d < 0 {
		return t.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format(time.RFC3339), ago)
}
