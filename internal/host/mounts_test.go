package host

import (
	"slices"
	"strings"
	"testing"
)

var kubernetesPaths = []string{"/var/lib/kubelet", "/etc/kubernetes", "/var/lib/containerd"}

const rootAlone = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"

func mountinfo(points ...string) string {
	table := rootAlone
	for _, point := range points {
		table += "36 22 8:17 / " + point + " rw,relatime shared:7 - ext4 /dev/sdb1 rw\n"
	}
	return table
}

func TestMountsOfFstabThatAreMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		fstab   string
		mounted []string
		want    []string
	}{
		"an empty table":       {"", nil, nil},
		"at a path":            {"/dev/sdb1 /var/lib/kubelet ext4 defaults,nofail 0 2", nil, []string{"/var/lib/kubelet"}},
		"it is there":          {"/dev/sdb1 /var/lib/kubelet ext4 defaults,nofail 0 2", []string{"/var/lib/kubelet"}, nil},
		"above":                {"LABEL=var /var xfs", nil, []string{"/var"}},
		"above, twice":         {"LABEL=var /var xfs\nLABEL=var /var/ xfs nofail\n", nil, []string{"/var"}},
		"below":                {"srv:/pki /etc/kubernetes/pki nfs _netdev\n/dev/x /var/lib/kubelet/pods ext4", nil, []string{"/etc/kubernetes/pki", "/var/lib/kubelet/pods"}},
		"elsewhere":            {"/dev/sdb1 / ext4\n/dev/sdb2 /home ext4\n/dev/sdb3 /var/lib/kubelet2 ext4\n/dev/sdb4 /var/li ext4", nil, nil},
		"a slash at the end":   {"/dev/sdb1\t/var/lib/kubelet/\text4", nil, []string{"/var/lib/kubelet"}},
		"there, with slashes":  {"/dev/sdb1 /var//lib/kubelet/ ext4", []string{"/var/lib/kubelet"}, nil},
		"a blank in its name":  {`/dev/sdb1 /var/lib/containerd/a\040b ext4`, nil, []string{"/var/lib/containerd/a b"}},
		"there, with a blank":  {`/dev/sdb1 /var/lib/containerd/a\040b ext4`, []string{`/var/lib/containerd/a\040b`}, nil},
		"a bind mount":         {"/data/kubelet /var/lib/kubelet none bind", nil, []string{"/var/lib/kubelet"}},
		"noauto":               {"/dev/sdb1 /var/lib/kubelet ext4 noauto", nil, nil},
		"the last word counts": {"/dev/sdb1 /var/lib/kubelet ext4 noauto,auto\n/dev/sdb2 /etc/kubernetes ext4 auto,noauto", nil, []string{"/var/lib/kubelet"}},
		"an automount":         {"/dev/sdb1 /var/lib/kubelet ext4 noauto,x-systemd.automount", nil, []string{"/var/lib/kubelet"}},
		"swap":                 {"/swap none swap sw\n/swap /var/swap swap sw", nil, nil},
		"comments, torn lines": {"# /dev/sdb1 /var/lib/kubelet ext4\n   #x /var/lib/kubelet ext4\n\n/dev/sdb1 /var/lib/kubelet\n/dev/sdb1\nx var/lib/kubelet ext4\n", nil, nil},
	} {
		h := machine(t, map[string]string{"/etc/fstab": tc.fstab, "/proc/self/mountinfo": mountinfo(tc.mounted...)})
		if got, err := h.MissingMounts(kubernetesPaths...); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, tc.want)
		}
	}
}

