package join

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// inMemory is a machine's root that is kept in memory, as /run is.
func inMemory(t *testing.T) string {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return root
}

// Since when a run was killed nobody has watched, so its word on when the Node went proves nothing about the podCIDR of now.
func TestWhatARunThatWasKilledHasSeen(t *testing.T) {
	root := inMemory(t)
	killed := machineOf(root, host.KubeletArgs{})
	seen := cluster.Kept{Node: &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1", UID: "uid-1"}}, SeenAt: time.Now().Add(-time.Second), GoneAt: time.Now()}
	killed.keep(seen)
	next := machineOf(root, host.KubeletArgs{})
	next.recall()
	of := next.lastKept()
	if of.Node == nil || of.Node.UID != "uid-1" || !of.SeenAt.Equal(seen.SeenAt) || !of.GoneAt.IsZero() {
		t.Errorf("got %+v", of)
	}
	if s := next.LastSeen(); s.Answer != cluster.Present || s.Node.Name != "w1" || !s.At.Equal(seen.SeenAt) {
		t.Errorf("got %+v", s)
	}

	var err error
	if next.cluster, err = cluster.NewDiscoverer(cluster.Source{Endpoint: "cp:6443", NodeName: "w1"}); err != nil {
		t.Fatal(err)
	}
	if next.lock, err = next.Lock(); err != nil {
		t.Fatal(err)
	}
	next.close()
	if killed.Kept() != nil {
		t.Error("a run that has ended by itself leaves what it has seen")
	}
	none := machineOf(root, host.KubeletArgs{})
	if none.recall(); none.LastSeen().Answer == cluster.Present {
		t.Errorf("got %+v", none.LastSeen())
	}
}

var bootstrapArgs = host.KubeletArgs{Kubeconfig: "/k/kubelet.conf", CertDir: "/k/pki", BootstrapKubeconfig: "/k/bootstrap.conf"}

// kubeletOf is a machine with a service that a script is in place of, and a kubelet's credentials.
func kubeletOf(t *testing.T, systemctl string) (m *machine, read func(string) string) {
	t.Helper()
	root, bin := inMemory(t), t.TempDir()
	put(t, filepath.Join(bin, "systemctl"), "#!/bin/sh\n"+systemctl+"\n")
	t.Setenv("PATH", bin)
	m = machineOf(root, bootstrapArgs)
	put(t, m.Path("/var/lib/kubelet/config.yaml"), "")
	put(t, m.Path("/k/kubelet.conf"), "conf of before")
	put(t, m.Path("/k/pki/kubelet-client-current.pem"), "certificate of before")
	return m, func(path string) string {
		raw, _ := os.ReadFile(m.Path(path))
		return string(raw)
	}
}

func secretsIn(m *machine) int {
	left, _ := filepath.Glob(m.Path("/run/nodejoin/*"))
	return len(left)
}

var simServer = &cluster.Credentials{Server: "https://cp:6443", CA: []byte("the proven CA")}

// A kubelet bootstraps beside none of its old credentials; they come back if it gets no others, and go if it does.
func TestAKubeletsCredentialsWhileItBootstraps(t *testing.T) {
	const conf, current, bootstrap = "/k/kubelet.conf", "/k/pki/kubelet-client-current.pem", "/k/bootstrap.conf"
	for name, c := range map[string]struct {
		back, forget     bool
		conf, after, old string
	}{
		"it gets none":        {back: true, conf: "conf of before"},
		"it gets others":      {forget: true, conf: "", after: ""},
		"that is still to be": {conf: "", after: "conf of before"},
	} {
		m, read := kubeletOf(t, "exit 0")
		if err := m.BootstrapAgain(t.Context(), simServer, simToken); err != nil {
			t.Fatal(err)
		}
		if read(conf) != "" || read(current) != "" {
			t.Errorf("%s: a kubelet that bootstraps has its old credentials %q, %q", name, read(conf), read(current))
		}
		if said := read(bootstrap); !strings.Contains(said, simToken) || !strings.Contains(said, simServer.Server) {
			t.Errorf("%s: it bootstraps with %q", name, said)
		}
		if err := m.BootstrapEnded(c.back, c.forget); err != nil {
			t.Fatal(err)
		}
		if read(conf) != c.conf || read(bootstrap) != "" || secretsIn(m) > 0 {
			t.Errorf("%s: it has %q, %q, and %d secrets are left", name, read(conf), read(bootstrap), secretsIn(m))
		}
		if err := m.MoveBack(conf, current); err != nil { // what was left aside
			t.Fatal(err)
		}
		if !c.back && read(conf) != c.after {
			t.Errorf("%s: aside was %q", name, read(conf))
		}
	}
}

// An init system that could not restart it may not tell where it has them either.
func TestAKubeletThatCannotBeRestartedHasItsCredentialsBack(t *testing.T) {
	m, read := kubeletOf(t, "exit 1")
	if err := m.BootstrapAgain(t.Context(), simServer, simToken); err == nil {
		t.Fatal("a restart that failed is none")
	}
	if read("/k/kubelet.conf") != "conf of before" || read("/k/pki/kubelet-client-current.pem") != "certificate of before" || read("/k/bootstrap.conf") != "" || secretsIn(m) > 0 {
		t.Errorf("it has %q, %q, %q, and %d secrets are left", read("/k/kubelet.conf"), read("/k/pki/kubelet-client-current.pem"), read("/k/bootstrap.conf"), secretsIn(m))
	}
}

// Another's Node of our name is none of ours to speak for.
func TestOnlyOfOurOwnNodeIsSaidThatItsKubeletHasStopped(t *testing.T) {
	for name, c := range map[string]struct {
		boot, machine string
		says          bool
	}{
		"ours":               {"boot", "machine", true},
		"of another boot":    {"boot-2", "machine", false},
		"of another machine": {"boot", "machine-2", false},
	} {
		patched := ""
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch {
				raw, _ := io.ReadAll(r.Body)
				patched = string(raw)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(corev1.Node{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
				ObjectMeta: metav1.ObjectMeta{Name: "w1", UID: "uid-1"},
				Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{BootID: c.boot, MachineID: c.machine}},
			})
		}))
		defer server.Close()
		ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		m := machineOf(t.TempDir(), host.KubeletArgs{})
		m.identity = host.Identity{BootID: "boot", MachineID: "machine"}
		err := m.SayStopped(t.Context(), &cluster.Credentials{Server: server.URL, CA: ca, NodeName: "w1"})
		if (err == nil) != c.says || strings.Contains(patched, `"uid":"uid-1"`) != c.says || !c.says && patched != "" {
			t.Errorf("a Node %s: %v, patched with %q", name, err, patched)
		}
	}
}

