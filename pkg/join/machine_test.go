package join

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// machineOf is one on which a kubelet with these arguments was seen just now.
func machineOf(root string, args host.KubeletArgs) *machine {
	m := &machine{Host: host.Host{Root: root}, plan: &plan{}}
	m.kubelets.argsAt, m.kubelets.args = time.Now().Add(time.Hour), args // for as long as the test lasts
	return m
}

func TestCredentialsAreThoseOfTheKubeletThatRuns(t *testing.T) {
	for path, args := range map[string]host.KubeletArgs{
		"/etc/kubernetes/kubelet.conf": {},
		"/opt/agent/kubelet.conf":      {Kubeconfig: "/opt/agent/kubelet.conf"},
	} {
		m := machineOf(t.TempDir(), args)
		if got := m.CredentialsPath(); got != path {
			t.Errorf("they are read from %s, wanted %s", got, path)
		}
		var at *fs.PathError
		if _, err := m.Credentials(); !errors.As(err, &at) || at.Path != m.Path(path) {
			t.Errorf("%v, wanted one of %s", err, path)
		}
	}
}

func TestPodsAreCountedWhereTheKubeletThatRunsKeepsThem(t *testing.T) {
	m := stopped(t, "/usr/bin/kubelet")
	m.kubelets.argsAt = time.Now().Add(time.Hour)
	for _, pod := range []string{"5f0b", "77aa"} {
		put(t, m.Path("/srv/kubelet/pods/"+pod+"/volumes/x"), "")
	}
	for root, want := range map[string]int{"": 0, "/srv/kubelet": 2} {
		m.kubelets.args.RootDir = root
		if n, err := m.Pods(); err != nil || n != want {
			t.Errorf("%d pods in %q (%v), wanted %d", n, root, err, want)
		}
	}
}

// kubeadmThat is a kubeadm that runs a script, with its configuration's path in $3.
func kubeadmThat(t *testing.T, does string) kubeadm.Kubeadm {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeadm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+does+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return kubeadm.Kubeadm{Path: path, Redact: func(line string) string { return line }}
}

func TestKubeadmIsToldToLeaveAHarmlessCAFileAlone(t *testing.T) {
	for _, harmless := range []bool{true, false} {
		root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-") // where a secret may be written
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification = "cp:6443", true
		m := machineOf(root, host.KubeletArgs{})
		if m.plan, err = c.plan(); err != nil {
			t.Fatal(err)
		}
		told := filepath.Join(root, "told")
		m.kubeadm = kubeadmThat(t, `cp "$3" `+told)
		if err := m.Join(t.Context(), simToken, simToken, harmless); err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(told)
		if err != nil || strings.Contains(string(config), (&plan{}).caFileCheck()) != harmless {
			t.Errorf("harmless: %t, and kubeadm is told (%v)\n%s", harmless, err, config)
		}
	}
}