func TestAnAutomountThatWaitsIsNotMissing(t *testing.T) {
	h := machine(t, map[string]string{"/etc/fstab": "srv:/k /var/lib/kubelet nfs x-systemd.automount",
		"/proc/self/mountinfo": rootAlone + "40 22 0:33 / /var/lib/kubelet rw shared:9 - autofs systemd-1 rw,fd=41\n"})
	if got, err := h.MissingMounts(kubernetesPaths...); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMountsBehindSymlinks(t *testing.T) {
	fstab := map[string]string{"/etc/fstab": "/dev/sdb1 /data ext4\n/dev/sdb2 /var/run/x ext4\n", "/proc/self/mountinfo": rootAlone}
	h := machine(t, fstab)
	link(t, h.Path("/var/lib/kubelet"), "/data/kubelet")
	link(t, h.Path("/var/run"), "../run")
	want := []string{"/data", "/var/run/x"}
	if got, err := h.MissingMounts("/var/lib/kubelet", "/run/x/containerd"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	write(t, h.Path("/proc/self/mountinfo"), mountinfo("/data", "/run/x"), 0o644)
	if got, err := h.MissingMounts("/var/lib/kubelet", "/run/x/containerd"); err != nil || len(got) > 0 {
		t.Errorf("all there: got %q, %v", got, err)
	}
}

func TestMountUnits(t *testing.T) {
	const unit = "[Unit]\nWhere=/wrong\n[Mount]\nWhat=/dev/sdb1\nWhere = /var/lib/kubelet \n[Install]\nWantedBy=local-fs.target\n"
	h := machine(t, map[string]string{
		"/etc/systemd/system/var-lib-kubelet.mount":           unit,
		"/etc/systemd/system/home.mount":                      "[Mount]\nWhere=/home\n",
		"/etc/systemd/system/var-lib-kubelet.mount.d/10.conf": "[Mount]\nWhere=/var/lib/containerd\n",
		"/etc/systemd/system/etc-kubernetes.mount":            "", // masked
		"/run/systemd/system/etc-kubernetes.mount":            "[Mount]\nWhere=/etc/kubernetes\n",
		"/run/systemd/system/var.mount":                       "[Mount]\nWhere=/var\n",
		"/run/systemd/system/x.mount":                         "[Mount]\n",
		"/opt/units/pki.mount":                                "[Mount]\nWhere=/etc/kubernetes/pki\n",
		"/proc/self/mountinfo":                                rootAlone,
	})
	link(t, h.Path("/etc/systemd/system/etc-kubernetes-pki.mount"), "/opt/units/pki.mount")
	link(t, h.Path("/etc/systemd/system/var-lib.mount"), "/gone")
	want := []string{"/etc/kubernetes/pki", "/var", "/var/lib/kubelet"}
	if got, err := h.MissingMounts(kubernetesPaths...); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestMountsAreNotKnownIfATableCannotBeRead(t *testing.T) {
	if got, err := machine(t, nil).MissingMounts(kubernetesPaths...); err != nil || got != nil {
		t.Errorf("no table at all: got %q, %v", got, err)
	}
	for name, files := range map[string]map[string]string{
		"fstab":     {"/etc/fstab/x": "", "/proc/self/mountinfo": rootAlone},
		"units":     {"/etc/systemd/system": "a file where a directory belongs", "/proc/self/mountinfo": rootAlone},
		"a unit":    {"/etc/systemd/system/var.mount/x": "", "/proc/self/mountinfo": rootAlone},
		"mountinfo": {"/etc/fstab": "/dev/sdb1 /var ext4"},
	} {
		if got, err := machine(t, files).MissingMounts(kubernetesPaths...); err == nil {
			t.Errorf("%s: got %q and no error", name, got)
		}
	}
}

func TestPathsAreResolvedAsFarAsThereIsSomething(t *testing.T) {
	h := machine(t, map[string]string{"/real/file": ""})
	link(t, h.Path("/abs"), "/real")
	link(t, h.Path("/deep/rel"), "../abs/./x/..")
	link(t, h.Path("/up"), "../../../real")
	link(t, h.Path("/gone"), "/nowhere/at/all")
	link(t, h.Path("/loop"), "/loop")
	for path, want := range map[string]string{"/": "/", "/real/file": "/real/file", "/abs/file": "/real/file", "/deep/rel/file/": "/real/file",
		"/up/x": "/real/x", "/gone/x": "/nowhere/at/all/x", "/not/there": "/not/there", "/loop/x": "/loop/x"} {
		if got := h.resolve(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestOctalEscapes(t *testing.T) {
	for text, want := range map[string]string{"": "", `a\040b`: "a b", `a\011\134b`: "a\t\\b", `\04`: `\04`, `\999`: `\999`, `x\040`: "x ", strings.Repeat(`\`, 3): `\\\`} {
		if got := unescape(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
