package testbed

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

const helperMode = "NODEJOIN_TESTBED_HELPER"

// TestHelperProcess is not a test of its own: TestNothingIsLeft runs it in a process that it can interrupt and kill.
func TestHelperProcess(t *testing.T) {
	mode := os.Getenv(helperMode)
	if mode == "" {
		return
	}
	tb := New(t)
	must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	must(tb.NewControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	b := must(tb.NewBooted(t.Context(), "b1", BootedOptions{}))(t)
	ok(t, b.Boot(t.Context()))
	fmt.Printf("\nrun folder %s\n", tb.dir)
	switch mode {
	case "fatal":
		t.Fatal("as wanted")
	case "panic":
		panic("as wanted")
	case "panic elsewhere":
		go panic("as wanted")
		select {}
	case "wait":
		select {}
	}
}

func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	must(Build(t.Context(), os.Stderr))(t) // not in the helper, where it would look like a hang
	must(BuildImage(t.Context(), os.Stderr))(t)
	for name, end := range map[string]struct {
		mode string
		act  func(cmd *exec.Cmd, run string)
	}{
		"success":                      {"success", nil},
		"t.Fatal":                      {"fatal", nil},
		"panic in the test":            {"panic", nil},
		"panic in a goroutine":         {"panic elsewhere", nil},
		"Ctrl-C":                       {"wait", func(cmd *exec.Cmd, _ string) { syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }},
		"SIGTERM":                      {"wait", func(cmd *exec.Cmd, _ string) { cmd.Process.Signal(syscall.SIGTERM) }},
		"kill -9":                      {"wait", func(cmd *exec.Cmd, _ string) { cmd.Process.Kill() }},
		"kill -9, and the guard's too": {"wait", func(cmd *exec.Cmd, run string) { killGuard(t, run); cmd.Process.Kill() }},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(within(t, 2*time.Minute), "/proc/self/exe", "-test.run=^TestHelperProcess$", "-test.v")
			cmd.Env = append(os.Environ(), helperMode+"="+end.mode)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out := must(cmd.StdoutPipe())(t)
			ok(t, cmd.Start())
			run := ""
			lines := bufio.NewScanner(out)
			for run == "" && lines.Scan() {
				run, _ = strings.CutPrefix(lines.Text(), "run folder ")
				if !strings.HasPrefix(run, "/") {
					run = ""
				}
			}
			if run == "" {
				t.Fatal("the helper told no run folder")
			}
			if end.act != nil {
				end.act(cmd, run)
			}
			io.Copy(io.Discard, out)
			cmd.Wait()
			if strings.Contains(name, "guard") {
				// The next run does it.
				ok(t, New(t).Close())
			}
			deadline := time.Now().Add(15 * time.Second)
			left := traces(run)
			for left != "" && time.Now().Before(deadline) {
				time.Sleep(50 * time.Millisecond)
				left = traces(run)
			}
			if left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func killGuard(t *testing.T, run string) {
	for _, pid := range processesNaming(run) {
		if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", pid)); strings.HasPrefix(string(cmdline), machine.GuardName) {
			var n int
			fmt.Sscan(pid, &n)
			ok(t, syscall.Kill(n, syscall.SIGKILL))
		}
	}
}

// traces tells what is left of a run: files, cgroups, mounts that this process can see, processes.
func traces(run string) string {
	var found []string
	if _, err := os.Stat(run); err == nil {
		found = append(found, run)
	}
	hierarchies, _ := machine.CgroupHierarchies()
	for _, h := range hierarchies {
		dir := filepath.Join(h, filepath.Base(run))
		if _, err := os.Stat(dir); err == nil {
			found = append(found, dir)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), run) {
		found = append(found, "mounts")
	}
	for _, pid := range processesNaming(run) {
		found = append(found, "process "+pid)
	}
	return strings.Join(found, ", ")
}

// processesNaming lists the processes that have the run folder in their command line or among their mounts.
func processesNaming(run string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline")
		mounts, _ := os.ReadFile(dir + "/mountinfo")
		if strings.Contains(string(cmdline)+string(mounts), run) {
			found = append(found, filepath.Base(dir))
		}
	}
	return found
}
