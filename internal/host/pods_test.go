package host

import (
	"testing"
)

const (
	burstable  = "11111111-2222-3333-4444-555555555555"
	guaranteed = "66666666-2222-3333-4444-555555555555"
	static     = "0123456789abcdef0123456789abcdef"
	inner      = "77777777-2222-3333-4444-555555555555"
)

func TestPodsAreFoundInTheCgroupsOfBothDrivers(t *testing.T) {
	for path, want := range map[string][]string{
		"0::/system.slice/kubelet.service\n":                            nil,
		"0::/kubepods/burstable\n":                                      nil,
		"11:memory:/kubepods/burstable/pod" + burstable + "/0123abcd\n": {burstable},
		"0::/kubepods/pod" + guaranteed + "/0123abcd\n":                 {guaranteed},
		"0::/run-1/w1/kubepods/besteffort/pod" + static + "\n":          {static},
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice/cri-x.scope\n":         {burstable},
		"0::/kubepods.slice/kubepods-pod66666666_2222_3333_4444_555555555555.slice/crio-x.scope/container\n":                                 {guaranteed},
		"0::/system.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice:cri-containerd:0123abcd\n":                        {burstable},
		"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + static + ".slice/x\n": {static},
		"2:cpu:/\n1:name=systemd:/kubepods/burstable/pod" + burstable + "/x\n":                                                               {burstable},
		"0::/kubepods/pod" + guaranteed + "/x/kubelet/kubepods/pod" + inner + "/y\n":                                                         {guaranteed, inner},
		"0::/machine.slice/podman-kube-pods\n": nil,
	} {
		h := machine(t, map[string]string{"/proc/5/cgroup": path})
		got, err := h.podsAround(5)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: got %v, %v; want %v", path, got, err, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%q: got %v, want %v", path, got, want)
			}
		}
	}
}

func TestPodsOfThisMachine(t *testing.T) {
	const prefix = "0::/kubepods/burstable/pod"
	shim := func(pid int, mnt string) fake {
		return fake{pid: pid, comm: "containerd-shim", mnt: mnt, cgroup: "0::/system.slice\n"}
	}
	for name, tc := range map[string]struct {
		processes []fake
		dirs      []string
		want      int
	}{
		"none":              {nil, nil, 0},
		"directories alone": {nil, []string{burstable, static, "lost+found"}, 2},
		"a pod's processes": {[]fake{shim(10, ""), {pid: 11, parent: 10, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"},
			{pid: 12, parent: 11, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, nil, 1},
		"the same pod in both": {[]fake{shim(10, ""), {pid: 11, parent: 10, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, []string{burstable, guaranteed}, 2},
		"its shim is dead":     {[]fake{{pid: 11, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, nil, 1},
		"conmon in the pod's own cgroup": {[]fake{{pid: 10, comm: "conmon", cgroup: prefix + burstable + "/crio"},
			{pid: 11, parent: 10, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, nil, 1},
		"a parent out of sight": {[]fake{{pid: 11, parent: 999, mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, nil, 1},
		"a zombie":              {[]fake{{pid: 11, state: "Z", mnt: "mnt:[2]", cgroup: prefix + burstable + "/a"}}, nil, 0},
		"a node in a container, with the shim of its pod": {[]fake{shim(10, ""),
			{pid: 20, parent: 10, comm: "systemd", mnt: "mnt:[5]", cgroup: "0::/docker/abc/init.scope"}, {pid: 21, parent: 20, mnt: "mnt:[5]", cgroup: "0::/docker/abc/containerd"},
			{pid: 22, parent: 21, mnt: "mnt:[6]", cgroup: "0::/docker/abc/kubelet/kubepods/pod" + inner + "/x"}}, nil, 0},
		"the same, the shim is dead": {[]fake{shim(10, ""), {pid: 20, parent: 10, comm: "systemd", mnt: "mnt:[5]", cgroup: "0::/docker/abc/init.scope"},
			{pid: 22, parent: 20, mnt: "mnt:[6]", cgroup: "0::/docker/abc/kubelet/kubepods/pod" + inner + "/x"}}, nil, 0},
		"a node in a pod of ours": {[]fake{shim(10, ""), {pid: 20, parent: 10, mnt: "mnt:[5]", cgroup: prefix + burstable + "/a/init.scope"},
			{pid: 22, parent: 20, mnt: "mnt:[6]", cgroup: prefix + burstable + "/a/kubelet/kubepods/pod" + inner + "/x"}}, nil, 1},
	} {
		h := running(t, tc.processes...)
		for _, dir := range tc.dirs {
			write(t, h.Path("/var/lib/kubelet/pods/"+dir+"/etc-hosts"), "", 0o644)
		}
		if got, err := h.Pods(""); err != nil || got != tc.want {
			t.Errorf("%s: got %d, %v; want %d", name, got, err, tc.want)
		}
	}
}

func TestThePodInWhichThisMachineLivesIsNoneOfItsOwn(t *testing.T) {
	const around = "0::/kubepods/burstable/pod" + burstable + "/a"
	h := running(t, fake{pid: 10, cgroup: around + "/containerd"}, fake{pid: 11, parent: 10, mnt: "mnt:[2]", cgroup: around + "/kubelet/kubepods/pod" + inner + "/x"})
	write(t, h.Path("/proc/1/cgroup"), around+"/init.scope\n", 0o644)
	if got, err := h.Pods(""); err != nil || got != 1 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestPodsLieBelowTheKubeletsRoot(t *testing.T) {
	h := running(t)
	write(t, h.Path("/data/kubelet/pods/"+static+"/x"), "", 0o644)
	write(t, h.Path("/data/kubelet/pods/file"), "", 0o644)
	for dir, want := range map[string]int{"": 0, "/data/kubelet": 1, "/data/kubelet/": 1} {
		if got, err := h.Pods(dir); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", dir, got, err, want)
		}
	}
	write(t, h.Path("/var/lib/kubelet/pods"), "a file where a directory belongs", 0o644)
	if got, err := h.Pods(""); err == nil {
		t.Errorf("unreadable: got %d and no error", got)
	}
}

func TestPodsAreNotKnownWithoutTheirProcesses(t *testing.T) {
	if got, err := machine(t, nil).Pods(""); err == nil {
		t.Errorf("no /proc: got %d and no error", got)
	}
	h := running(t, fake{pid: 10, mnt: "-"}, fake{pid: 11, parent: 10, cgroup: "0::/kubepods/pod" + burstable + "/a"})
	if got, err := h.Pods(""); err == nil {
		t.Errorf("a shim of which nothing is known: got %d and no error", got)
	}
}
