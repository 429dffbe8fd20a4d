package testbed

import (
	"errors"
	"fmt"
	"os"
)

// openrcScripts are services of OpenRC. The kubelet's is like that of Alpine Linux, the distribution with OpenRC: supervised,
// its output in a file of its own. (The start-stop-daemon of Debian is dpkg's, which takes no such file.)
var openrcScripts = map[string]string{
	"kubelet": `#!/sbin/openrc-run
name="Kubelet"
description="Kubelet, a Kubernetes node agent"
if [ -e /var/lib/kubelet/kubeadm-flags.env ]; then . /var/lib/kubelet/kubeadm-flags.env; fi
if [ -e /etc/default/kubelet ]; then . /etc/default/kubelet; fi
command="/usr/bin/kubelet"
command_args="--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
  --config=/var/lib/kubelet/config.yaml ${KUBELET_KUBEADM_ARGS} ${KUBELET_EXTRA_ARGS}"
supervisor=supervise-daemon
output_log="/var/log/kubelet/kubelet.log"
error_log="/var/log/kubelet/kubelet.log"
respawn_delay=5
respawn_max=0
depend() {
	after net
	want containerd
}
start_pre() {
	checkpath -d -m 0755 /var/log/kubelet
}
`,
	"containerd": `#!/sbin/openrc-run
command="/usr/bin/containerd"
supervisor=supervise-daemon
output_log="/var/log/containerd.log"
error_log="/var/log/containerd.log"
start_pre() {
	modprobe overlay || true
}
`,
}

// prepareOpenRC makes OpenRC the init system of a machine that is off.
func (b *Booted) prepareOpenRC() error {
	var errs []error
	addr, hub := addressOf(b.number), addressOf(1)
	scripts := map[string]string{"testbed-network": fmt.Sprintf(`#!/sbin/openrc-run
depend() {
	provide net
}
start() {
	hostname -F /etc/hostname
	sysctl -q -w net.ipv4.ip_forward=1
	ip link set lo up && ip link set eth0 up && ip address add %s/16 dev eth0 && ip route add default via %s
}
`, addr.v4, hub.v4)}
	for name, text := range openrcScripts {
		scripts[name] = text
	}
	for name, text := range scripts {
		errs = append(errs, b.WriteFile("/etc/init.d/"+name, text, 0o755), os.Symlink("/etc/init.d/"+name, b.Path("/etc/runlevels/default/"+name)))
	}
	for _, path := range []string{"/usr/bin/systemctl", "/usr/bin/journalctl", "/etc/runlevels/default/cloud-config", "/etc/runlevels/default/cloud-final",
		"/etc/runlevels/default/cloud-init", "/etc/runlevels/default/cloud-init-local"} {
		errs = append(errs, os.Remove(b.Path(path)))
	}
	b.computer.cmdline = "init=/sbin/openrc-init"
	errs = append(errs, b.WriteFile("/etc/rc.conf", "rc_cgroup_mode=\"unified\"\nrc_controller_cgroups=\"NO\"\n", 0o644))
	return errors.Join(errs...)
}
