package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRunningKubelets(t *testing.T) {
	h := running(t,
		fake{pid: 10, comm: "kubelet", exe: "/usr/bin/kubelet", line: []string{"/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf"}},
		fake{pid: 11, comm: "kubelet", exe: "/usr/bin/kubelet (deleted)", line: []string{"kubelet"}},                         // upgraded meanwhile
		fake{pid: 12, comm: "node-agent", exe: "/opt/kubelet (deleted)", line: []string{"agent"}},                            // by its file alone
		fake{pid: 13, comm: "kubelet", exe: "/bin/dash", line: []string{"/bin/sh", "/usr/local/bin/kubelet", "--config=/c"}}, // a script
		fake{pid: 14, comm: "hyperkube", exe: "/hyperkube", line: []string{"/hyperkube", "kubelet", "--root-dir=/r"}},
		fake{pid: 15, comm: "kubelet-1.37.2", exe: "/opt/kubelet-1.37.2", line: []string{"/opt/kubelet-1.37.2"}},
		fake{pid: 16, comm: "loader", exe: "/opt/loader", line: []string{"kubelet", "--v=2"}},
		// None of these:
		fake{pid: 20, comm: "kubelet", state: "Z"},
		fake{pid: 21, comm: "kubelet"}, // on its way out
		fake{pid: 22, comm: "kubelet", exe: "/usr/bin/kubelet", line: []string{"kubelet", "--version"}},
		fake{pid: 23, comm: "kubelet", exe: "/usr/bin/kubelet", line: []string{"/usr/bin/kubelet"}, mnt: "mnt:[2]"}, // kind
		fake{pid: 24, comm: "kubelet-csr-app", exe: "/kubelet-csr-approver", line: []string{"/kubelet-csr-approver"}},
		fake{pid: 25, comm: "sudo", exe: "/usr/bin/sudo", line: []string{"sudo", "kubelet"}},
		fake{pid: 26, comm: "sh", exe: "/bin/sh", line: []string{"sh", "-c", "kubelet --v=2"}},
		fake{pid: 27, comm: "tail", exe: "/usr/bin/tail", line: []string{"tail", "-f", "/var/log/kubelet"}},
		fake{pid: 28, comm: "hyperkube", exe: "/hyperkube", line: []string{"/hyperkube", "kube-proxy"}},
		fake{pid: 29, comm: "bash", mnt: "-", line: []string{"bash"}}, // nobody asks for its namespace
	)
	got, err := h.KubeletProcesses()
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, k := range got {
		pids = append(pids, k.PID)
		if !k.Started.Equal(time.UnixMilli(1025500)) || len(k.CommandLine) == 0 {
			t.Errorf("got %+v", k)
		}
	}
	slices.Sort(pids)
	if want := []int{10, 11, 12, 13, 14, 15, 16}; !slices.Equal(pids, want) {
		t.Errorf("got %v, want %v", pids, want)
	}
}

// It is one that runs, for whoever would reset, and none for whoever would call it a success.
func TestAKubeletThatIsStoppedOrFrozenRunsAndIsSuspended(t *testing.T) {
	h := running(t,
		fake{pid: 10, comm: "kubelet", line: []string{"kubelet"}, state: "T"},
		fake{pid: 11, comm: "kubelet", line: []string{"kubelet"}, state: "t"},
		fake{pid: 12, comm: "kubelet", line: []string{"kubelet"}, cgroup: "5:freezer:/\n0::/system.slice/kubelet.service\n"},
		fake{pid: 13, comm: "kubelet", line: []string{"kubelet"}, cgroup: "0::/hybrid\n"},
		fake{pid: 14, comm: "kubelet", line: []string{"kubelet"}, cgroup: "0::/thawed\n"},
		fake{pid: 15, comm: "kubelet", line: []string{"kubelet"}, state: "D"},
	)
	write(t, h.Path("/sys/fs/cgroup/system.slice/kubelet.service/cgroup.events"), "populated 1\nfrozen 1\n", 0o444)
	write(t, h.Path("/sys/fs/cgroup/unified/hybrid/cgroup.events"), "populated 1\nfrozen 1\n", 0o444)
	write(t, h.Path("/sys/fs/cgroup/thawed/cgroup.events"), "populated 1\nfrozen 0\n", 0o444)
	got, err := h.KubeletProcesses()
	if err != nil || len(got) != 6 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, k := range got {
		want := map[int]string{10: "kill -CONT 10", 11: "kill -CONT 11", 12: "systemctl thaw kubelet", 13: "systemctl thaw kubelet"}[k.PID]
		if !strings.Contains(k.Suspended, want) || (k.Suspended != "") != (want != "") {
			t.Errorf("process %d: got %q, want %q", k.PID, k.Suspended, want)
		}
	}
}

