package e2e

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// moment is a point of a run at which something happens to nodejoin: what makes it last, and the words that show it.
type moment struct {
	name  string
	fault func(*story) error
	words string
	mend  func(*story) error
}

// moments has every phase of a run. In that of the join, kubeadm waits for a kubelet that does not come up.
func moments() []moment {
	nothing := func(*story) error { return nil }
	kubeadm := func(s *story) error { return s.node.WrapKubeadm("") }
	return []moment{
		{"discover", func(s *story) error { return s.cp.Pause(testbed.APIServer) }, "waiting", func(s *story) error { return s.cp.Resume(testbed.APIServer) }},
		{"reset", func(s *story) error {
			s.leftover()
			return s.node.WrapKubeadm(instead("reset", "exec sleep 1000"))
		}, "running kubeadm reset", kubeadm},
		{"join", func(s *story) error {
			return s.node.SetKubeletFault(testbed.KubeletFault{Command: []string{"sleep", "1000"}})
		},
			"Waiting for a healthy kubelet", func(s *story) error { return s.node.SetKubeletFault(testbed.KubeletFault{}) }},
		{"verify", func(s *story) error { return s.cp.RefuseNodes(s.ctx) }, "has no Node", func(s *story) error { return s.cp.AllowNodes(s.ctx) }},
		{"hold", nothing, "holding it", nothing},
		{"backoff", func(s *story) error { return s.node.WrapKubeadm(instead("join", "echo error: not today >&2; exit 1")) }, "trying again in", kubeadm},
	}
}

// during starts nodejoin on a fresh machine and returns when it has come to that moment. The Node stays NotReady, or the hold would be over too soon.
func (s *story) during(m moment, n *testbed.Node, more ...string) *running {
	s.Helper()
	s.node = n
	s.must(m.fault(s))
	p := s.start(n, s.args(append([]string{"--log-level", "debug", "--backoff-initial", "20s"}, more...)...)...)
	s.must(p.Stderr.WaitFor(s.ctx, m.words))
	s.sleep(500 * time.Millisecond)
	return p
}

func TestKilledAtAnyMomentTheNextRunJoinsAndCleansUp(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	s.fault(35)
	for _, m := range moments() {
		t.Run(m.name, func(t *testing.T) {
			s := s.in(t)
			p := s.during(m, s.newNode("killed-in-"+m.name, testbed.NodeOptions{}))
			defer s.node.PowerOff() // the next moment has a machine of its own
			s.must(p.Signal(syscall.SIGKILL))
			p.Wait()
			s.eventually(10*time.Second, func() bool { return len(s.alive("kubeadm", "kubeadm-script")) == 0 }, "kubeadm is left behind")
			secrets, err := filepath.Glob(s.node.Path("/run/nodejoin/nodejoin-secret-*"))
			s.must(err)
			if m.name == "join" && len(secrets) == 0 {
				t.Error("nothing was left to clean up: look at what this story kills")
			}
			s.must(m.mend(s))
			s.member(s.join(s.args("--hold", "5s")...).is(0, "Joined", "Recovered", "AlreadyJoined").counts(atMostOne, atMostOne, atMostOne, 0).
				says("has stayed for"))
			s.nothingRuns("kubeadm", "kubeadm-script", "sleep")
			if s.node.Exists("/etc/kubernetes/bootstrap-kubelet.conf") {
				t.Error("bootstrap-kubelet.conf is left")
			}
		})
	}
}

func TestSignalsStopItAtAnyMoment(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})
	s.fault(36)
	for i, m := range moments() {
		sig, code := syscall.SIGINT, 130
		if i%2 == 1 {
			sig, code = syscall.SIGTERM, 143
		}
		t.Run(m.name, func(t *testing.T) {
			s := s.in(t)
			p := s.during(m, s.newNode("stopped-in-"+m.name, testbed.NodeOptions{}))
			defer s.node.PowerOff()
			asked := time.Now()
			s.must(p.Signal(sig))
			p.end().is(code, "Interrupted").counts(anyNumber, atMostOne, 0, 0).says("stopped in phase "+m.name, "run nodejoin again")
			if d := time.Since(asked); d > 15*time.Second {
				t.Errorf("took %s to stop", d)
			}
			s.nothingRuns("kubeadm", "kubeadm-script", "nodejoin")
			s.must(m.mend(s))
		})
	}
}

// A dropped SSH connection stops no join, whatever it is at, and kubeadm is not stopped either.
func TestHangupsAtEveryMomentStopNothing(t *testing.T) {
	s := tell(t, testbed.NodeOptions{})
	s.fault(36)
	s.token = testbed.NewToken()
	s.leftover()
	s.must(s.node.WrapKubeadm("#!/bin/sh\n[ \"$1\" = version ] || sleep 3\nexec " + testbed.RealKubeadm + " \"$@\"\n"))
	p := s.start(s.node, s.args("--hold", "5s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "waiting"))
	s.must(p.SignalGroup(syscall.SIGHUP))
	s.must(s.cp.Start(s.ctx))
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	for _, words := range []string{"running kubeadm reset", "running kubeadm join", "holding it"} {
		s.must(p.Stderr.WaitFor(s.ctx, words))
		s.sleep(500 * time.Millisecond)
		s.must(p.SignalGroup(syscall.SIGHUP))
		procs, err := s.node.Running("kubeadm")
		s.must(err)
		for _, proc := range procs {
			s.must(proc.Signal(syscall.SIGHUP))
		}
	}
	s.member(p.end().is(0, "Joined").counts(1, 1, 0, 0).says("has stayed for"))
}