// bootstraps is a world that notes where a kubelet bootstraps.
type bootstraps struct {
	world
	server cluster.Credentials
}

func (b *bootstraps) BootstrapAgain(_ context.Context, server *cluster.Credentials, _ string) error {
	b.server = *server
	return nil
}

// The CA of its old credentials may be one that the cluster has given up.
func TestAKubeletBootstrapsAtItsOwnServerUnderTheProvenCA(t *testing.T) {
	w := &bootstraps{}
	r := newRun(&plan{Config: Defaults()}, w, host.Identity{}, "w1", func(line string) string { return line })
	r.eyes.proven = cluster.Credentials{Server: "https://endpoint:6443", CA: []byte("proven")}
	r.eyes.creds = &cluster.Credentials{Server: "https://its-own:6443", CA: []byte("of before")}
	if err := r.changeKubelet(t.Context(), judge.Action{Kind: judge.Bootstrap}); err != nil {
		t.Fatal(err)
	}
	if w.server.Server != "https://its-own:6443" || string(w.server.CA) != "proven" {
		t.Errorf("it bootstraps at %s under the CA %s", w.server.Server, w.server.CA)
	}
}

// leaving is a world of which it is asked whether our Node was said to have stopped.
type leaving struct {
	world
	run        []host.KubeletProcess
	unstopped  error
	said, done bool
}

func (l *leaving) StopKubelet(context.Context) error { l.done = true; return l.unstopped }

func (l *leaving) KubeletProcesses() ([]host.KubeletProcess, error) { return l.run, nil }

func (l *leaving) SayStopped(context.Context, *cluster.Credentials) error { l.said = true; return nil }

// It is said before a reset that the user has asked for, and where no kubelet runs any more.
func TestWhenOurNodeIsSaidToHaveStopped(t *testing.T) {
	creds := &cluster.Credentials{Server: "https://cp:6443", NodeName: "w1"}
	for name, c := range map[string]struct {
		ground judge.Ground
		creds  *cluster.Credentials
		w      leaving
		says   bool
	}{
		"asked for":                     {judge.Asked, creds, leaving{}, true},
		"for a ground":                  {judge.StaysAway, creds, leaving{}, false},
		"without credentials":           {judge.Asked, nil, leaving{}, false},
		"a kubelet runs astray":         {judge.Asked, creds, leaving{run: []host.KubeletProcess{{PID: 7}}}, false},
		"the kubelet cannot be stopped": {judge.Asked, creds, leaving{unstopped: errors.New("D-Bus is dead")}, false},
	} {
		r := newRun(&plan{Config: Defaults()}, &c.w, host.Identity{}, "w1", func(line string) string { return line })
		r.eyes.creds = c.creds
		r.leave(t.Context(), judge.Action{Kind: judge.Reset, Ground: c.ground})
		if c.w.said != c.says || c.w.said && !c.w.done {
			t.Errorf("%s: it is said: %t, after a stop: %t", name, c.w.said, c.w.done)
		}
		if stopped := !r.memory.StoppedAt.IsZero(); stopped != (c.w.done && c.w.unstopped == nil) {
			t.Errorf("%s: it is known to be stopped: %t", name, stopped)
		}
	}
}
