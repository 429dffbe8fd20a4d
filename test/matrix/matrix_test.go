package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/readme"
)

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// No line of the table is typed by hand.
func TestREADMEShowsTheResults(t *testing.T) {
	t.Chdir("..") // where `make matrix` runs this
	all, err := load()
	if err != nil || len(all) == 0 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	want := markdown(all)
	if shown, err := readme.Shown(paper, begin, end); err != nil || shown != want {
		t.Errorf("README has\n%s\nand the results say\n%s\n  to mend it: make matrix K8S=1.37", shown, want)
	}
}

func TestStoriesAreThoseOfTheEndToEndTests(t *testing.T) {
	files, err := filepath.Glob("../e2e/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range files {
		all.WriteString(read(t, path))
	}
	for _, name := range tests() {
		if !strings.Contains(all.String(), "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestTheWorkflowTellsEveryMinor(t *testing.T) {
	var want []string
	for _, c := range cells {
		if !slices.Contains(want, c.Nodes) {
			want = append(want, c.Nodes)
		}
	}
	line := regexp.MustCompile(`minor: \[(.*)\]`).FindStringSubmatch(read(t, "../../.github/workflows/matrix.yml"))
	if line == nil || strings.ReplaceAll(line[1], `"`, "") != strings.Join(want, ", ") {
		t.Errorf("the workflow has %q, the cells %q", line, want)
	}
}

func TestHowAStoryEnds(t *testing.T) {
	s := story{tests: []string{"TestA", "TestB"}}
	for want, ends := range map[string]map[string]string{
		holds:    {"TestA": "pass", "TestB": "pass"},
		failedIt: {"TestA": "skip", "TestB": "fail"},
		untold:   {"TestA": "pass"},
	} {
		if got := s.endedAs(ends); got != want {
			t.Errorf("%v: %s, want %s", ends, got, want)
		}
	}
	ends, output := endsOf([]byte(`{"Action":"output","Test":"TestA/part","Output":"x"}
{"Action":"fail","Test":"TestA/part"}
{"Action":"pass","Test":"TestA"}
not JSON
`))
	if ends["TestA"] != "pass" || len(ends) != 1 || output["TestA"] != "x" {
		t.Errorf("%v, %v", ends, output)
	}
}
