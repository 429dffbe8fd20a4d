package host

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain also plays a nodejoin that is killed while it holds the lock.
func TestMain(m *testing.M) {
	if root := os.Getenv("HOST_TEST_LOCK"); root != "" {
		_, err := Host{root}.Lock()
		fmt.Println(err)
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// machine is a host in an empty directory with these files on it.
func machine(t *testing.T, files map[string]string) Host {
	t.Helper()
	h := Host{Root: t.TempDir()}
	for path, content := range files {
		write(t, h.Path(path), content, 0o644)
	}
	return h
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

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

func TestTheNodeNameIsTheHostnameAsKubeadmDerivesIt(t *testing.T) {
	name, err := Host{}.NodeName()
	want, _ := os.Hostname()
	if err != nil || name != strings.ToLower(strings.TrimSpace(want)) || name == "" {
		t.Errorf("got %q, %v; the hostname is %q", name, err, want)
	}
}

func TestPathsStayBelowTheRoot(t *testing.T) {
	for root, want := range map[string]string{"": "/etc/x", "/": "/etc/x", "/node": "/node/etc/x"} {
		if got := (Host{root}).Path("/etc/x"); got != want {
			t.Errorf("root %q: got %q, want %q", root, got, want)
		}
	}
}

func TestIdentityIsWhatTheKubeletReads(t *testing.T) {
	const boot, id, uuid = "/proc/sys/kernel/random/boot_id", "/etc/machine-id", "/sys/class/dmi/id/product_uuid"
	for name, tc := range map[string]struct {
		files map[string]string
		want  Identity
	}{
		"nothing": {nil, Identity{}},
		"all": {map[string]string{boot: "b1\n", id: " m1 \n", uuid: "EC2F-AA\n", "/var/lib/dbus/machine-id": "dbus"},
			Identity{"b1", "m1", "ec2f-aa"}},
		"machine-id of dbus":                          {map[string]string{"/var/lib/dbus/machine-id": "dbus\n"}, Identity{"", "dbus", ""}},
		"an empty machine-id counts":                  {map[string]string{id: "", "/var/lib/dbus/machine-id": "dbus"}, Identity{}},
		"no firmware: the machine-id (s390x)":         {map[string]string{id: "M1\n"}, Identity{"", "M1", "m1"}},
		"no firmware: the device tree's word (POWER)": {map[string]string{"/proc/device-tree/vm,uuid": "AB\x00"}, Identity{"", "", "ab"}},
	} {
		if got := machine(t, tc.files).Identity(); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestInspect(t *testing.T) {
	for name, tc := range map[string]struct {
		files []string
		want  Disk
	}{
		"a clean machine": {nil, Disk{}},
		"what a failed join leaves": {[]string{"/etc/kubernetes/bootstrap-kubelet.conf", "/etc/kubernetes/pki/ca.crt"},
			Disk{Leftovers: []string{"/etc/kubernetes/bootstrap-kubelet.conf", "/etc/kubernetes/pki/ca.crt"}, BootstrapConf: true}},
		"a member": {[]string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/corp.crt"},
			Disk{Leftovers: []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}, KubeletConf: true}},
		"a control-plane host": {[]string{"/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/manifests/etcd.yaml", "/var/lib/etcd/member/wal/0"},
			Disk{ControlPlane: "/etc/kubernetes/manifests/kube-apiserver.yaml", StaticPods: []string{"/etc/kubernetes/manifests/etcd.yaml"}}},
		"etcd's data alone":    {[]string{"/var/lib/etcd/member/wal/0"}, Disk{ControlPlane: "/var/lib/etcd/member"}},
		"somebody else's etcd": {[]string{"/var/lib/etcd/default/member/wal/0"}, Disk{EtcdData: []string{"/var/lib/etcd/default"}}},
		"a worker's own static pod, and a file that the kubelet skips": {
			[]string{"/etc/kubernetes/manifests/nginx.yaml", "/etc/kubernetes/manifests/.nginx.yaml.swp"},
			Disk{StaticPods: []string{"/etc/kubernetes/manifests/nginx.yaml"}}},
	} {
		files := map[string]string{}
		for _, f := range tc.files {
			files[f] = "x"
		}
		got, err := machine(t, files).Inspect()
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tc.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
}

func TestWhatCannotBeReadIsNeverTakenForAbsent(t *testing.T) {
	for _, path := range []string{"/etc/kubernetes", "/etc/kubernetes/manifests", "/var/lib/etcd", "/etc/kubernetes/pki"} {
		h := machine(t, map[string]string{path: "a file where a directory belongs"}) // ENOTDIR, which holds for root too
		if d, err := h.Inspect(); err == nil {
			t.Errorf("%s: got %+v and no error", path, d)
		}
	}
}

func TestADanglingAPIServerManifestStillProvesAControlPlane(t *testing.T) {
	h := machine(t, map[string]string{"/etc/kubernetes/manifests/.keep": ""})
	link := "/etc/kubernetes/manifests/kube-apiserver.yaml"
	if err := os.Symlink("/gone", h.Path(link)); err != nil {
		t.Fatal(err)
	}
	if d, err := h.Inspect(); err != nil || d.ControlPlane != link {
		t.Errorf("got %+v, %v", d, err)
	}
}

func TestRemoveBootstrapConfTakesTheLinkNotItsTarget(t *testing.T) {
	h := machine(t, map[string]string{"/precious": "x", "/etc/kubernetes/keep": "x"})
	if err := h.RemoveBootstrapConf(); err != nil {
		t.Errorf("none there: %v", err)
	}
	conf := h.Path("/etc/kubernetes/bootstrap-kubelet.conf")
	if err := os.Symlink(h.Path("/precious"), conf); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveBootstrapConf(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(conf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is still there: %v", err)
	}
	if _, err := os.Stat(h.Path("/precious")); err != nil {
		t.Errorf("its target is gone: %v", err)
	}
}

func TestBootstrapKey(t *testing.T) {
	const file = "/var/lib/kubelet/pki/kubelet-client.key.tmp"
	if _, err := machine(t, nil).BootstrapKey(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none there: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, _ := x509.MarshalECPrivateKey(key)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key)
	for kind, der := range map[string][]byte{"EC PRIVATE KEY": sec1, "PRIVATE KEY": pkcs8} {
		text := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		got, err := machine(t, map[string]string{file: text}).BootstrapKey()
		if err != nil || !key.PublicKey.Equal(got) {
			t.Errorf("%s: got %v, %v", kind, got, err)
		}
		if _, err := machine(t, map[string]string{file: text[:40]}).BootstrapKey(); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("torn %s: got %v", kind, err)
		}
	}
}

func TestSystemdUnits(t *testing.T) {
	show := func(load, file, active, sub string) []string {
		return []string{"LoadState=" + load, "UnitFileState=" + file, "ActiveState=" + active, "SubState=" + sub}
	}
	for name, tc := range map[string]struct {
		out  []string
		want Unit
	}{
		"running":            {show("loaded", "enabled", "active", "running"), Unit{Active: true, State: "active/running"}},
		"missing":            {show("not-found", "", "inactive", "dead"), Unit{Missing: true, State: "inactive/dead"}},
		"masked":             {show("masked", "masked", "inactive", "dead"), Unit{Masked: true, State: "inactive/dead"}},
		"masked at runtime":  {show("masked", "masked-runtime", "inactive", "dead"), Unit{Masked: true, State: "inactive/dead"}},
		"disabled":           {show("loaded", "disabled", "active", "running"), Unit{Disabled: true, Active: true, State: "active/running"}},
		"not for next boot":  {show("loaded", "enabled-runtime", "active", "running"), Unit{Disabled: true, Active: true, State: "active/running"}},
		"crash loop":         {show("loaded", "enabled", "activating", "auto-restart"), Unit{Active: true, Failing: true, State: "activating/auto-restart"}},
		"crash loop, queued": {show("loaded", "enabled", "activating", "auto-restart-queued"), Unit{Active: true, Failing: true, State: "activating/auto-restart-queued"}},
		"starting":           {show("loaded", "enabled", "activating", "start"), Unit{Active: true, State: "activating/start"}},
		"failed":             {show("loaded", "enabled", "failed", "failed"), Unit{Failing: true, State: "failed/failed"}},
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
		"running":    {[]string{" * status: started"}, enabled, Unit{Active: true, State: "started"}},
		"disabled":   {[]string{" * status: started"}, []string{" kubelet-helper | default"}, Unit{Active: true, Disabled: true, State: "started"}},
		"stopped":    {[]string{" * status: stopped"}, enabled, Unit{State: "stopped"}},
		"crashed":    {[]string{" * status: crashed"}, enabled, Unit{Failing: true, State: "crashed"}},
		"missing":    {[]string{" * rc-service: service `kubelet' does not exist"}, nil, Unit{Missing: true, State: "unknown"}},
		"no answer?": {[]string{"what"}, enabled, Unit{State: "unknown"}},
	} {
		if got := openrcUnit(tc.status, tc.boot); got != tc.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestTheInitSystemIsChosenAsKubeadmDoes(t *testing.T) {
	h := machine(t, map[string]string{"/var/log/kubelet/kubelet.log": "one\ntwo\nthree\n"})
	t.Run("systemd", func(t *testing.T) {
		calls := programs(t, map[string]string{
			"systemctl":  `[ "$1" != show ] || printf 'LoadState=loaded\nUnitFileState=enabled\nActiveState=active\nSubState=running\n'`,
			"journalctl": `echo first; echo last`,
			"openrc":     "", "rc-service": "", "rc-update": "",
		})
		if u, err := h.Kubelet(t.Context()); err != nil || !u.Active || u.State != "active/running" {
			t.Errorf("got %+v, %v", u, err)
		}
		if err := h.RestartKubelet(t.Context()); err != nil {
			t.Error(err)
		}
		if log := h.KubeletLog(t.Context(), 1); !slices.Equal(log, []string{"last"}) {
			t.Errorf("got log %q", log)
		}
		want := []string{"systemctl show kubelet -p LoadState,UnitFileState,ActiveState,SubState",
			"systemctl daemon-reload", "systemctl restart kubelet", "journalctl -u kubelet -n 1 --no-pager -o cat"}
		if got := called(t, calls); !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
	t.Run("openrc", func(t *testing.T) {
		calls := programs(t, map[string]string{
			"openrc":     "",
			"rc-service": `[ "$2" = restart ] || { echo ' * status: crashed'; exit 32; }`,
			"rc-update":  `echo '  kubelet | default'`,
		})
		if u, err := h.Kubelet(t.Context()); err != nil || u != (Unit{Failing: true, State: "crashed"}) {
			t.Errorf("got %+v, %v", u, err)
		}
		if err := h.RestartKubelet(t.Context()); err != nil {
			t.Error(err)
		}
		if log := h.KubeletLog(t.Context(), 2); !slices.Equal(log, []string{"two", "three"}) {
			t.Errorf("got log %q", log)
		}
		want := []string{"rc-service kubelet status", "rc-update show default", "rc-service kubelet restart"}
		if got := called(t, calls); !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
	t.Run("none", func(t *testing.T) {
		programs(t, map[string]string{"openrc": ""})
		_, err := h.Kubelet(t.Context())
		if restart := h.RestartKubelet(t.Context()); !errors.Is(err, ErrNoInitSystem) || !errors.Is(restart, ErrNoInitSystem) {
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
	if SwapRefused([]string{"started"}) || !SwapRefused([]string{"a", `E1 err="failed to run Kubelet: running with swap on is not supported, please disable swap"`}) {
		t.Error("the kubelet's words about swap")
	}
}

func TestOnlyOneHoldsTheLock(t *testing.T) {
	h := machine(t, nil)
	first, err := h.Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Lock()
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second: got %v, want LockedError with %d", err, os.Getpid())
	}
	if err := errors.Join(first.Unlock(), first.Unlock()); err != nil {
		t.Error(err)
	}
	again, err := h.Lock()
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	_ = again.Unlock()
}

func TestALockLeftByAKilledHolderDoesNotBlock(t *testing.T) {
	h := machine(t, nil)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "HOST_TEST_LOCK="+h.Root)
	out, err := holder.StdoutPipe()
	if err != nil || holder.Start() != nil {
		t.Fatal(err)
	}
	said := make([]byte, 6)
	if _, err := out.Read(said); err != nil || !strings.HasPrefix(string(said), "<nil>") {
		t.Fatalf("the holder said %q, %v", said, err)
	}
	var locked *LockedError
	if _, err := h.Lock(); !errors.As(err, &locked) || locked.PID != holder.Process.Pid {
		t.Errorf("got %v, want LockedError with %d", err, holder.Process.Pid)
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	l, err := h.Lock()
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	_ = l.Unlock()
}

func TestTheLockFollowsNoLinkAndTrustsNoOpenDirectory(t *testing.T) {
	h := machine(t, map[string]string{"/precious": "x"})
	if err := os.Mkdir(h.Path("/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]func() error{
		"a link for the directory": func() error { return os.Symlink(t.TempDir(), h.Path(runtimeDir)) },
		"a directory open to all": func() error {
			return errors.Join(os.Mkdir(h.Path(runtimeDir), 0o777), os.Chmod(h.Path(runtimeDir), 0o777))
		},
		"a link for the file": func() error {
			return errors.Join(os.Mkdir(h.Path(runtimeDir), 0o755), os.Symlink(h.Path("/precious"), h.Path(runtimeDir+"/lock")))
		},
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Lock(); err == nil {
			t.Errorf("%s: got the lock", name)
		}
		if b, _ := os.ReadFile(h.Path("/precious")); string(b) != "x" {
			t.Errorf("%s: wrote through it", name)
		}
		if err := os.RemoveAll(h.Path(runtimeDir)); err != nil {
			t.Fatal(err)
		}
	}
}

// inMemoryMachine is a host whose root, like /run on most machines, is in memory.
func inMemoryMachine(t *testing.T) Host {
	t.Helper()
	root, err := os.MkdirTemp("/dev/shm", "nodejoin-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	return Host{Root: root}
}

func TestASecretLivesInMemoryAndForItsOwnerAlone(t *testing.T) {
	h := inMemoryMachine(t)
	path, remove, err := h.SecretFile([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 || filepath.Dir(path) != h.Path(runtimeDir) {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
	if b, _ := os.ReadFile(path); string(b) != "secret" {
		t.Errorf("holds %q", b)
	}
	second, removeSecond, err := h.SecretFile(nil)
	if err != nil || second == path {
		t.Errorf("second: %q, %v", second, err)
	}
	if err := errors.Join(remove(), remove(), removeSecond()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestASecretNeverReachesADisk(t *testing.T) {
	for dir, want := range map[string]bool{"/dev/shm": true, "/proc": false, "/no/such/place": false} {
		if got := inMemory(dir); got != want {
			t.Errorf("%s in memory: %v, want %v", dir, got, want)
		}
	}
	h := machine(t, nil)
	if inMemory(h.Root) {
		h = Host{Root: "/proc/self"} // the temporary directory is in memory here; nothing can be made in this one
	}
	if path, _, err := h.SecretFile([]byte("secret")); err == nil || !strings.Contains(err.Error(), "memory") {
		t.Errorf("got %q, %v", path, err)
	}
}

func TestSweepTakesOnlyItsOwn(t *testing.T) {
	h := inMemoryMachine(t)
	if err := h.Sweep(); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	left, _, err := h.SecretFile([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.Path("/dev/shm/nodejoin-secret-OTHER"), "secret", 0o600)
	write(t, h.Path("/precious"), "x", 0o600)
	write(t, h.Path("/run/nodejoin/status.json"), "x", 0o644)
	write(t, h.Path("/dev/shm/nodejoin-secret-dir/file"), "x", 0o600)
	if err := os.Symlink(h.Path("/precious"), h.Path("/run/nodejoin/nodejoin-secret-link")); err != nil {
		t.Fatal(err)
	}
	if err := h.Sweep(); err != nil {
		t.Error(err)
	}
	for path, want := range map[string]bool{left: false, h.Path("/dev/shm/nodejoin-secret-OTHER"): false, h.Path("/precious"): true,
		h.Path("/run/nodejoin/status.json"): true, h.Path("/dev/shm/nodejoin-secret-dir/file"): true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: still there: %v, want %v", path, err == nil, want)
		}
	}
}
