package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/readme"
)

func TestEveryFaultHasAStory(t *testing.T) {
	stories, err := declared("../..")
	if err != nil {
		t.Fatal(err)
	}
	for i, title := range faults {
		if len(tellers(stories, i+1)) == 0 {
			t.Errorf("fault %d, %s: no story tells it", i+1, title)
		}
	}
}

// A cell's text: whoever adds a story, or renames one, must refresh the table.
var cell = regexp.MustCompile("^\\| (?:([0-9]+)\\. [^|]*)? ?\\|.*\\| `([A-Za-z0-9_]+)`( \\(s\\))? \\|$")

func TestTheTableListsTheStoriesThatExist(t *testing.T) {
	stories, err := declared("../..")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range faults {
		for _, s := range tellers(stories, i+1) {
			want = append(want, strconv.Itoa(i+1)+" "+s.cell())
		}
	}
	block, err := readme.Shown("README.md", begin, end)
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	fault := ""
	for line := range strings.Lines(block) {
		if m := cell.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			if m[1] != "" {
				fault = m[1]
			}
			listed = append(listed, fault+" `"+m[2]+"`"+m[3])
		}
	}
	for _, s := range want {
		if !slices.Contains(listed, s) {
			t.Errorf("the table lacks fault %s", s)
		}
	}
	for _, s := range listed {
		if !slices.Contains(want, s) {
			t.Errorf("the table has fault %s, which no story tells any more", s)
		}
	}
	if t.Failed() {
		t.Log("to mend it: make e2e, then make faults")
	}
}

const run1 = `{"Action":"run","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA"}
{"Action":"attr","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA/part","Key":"outcome","Value":"0 Joined|Recovered 1 0 -3 -2 1 1"}
{"Action":"attr","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA","Key":"outcome","Value":"10 Refused 0 0 0 0 0 0"}
{"Action":"attr","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA","Key":"outcome","Value":"10 Refused 0 0 0 0 0 0"}
{"Action":"pass","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA/part"}
{"Action":"RESULT","Package":"github.com/nodejoin/nodejoin/test/e2e","Test":"TestA"}
`

func TestTableTellsWhatWasToldAndWhatWasNot(t *testing.T) {
	stories := []story{{realFolder, "TestA", []int{1}}, {realFolder, "TestB", []int{1}}}
	for result, want := range map[string]string{
		"pass": "| 1. Same name, other machine, alive | 10 Refused<br>0 Joined or Recovered | nothing<br>1 join, at most 1 kubelet restart, 1 or more deletions, 1 return, 1 new certificate | `TestA` |\n",
		"fail": "| 1. Same name, other machine, alive | **fail** |  | `TestA` |\n",
		"skip": "| 1. Same name, other machine, alive | **skip** |  | `TestA` |\n",
		"cont": "| 1. Same name, other machine, alive | **did not end** |  | `TestA` |\n", // the run was ended
	} {
		last := ledger{}
		if err := last.read([]byte(strings.Replace(run1, "RESULT", result, 1))); err != nil {
			t.Fatal(err)
		}
		text, bad := table(stories, last)
		for _, line := range []string{want, "|  | **not in the last run** |  | `TestB` |\n", "| 2. Same name, other machine, dead | **no story** | | |\n"} {
			if !strings.Contains(text, line) {
				t.Errorf("%s: no line %q in\n%s", result, line, text)
			}
		}
		if wanted := len(faults) + 1; result == "pass" && bad != wanted-1 || result != "pass" && bad != wanted {
			t.Errorf("%s: %d bad rows", result, bad)
		}
	}
}
