package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestWordsOfAKubeletThatIsOfNoUse(t *testing.T) {
	const fatal = `E1128 11:00:00.000000    1234 run.go:72] "command failed" err="failed to parse kubelet flag: unknown flag: --no-such-flag"`
	const refused = `E1128 11:00:01.000000    1234 kubelet_node_status.go:107] "Unable to register node with API server" err="nodes \"w1\" is forbidden: no" node="w1"`
	for name, c := range map[string]struct {
		log  string
		want Words
	}{
		"nothing": {"", Words{Unread: true}},
		"forbidden": {`E1128 1 kubelet_node_status.go:117] "Unable to register node with API server, reason is forbidden" err="nodes \"w1\" is forbidden: no" node="w1"`,
			Words{Unregistered: `nodes "w1" is forbidden: no`}},
		"forbidden, and asked for": {`E1128 1 kubelet_node_status.go:127] "Unable to register node with API server, error getting existing node" err="nodes \"w1\" not found" node="w1"`,
			Words{Unregistered: `it may not be created (403: admission, a policy or RBAC), and nodes "w1" not found`}},
		"many other words":     {`I1128 1 round_trippers.go:632] "Response" verb="GET"`, Words{Unread: true}},
		"a try":                {`I1128 1 kubelet_node_status.go:75] "Attempting to register node" node="w1"`, Words{}},
		"a flag":               {fatal, Words{Fatal: "failed to parse kubelet flag: unknown flag: --no-such-flag"}},
		"several lines":        {"E1128 1 run.go:72] \"command failed\" err=<\n\tfailed to run Kubelet: running with swap on\n\tis not supported\n >\nmore", Words{Fatal: "failed to run Kubelet: running with swap on is not supported"}},
		"as JSON":              {`{"ts":1,"caller":"cli/run.go:72","msg":"command failed","err":"unknown flag: --x"}`, Words{Fatal: "unknown flag: --x"}},
		"a port":               {`E1128 1 server.go:213] "Failed to listen and serve" err="listen tcp 0.0.0.0:10250: bind: address already in use"`, Words{Fatal: "listen tcp 0.0.0.0:10250: bind: address already in use"}},
		"refused":              {refused, Words{Unregistered: `nodes "w1" is forbidden: no`}},
		"refused, then taken":  {refused + "\n" + `I1128 1 kubelet_node_status.go:78] "Successfully registered node" node="w1"`, Words{}},
		"refused before":       {refused + "\n" + `I1128 1 server.go:418] "Kubelet version" kubeletVersion="v1.37.2"`, Words{}},
		"fatal, started again": {fatal + "\n" + `I1128 1 server.go:418] "Kubelet version" kubeletVersion="v1.37.2"`, Words{Fatal: "failed to parse kubelet flag: unknown flag: --no-such-flag"}},
	} {
		if got := WordsOf(strings.Split(c.log, "\n")); got != c.want {
			t.Errorf("%s: %+v, wanted %+v", name, got, c.want)
		}
	}
	if got := WordsOf(nil); !got.Unread {
		t.Errorf("no log: %+v, wanted it unread", got)
	}
}

