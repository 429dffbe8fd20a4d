package child

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// supervisor is OpenRC's, which stays in the process group of whoever has its service started or restarted, and ends its
// service when it ends. systemd's services come from systemd.
const supervisor = "supervise-daemon"

// signalGroup signals the processes of a program's group, but for what keeps a service alive that the program has started.
func signalGroup(group int, sig syscall.Signal) {
	if _, err := exec.LookPath(supervisor); err == nil {
		if others, supervised := members(group); supervised {
			for _, pid := range others {
				_ = syscall.Kill(pid, sig)
			}
			return
		}
	}
	_ = syscall.Kill(-group, sig)
}

// members are the processes of a group, but for supervisors; supervised tells whether there is one.
func members(group int) (others []int, supervised bool) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// PID (NAME) STATE PARENT GROUP ...; a name may have blanks and brackets in it
		before, after, _ := strings.Cut(string(raw), " (")
		end := strings.LastIndex(after, ") ")
		if end < 0 {
			continue
		}
		fields := strings.Fields(after[end+2:])
		pid, err := strconv.Atoi(before)
		if err != nil || len(fields) < 3 || fields[2] != strconv.Itoa(group) {
			continue
		}
		if after[:end] == supervisor[:15] { // the kernel keeps so much of a name
			supervised = true
		} else {
			others = append(others, pid)
		}
	}
	return others, supervised
}
