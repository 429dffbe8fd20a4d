package host

import (
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