func TestAKubeletOfWhichNothingIsKnownIsAnError(t *testing.T) {
	for kind, f := range map[string]fake{
		"namespace":         {pid: 10, comm: "kubelet", line: []string{"kubelet"}, mnt: "-"},
		"working directory": {pid: 10, comm: "kubelet", line: []string{"kubelet", "--kubeconfig=kubelet.conf"}},
	} {
		if got, err := running(t, f).KubeletProcesses(); err == nil {
			t.Errorf("%s: got %+v and no error", kind, got)
		}
	}
	if got, err := machine(t, nil).KubeletProcesses(); err == nil {
		t.Errorf("no /proc: got %+v and no error", got)
	}
}

func TestAKubeletsArguments(t *testing.T) {
	for line, want := range map[string]KubeletArgs{
		"kubelet": {},
		"kubelet --kubeconfig=/k --bootstrap-kubeconfig=/b --hostname-override=W1X --config=/c --root-dir=/r --cert-dir=/p": {
			Kubeconfig: "/k", BootstrapKubeconfig: "/b", HostnameOverride: "W1X", Config: "/c", RootDir: "/r", CertDir: "/p"},
		"kubelet --container-runtime-endpoint=unix:///run/x.sock":                      {RuntimeEndpoint: "unix:///run/x.sock"},
		"kubelet --kubeconfig /k --hostname_override w2 -config /c":                    {Kubeconfig: "/k", HostnameOverride: "w2", Config: "/c"},
		"kubelet --kubeconfig=k --root-dir=../r --cert-dir ./p --config=":              {Kubeconfig: "/srv/dir/k", RootDir: "/srv/r", CertDir: "/srv/dir/p"},
		"kubelet --hostname-override=w1 --hostname-override w2 --hostname-override=w3": {HostnameOverride: "w3"},
		"kubelet --hostname-override=w1 --hostname-override=":                          {},
		"kubelet --v 2 --config=/c=d --kubeconfig":                                     {Config: "/c=d"},
		"kubelet --config=/c -- --config=/d":                                           {Config: "/c"},
		"kubelet --register-node --config=/c":                                          {Config: "/c"},
		"kubelet --register-node=true --config=/c":                                     {Config: "/c"},
		"kubelet --register_node=false --config=/c":                                    {Config: "/c", NoRegistration: "--register-node=false"},
		"kubelet --configs=/x --my-config=/x --config-dir=/x":                          {},
	} {
		h := running(t, fake{pid: 10, comm: "kubelet", line: strings.Split(line, " "), cwd: "/srv/dir"})
		got, err := h.KubeletProcesses()
		if err != nil || len(got) != 1 || got[0].Args != want {
			t.Errorf("%s: got %+v, %v; want %+v", line, got, err, want)
		}
	}
}

