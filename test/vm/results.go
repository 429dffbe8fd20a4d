package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/nodejoin/nodejoin/test/readme"
)

// Paths from the test module, where `make vm` runs this.
const (
	results = "vm/results.json"
	paper   = "vm/README.md"
)

// The table stands between these lines.
const (
	begin = "<!-- The table, written by `make vm`. -->\n"
	end   = "<!-- The end of the table. -->\n"
)

// story is a row: tests of a package.
type story struct {
	Title, Run, Of string
	Arch           string // of its machine; the host's if empty
}

const e2e = "./e2e"

// stories are those of the end-to-end tests, and those that want a real machine.
var stories = []story{
	{Title: "the machine boots, reboots, and is reached", Run: "^TestRealMachineBootsRebootsAndIsReached$", Of: "./testbed"},
	{Title: "the user data's script, and a reboot", Run: "^TestTheManualsScriptJoinsAnInstanceAndARebootIsANoOp$", Of: e2e},
	{Title: "the user data's cloud-config, and a reboot", Run: "^TestTheManualsCloudConfigJoinsAnInstanceAndARebootIsANoOp$", Of: e2e},
	{Title: "deletion, reboot, a certificate that expired while it was off, a clock that is set", Run: "^TestRealMachineStaysAMember$", Of: e2e},
	{Title: "a clock that is an hour behind", Run: "^TestRealMachineWhoseClockIsAnHourBehindJoinsOnceItIsSet$", Of: e2e},
	{Title: "/var/lib/kubelet on a late disk", Run: "^TestRealMachineWhoseKubeletFolderIsOnALateDisk$", Of: e2e},
	{Title: "power cuts at random moments of a join", Run: "^TestRealMachineWhosePowerIsCutDuringAJoinIsAMemberInTheEnd$", Of: e2e},
	{Title: "a snapshot restored, and a clone beside it", Run: "^TestRealMachineThatIsRestoredOrCloned$", Of: e2e},
	{Title: "a root disk that is loaded lazily", Run: "^TestRealMachineOnALazilyLoadedDiskIsInSooner$", Of: e2e},
	{Title: "OpenRC", Run: "^TestRealMachineWithOpenRC$", Of: e2e},
	{Title: "arm64: the released package, a deletion, a reboot", Run: "^TestRealMachineWithArm64IsAMemberByTheReleasedPackage$", Of: e2e, Arch: "arm64"},
}

// result is how a story ended.
type result struct {
	Title       string `json:"title"`
	Held        bool   `json:"held"`
	Date        string `json:"date"`
	Took        string `json:"took"`
	Accelerator string `json:"accelerator"`
	Measured    string `json:"measured,omitempty"`
}

func (r result) mark() string {
	if r.Held {
		return "holds"
	}
	return "**fails**"
}

// keep takes a result in among those of earlier runs, in place of its story's.
func keep(r result) error {
	all, err := load()
	if err != nil {
		return err
	}
	all = append(slices.DeleteFunc(all, func(old result) bool { return old.Title == r.Title }), r)
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(results, append(raw, '\n'), 0o644), readme.Refresh(paper, begin, end, markdown(all)))
}

func load() (all []result, err error) {
	raw, err := os.ReadFile(results)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", results, err)
	}
	return all, nil
}

// markdown is the table: a line for each story.
func markdown(all []result) string {
	var b strings.Builder
	b.WriteString("| story | | told on | took | measured |\n| --- | --- | --- | --- | --- |\n")
	for _, s := range stories {
		i := slices.IndexFunc(all, func(r result) bool { return r.Title == s.Title })
		if i < 0 {
			fmt.Fprintf(&b, "| %s | not told | | | |\n", s.Title)
			continue
		}
		r := all[i]
		fmt.Fprintf(&b, "| %s | %s | %s, %s | %s | %s |\n", s.Title, r.mark(), r.Date, r.Accelerator, r.Took, r.Measured)
	}
	return b.String()
}
