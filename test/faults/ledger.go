package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// told is what a run of the tests has recorded of a story.
type told struct {
	result   string // pass, fail or skip; empty if the run was ended before the story
	outcomes []outcome
}

// outcome is one end of nodejoin, as a story has stated it.
type outcome struct {
	exit    string // exit status and reason
	success bool
	counts  string
}

// ledger has the last telling of each story, by folder and name.
type ledger map[[2]string]*told

// read takes in the output of `go test -json`. What comes later replaces what was told before.
func (l ledger) read(raw []byte) error {
	for line := range bytes.Lines(raw) {
		var e struct{ Action, Package, Test, Key, Value string }
		if json.Unmarshal(line, &e) != nil || e.Test == "" { // a line of the compiler's, or a whole package's
			continue
		}
		name, _, part := strings.Cut(e.Test, "/")
		key := [2]string{strings.TrimPrefix(e.Package, "github.com/nodejoin/nodejoin/"), name}
		switch {
		case e.Action == "run" && !part:
			l[key] = &told{}
		case l[key] == nil:
		case !part && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			l[key].result = e.Action
		case e.Action == "attr" && e.Key == "outcome":
			o, err := parseOutcome(e.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", e.Test, err)
			}
			if !slices.Contains(l[key].outcomes, o) {
				l[key].outcomes = append(l[key].outcomes, o)
			}
		}
	}
	return nil
}

// statuses are the exit statuses of the reasons, for the scripted stories: the library knows none.
var statuses = map[string]int{
	"Joined": 0, "Recovered": 0, "AlreadyJoined": 0, "Internal": 1, "Usage": 2, "HostUnfit": 3, "WrongCluster": 4, "TokenRejected": 5,
	"Unreachable": 6, "JoinFailed": 7, "KeepsBeingDeleted": 8, "NameTaken": 9, "Refused": 10, "Locked": 11,
}

// parseOutcome reads "EXIT REASON|REASON JOINS RESETS RESTARTS DELETIONS RETURNS CERTIFICATES". EXIT is "-" where the reason tells it.
func parseOutcome(text string) (outcome, error) {
	fields := strings.Fields(text)
	if len(fields) != 8 {
		return outcome{}, fmt.Errorf("%q is no outcome", text)
	}
	exit, reasons := fields[0], strings.Split(fields[1], "|")
	if exit == "-" {
		status, known := statuses[reasons[0]]
		if !known {
			return outcome{}, fmt.Errorf("%q is no reason", reasons[0])
		}
		exit = fmt.Sprint(status)
	}
	var counts []string
	for i, what := range []string{"join", "reset", "kubelet restart", "deletion", "return", "new certificate"} {
		if words := countWords(fields[2+i], what); words != "" {
			counts = append(counts, words)
		}
	}
	return outcome{exit + " " + strings.Join(reasons, " or "), exit == "0", cmp.Or(strings.Join(counts, ", "), "nothing")}, nil
}

func countWords(number, what string) string {
	switch number {
	case "0":
		return ""
	case "1":
		return "1 " + what
	case "-1":
		return "any " + what + "s"
	case "-2":
		return "1 or more " + what + "s"
	case "-3":
		return "at most 1 " + what
	}
	return number + " " + what + "s"
}

// table is Markdown; bad counts the rows without a story that was told and held.
func table(stories []story, last ledger) (text string, bad int) {
	var b strings.Builder
	b.WriteString("| fault | exit status and reason | counts | story |\n| --- | --- | --- | --- |\n")
	for i, title := range faults {
		fault := fmt.Sprintf("%d. %s", i+1, title)
		all := tellers(stories, i+1)
		if len(all) == 0 {
			fmt.Fprintf(&b, "| %s | **no story** | | |\n", fault)
			bad++
		}
		for _, s := range all {
			exits, counts := "", ""
			switch t := last[[2]string{s.folder, s.name}]; {
			case t == nil:
				exits = "**not in the last run**"
			case t.result == "pass":
				exits, counts = t.words()
			case t.result == "":
				exits = "**did not end**"
			default:
				exits = "**" + t.result + "**"
			}
			if strings.HasPrefix(exits, "*") {
				bad++
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", fault, exits, counts, s.cell())
			fault = ""
		}
	}
	b.WriteString("\nCounted are kubeadm's joins and resets, restarts of the kubelet, deletions of the Node seen, its returns as it was, and certificates that the kubelet got anew in place; what is not named is 0.\n" +
		"Each line of a cell is one way in which a run of the story ends. (s): scripted steps under virtual time; all others: real components.\n")
	return b.String(), bad
}

func (s story) cell() string {
	if s.scripted() {
		return "`" + s.name + "` (s)"
	}
	return "`" + s.name + "`"
}

// words are the cells of the outcomes, line by line: the failures first, for parts of a story come in any order.
func (t *told) words() (exits, counts string) {
	all := slices.Clone(t.outcomes)
	slices.SortFunc(all, func(a, b outcome) int {
		switch {
		case a.success != b.success && b.success:
			return -1
		case a.success != b.success:
			return 1
		}
		return cmp.Or(cmp.Compare(len(a.exit), len(b.exit)), cmp.Compare(a.exit, b.exit), cmp.Compare(a.counts, b.counts))
	})
	for i, o := range all {
		if i > 0 {
			exits, counts = exits+"<br>", counts+"<br>"
		}
		exits, counts = exits+o.exit, counts+o.counts
	}
	return exits, counts
}