func TestTellingWordsComeFirstAndOnce(t *testing.T) {
	const (
		fatal   = `E1128 11:00:00.000000    1234 run.go:72] "command failed" err="unknown flag: --x"`
		noise   = ` kubelet.go:1] "mirror pod"`
		refused = `E1128 11:00:01.000000    1234 kubelet_node_status.go:107] "Unable to register node with API server" err="must be no more than 63 bytes"`
	)
	var log []string
	for i := range 50 {
		log = append(log, fmt.Sprintf("I1128 11:00:%02d.000000    1234", i)+noise)
	}
	last := log[len(log)-1]
	for name, c := range map[string]struct{ log, want []string }{
		"none":          {nil, nil},
		"repeated":      {log, log[49:]},
		"fatal":         {slices.Concat([]string{refused, fatal}, log), []string{fatal, refused, last}},
		"refused":       {slices.Concat([]string{refused}, log), []string{refused, last}},
		"several lines": {[]string{"E1 run.go:72] \"command failed\" err=<", "\ta", "\tb", " >", "c"}, []string{`E1 run.go:72] "command failed" err="a b"`, "\ta", "\tb", " >", "c"}},
	} {
		if got := Telling(c.log, 20); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, wanted %q", name, got, c.want)
		}
	}
	for i := range 50 {
		log[i] = fmt.Sprint("line ", i)
	}
	if got := Telling(append([]string{fatal}, log...), 20); len(got) != 20 || got[0] != fatal || got[19] != log[49] {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

// Each row once, in the kubelet's own words; what is in none of them may pass.
func TestWhatAKubeletThatRefusedNeeds(t *testing.T) {
	h := machine(t, map[string]string{
		"/proc/swaps":          "Filename Type\n/dev/sda2 partition\n",
		"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--no-such-flag\n",
		"/etc/systemd/system/kubelet.service.d/20-labels.conf": "[Service]\nEnvironment=X=--node-labels=kubernetes.io/role=worker\n",
		"/var/lib/kubelet/kubeadm-flags.env":                   "KUBELET_KUBEADM_ARGS=\"--other\"\n",
	})
	const failed = "failed to run Kubelet: "
	reached := map[string]bool{}
	for fatal, want := range map[string]struct {
		passes, shown bool
		remedy        string
	}{
		"": {},
		failed + "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false":                      {shown: true, remedy: "swapoff -a"},
		"failed to validate kubelet configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 is":    {remedy: "cgroup v2"},
		failed + `validate service connection: validate CRI v1 runtime API for endpoint "x": rpc error: code = Unimplemented desc = x`: {remedy: "disabled_plugins"},
		failed + "writing the checkpoint: no space left on device":                                                                     {passes: true, remedy: "make room"},
		failed + "failed to get rootfs info: unable to find data in memory cache":                                                      {passes: true, remedy: "journalctl"},
		failed + `validate service connection: validate CRI v1 runtime API for endpoint "x": rpc error: code = Unavailable desc = x`:   {passes: true, remedy: "start the container runtime"},
		`failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to load Kubelet config file /var/lib/kubelet/config.yaml, error failed to read kubelet config file "/var/lib/kubelet/config.yaml", error: open: no such file or directory`: {passes: true, remedy: "kubeadm join"},
		failed + "unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory":                                                                                                                                            {passes: true, remedy: "nodejoin join"},
		failed + "cannot create certificate signing request: the server is currently unable":                                                                                                                                                                              {passes: true, remedy: "API server"},
		failed + `Get "https://10.0.0.1:6443": dial tcp 10.0.0.1:6443: connect: connection refused`:                                                                                                                                                                       {passes: true, remedy: "API server"},
		"listen tcp 0.0.0.0:10250: bind: address already in use":                                                                                                                                                                                                          {remedy: "ss -ltnp"},
		"failed to parse kubelet flag: unknown flag: --no-such-flag":                                                                                                                                                                                                      {remedy: "(/etc/default/kubelet)"},
		"unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [kubernetes.io/role]":                                                                                                                                                                   {remedy: "(/etc/systemd/system/kubelet.service.d/20-labels.conf)"},
		`failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: strict decoding error: unknown field "x"`:                                                                                                                                         {remedy: "(/var/lib/kubelet/config.yaml)"},
		"unknown flag: --nowhere": {remedy: "(/etc/default/kubelet, a drop-in of"},
	} {
		got := h.RefusalOf(fatal)
		if got.Passes != want.passes || got.Shown != want.shown || !strings.Contains(got.Remedy, want.remedy) || want.remedy == "" && got.Remedy != "" {
			t.Errorf("%q: %+v, wanted %+v", fatal, got, want)
		}
		reached[got.Remedy] = true
	}
	for _, r := range refusals {
		if !reached[r.remedy] {
			t.Errorf("nothing in this test reaches %+v", r.words)
		}
	}
}
