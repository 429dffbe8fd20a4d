package e2e

import (
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// load is a pod on a node: what a reset would kill.
type load struct {
	s    *story
	node *testbed.Node
	pids []int
}

// loaded gives a node, whose Node has this name, a pod that runs.
func (s *story) loaded(n *testbed.Node, name string) load {
	s.Helper()
	s.must(n.ImportPause(s.ctx))
	s.runPod(name)
	l := load{s, n, s.pidsOn(n, "pause")}
	if len(l.pids) != 2 {
		s.Fatalf("%d processes of the pod on %s, wanted its sandbox and its container", len(l.pids), n.Name)
	}
	return l
}

// lives sees that the pod's processes are those of before, and that nobody asked kubeadm for a reset.
func (l load) lives() {
	l.s.Helper()
	if now := l.s.pidsOn(l.node, "pause"); !slices.Equal(now, l.pids) {
		l.s.Errorf("the pod on %s has the processes %v, before it had %v", l.node.Name, now, l.pids)
	}
	if n := l.node.KubeadmCount("reset"); n != 0 {
		l.s.Errorf("%d resets of %s, where a pod runs", n, l.node.Name)
	}
}

// until waits for words on standard error, which an end without them would never bring.
func (r *running) until(words string) {
	r.s.Helper()
	for !r.Stderr.Contains(words) {
		select {
		case <-r.Done():
			if !r.Stderr.Contains(words) {
				r.end()
				r.s.Fatalf("it ended without a word of %q", words)
			}
		default:
			r.s.sleep(50 * time.Millisecond)
		}
	}
}

// waits sees that for so long it neither ends nor has kubeadm do anything.
func (r *running) waits(d time.Duration) {
	r.s.Helper()
	was := r.s.deedsOf(r.node)
	for end := time.Now().Add(d); time.Now().Before(end); r.s.sleep(200 * time.Millisecond) {
		select {
		case <-r.Done():
			e := r.end()
			r.s.Fatalf("it ended with %d %s, where it was to wait", e.code, e.report.Reason)
		default:
		}
		if is := r.s.deedsOf(r.node); !slices.Equal(is, was) {
			r.s.Fatalf("kubeadm was asked for %q where nodejoin was to wait\n%s", is[len(was):], r.Stderr)
		}
	}
}

// deedsOf is what kubeadm was told to do to a machine.
func (s *story) deedsOf(n *testbed.Node) []string {
	s.Helper()
	calls, err := n.KubeadmCalls()
	s.must(err)
	return slices.DeleteFunc(callVerbs(calls), func(verb string) bool { return verb == "version" })
}

// rewrite changes a file of a machine by its text; what is to be changed must be there.
func (s *story) rewrite(n *testbed.Node, path, old, now string) {
	s.Helper()
	raw, err := n.ReadFile(path)
	s.must(err)
	if !strings.Contains(string(raw), old) {
		s.Fatalf("%s has no %q", path, old)
	}
	s.must(n.WriteFile(path, strings.ReplaceAll(string(raw), old, now), 0o600))
}

// mainPID is the process of a machine's kubelet, 0 if there is none.
func (s *story) mainPID(n *testbed.Node) int {
	s.Helper()
	unit, err := n.UnitState("kubelet")
	s.must(err)
	return unit.MainPID
}
