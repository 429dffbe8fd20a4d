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

// Nobody would ever start: the kubelet waits for cloud-init, which waits for user data, which waits for the kubelet.
func TestAKubeletThatIsToStartAfterUsIsSeen(t *testing.T) {
	for name, c := range map[string]struct{ after, cgroup, own, want string }{
		"after cloud-init, in user data":         {"basic.target cloud-final.service", "0::/system.slice/cloud-final.service\n", "activating", "cloud-final.service"},
		"after its target, in one process of it": {"cloud-init.target", "0::/system.slice/cloud-init-main.service\n", "activating", "cloud-init.target"},
		"after cloud-init, as a service":         {"cloud-final.service", "0::/system.slice/nodejoin.service\n", "activating", ""},
		"after our service":                      {"nodejoin.service", "1:name=systemd:/system.slice/nodejoin.service\n", "activating", "nodejoin.service"},
		"after our service, which is up":         {"ssh.service", "0::/system.slice/ssh.service\n", "active", ""},
		"in a session":                           {"cloud-final.service", "0::/user.slice/user-0.slice/session-1.scope\n", "active", ""},
		"after what matters not":                 {"basic.target", "0::/system.slice/cloud-final.service\n", "activating", ""},
	} {
		programs(t, map[string]string{"systemctl": `case $2 in
kubelet) echo LoadState=loaded; echo ActiveState=inactive; echo SubState=dead; echo "After=` + c.after + `" ;;
*) echo ActiveState=` + c.own + ` ;;
esac`})
		h := machine(t, map[string]string{"/proc/self/cgroup": c.cgroup})
		if u, err := h.Kubelet(t.Context()); err != nil || u.Blocked != c.want {
			t.Errorf("%s: blocked by %q, wanted %q; %v", name, u.Blocked, c.want, err)
		}
	}
}
