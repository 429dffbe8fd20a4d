package join

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
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

// joins is a machine below root with a kubeadm that keeps what it is told in the file "told", and the discovery file
// of it in "discovery".
func joins(t *testing.T, change func(*Config)) (m *machine, told func(string) string) {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-") // where a secret may be written
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	c := Defaults()
	c.Endpoint, c.UnsafeSkipCAVerification = "cp:6443", true
	change(&c)
	m = machineOf(root, host.KubeletArgs{})
	if m.plan, err = c.plan(); err != nil {
		t.Fatal(err)
	}
	m.kubeadm = kubeadmThat(t, `cp "$3" `+root+`/told; cp "$(sed -n 's/ *kubeConfigPath: //p' "$3")" `+root+`/discovery 2>/dev/null; true`)
	return m, func(name string) string {
		text, _ := os.ReadFile(filepath.Join(root, name))
		return string(text)
	}
}

// A kubelet may have a runtime that kubeadm is not told of: by its unit, or by an argument that goes past kubeadm.
func TestARuntimeThatOnlyTheKubeletKnowsServesToo(t *testing.T) {
	root, err := os.MkdirTemp("", "run") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	const socket = "/own.sock"
	l, err := net.Listen("unix", filepath.Join(root, socket))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = http.Serve(l, http.NotFoundHandler()) }() // not understood: no reason to refuse it
	for name, c := range map[string]struct {
		extra string
		args  host.KubeletArgs
		want  bool
	}{
		"by nobody":      {want: false},
		"by its unit":    {args: host.KubeletArgs{RuntimeEndpoint: "unix://" + socket}, want: true},
		"by an argument": {extra: "container-runtime-endpoint=unix://" + socket, want: true},
		"and is not":     {args: host.KubeletArgs{RuntimeEndpoint: "unix:///other.sock"}, want: false},
	} {
		m := machineOf(root, c.args)
		m.plan.KubeletExtraArgs = []string{c.extra}
		if err := m.runtimeServes(t.Context()); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// kubeadm 1.34 and older goes on without a container runtime, and writes files that are in the way of the next attempt.
func TestKubeadmThatDoesNotLookForARuntimeIsNotRunWithoutOne(t *testing.T) {
	for name, c := range map[string]struct {
		says    string
		ignored string
		runs    bool
	}{
		"old":         {"v1.34.4", "", false},
		"old, told":   {"v1.31.14", "cri", true},
		"looks":       {"v1.35.0", "", true},
		"newer still": {"v1.99.0", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-") // where a secret may be written
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(root)
			put(t, filepath.Join(root, "bin", "kubelet"), "")
			if err := os.Chmod(filepath.Join(root, "bin", "kubelet"), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
			c0 := Defaults()
			c0.Endpoint, c0.UnsafeSkipCAVerification = "cp:6443", true
			if c.ignored != "" {
				c0.IgnorePreflightErrors = []string{c.ignored}
			}
			m := machineOf(root, host.KubeletArgs{})
			if m.plan, err = c0.plan(); err != nil {
				t.Fatal(err)
			}
			ran := filepath.Join(root, "ran")
			m.kubeadm = kubeadmThat(t, `if [ "$1" = version ]; then echo `+c.says+`; else touch `+ran+`; fi`)
			warning, err := m.KubeadmFit(t.Context())
			if err != nil || (warning != "") != (name == "newer still") {
				t.Fatalf("%q, %v", warning, err)
			}
			err = m.Join(t.Context(), simServer, simToken, simToken, false)
			_, notRun := os.Stat(ran)
			if (err == nil) != c.runs || (notRun == nil) != c.runs {
				t.Errorf("%v, kubeadm's trace: %v", err, notRun)
			}
			var failure *kubeadm.Failure
			if !c.runs && (!errors.As(err, &failure) || failure.Kind() != kubeadm.Runtime || !failure.NotRun() || !strings.Contains(err.Error(), "CRI: could not connect")) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestKubeadmIsToldToLeaveAHarmlessCAFileAlone(t *testing.T) {
	for _, harmless := range []bool{true, false} {
		m, told := joins(t, func(*Config) {})
		if err := m.Join(t.Context(), &cluster.Credentials{}, simToken, simToken, harmless); err != nil {
			t.Fatal(err)
		}
		if config := told("told"); strings.Contains(config, (&plan{}).caFileCheck()) != harmless {
			t.Errorf("harmless: %t, and kubeadm is told\n%s", harmless, config)
		}
	}
}

// Only with an address do kubeadm's checks ask whether its family is forwarded: they are not to be kept from that.
func TestKubeadmIsHandedTheServerThatWasProven(t *testing.T) {
	server := &cluster.Credentials{Server: "https://proven:6443", CA: []byte("the CA")}
	own := filepath.Join(t.TempDir(), "own.conf")
	for name, tt := range map[string]struct {
		endpoint, proxy, forwarded, file string
		handed                           bool
	}{
		"a name":                   {endpoint: "cp:6443", handed: true},
		"an address":               {endpoint: "10.0.0.1:6443", forwarded: "1\n", handed: true},
		"one that is not":          {endpoint: "10.0.0.1:6443", forwarded: "0\n"},
		"one of the other family":  {endpoint: "[fd00::1]:6443", forwarded: "1\n"},
		"a name, behind a proxy":   {endpoint: "cp:6443", proxy: "http://proxy:3128"},
		"the user's own discovery": {file: own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", tt.proxy)
			if err := os.WriteFile(own, []byte("the user's"), 0o600); err != nil {
				t.Fatal(err)
			}
			m, told := joins(t, func(c *Config) {
				c.Endpoint, c.DiscoveryFile, c.UnsafeSkipCAVerification = tt.endpoint, tt.file, tt.file == ""
			})
			sysctl := filepath.Join(m.Root, "/proc/sys/net/ipv4")
			if err := errors.Join(os.MkdirAll(sysctl, 0o755), os.WriteFile(sysctl+"/ip_forward", []byte(tt.forwarded), 0o600)); err != nil {
				t.Fatal(err)
			}
			if err := m.Join(t.Context(), server, simToken, simToken, false); err != nil {
				t.Fatal(err)
			}
			config, file := told("told"), told("discovery")
			if handed := strings.Contains(file, server.Server); handed != tt.handed || handed && strings.Contains(config, "bootstrapToken") {
				t.Errorf("kubeadm is told\n%s\nand of the server\n%s", config, file)
			}
			if strings.Contains(file, simToken) || !strings.Contains(config, "tlsBootstrapToken: "+simToken) || tt.file != "" && file != "the user's" {
				t.Errorf("the token, or the user's file, is not where it belongs:\n%s\n%s", config, file)
			}
			if left, _ := filepath.Glob(m.Root + "/run/nodejoin/*secret*"); len(left) > 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}
