package join

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// stopped is a machine whose kubelet does not run, and whose service has a command line.
func stopped(t *testing.T, command string) *machine {
	t.Helper()
	root, bin := t.TempDir(), t.TempDir()
	program, _, _ := strings.Cut(command, " ")
	put(t, filepath.Join(bin, "systemctl"), "#!/bin/sh\necho 'ExecStart={ path="+program+" ; argv[]="+command+" ; ignore_errors=no ; start_time=[n/a] }'\n")
	t.Setenv("PATH", bin)
	m := &machine{Host: host.Host{Root: root}, name: "w1"}
	put(t, filepath.Join(root, "proc/1/stat"), "1 (init) S 0 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 9 0 50 0 0\n")
	put(t, filepath.Join(root, "proc/1/cmdline"), "/sbin/init\x00")
	put(t, filepath.Join(root, "proc/1/cgroup"), "0::/init.scope\n")
	return m
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialsAndPodsOfAKubeletThatIsStopped(t *testing.T) {
	m := stopped(t, "/usr/bin/kubelet --kubeconfig=/etc/other/kubelet.conf --root-dir=/srv/kubelet")
	if _, err := m.Credentials(); !errors.Is(err, fs.ErrNotExist) || m.CredentialsPath() != "/etc/other/kubelet.conf" {
		t.Errorf("got %v, of %s", err, m.CredentialsPath())
	}
	put(t, m.Path("/etc/other/kubelet.conf"), "torn")
	put(t, m.Path("/srv/kubelet/pods/uid/volumes/x"), "")
	if _, err := m.Credentials(); !errors.Is(err, cluster.ErrUnusable) {
		t.Errorf("got %v", err)
	}
	if pods, err := m.Pods(); err != nil || pods != 1 {
		t.Errorf("got %d pods, %v", pods, err)
	}
}

// Nobody knows where a wrapper script lets it look.
func TestCredentialsThatNobodyKnowsWhereToLookForAreNotMissing(t *testing.T) {
	m := stopped(t, "/usr/local/bin/start-kubelet.sh")
	if _, err := m.Credentials(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("on a machine that no kubelet was on: %v", err)
	}
	put(t, m.Path("/var/lib/kubelet/config.yaml"), "")
	if _, err := m.Credentials(); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/usr/local/bin/start-kubelet.sh") {
		t.Errorf("got %v", err)
	}
	if pods, err := m.Pods(); err != nil || pods != 0 { // to tell of, with --reset=always
		t.Errorf("got %d pods, %v", pods, err)
	}

	m.kubelets.ran, m.kubelets.args.Kubeconfig = true, "/etc/seen.conf"
	if _, err := m.Credentials(); !errors.Is(err, fs.ErrNotExist) || m.CredentialsPath() != "/etc/seen.conf" {
		t.Errorf("one ran before: got %v, of %s", err, m.CredentialsPath())
	}
}

// here is a world of kubelets alone.
type here struct {
	world
	enabled bool
	run     []host.KubeletProcess
	err     error
}

func (h here) StartsAtBoot() bool                               { return h.enabled }
func (h here) KubeletProcesses() ([]host.KubeletProcess, error) { return h.run, h.err }

func TestAMembersKubeletIsFoundWithoutItsService(t *testing.T) {
	of := func(from ...int) host.KubeletProcess {
		return host.KubeletProcess{PID: 7, Ancestors: from, Args: host.KubeletArgs{HostnameOverride: "W1x"}}
	}
	suspended := of(1)
	suspended.Suspended = "frozen"
	k, found := (&run{w: here{enabled: true, run: []host.KubeletProcess{of(1)}}}).membersKubelet()
	if !found || !k.Running || k.PID != 7 || k.NodeName != "w1x" || k.Exits != -1 {
		t.Errorf("got %+v", k)
	}
	for name, w := range map[string]here{
		"not enabled":     {run: []host.KubeletProcess{of(1)}},
		"none":            {enabled: true},
		"two":             {enabled: true, run: []host.KubeletProcess{of(1), of(1)}},
		"not known":       {enabled: true, run: []host.KubeletProcess{of(1)}, err: errors.New("no /proc")},
		"suspended":       {enabled: true, run: []host.KubeletProcess{suspended}},
		"of a wrapper":    {enabled: true, run: []host.KubeletProcess{of(6, 1)}},
		"of another init": {enabled: true, run: []host.KubeletProcess{of()}},
	} {
		if k, found := (&run{w: w}).membersKubelet(); found {
			t.Errorf("%s: got %+v", name, k)
		}
	}
}
