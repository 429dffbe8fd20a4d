package e2e

import (
	"os"
	"path"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// named are the options of a machine whose kubelet has a name of its own, as an image or a configuration tool may give it.
func named(name string) testbed.NodeOptions {
	opts := ready()
	opts.KubeletArgs = []string{"--hostname-override=" + name}
	return opts
}

// Of this machine's hostname there is no Node, its files do not say another name any more, and yet its kubelet is a member's.
func TestTornKubeletConfUnderAKubeletOfAnotherNameIsRefused(t *testing.T) {
	s := tellLive(t, named("w1x"))
	s.fault(45)
	s.join(s.args()...).is(0, "Joined")
	_, err := s.cp.WaitNode(s.ctx, "w1x", testbed.Ready)
	s.must(err)
	pod, kubelet, before := s.loaded(s.node, "w1x"), s.mainPID(s.node), s.nodeNamed("w1x")
	s.must(s.node.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600))
	e := s.join(s.args()...)
	pod.lives()
	e.is(10, "Refused").counts(0, 0, 0, 0).says("--hostname-override", "w1x", "/etc/kubernetes/kubelet.conf").within(time.Minute)
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}
	s.undisturbed(before)
}

// The evidence for a reset is found, the token's source takes its time, and meanwhile the kubelet registers after all.
func TestNodeThatComesBackWhileTheTokenIsFetchedIsNotReset(t *testing.T) {
	s := tellIn(t, testbed.ControlPlaneOptions{ControllerArgs: testbed.WithoutPodGC()}, named("w1x")).live()
	s.fault(49)
	s.join(s.args()...).is(0, "Joined")
	pod := s.loaded(s.node, "w1x")
	s.source(s.node, "/root/secret", s.token+"\n", 0o600)
	// One that was suspended would be no evidence, nor one that has not said a word.
	s.must(s.node.WriteFile("/srv/slow", "", 0o600))
	s.must(s.node.SetProgram("kubelet", "#!/bin/sh\necho waiting for a disk\nwhile [ -e /srv/slow ]; do sleep 0.1; done\nexec "+
		path.Join(path.Dir(testbed.RealKubeadm), "kubelet")+` "$@"`+"\n"))
	s.must(s.cp.DeleteNode(s.ctx, "w1x"))
	p := s.start(s.node, s.argsWithout("--token-command", "touch /srv/asked; sleep 20; cat /root/secret")...)
	s.eventually(100*time.Second, func() bool {
		select {
		case <-p.Done():
			return true
		default:
			return s.node.Exists("/srv/asked")
		}
	}, "nobody asks for the token")
	s.must(os.Remove(s.node.Path("/srv/slow")))
	e := p.end()
	pod.lives()
	s.member(e.is(0, "Recovered").counts(0, 0, some, anyNumber).says(`no Node "w1x"`))
}
