package join

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
)

// killedRoot names, to this test as another process, the root of a machine on which it is to be killed.
const killedRoot = "NODEJOIN_TEST_KILLED_ROOT"

// A run that is killed at any step of a bootstrap, or whose machine then loses power, leaves its kubelet to the next one with
// what it had; unless that kubelet was started since, for it may bootstrap yet.
func TestABootstrapThatWasKilledIsEndedByTheNextRun(t *testing.T) {
	if root := os.Getenv(killedRoot); root != "" {
		_ = machineOf(root, bootstrapArgs).BootstrapAgain(t.Context(), simServer, simToken) // restarting the kubelet kills
		return
	}
	const conf, current, bootstrap = "/k/kubelet.conf", "/k/pki/kubelet-client-current.pem", "/k/bootstrap.conf"
	write := func(m *machine) error {
		_, err := m.WriteBootstrapConf(bootstrap, []byte(simToken))
		return err
	}
	steps := map[string]func(*machine) error{
		"before the first": func(*machine) error { return nil },
		"one file moved":   func(m *machine) error { return m.MoveAside(conf) },
		"both moved":       func(m *machine) error { return m.MoveAside(conf, current) },
		"the token there":  func(m *machine) error { _ = m.MoveAside(conf, current); return write(m) },
		"the restart": func(m *machine) error {
			killed := exec.Command(os.Args[0], "-test.run=^TestABootstrapThatWasKilledIsEndedByTheNextRun$")
			killed.Env = append(os.Environ(), killedRoot+"="+m.Root)
			if err := killed.Run(); err == nil || killed.ProcessState.ExitCode() != -1 {
				t.Errorf("it was not killed: %v", err)
			}
			return nil
		},
	}
	kubelets := map[string]struct {
		run  []host.KubeletProcess
		back bool
	}{
		"none runs":               {nil, true},
		"the one of before runs":  {[]host.KubeletProcess{{PID: 7, Started: time.Now().Add(-time.Hour)}}, true},
		"it was started since":    {[]host.KubeletProcess{{PID: 7, Started: time.Now().Add(time.Second)}}, false},
		"since when is not known": {[]host.KubeletProcess{{PID: 7}}, false},
	}
	for step, until := range steps {
		for kubelet, c := range kubelets {
			for _, rebooted := range []bool{false, true} {
				m, read := kubeletOf(t, "kill -9 $PPID")
				if err := until(m); err != nil {
					t.Fatal(err)
				}
				if rebooted {
					if err := os.RemoveAll(m.Path("/run/nodejoin")); err != nil {
						t.Fatal(err)
					}
				}
				next := machineOf(m.Root, bootstrapArgs)
				next.resume(c.run)
				if err := next.Sweep(); err != nil {
					t.Fatal(err)
				}
				back := read(conf) == "conf of before" && read(current) == "certificate of before"
				if back != (c.back || step == "before the first") || read(bootstrap) != "" || secretsIn(m) > 0 {
					t.Errorf("killed at %s, %s, rebooted %t: it has %q and %q, bootstraps with %q, and %d secrets are left",
						step, kubelet, rebooted, read(conf), read(current), read(bootstrap), secretsIn(m))
				}
				if err := next.BootstrapEnded(false, true); err != nil {
					t.Fatal(err)
				}
				for _, left := range []string{m.Path(bootstrap), m.Path("/k/*.before-nodejoin"), m.Path("/k/pki/*.before-nodejoin")} {
					if found, _ := filepath.Glob(left); len(found) > 0 {
						t.Errorf("killed at %s, %s: %q is left", step, kubelet, found)
					}
				}
			}
		}
	}
}

// The link of a run that was killed is nobody's bootstrap kubeconfig, to be given back.
func TestALinkToNowhereIsNotGivenBackAfterABootstrap(t *testing.T) {
	m, read := kubeletOf(t, "exit 0")
	if _, err := m.WriteBootstrapConf("/k/bootstrap.conf", []byte(simToken)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.Sweep(), m.BootstrapAgain(t.Context(), simServer, simToken)); err != nil {
		t.Fatal(err)
	}
	if read("/k/bootstrap.conf") == "" {
		t.Error("the kubelet has nothing to bootstrap with")
	}
	if err := m.BootstrapEnded(true, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(m.Path("/k/bootstrap.conf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
}

// Whoever resets the machine by hand leaves what was moved aside; given back, it would be a leftover for which another reset is due.
func TestAMachineThatWasResetSinceIsNotGivenItsOldCredentials(t *testing.T) {
	m, read := kubeletOf(t, "exit 0")
	if err := errors.Join(m.MoveAside("/k/kubelet.conf"), os.RemoveAll(m.Path("/k/pki")), os.Remove(m.Path("/var/lib/kubelet/config.yaml"))); err != nil {
		t.Fatal(err)
	}
	next := machineOf(m.Root, bootstrapArgs)
	if next.resume(nil); read("/k/kubelet.conf") != "" {
		t.Errorf("it has %q", read("/k/kubelet.conf"))
	}
}

// Between a run that was killed and the next, or while a kubelet waits for its certificate, somebody writes a new bootstrap kubeconfig.
func TestANewerBootstrapKubeconfigIsSomebodys(t *testing.T) {
	const bootstrap = "/k/bootstrap.conf"
	replace := func(m *machine) error {
		return errors.Join(os.Remove(m.Path(bootstrap)), os.WriteFile(m.Path(bootstrap), []byte("newer"), 0o600))
	}
	for name, until := range map[string]func(m *machine) error{
		"while it waits": func(m *machine) error {
			return errors.Join(m.BootstrapAgain(t.Context(), simServer, simToken), replace(m))
		},
		"after a kill": func(m *machine) error {
			_, err := m.WriteBootstrapConf(bootstrap, []byte(simToken))
			return errors.Join(err, replace(m), m.Sweep(), m.BootstrapAgain(t.Context(), simServer, simToken))
		},
	} {
		for _, back := range []bool{false, true} {
			m, read := kubeletOf(t, "exit 0")
			put(t, m.Path(bootstrap), "older")
			if name == "after a kill" {
				if err := m.MoveAside(bootstrap); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(until(m), m.BootstrapEnded(back, false)); err != nil {
				t.Fatal(err)
			}
			if read(bootstrap) != "newer" || read(bootstrap+".before-nodejoin") != "" || secretsIn(m) > 0 {
				t.Errorf("%s: it is %q, %q is left, and %d secrets", name, read(bootstrap), read(bootstrap+".before-nodejoin"), secretsIn(m))
			}
		}
	}
}
