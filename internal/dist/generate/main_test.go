package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/internal/cli"
)

// Whoever adds an exit status or a reason says in nodejoin(7) what to do next.
func TestTheManualTellsEveryExitStatus(t *testing.T) {
	page, err := pages.ReadFile("nodejoin.7.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n# EXIT STATUS\n")
	section, _, _ = strings.Cut(section, "\n# ")
	told := regexp.MustCompile(`(?m)^- (\*\*[0-9]+\*\*.*?): \S`).FindAllString(section, -1)
	reasons := 0
	for _, command := range cli.Command().Commands() {
		_, table, _ := strings.Cut(command.UsageString(), "\nExit status:\n")
		for _, m := range regexp.MustCompile(`(?m)^ +([0-9]+)  ([A-Za-z]+) `).FindAllStringSubmatch(table, -1) {
			reasons++
			found := false
			for _, heading := range told {
				found = found || strings.Contains(heading, "**"+m[1]+"**") && strings.Contains(heading, "*"+m[2]+"*")
			}
			if !found {
				t.Errorf("nodejoin(7) does not tell exit status %s, %s", m[1], m[2])
			}
		}
	}
	if reasons < 15 {
		t.Errorf("%d reasons were found in the usage", reasons)
	}
}
