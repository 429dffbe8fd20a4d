package host

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain also plays a nodejoin that is killed while it holds the lock.
func TestMain(m *testing.M) {
	if root := os.Getenv("HOST_TEST_LOCK"); root != "" {
		_, err := Host{Root: root}.Lock()
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

func TestTheNodeNameIsTheHostnameAsKubeadmDerivesIt(t *testing.T) {
	name, err := Host{}.NodeName()
	want, _ := os.Hostname()
	if err != nil || name != strings.ToLower(strings.TrimSpace(want)) || name == "" {
		t.Errorf("got %q, %v; the hostname is %q", name, err, want)
	}
}

func TestPathsStayBelowTheRoot(t *testing.T) {
	for root, want := range map[string]string{"": "/etc/x", "/": "/etc/x", "/node": "/node/etc/x"} {
		if got := (Host{Root: root}).Path("/etc/x"); got != want {
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
			Disk{Leftovers: []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}, KubeletConf: true,
				ForeignFiles: []string{"/etc/kubernetes/pki/corp.crt"}}},
		"a control-plane host": {[]string{"/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/manifests/etcd.yaml", "/var/lib/etcd/member/wal/0"},
			Disk{ControlPlane: "/etc/kubernetes/manifests/kube-apiserver.yaml", StaticPods: []string{"/etc/kubernetes/manifests/etcd.yaml"}}},
		"etcd's data alone":      {[]string{"/var/lib/etcd/member/wal/0"}, Disk{ControlPlane: "/var/lib/etcd/member"}},
		"the first proof counts": {[]string{"/var/lib/etcd/member/wal/0", "/etc/kubernetes/controller-manager.conf"}, Disk{ControlPlane: "/var/lib/etcd/member"}},
		"under repair, etcd elsewhere": {[]string{"/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/admin.conf"},
			Disk{ControlPlane: "/etc/kubernetes/pki/ca.key", AdminConf: true, Leftovers: []string{"/etc/kubernetes/pki/ca.crt"},
				ForeignFiles: []string{"/etc/kubernetes/pki/ca.key"}}},
		"the CA signs elsewhere": {[]string{"/etc/kubernetes/controller-manager.conf"}, Disk{ControlPlane: "/etc/kubernetes/controller-manager.conf"}},
		"keys alone": {[]string{"/etc/kubernetes/pki/etcd/ca.key"},
			Disk{ControlPlane: "/etc/kubernetes/pki/etcd/ca.key", ForeignFiles: []string{"/etc/kubernetes/pki/etcd/ca.key"}}},
		"a copy of admin.conf, an etcd client's certificates": {
			[]string{"/etc/kubernetes/admin.conf", "/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/etcd/client.key"},
			Disk{AdminConf: true, ForeignFiles: []string{"/etc/kubernetes/pki/etcd/ca.crt", "/etc/kubernetes/pki/etcd/client.key"}}},
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

func TestALinkToNowhereIsThere(t *testing.T) {
	link := func(path string) (Disk, error) {
		h := machine(t, map[string]string{"/etc/kubernetes/manifests/.keep": "", "/etc/kubernetes/pki/ca.crt": "", "/var/lib/keep": ""})
		if err := os.Symlink("/gone", h.Path(path)); err != nil {
			t.Fatal(err)
		}
		return h.Inspect()
	}
	for _, path := range []string{"/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/controller-manager.conf"} {
		if d, err := link(path); err != nil || d.ControlPlane != path {
			t.Errorf("%s: got %+v, %v", path, d, err)
		}
	}
	if d, err := link("/etc/kubernetes/kubelet.conf"); err != nil || !d.KubeletConf || d.ControlPlane != "" {
		t.Errorf("kubelet.conf: got %+v, %v", d, err)
	}
	if d, err := link("/etc/kubernetes/admin.conf"); err != nil || !d.AdminConf {
		t.Errorf("admin.conf: got %+v, %v", d, err)
	}
	if d, err := link("/etc/kubernetes/pki/corp"); err != nil || !slices.Equal(d.ForeignFiles, []string{"/etc/kubernetes/pki/corp"}) {
		t.Errorf("a link beside the CA: got %+v, %v", d, err)
	}
	if d, err := link("/var/lib/etcd"); err == nil {
		t.Errorf("etcd's data on a disk that is not there: got %+v and no error", d)
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
