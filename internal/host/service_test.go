package host

import (
	"slices"
	"strings"
	"testing"
)

const shown = "ExecStart={ path=/usr/bin/kubelet ; argv[]=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS ; " +
	"ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"

func starts(command string) string {
	program, _, _ := strings.Cut(command, " ")
	return "ExecStart={ path=" + program + " ; argv[]=" + command + " ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"
}

// kubeadms is what systemd 252 says of kubeadm's own drop-in.
var kubeadms = []string{shown,
	`Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf" KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml`,
	"EnvironmentFiles=/var/lib/kubelet/kubeadm-flags.env (ignore_errors=yes)",
	"EnvironmentFiles=/etc/default/kubelet (ignore_errors=yes)",
}

func TestAServicesArguments(t *testing.T) {
	stock := KubeletArgs{Kubeconfig: "/etc/kubernetes/kubelet.conf", BootstrapKubeconfig: "/etc/kubernetes/bootstrap-kubelet.conf", Config: "/var/lib/kubelet/config.yaml"}
	extra := stock
	extra.Kubeconfig, extra.RootDir, extra.HostnameOverride = "/etc/other/kubelet.conf", "/r", "w1x"
	for name, tc := range map[string]struct {
		show  []string
		files map[string]string
		want  KubeletArgs
	}{
		"kubeadm's":        {kubeadms, nil, stock},
		"no such unit":     {[]string{"Environment="}, nil, KubeletArgs{}},
		"a masked unit":    {nil, nil, KubeletArgs{}},
		"extra arguments":  {kubeadms, map[string]string{"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=\"--kubeconfig=/etc/other/kubelet.conf --root-dir /r --hostname-override='w1x'\"\n"}, extra},
		"the later file":   {kubeadms, map[string]string{"/var/lib/kubelet/kubeadm-flags.env": "KUBELET_EXTRA_ARGS=--root-dir=/no\n", "/etc/default/kubelet": "KUBELET_EXTRA_ARGS=\n"}, stock},
		"files over units": {append(slices.Clone(kubeadms), "EnvironmentFiles=/etc/kubelet.d/*.env (ignore_errors=no)"), map[string]string{"/etc/kubelet.d/b.env": "KUBELET_KUBECONFIG_ARGS=--kubeconfig=/b\n", "/etc/kubelet.d/a.env": "KUBELET_KUBECONFIG_ARGS=--kubeconfig=/a\n"}, KubeletArgs{Kubeconfig: "/b", Config: stock.Config}},
		"before quotes":    {[]string{shown, "Environment=KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/b --kubeconfig=/k KUBELET_CONFIG_ARGS=--config=/c", "EnvironmentFile=/etc/default/kubelet (ignore_errors=no)"}, map[string]string{"/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--root-dir=/r"}, KubeletArgs{Kubeconfig: "/k", BootstrapKubeconfig: "/b", Config: "/c", RootDir: "/r"}},
		"escaped":          {[]string{shown, `Environment="KUBELET_EXTRA_ARGS=--kubeconfig=\"/a b\" --hostname-override=\$x\\y"`}, nil, KubeletArgs{Kubeconfig: "/a b", HostnameOverride: `$xy`}},
		"in words":         {[]string{starts("/usr/bin/kubelet --kubeconfig=${DIR}/kubelet.conf --hostname-override=a$$b --config=${NOSUCH}"), "Environment=DIR=/etc/other"}, nil, KubeletArgs{Kubeconfig: "/etc/other/kubelet.conf", HostnameOverride: "a$b"}},
		"behind another":   {[]string{starts("/usr/bin/nice -n -5 /usr/bin/kubelet --kubeconfig=/k --root-dir=/r")}, nil, KubeletArgs{Kubeconfig: "/k", RootDir: "/r"}},
		"by another name":  {[]string{"ExecStart={ path=/opt/kubelet-1.37.2 ; argv[]=agent --root-dir=/r ; ignore_errors=no ; start_time=[n/a] }"}, nil, KubeletArgs{RootDir: "/r"}},
		"no registration":  {[]string{starts("/usr/bin/kubelet --register-node=false")}, nil, KubeletArgs{NoRegistration: "--register-node=false"}},
	} {
		got, err := machine(t, tc.files).serviceArgs(tc.show)
		if err != nil || got != tc.want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
}

// Not known must not become "the default": that is where a reset would follow.
func TestAServicesArgumentsThatAreNotKnown(t *testing.T) {
	for why, show := range map[string][]string{
		"/usr/local/bin/start-kubelet.sh":    {starts("/usr/local/bin/start-kubelet.sh"), kubeadms[1]},
		"to a shell":                         {starts("/bin/sh -c exec kubelet --kubeconfig=/etc/$(hostname)/kubelet.conf")},
		"relative":                           {starts("/usr/bin/kubelet --kubeconfig=kubelet.conf")},
		"2 commands":                         {starts("/usr/bin/kubelet"), starts("/usr/bin/kubelet")},
		"is not understood":                  {"ExecStart=kubelet"},
		"what EnvironmentFile= names: read ": {shown, "EnvironmentFiles=/etc/default (ignore_errors=yes)"},
	} {
		h := machine(t, map[string]string{"/etc/default/kubelet": ""})
		if got, err := h.serviceArgs(show); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %+v, %v", why, got, err)
		}
	}
}

