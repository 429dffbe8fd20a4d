package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// rung is one line of `nodejoin check --all`.
type rung struct{ Name, State, Message, Hint string }

// climbs runs the check, and returns the rungs by name; it must have ended so, and touched nothing.
func (s *story) climbs(code int, args ...string) map[string]rung {
	s.Helper()
	before := s.files()
	e := s.start(s.node, slices.Concat([]string{"nodejoin", "check", "--all", "-o", "json"}, args)...).end()
	if e.code != code {
		s.Fatalf("exit status %d, wanted %d", e.code, code)
	}
	if after := s.files(); after != before {
		s.Errorf("it changed\n%s\ninto\n%s", before, after)
	}
	if strings.Contains(e.stdout+e.stderr, s.token[7:]) {
		s.Error("it shows the token's secret")
	}
	var rep struct{ Check struct{ Rungs []rung } }
	s.must(json.Unmarshal([]byte(e.stdout), &rep))
	found := map[string]rung{}
	for _, r := range rep.Check.Rungs {
		found[r.Name] = r
		s.Logf("%-12s %-7s %s; %s", r.Name, r.State, r.Message, r.Hint)
	}
	return found
}

// are checks that these rungs, and no others, are in a state.
func (s *story) are(found map[string]rung, state string, names ...string) {
	s.Helper()
	var is []string
	for name, r := range found {
		if r.State == state {
			is = append(is, name)
		}
	}
	slices.Sort(is)
	slices.Sort(names)
	if !slices.Equal(is, names) {
		s.Errorf("%s are %q, wanted %q", state, is, names)
	}
}

func TestEachRungIsSeenBeforeAndAfterAJoin(t *testing.T) {
	s := tellLive(t, ready())
	where := slices.DeleteFunc(s.cp.JoinArgs(s.token)[1:], func(arg string) bool { return arg == "" })

	t.Log("a fresh machine")
	found := s.climbs(20, where...)
	s.are(found, "wrong", "certificate")
	s.are(found, "unseen")
	if n := s.node.KubeadmCount("join"); n != 0 {
		t.Errorf("%d joins", n)
	}
	if _, err := s.cp.GetNode(s.ctx, "w1"); err == nil {
		t.Error("there is a Node")
	}

	t.Log("a broken machine")
	s.must(s.node.StopUnit("containerd"))
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{Masked: true}))
	wrongToken := testbed.NewToken()
	broken := slices.Clone(where)
	broken[slices.Index(broken, s.token)] = wrongToken
	found = s.climbs(20, broken...)
	s.are(found, "wrong", "certificate", "runtime", "kubelet", "token")
	s.are(found, "unseen", "Node")
	for name, do := range map[string]string{"runtime": "start the container runtime", "kubelet": "systemctl unmask kubelet", "token": "kubeadm token"} {
		if !strings.Contains(found[name].Hint, do) {
			t.Errorf("%s: %+v, wanted %q", name, found[name], do)
		}
	}
	s.must(s.node.SetKubeletFault(testbed.KubeletFault{}))
	s.must(s.node.StartUnit("containerd"))
	s.must(s.node.WaitRuntime(s.ctx))

	t.Log("a member, without a word of the cluster")
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))
	found = s.climbs(0)
	s.are(found, "wrong")
	s.are(found, "unseen", "pin", "token")

	t.Log("a member whose kubelet has got a flag that it does not know")
	s.must(s.node.SetKubeletArgs("--no-such-flag"))
	s.must(s.node.StopUnit("kubelet"))
	s.must(s.node.StartUnit("kubelet"))
	s.eventually(longest, func() bool {
		log, err := s.node.Run(s.ctx, "journalctl", "-u", "kubelet", "-n", "5", "-o", "cat")
		return err == nil && strings.Contains(log, "--no-such-flag")
	}, "the kubelet says nothing")
	found = s.climbs(20, where...)
	s.are(found, "wrong", "kubelet", "Node")
	if r := found["kubelet"]; !strings.Contains(r.Message, "unknown flag: --no-such-flag") || !strings.Contains(r.Hint, "/etc/default/kubelet") {
		t.Errorf("%+v", r)
	}
}
