package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheCAThatAKubeletTakesOrdersFrom(t *testing.T) {
	const usual, other = "/var/lib/kubelet/config.yaml", "/etc/kubelet.yaml"
	named := "kind: KubeletConfiguration\nauthentication:\n  x509:\n    clientCAFile: "
	for name, c := range map[string]struct {
		args   KubeletArgs
		config map[string]string
		ca     string
	}{
		"as kubeadm writes it":           {KubeletArgs{}, map[string]string{usual: named + "/pki/ca.crt\n", "/pki/ca.crt": "the CA"}, "the CA"},
		"by the kubelet's arguments":     {KubeletArgs{Config: other}, map[string]string{other: named + "/pki/ca.crt\n", "/pki/ca.crt": "the CA"}, "the CA"},
		"no configuration":               {KubeletArgs{}, map[string]string{"/pki/ca.crt": "the CA"}, ""},
		"none is named":                  {KubeletArgs{}, map[string]string{usual: "kind: KubeletConfiguration\n", "/pki/ca.crt": "the CA"}, ""},
		"a configuration that is torn":   {KubeletArgs{}, map[string]string{usual: named + "[\n", "/pki/ca.crt": "the CA"}, ""},
		"a file that is not there":       {KubeletArgs{}, map[string]string{usual: named + "/pki/ca.crt\n"}, ""},
		"a path from nobody knows where": {KubeletArgs{}, map[string]string{usual: named + "pki/ca.crt\n", "/pki/ca.crt": "the CA"}, ""},
	} {
		h := Host{Root: t.TempDir()}
		for path, content := range c.config {
			if err := os.MkdirAll(filepath.Dir(h.Path(path)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(h.Path(path), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if ca := string(h.KubeletCA(c.args)); ca != c.ca {
			t.Errorf("%s: the CA is %q", name, ca)
		}
	}
}
