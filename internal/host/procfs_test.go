package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fake is a process as a machine's /proc shows it.
type fake struct {
	pid, parent, group int    // parent 0: process 1; group 0: one of its own
	state              string // "": S
	comm, exe, cwd     string
	line               []string
	mnt                string // its mount namespace; "": the machine's, "-": cannot be read
	root               string
	cgroup             string
}

// running is a machine with these processes, and with its init and the test itself as 1 and 100.
func running(t *testing.T, fakes ...fake) Host {
	t.Helper()
	h := machine(t, map[string]string{"/proc/stat": "cpu 1 2 3\nbtime 1000\n", "/proc/uptime": "1 1\n"})
	link(t, h.Path("/proc/self"), "100")
	fakes = append([]fake{{pid: 1, comm: "init", line: []string{"/sbin/init"}}}, fakes...)
	if !slices.ContainsFunc(fakes, func(f fake) bool { return f.pid == 100 }) {
		fakes = append(fakes, fake{pid: 100, comm: "nodejoin", line: []string{"nodejoin", "join"}})
	}
	for _, f := range fakes {
		if f.parent == 0 && f.pid != 1 {
			f.parent = 1
		}
		if f.group == 0 {
			f.group = f.pid
		}
		if f.state == "" {
			f.state = "S"
		}
		if f.mnt == "" {
			f.mnt = "mnt:[1]"
		}
		write(t, h.proc(f.pid, "stat"), fmt.Sprintf("%d (%s) %s %d %d 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 9 0 2550 0 0\n",
			f.pid, f.comm, f.state, f.parent, f.group), 0o444)
		line := ""
		for _, word := range f.line {
			line += word + "\x00"
		}
		write(t, h.proc(f.pid, "cmdline"), line, 0o444)
		write(t, h.proc(f.pid, "cgroup"), f.cgroup, 0o444)
		if f.mnt != "-" {
			link(t, h.proc(f.pid, "ns/mnt"), f.mnt)
		}
		for name, target := range map[string]string{"exe": f.exe, "cwd": f.cwd, "root": f.root} {
			if target != "" {
				link(t, h.proc(f.pid, name), target)
			}
		}
	}
	return h
}

func link(t *testing.T, path, target string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessIsReadWhateverItsName(t *testing.T) {
	h := running(t, fake{pid: 7, comm: "a) S 1 (b c", parent: 3, group: 5}, fake{pid: 8, state: "Z", comm: "kubelet"})
	got, err := h.process(7)
	if want := (process{pid: 7, parent: 3, group: 5, state: "S", comm: "a) S 1 (b c", ticks: 2550}); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for pid, kind := range map[int]string{8: "a zombie", 9: "nobody"} {
		if _, err := h.process(pid); !errors.Is(err, errEnded) {
			t.Errorf("%s: got %v", kind, err)
		}
	}
	if all, err := h.processes(); err != nil || len(all) != 3 {
		t.Errorf("got %+v, %v", all, err)
	}
	if got := h.started(process{ticks: 2550}); !got.Equal(time.UnixMilli(1025500)) {
		t.Errorf("started %s", got)
	}
}

func TestAProcIsNotKnownIfItCannotBeRead(t *testing.T) {
	for kind, files := range map[string]map[string]string{
		"none":            nil,
		"not mounted":     {"/proc/.keep": ""},
		"torn":            {"/proc/1/stat": "1 (init) S"},
		"without numbers": {"/proc/1/stat": "1 (init) " + strings.Repeat("x ", 30)},
		"empty":           {"/proc/1/stat": ""},
		"no file":         {"/proc/1/stat/x": ""},
	} {
		h := machine(t, files)
		if all, err := h.processes(); err == nil {
			t.Errorf("%s: got %+v and no error", kind, all)
		}
		if got := h.started(process{ticks: 1}); !got.IsZero() {
			t.Errorf("%s: started %s", kind, got)
		}
	}
	if got := machine(t, map[string]string{"/proc/stat": "btime soon\n"}).bootTime(); !got.IsZero() {
		t.Errorf("booted %s", got)
	}
}

func TestTheKernelsOwnProcIsUnderstood(t *testing.T) {
	before := time.Now()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var h Host
	p, err := h.process(cmd.Process.Pid)
	if err != nil || p.parent != os.Getpid() || h.self() != os.Getpid() {
		t.Fatalf("got %+v, %v; this is %d, %d", p, err, os.Getpid(), h.self())
	}
	// A tick is 10 ms.
	if got := h.started(p); got.Before(before.Add(-50*time.Millisecond)) || got.After(time.Now()) {
		t.Errorf("started %s after its command", got.Sub(before))
	}
	if local, err := h.local(p.pid); err != nil || !local {
		t.Errorf("our own child is of this machine: %t, %v", local, err)
	}
	if line, err := h.commandLine(p.pid); err != nil || strings.Join(line, " ") != "sleep 60" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestAProcessIsOfThisMachineIfItSeesItsFiles(t *testing.T) {
	dirs := func(names ...string) string {
		root := t.TempDir()
		for _, name := range names {
			if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	ours := dirs("etc/kubernetes")
	h := running(t)
	link(t, h.Path("/proc/100/root"), ours)
	for pid, tc := range map[int]struct {
		kind      string
		mnt, root string
		want      bool
	}{
		10: {"the same namespace", "mnt:[1]", "", true},
		11: {"a container", "mnt:[2]", dirs("etc/kubernetes"), false},
		12: {"PrivateTmp=", "mnt:[3]", ours, true},
		13: {"a root out of sight", "mnt:[4]", "/nowhere", false},
	} {
		write(t, h.proc(pid, "stat"), "", 0o444)
		link(t, h.proc(pid, "ns/mnt"), tc.mnt)
		if tc.root != "" {
			link(t, h.proc(pid, "root"), tc.root)
		}
		if got, err := h.local(pid); err != nil || got != tc.want {
			t.Errorf("%s: got %t, %v", tc.kind, got, err)
		}
	}
}

func TestANamespaceThatCannotBeReadIsNotKnown(t *testing.T) {
	h := running(t, fake{pid: 10, comm: "kubelet", line: []string{"kubelet"}, mnt: "-"}, fake{pid: 11, state: "Z", mnt: "-"})
	if local, err := h.local(10); err == nil || errors.Is(err, errEnded) {
		t.Errorf("got %t, %v", local, err)
	}
	for _, pid := range []int{11, 12} {
		if _, err := h.local(pid); !errors.Is(err, errEnded) {
			t.Errorf("%d has ended: got %v", pid, err)
		}
	}
	if err := os.Remove(h.Path("/proc/100/ns/mnt")); err != nil {
		t.Fatal(err)
	}
	if local, err := h.local(1); err == nil || errors.Is(err, errEnded) {
		t.Errorf("our own: got %t, %v", local, err)
	}
}

func TestSelfIsTheNumberInTheProcThatIsRead(t *testing.T) {
	if got := running(t).self(); got != 100 {
		t.Errorf("got %d", got)
	}
	if got := machine(t, nil).self(); got != os.Getpid() {
		t.Errorf("without one: got %d", got)
	}
}