func TestKubeadmsOfOthers(t *testing.T) {
	kubeadm := func(f fake, args ...string) fake {
		f.comm, f.exe, f.line = "kubeadm", "/usr/bin/kubeadm", append([]string{"kubeadm"}, args...)
		return f
	}
	h := running(t,
		kubeadm(fake{pid: 10}, "join", "--token", "x"),
		kubeadm(fake{pid: 11}, "--v=5", "init"),
		kubeadm(fake{pid: 12}, "--v", "5", "reset", "-f"),
		kubeadm(fake{pid: 13}, "upgrade", "node"),
		fake{pid: 14, comm: "kubeadm", exe: "/bin/dash", line: []string{"/bin/sh", "/usr/local/bin/kubeadm", "join"}},
		kubeadm(fake{pid: 15, parent: 16}, "join"),
		fake{pid: 16, comm: "sudo", exe: "/usr/bin/sudo", line: []string{"sudo", "kubeadm", "join"}},
		fake{pid: 17, comm: "sh", exe: "/bin/sh", line: []string{"sh", "-c", "kubeadm join"}},
		kubeadm(fake{pid: 20}, "version"),
		kubeadm(fake{pid: 21}, "token", "create", "--description", "join"),
		kubeadm(fake{pid: 22}, "config", "images", "pull"),
		kubeadm(fake{pid: 23}, "help", "join"),
		kubeadm(fake{pid: 24}),
		kubeadm(fake{pid: 25, mnt: "mnt:[2]"}, "join"), // in a container
		kubeadm(fake{pid: 26, state: "Z"}, "join"),
		kubeadm(fake{pid: 27, mnt: "-"}, "version"),
		// Our own:
		kubeadm(fake{pid: 101, parent: 100}, "join"),
		fake{pid: 102, parent: 100, comm: "sudo", line: []string{"sudo", "kubeadm", "reset"}},
		kubeadm(fake{pid: 103, parent: 102}, "reset"),
		kubeadm(fake{pid: 104, parent: 1, group: 102}, "reset"), // its wrapper has ended, ours has not
	)
	got, err := h.Kubeadms()
	slices.SortFunc(got, func(a, b KubeadmProcess) int { return a.PID - b.PID })
	want := []KubeadmProcess{{10, "join"}, {11, "init"}, {12, "reset"}, {13, "upgrade"}, {14, "join"}, {15, "join"}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := running(t, kubeadm(fake{pid: 10, mnt: "-"}, "join")).Kubeadms(); err == nil {
		t.Errorf("a namespace that cannot be read: got %v and no error", got)
	}
	if got, err := machine(t, nil).Kubeadms(); err == nil {
		t.Errorf("no /proc: got %v and no error", got)
	}
}

// A wrapper by the name of kubeadm that starts nodejoin waits for it.
func TestAnAncestorIsNoOtherKubeadm(t *testing.T) {
	h := running(t,
		fake{pid: 10, comm: "kubeadm", line: []string{"/bin/sh", "/usr/local/bin/kubeadm", "join"}},
		fake{pid: 11, parent: 10, comm: "kubeadm", line: []string{"kubeadm", "join"}}, // beside us
	)
	write(t, h.Path("/proc/100/stat"), "100 (nodejoin) S 10 10 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 9 0 2550 0 0\n", 0o444)
	if got, err := h.Kubeadms(); err != nil || len(got) != 1 || got[0].PID != 11 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDescentEndsInACircle(t *testing.T) {
	all := map[int]process{2: {pid: 2, parent: 3}, 3: {pid: 3, parent: 2}, 4: {pid: 4, parent: 3}, 5: {pid: 5, parent: 9}}
	for pair, want := range map[[2]int]bool{{4, 2}: true, {4, 4}: true, {4, 1}: false, {5, 1}: false} {
		if got := descends(all, pair[0], pair[1]); got != want {
			t.Errorf("%v: got %t", pair, got)
		}
	}
}

// A member pays for one look through all of /proc.
func BenchmarkKubeletProcesses(b *testing.B) {
	for b.Loop() {
		if _, err := (Host{}).KubeletProcesses(); err != nil {
			b.Fatal(err)
		}
	}
}
