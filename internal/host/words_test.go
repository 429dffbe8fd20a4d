package host

import (
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
