package kubeadm

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhatKubeadmMindsOfAnEndpoint(t *testing.T) {
	const v4, v6 = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/default/forwarding"
	for name, tt := range map[string]struct {
		endpoint, file, content, proxy string
		want                           bool
	}{
		"a name":                     {endpoint: "cp:6443"},
		"none":                       {want: true},
		"a name, behind a proxy":     {endpoint: "cp:6443", proxy: "HTTPS_PROXY", want: true},
		"the same in small letters":  {endpoint: "cp:6443", proxy: "https_proxy", want: true},
		"forwarded":                  {endpoint: "10.0.0.1:6443", file: v4, content: "1\n"},
		"not forwarded":              {endpoint: "10.0.0.1:6443", file: v4, content: "0\n", want: true},
		"not known":                  {endpoint: "10.0.0.1:6443", want: true},
		"the other family forwarded": {endpoint: "10.0.0.1:6443", file: v6, content: "1\n", want: true},
		"version 6":                  {endpoint: "[fd00::1]:6443", file: v6, content: "1\n"},
		"version 6, not forwarded":   {endpoint: "[fd00::1]:6443", file: v4, content: "1\n", want: true},
		"version 4 in version 6":     {endpoint: "[::ffff:10.0.0.1]:6443", file: v4, content: "1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTPS_PROXY", "")
			t.Setenv("https_proxy", "")
			if tt.proxy != "" {
				t.Setenv(tt.proxy, "http://proxy:3128")
			}
			root := t.TempDir()
			if tt.file != "" {
				if err := os.MkdirAll(filepath.Join(root, filepath.Dir(tt.file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, tt.file), []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := MindsEndpoint(root, tt.endpoint); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