func TestWhoKnowsTheServicesArguments(t *testing.T) {
	h := machine(t, nil)
	calls := programs(t, map[string]string{"systemctl": "echo '" + starts("/usr/bin/kubelet --root-dir=/r") + "'"})
	if got, err := h.ServiceArgs(t.Context()); err != nil || got.RootDir != "/r" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := called(t, calls); !slices.Equal(got, []string{"systemctl show kubelet -p ExecStart,Environment,EnvironmentFiles"}) {
		t.Errorf("called %q", got)
	}
	programs(t, map[string]string{"systemctl": "echo Failed to connect to bus >&2; exit 1"})
	if got, err := h.ServiceArgs(t.Context()); err == nil {
		t.Errorf("no systemd: got %+v and no error", got)
	}
	programs(t, map[string]string{"openrc": "", "rc-service": "", "rc-update": ""})
	if got, err := h.ServiceArgs(t.Context()); err != nil || got != (KubeletArgs{}) {
		t.Errorf("OpenRC: got %+v, %v", got, err)
	}
}

// As systemd 252 read the same file.
func TestAnEnvironmentFile(t *testing.T) {
	for text, want := range map[string]string{
		"A=b":                        "b",
		"A=b\n":                      "b",
		"  A = b c  \r\n":            "b c",
		"A=\"b c\"":                  "b c",
		"A='b \\ \"c'\n":             `b \ "c`,
		"A=\"b \\\"c\\\\ \\$d \\e\"": `b "c\ $d \e`,
		"A=b \"c\" 'd'":              `b "c" 'd'`,
		"A=b\\\n c":                  "b c",
		"A=\"b\nc\"":                 "b\nc",
		"A=b\\ \\\"c\\\\":            `b "c\`,
		"#A=x\nA=b":                  "b",
		"; A=x \\\nA=y\nA=b":         "b",
		"A=x\nA=b":                   "b",
		"A=\"b\" 'c'":                "bc",
		"\n\nnothing\nA=b":           "b",
		"A=b # c":                    "b # c",
		"A=":                         "",
		"export A=x\nA=b":            "b",
	} {
		env := map[string]string{}
		parseEnvironment(env, text)
		if env["A"] != want {
			t.Errorf("%q: got %q, want %q", text, env["A"], want)
		}
	}
}

// As systemd 252 split it, where $A was a word of its own.
func TestAVariablesWords(t *testing.T) {
	for value, want := range map[string][]string{
		"":                      nil,
		" b  c\t":               {"b", "c"},
		`b "c" 'd e'`:           {"b", "c", "d e"},
		`--y="a b" c\ d`:        {"--y=a b", "c d"},
		`--x=1 --y='a b' \q"`:   {"--x=1", "--y=a b", "q"},
		`b "c\ $d \e`:           {"b", "c $d e"},
		`b \ "c`:                {"b", " c"},
		"--kubeconfig=/a''\n/b": {"--kubeconfig=/a", "/b"},
	} {
		if got := expandCommand([]string{"$A", "x${A}y", "$$A", "${NOSUCH}", "$NOSUCH"}, map[string]string{"A": value}); !slices.Equal(got, append(want, "x"+value+"y", "$A", "")) {
			t.Errorf("%q: got %q", value, got)
		}
	}
}
