package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// kubeadm need not discover again what was proven, and leaves behind what it would have left alone: the server of cluster-info,
// not the endpoint.
func TestKubeadmIsHandedTheServerThatItWouldHaveFound(t *testing.T) {
	s := tellLive(t, ready())
	lb, err := s.tb.NewStranger(testbed.StrangerOptions{Of: s.cp, Names: []string{apiName}})
	s.must(err)
	args := s.argsAt(apiName+":6443", "--hold", "0")
	config := fmt.Sprintf("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    apiServerEndpoint: %s:6443\n"+
		"    token: %s\n    caCertHashes: [%q]\nnodeRegistration:\n  ignorePreflightErrors: [SystemVerification]\n", apiName, s.token, s.cp.CAHash())
	left := map[string]string{}
	for _, how := range []string{"kubeadm", "flags", "config"} {
		n := s.node
		switch how {
		case "kubeadm": // with its token in its arguments, so nobody watches
			n, err = s.tb.Node(s.ctx, how, ready())
			s.must(err)
		case "config":
			n = s.newNode(how, ready())
		}
		s.resolve(n, lb.IP)
		before := len(lb.Requests())
		switch how {
		case "kubeadm":
			_, err = n.Run(s.ctx, append([]string{"kubeadm"}, args[1:len(args)-2]...)...)
			s.must(err)
		case "flags":
			s.start(n, args...).end().is(0, "Joined").counts(1, 0, 0, 0)
		case "config":
			s.source(n, "/root/join.yaml", config, 0o600)
			s.start(n, "nodejoin", "join", "--config", "/root/join.yaml", "--hold", "0").end().is(0, "Joined").counts(1, 0, 0, 0)
		}
		asked := 0
		for _, r := range lb.Requests()[before:] {
			if strings.HasPrefix(r.Header.Get("User-Agent"), "kubeadm/") {
				asked++
			}
		}
		if again := how == "kubeadm"; (asked > 0) != again {
			t.Errorf("%s: kubeadm asked the endpoint %d times", how, asked)
		}
		for _, path := range []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"} {
			raw, err := n.ReadFile(path)
			s.must(err)
			if how == "kubeadm" {
				left[path] = string(raw)
			} else if string(raw) != left[path] {
				t.Errorf("%s: %s is\n%s\nby kubeadm alone\n%s", how, path, raw, left[path])
			}
		}
	}
	if conf := left["/etc/kubernetes/kubelet.conf"]; !strings.Contains(conf, "server: https://"+s.cp.Endpoint()) {
		t.Errorf("kubelet.conf does not name cluster-info's server:\n%s", conf)
	}
}

// The name leads to another server between the proof and kubeadm: behind a load balancer, say.
func TestServerThatComesAfterTheProofSeesNoToken(t *testing.T) {
	s := tellNamed(t)
	stranger, err := s.tb.NewStranger(testbed.StrangerOptions{Names: []string{apiName}})
	s.must(err)
	stranger.Sign(s.token)
	stranger.SetServer("https://" + apiName + ":6443")
	s.resolve(s.node, stranger.IP)
	later, err := s.node.ReadFile("/etc/hosts")
	s.must(err)
	s.must(s.node.WriteFile("/root/later", string(later), 0o644))
	s.resolve(s.node, s.cp.IP)
	s.must(s.node.WriteFile("/root/late-kubeadm", "#!/bin/sh\n[ \"$1\" = join ] && cat /root/later > /etc/hosts\nexec kubeadm \"$@\"\n", 0o755))
	p := s.start(s.node, s.argsAt(apiName+":6443", "--kubeadm", "/root/late-kubeadm", "--attempt-timeout", "1m")...)
	s.must(p.Stderr.WaitFor(s.ctx, "running kubeadm join"))
	s.must(p.Stderr.WaitFor(s.ctx, "that failed"))
	if len(stranger.Requests()) > 0 {
		t.Errorf("the stranger was asked: %+v", stranger.Requests())
	}
	s.resolve(s.node, s.cp.IP)
	s.must(s.node.WriteFile("/root/later", strings.ReplaceAll(string(later), stranger.IP, s.cp.IP), 0o644))
	s.member(p.end().is(0, "Joined").counts(2, anyNumber, anyNumber, 0).says("certificate signed by unknown authority").within(3 * time.Minute))
}

// kubernetes/kubeadm 3128: kubeadm alone fails there.
func TestEndpointThatTheCertificateDoesNotNameIsJoinedAllTheSame(t *testing.T) {
	s := tellLive(t, ready())
	s.resolve(s.node, s.cp.IP)
	e := s.join(s.argsAt(apiName+":6443")...).is(0, "Joined").counts(1, 0, 0, 0).within(30 * time.Second)
	s.member(e)
	if len(e.report.ownWarnings()) != 1 || !strings.Contains(e.report.ownWarnings()[0], "goes by https://"+s.cp.Endpoint()) {
		t.Errorf("warnings: %q", e.report.Warnings)
	}
}
