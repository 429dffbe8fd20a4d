package child

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// On OpenRC `rc-service kubelet start` leaves a supervisor in the group of the kubeadm, or the nodejoin, that has called it.
func TestTheSupervisorOfAServiceOutlivesWhoHasStartedIt(t *testing.T) {
	dir := t.TempDir()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, supervisor), program, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	var pids []int
	c := sh(`supervise-daemon 60 >/dev/null 2>&1 & echo $!; sleep 60 >/dev/null 2>&1 & echo $!; sleep 0.3`)
	c.Line = func(l string) {
		pid, _ := strconv.Atoi(l)
		pids = append(pids, pid)
	}
	if _, err := Run(t.Context(), c); err != nil || len(pids) != 2 {
		t.Fatal(pids, err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pids[0], syscall.SIGKILL) })
	for deadline := time.Now().Add(5 * time.Second); alive(pids[1]); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what the program has left behind lives on")
		}
	}
	time.Sleep(100 * time.Millisecond) // a signal to both reaches one of them first
	if !alive(pids[0]) {
		t.Error("the supervisor was killed")
	}
}

// alive: a zombie is not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
