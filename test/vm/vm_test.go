package main

import (
	"os"
	"path/filepath"
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
func TestTheTableShowsTheResults(t *testing.T) {
	t.Chdir("..") // where `make vm` runs this
	all, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := readme.Shown(paper, begin, end); err != nil || shown != markdown(all) {
		t.Errorf("%s has\n%s\nand the results say\n%s", paper, shown, markdown(all))
	}
}

func TestStoriesAreThere(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"../e2e/*_test.go", "../testbed/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			all.WriteString(read(t, path))
		}
	}
	for _, s := range stories {
		if name := strings.Trim(s.Run, "^$"); !strings.Contains(all.String(), "func "+name+"(") {
			t.Errorf("there is no %s", name)
		}
	}
}
