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
		h := running(t, fake{pid: 100, comm: "nodejoin", line: []string{"nodejoin", "join"}, cgroup: "0::" + c.group + "\n"})
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

// Nothing can be mended by whoever waits for us.
func TestCloudInitThatWaitsForUsIsNotWaitedFor(t *testing.T) {
	cloudInit := fake{pid: 10, comm: "cloud-init", exe: "/usr/bin/python3.11", line: []string{"/usr/bin/python3", "/usr/bin/cloud-init", "modules", "--mode=final"}}
	script := fake{pid: 11, parent: 10, comm: "runcmd", exe: "/bin/dash", line: []string{"/bin/sh", "/var/lib/cloud/instance/scripts/runcmd"}}
	systemctl := func(parent int, words ...string) fake {
		return fake{pid: 12, parent: parent, comm: "systemctl", exe: "/usr/bin/systemctl", line: append([]string{"systemctl"}, words...)}
	}
	for name, c := range map[string]struct {
		others []fake
		parent int // of nodejoin
		want   CloudInit
	}{
		"it does something else":         {others: []fake{script, {pid: 12, parent: 11, comm: "apt-get", line: []string{"apt-get", "install", "kubeadm"}}}, want: CloudInitBusy},
		"it has run us":                  {others: []fake{script}, parent: 11, want: CloudInitIdle},
		"it starts our unit":             {others: []fake{script, systemctl(11, "start", "nodejoin")}, want: CloudInitIdle},
		"it starts our unit by its name": {others: []fake{systemctl(10, "restart", "nodejoin.service")}, want: CloudInitIdle},
		"it enables and starts it":       {others: []fake{script, systemctl(11, "enable", "--now", "containerd", "nodejoin")}, want: CloudInitIdle},
		"it starts it and goes on":       {others: []fake{script, systemctl(11, "--no-block", "start", "nodejoin")}, want: CloudInitBusy},
		"it enables it":                  {others: []fake{script, systemctl(11, "enable", "nodejoin")}, want: CloudInitUnclear},
		"it starts a target":             {others: []fake{script, systemctl(11, "start", "workers.target")}, want: CloudInitUnclear},
		"it waits for the boot":          {others: []fake{script, systemctl(11, "is-system-running", "--wait")}, want: CloudInitUnclear},
		"somebody else starts our unit":  {others: []fake{systemctl(1, "start", "nodejoin")}, want: CloudInitBusy},
		"its script talks of us":         {others: []fake{{pid: 13, parent: 10, comm: "sh", line: []string{"sh", "-c", "systemctl start nodejoin"}}}, want: CloudInitBusy},
		"it is a module of Python's":     {others: []fake{{pid: 14, comm: "python3", line: []string{"python3", "/usr/bin/cloud-init", "--all-stages"}}}, parent: 14, want: CloudInitIdle},
	} {
		h := running(t, append([]fake{cloudInit, {pid: 100, parent: c.parent, comm: "nodejoin", line: []string{"nodejoin", "join"}}}, c.others...)...)
		write(t, h.Path("/run/cloud-init/status.json"), "{}", 0o444)
		if got := h.CloudInit(); got != c.want {
			t.Errorf("%s: %d, wanted %d", name, got, c.want)
		}
	}
	h := Host{Root: t.TempDir()}
	put(t, h, "/run/cloud-init/status.json", "{}")
	if got := h.CloudInit(); got != CloudInitUnclear {
		t.Errorf("where no process can be seen: %d", got)
	}
}
