package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// CloudInit is what cloud-init does now.
type CloudInit int

// What it does. It names machines, mounts their disks, installs what they lack.
const (
	CloudInitIdle    CloudInit = iota // there is none, it is done, or it waits for us
	CloudInitBusy                     // it has begun with this boot and is not done
	CloudInitUnclear                  // nor is it known that it does not wait for us
)

// CloudInitWorks reports whether there is something to wait for.
func (h Host) CloudInitWorks() bool { return h.CloudInit() == CloudInitBusy }

// CloudInit goes by the files that are documented as its status and its result. Where it waits for us, as for user data, there
// is nothing to wait for.
func (h Host) CloudInit() CloudInit {
	_, begun := os.Stat(h.Path("/run/cloud-init/status.json"))
	_, done := os.Stat(h.Path("/run/cloud-init/result.json"))
	ours, _ := os.ReadFile(h.Path("/proc/self/cgroup"))
	if begun != nil || !errors.Is(done, fs.ErrNotExist) || cloudInits.Match(ours) {
		return CloudInitIdle
	}
	switch waits, mayWait := h.cloudInitWaits(); {
	case waits:
		return CloudInitIdle
	case mayWait:
		return CloudInitUnclear
	}
	return CloudInitBusy
}

// cloudInits are the units in which cloud-init runs what users gave it: cloud-final.service, since 24.3 cloud-init-main.service,
// and for bootcmd cloud-init.service.
var cloudInits = regexp.MustCompile(`/cloud-(final|init|init-main)\.service`)

// cloudInitWaits tells whether cloud-init waits for this very process, as its ancestor, or as that of a systemctl that waits
// for our unit. One that waits for anything else may wait for us, by a dependency; so may it where processes cannot be seen.
func (h Host) cloudInitWaits() (waits, mayWait bool) {
	all, err := h.processes()
	if err != nil {
		return false, true
	}
	byPID, began := map[int]process{}, map[int]bool{}
	for _, p := range all {
		byPID[p.pid] = p
	}
	for _, p := range all {
		is, err := h.program(p)
		switch {
		case errors.Is(err, errEnded):
		case err != nil:
			mayWait = true
		case len(is.line) > 0:
			began[p.pid] = slices.Contains(is.names, "cloud-init") || len(is.line) > 1 && filepath.Base(is.line[1]) == "cloud-init"
		}
	}
	of := func(pid int) bool {
		for range len(all) { // the parents were not read at one moment, so there may be a circle
			if pid = byPID[pid].parent; began[pid] {
				return true
			}
		}
		return false
	}
	for _, p := range all {
		is, err := h.program(p)
		if err != nil || len(is.line) == 0 || !of(p.pid) {
			continue
		}
		switch {
		case p.pid == h.self(), slices.Contains(is.names, "systemctl") && startsUs(is.line):
			waits = true
		case slices.Contains(is.names, "systemctl"), slices.Contains(is.names, "systemd-run"):
			mayWait = mayWait || !slices.Contains(is.line, "--no-block")
		}
	}
	return waits, mayWait
}

// systemctlStarts are the words with which systemctl starts a unit, and waits until it is.
var systemctlStarts = []string{"start", "restart", "reload-or-restart", "try-restart", "--now"}

func startsUs(line []string) bool {
	starts := func(word string) bool { return slices.Contains(systemctlStarts, word) }
	ours := func(word string) bool { return word == "nodejoin" || strings.HasPrefix(word, "nodejoin.") }
	return slices.ContainsFunc(line, starts) && slices.ContainsFunc(line[1:], ours) && !slices.Contains(line, "--no-block")
}
