package host

import "testing"

func TestCloudInitIsAtWorkUntilItsResultUnlessItWaitsForUs(t *testing.T) {
	const status, result = "/run/cloud-init/status.json", "/run/cloud-init/result.json"
	for name, c := range map[string]struct {
		files []string
		group string // that we run in
		works bool
	}{
		"none":                     {nil, "/system.slice/nodejoin.service", false},
		"at boot":                  {[]string{status}, "/system.slice/nodejoin.service", true},
		"done":                     {[]string{status, result}, "/system.slice/nodejoin.service", false},
		"in user data":             {[]string{status}, "/system.slice/cloud-final.service", false},
		"in user data, since 24.3": {[]string{status}, "/system.slice/cloud-init-main.service", false},
		"in bootcmd":               {[]string{status}, "/system.slice/cloud-init.service", false},
	} {
		h := Host{Root: t.TempDir()}
		put(t, h, "/proc/self/cgroup", "0::"+c.group+"\n")
		for _, path := range c.files {
			put(t, h, path, "{}")
		}
		if got := h.CloudInitWorks(); got != c.works {
			t.Errorf("%s: %t", name, got)
		}
	}
}
