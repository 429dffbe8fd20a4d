package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// encode is the report as programs read it, in the status file and on standard
// output alike.
func encode(rep join.Report) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // people read it too
	e.SetIndent("", "  ")
	_ = e.Encode(rep) // plain data into memory: nothing can fail
	return b.Bytes()
}

// text is the report as people read it: what happened, what that means, what
// to do, and only then what explains it.
func text(rep join.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", rep.Reason, oneLine(rep.Message))
	line := func(label, words string) {
		if words != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", label+":", oneLine(words))
		}
	}
	failed := *rep.ExitCode != 0
	if failed {
		line("this means", fmt.Sprintf("%s (exit status %d)", outcomes[rep.Reason].meaning, *rep.ExitCode))
		line("do next", rep.Hint)
	}
	if rep.Check == nil {
		if !failed {
			line("node", nodeWords(rep))
		}
		line("took", effort(rep))
	} else {
		checkLines(line, rep)
		rungLines(&b, rep.Check.Rungs)
	}
	for _, warning := range rep.Warnings {
		line("warning", warning)
	}
	if !failed {
		return b.String()
	}
	if n := len(rep.Deletions); n > 0 {
		last := rep.Deletions[n-1]
		line("last deleted", fmt.Sprintf("at %s, %s after it was first seen (UID %s)", last.At.UTC().Format(time.RFC3339), short(last.After), last.UID))
	}
	if rep.FirstError != rep.LastError {
		line("first error", rep.FirstError)
	}
	if !strings.Contains(rep.Message, rep.LastError) {
		line("last error", rep.LastError)
	}
	tail(&b, "kubeadm", rep.LogTail.Kubeadm)
	tail(&b, "the kubelet", rep.LogTail.Kubelet)
	return b.String()
}

func tail(b *strings.Builder, whose string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "  last lines of %s:\n", whose)
	for _, l := range lines {
		fmt.Fprintf(b, "      %s\n", oneLine(l))
	}
}

// effort is the time it took and what was done, without what was not.
func effort(rep join.Report) string {
	parts := []string{short(rep.Duration)}
	c := rep.Counts
	for _, count := range []struct {
		n    int
		what string
	}{
		{c.Attempts, "attempt"}, {c.Joins, "kubeadm join"}, {c.Resets, "reset"}, {c.KubeletRestarts, "kubelet restart"}, {c.NodesPutBack, "return"}, {c.Bootstraps, "new certificate"}, {c.Deletions, "deletion"},
	} {
		switch {
		case count.n == 1:
			parts = append(parts, "1 "+count.what)
		case count.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", count.n, count.what))
		}
	}
	return strings.Join(parts, ", ")
}

// short leaves out digits that tell nobody anything.
func short(s join.Seconds) string {
	d := time.Duration(s)
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// usageText is all there is to say when nothing ran.
func usageText(rep join.Report) string {
	words := "nodejoin: " + oneLine(rep.Message) + "\n"
	if rep.Hint != "" {
		words += oneLine(rep.Hint) + "\n"
	}
	return words
}
