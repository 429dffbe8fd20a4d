package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// programs makes shell scripts the only programs in PATH, and returns the file in which they note their arguments.
func programs(t *testing.T, scripts map[string]string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	for name, script := range scripts {
		write(t, filepath.Join(dir, name), "#!/bin/sh\necho \""+name+" $*\" >>"+calls+"\n"+script+"\n", 0o755)
	}
	t.Setenv("PATH", dir)
	return calls
}

func called(t *testing.T, calls string) []string {
	t.Helper()
	b, _ := os.ReadFile(calls)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestSystemdUnits(t *testing.T) {
	show := func(load, file, active, sub string) []string {
		return []string{"LoadState=" + load, "UnitFileState=" + file, "ActiveState=" + active, "SubState=" + sub, "MainPID=0", "NRestarts=0"}
	}
	for name, tc := range map[string]struct {
		out  []string
		want Unit
	}{
		"running":            {show("loaded", "enabled", "active", "running"), Unit{Active: true, Running: true, State: "active/running"}},
		"missing":            {show("not-found", "", "inactive", "dead"), Unit{Missing: true, State: "inactive/dead"}},
		"masked":             {show("masked", "masked", "inactive", "dead"), Unit{Masked: true, State: "inactive/dead"}},
		"masked at runtime":  {show("masked", "masked-runtime", "inactive", "dead"), Unit{Masked: true, State: "inactive/dead"}},
		"disabled":           {show("loaded", "disabled", "active", "running"), Unit{Disabled: true, Active: true, Running: true, State: "active/running"}},
		"not for next boot":  {show("loaded", "enabled-runtime", "active", "running"), Unit{Disabled: true, Active: true, Running: true, State: "active/running"}},
		"crash loop":         {show("loaded", "enabled", "activating", "auto-restart"), Unit{Active: true, Failing: true, State: "activating/auto-restart"}},
		"crash loop, queued": {show("loaded", "enabled", "activating", "auto-restart-queued"), Unit{Active: true, Failing: true, State: "activating/auto-restart-queued"}},
		"starting":           {show("loaded", "enabled", "activating", "start"), Unit{Active: true, State: "activating/start"}},
		"failed":             {show("loaded", "enabled", "failed", "failed"), Unit{Failing: true, State: "failed/failed"}},
		"reloading":          {show("loaded", "enabled", "reloading", "reload"), Unit{Active: true, Running: true, State: "reloading/reload"}},
		"ended":              {show("loaded", "enabled", "active", "exited"), Unit{Active: true, State: "active/exited"}},
		"stopping":           {show("loaded", "enabled", "deactivating", "stop-sigterm"), Unit{State: "deactivating/stop-sigterm"}},
		"its process":        {append(show("loaded", "enabled", "active", "running"), "MainPID=42", "NRestarts=3"), Unit{Active: true, Running: true, MainPID: 42, Exits: 3, State: "active/running"}},
		"older systemd":      {show("loaded", "enabled", "active", "running")[:4], Unit{Active: true, Running: true, Exits: -1, State: "active/running"}},
		"not understood":     {append(show("loaded", "enabled", "active", "running"), "MainPID=[not set]", "NRestarts="), Unit{Active: true, Running: true, Exits: -1, State: "active/running"}},
		"stopped":            {show("loaded", "enabled", "inactive", "dead"), Unit{State: "inactive/dead"}},
	} {
		if got, err := systemdUnit(tc.out); err != nil || got != tc.want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
	if u, err := systemdUnit([]string{"System has not been booted with systemd as init system (PID 1). Can't operate."}); err == nil {
		t.Errorf("without systemd: got %+v and no error", u)
	}
}

func TestOpenRCUnits(t *testing.T) {
	enabled := []string{"             kubelet | default", "                sshd | default"}
	for name, tc := range map[string]struct {
		status, boot []string
		want         Unit
	}{
		"running":      {[]string{" * status: started"}, enabled, Unit{Active: true, Running: true, Exits: -1, State: "started"}},
		"disabled":     {[]string{" * status: started"}, []string{" kubelet-helper | default"}, Unit{Active: true, Running: true, Disabled: true, Exits: -1, State: "started"}},
		"starting":     {[]string{" * status: starting"}, enabled, Unit{Active: true, Exits: -1, State: "starting"}},
		"stopped":      {[]string{" * status: stopped"}, enabled, Unit{Exits: -1, State: "stopped"}},
		"crashed":      {[]string{" * status: crashed"}, enabled, Unit{Failing: true, Exits: -1, State: "crashed"}},
		"unsupervised": {[]string{" * status: unsupervised"}, nil, Unit{Disabled: true, Exits: -1, State: "unsupervised"}},
		"missing":      {[]string{" * rc-service: service `kubelet' does not exist"}, nil, Unit{Missing: true, Exits: -1, State: "unknown"}},
		"no answer?":   {[]string{"what"}, enabled, Unit{Exits: -1, State: "unknown"}},
	} {
		if got := openrcUnit(tc.status, tc.boot); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestTheInitSystemIsChosenAsKubeadmDoes(t *testing.T) {
	h := machine(t, map[string]string{"/var/log/kubelet/kubelet.log": "one\ntwo\nthree\n", "/proc/stat": "btime 1000\n",
		"/proc/42/stat": "42 (kubelet) S 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 9 0 2500 0 0"})
	t.Run("systemd", func(t *testing.T) {
		calls := programs(t, map[string]string{
			"systemctl":  `[ "$1" != show ] || printf 'LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\nMainPID=42\nNRestarts=1\n'`,
			"journalctl": `echo first; echo last`,
			"openrc":     "", "rc-service": "", "rc-update": "",
		})
		if u, err := h.Kubelet(t.Context()); err != nil || u != (Unit{Active: true, Running: true, State: "active/running", MainPID: 42, Exits: 1, Since: time.Unix(1025, 0)}) {
			t.Errorf("got %+v, %v", u, err)
		}
		if err := errors.Join(h.RestartKubelet(t.Context()), h.StopKubelet(t.Context()), h.StartKubelet(t.Context())); err != nil {
			t.Error(err)
		}
		if log := h.KubeletLog(t.Context(), 1); !slices.Equal(log, []string{"last"}) {
			t.Errorf("got log %q", log)
		}
		want := []string{"systemctl show kubelet -p LoadState,UnitFileState,ActiveState,SubState,MainPID,NRestarts,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,After",
			"systemctl daemon-reload", "systemctl restart kubelet", "systemctl stop kubelet",
			"systemctl daemon-reload", "systemctl start kubelet", "journalctl -u kubelet -n 1 --no-pager -o cat"}
		if got := called(t, calls); !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
	t.Run("openrc", func(t *testing.T) {
		calls := programs(t, map[string]string{
			"openrc":     "",
			"rc-service": `[ "$2" != status ] || { echo ' * status: crashed'; exit 32; }`,
			"rc-update":  `echo '  kubelet | default'`,
		})
		if u, err := h.Kubelet(t.Context()); err != nil || u != (Unit{Failing: true, Exits: -1, State: "crashed"}) {
			t.Errorf("got %+v, %v", u, err)
		}
		if err := errors.Join(h.RestartKubelet(t.Context()), h.StopKubelet(t.Context()), h.StartKubelet(t.Context())); err != nil {
			t.Error(err)
		}
		if log := h.KubeletLog(t.Context(), 2); !slices.Equal(log, []string{"two", "three"}) {
			t.Errorf("got log %q", log)
		}
		want := []string{"rc-service kubelet status", "rc-update show default", "rc-service kubelet restart",
			"rc-service kubelet stop", "rc-service kubelet start"}
		if got := called(t, calls); !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
	t.Run("none", func(t *testing.T) {
		programs(t, map[string]string{"openrc": ""})
		_, err := h.Kubelet(t.Context())
		if restart := h.RestartKubelet(t.Context()); !errors.Is(err, ErrNoInitSystem) || !errors.Is(restart, ErrNoInitSystem) ||
			!errors.Is(h.StopKubelet(t.Context()), ErrNoInitSystem) || !errors.Is(h.StartKubelet(t.Context()), ErrNoInitSystem) {
			t.Errorf("got %v, %v", err, restart)
		}
		if log := h.KubeletLog(t.Context(), 2); log != nil {
			t.Errorf("got log %q", log)
		}
		if h.HasKubelet() {
			t.Error("a kubelet where there is none")
		}
	})
}

func TestAKubeletThatHasJustEndedHasNoStart(t *testing.T) {
	programs(t, map[string]string{"systemctl": `printf 'LoadState=loaded\nActiveState=active\nSubState=running\nMainPID=42\n'`})
	if u, err := machine(t, nil).Kubelet(t.Context()); err != nil || u.MainPID != 42 || !u.Since.IsZero() || u.Exits != -1 {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestARestartThatFailsSaysWhichCommandAndWhy(t *testing.T) {
	programs(t, map[string]string{"systemctl": `[ "$1" = daemon-reload ] || { echo 'Failed to restart kubelet.service: Unit kubelet.service is masked.' >&2; exit 1; }`})
	err := Host{}.RestartKubelet(t.Context())
	want := "running systemctl restart kubelet: exit status 1: Failed to restart kubelet.service: Unit kubelet.service is masked."
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestARestartThatHangsEndsWithItsContext(t *testing.T) {
	path := os.Getenv("PATH")
	programs(t, map[string]string{"systemctl": "PATH=" + path + "; exec sleep 60"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := (Host{}).RestartKubelet(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 30*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
}

func TestTheLogIsReadFromItsEnd(t *testing.T) {
	h := machine(t, map[string]string{"/log": "torn " + strings.Repeat("x", 70<<10) + "\nlast\n", "/empty": ""})
	if got := tail(h.Path("/log")); !slices.Equal(got, []string{"last"}) {
		t.Errorf("got %d lines", len(got))
	}
	if got := tail(h.Path("/empty")); got != nil {
		t.Errorf("empty: got %q", got)
	}
}

func TestSwapIsOnIfTheKernelListsSome(t *testing.T) {
	const title = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for text, want := range map[string]bool{"": false, title: false, title + "/dev/sda2 partition\t4194300\t\t0\t\t-2\n": true} {
		if got := machine(t, map[string]string{"/proc/swaps": text}).SwapOn(); got != want {
			t.Errorf("%q: swap is on: %t", text, got)
		}
	}
}

func TestAServiceThatIsLinkedStartsAtBoot(t *testing.T) {
	programs(t, map[string]string{"systemctl": "exit 1"})
	h := machine(t, nil)
	if h.StartsAtBoot() {
		t.Error("without a link")
	}
	link(t, h.Path(atBoot), "/usr/lib/systemd/system/kubelet.service")
	if !h.StartsAtBoot() {
		t.Error("with a link, to a file that is not there")
	}
	programs(t, nil)
	if h.StartsAtBoot() {
		t.Error("without systemd")
	}
}

func TestAPersonIsToldTheCommandsOfThisInitSystem(t *testing.T) {
	const text = "its log says why: `journalctl -u kubelet`; or see `systemctl status kubelet`, `systemctl restart kubelet`, `systemctl start kubelet`, `systemctl enable kubelet`"
	programs(t, map[string]string{"systemctl": ""})
	if got := Commands(text); got != text {
		t.Errorf("on systemd: %s", got)
	}
	programs(t, map[string]string{"openrc": "", "rc-service": "", "rc-update": ""})
	got := Commands(text)
	if strings.Contains(got, "ctl") || !strings.Contains(got, openrcLog) || strings.Count(got, "rc-service kubelet") != 3 {
		t.Errorf("on OpenRC: %s", got)
	}
}
