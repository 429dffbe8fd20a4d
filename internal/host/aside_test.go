package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCredentialsAreMovedAsideAndBack(t *testing.T) {
	const conf, current, gone = "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/pki/kubelet-client-current.pem", "/etc/kubernetes/not-there"
	h := machine(t, map[string]string{conf: "old", "/var/lib/kubelet/pki/kubelet-client-1.pem": "certificate"})
	if err := os.Symlink("kubelet-client-1.pem", h.Path(current)); err != nil {
		t.Fatal(err)
	}
	paths := []string{conf, current, gone}
	read := func(path string) string {
		raw, _ := os.ReadFile(h.Path(path))
		return string(raw)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.MoveAside(paths...))
	if read(conf) != "" || read(current) != "" {
		t.Error("they are still in the way")
	}
	must(os.WriteFile(h.Path(conf), []byte("half-written by a kubelet that was killed"), 0o600))
	must(h.MoveAside(paths...)) // a next run, after a kill
	must(h.MoveBack(paths...))
	if read(conf) != "old" || read(current) != "certificate" {
		t.Errorf("back are %q and %q", read(conf), read(current))
	}
	must(h.MoveAside(paths...))
	must(os.WriteFile(h.Path(conf), []byte("new"), 0o600))
	must(h.RemoveAside(paths...))
	must(h.MoveBack(paths...))
	if read(conf) != "new" {
		t.Errorf("the new one is %q", read(conf))
	}
	if left, _ := filepath.Glob(h.Path("/etc/kubernetes/*" + aside)); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// The token lies in memory only, for root alone, and is gone with the kubeconfig that shows it.
func TestABootstrapsTokenReachesNoDisk(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "nodejoin-bootstrap-")
	if err != nil {
		t.Skipf("no memory to keep it in: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := Host{Root: dir}
	const conf = "/bootstrap-kubelet.conf"
	if err := os.WriteFile(h.Path(conf), []byte("of a join that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	remove, err := h.WriteBootstrapConf(conf, []byte("token"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.Readlink(h.Path(conf))
	if err != nil || filepath.Dir(secret) != h.Path(runtimeDir) {
		t.Errorf("it is a link to %q: %v", secret, err)
	}
	if info, err := os.Stat(h.Path(conf)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if raw, _ := os.ReadFile(h.Path(conf)); string(raw) != "token" {
		t.Errorf("the kubelet reads %q", raw)
	}
	if err := remove(); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(h.Path(runtimeDir))
	if _, err := os.Lstat(h.Path(conf)); !os.IsNotExist(err) || len(left) > 0 {
		t.Errorf("%v, and %d secrets are left", err, len(left))
	}
}

// Of links in the place of a bootstrap kubeconfig ours alone goes, and of a file none.
func TestOnlyTheLinkOfARunThatWasKilledIsRemoved(t *testing.T) {
	const conf = "/etc/kubernetes/bootstrap-kubelet.conf"
	for name, c := range map[string]struct {
		to    string
		stays bool
	}{
		"ours, to nowhere":   {"/run/nodejoin/" + secretPrefix + "GONE", false},
		"ours, in /dev/shm":  {"/dev/shm/" + secretPrefix + "GONE", false},
		"another, somewhere": {"/srv/bootstrap.conf", true},
		"no link":            {"", true},
	} {
		h := machine(t, map[string]string{conf: "somebody's"})
		if c.to != "" {
			if err := errors.Join(os.Remove(h.Path(conf)), os.Symlink(c.to, h.Path(conf))); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.RemoveSecretLink(conf); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(h.Path(conf)); (err == nil) != c.stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}
