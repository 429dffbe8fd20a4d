package join

import (
	"encoding/base64"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// lostWithoutNode are members whose Node was deleted, and whose credentials are of no use any more.
var lostWithoutNode = map[string]func(*sim){
	"its certificate has expired":          func(s *sim) { s.expire() },
	"kubelet.conf is torn":                 func(s *sim) { s.torn = errTorn; s.stopKubelet() },
	"its pki is gone, and it crashes":      func(s *sim) { s.creds = nil; s.end(false); s.startKubelet() },
	"kubelet.conf is torn, and it crashes": func(s *sim) { s.torn = errTorn; s.end(false); s.startKubelet() },
}

// Whose Node is gone, too, gets a new one in the cluster that it was in: no reset, and what lives here lives on.
func TestKubeletWhoseNodeIsGoneBootstrapsAgainInPlace(t *testing.T) {
	for name, begin := range lostWithoutNode {
		for _, reset := range []ResetMode{ResetAuto, ResetNever} {
			t.Run(name+", --reset="+string(reset), func(t *testing.T) {
				live(t, func(c *Config) { c.Reset = reset }, func(s *sim, start func() (Report, error)) {
					s.joined()
					s.setReady(true)
					s.disk.StaticPods = []string{"/etc/kubernetes/manifests/proxy.yaml"}
					begin(s)
					s.deleteNode()
					r, err := start()
					wanted{reason: Recovered, again: 1}.check(s.t, r, err)
					took(s.t, r, 0, 90*time.Second)
					if s.pods != 2 || s.node.UID != "uid-2" || s.aside != nil || s.disk.BootstrapConf {
						s.t.Errorf("%d pods, Node %s, aside %v, bootstrap-kubelet.conf %t", s.pods, s.node.UID, s.aside, s.disk.BootstrapConf)
					}
				})
			})
		}
	}
}

// Where no certificate comes of it, all is as it was, and a reset needs its own evidence; a silence is none.
func TestKubeletWhoseNodeIsGoneIsResetIfNoCertificateComes(t *testing.T) {
	for name, begin := range lostWithoutNode {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				begin(s)
				s.deleteNode()
				s.asksForNothing = true
				r, err := start()
				wanted{reason: Recovered, joins: 1, resets: 1, restarts: 1, again: 1}.check(s.t, r, err)
				if s.csrs > 0 || s.aside != nil {
					s.t.Errorf("it has asked %d times, aside %v", s.csrs, s.aside)
				}
			})
		})
		t.Run(name+", and the API server falls silent", func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				begin(s)
				s.deleteNode()
				var look func()
				look = func() {
					life := s.life
					if s.bootstraps != life {
						s.after(50*time.Millisecond, look)
						return
					}
					s.down = true
					s.after(time.Second, func() { s.request = nil }) // it has not reached anybody
					s.after(5*time.Minute, func() { s.down = false })
					s.after(5*time.Minute+3*time.Second, func() { s.asksAgain(life); s.bootstrapped(life, simToken) })
				}
				s.after(50*time.Millisecond, look)
				r, err := start()
				wanted{reason: Recovered, again: 1}.check(s.t, r, err)
				took(s.t, r, 5*time.Minute, 8*time.Minute)
			})
		})
	}
}

// Who denied its request would deny that of a kubeadm join, and a reset would only end its pods.
func TestKubeletWhoseNodeIsGoneIsNotResetForADenial(t *testing.T) {
	for name, begin := range lostWithoutNode {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
				s.joined()
				begin(s)
				s.deleteNode()
				s.manual = true
				s.after(3*time.Minute, s.deny)
				r, err := start()
				wanted{reason: JoinFailed, again: 1, restarts: 1}.check(s.t, r, err)
				says(s.t, r, "was denied")
				if s.pods != 2 || s.csrs != 1 {
					s.t.Errorf("%d pods, it has asked %d times", s.pods, s.csrs)
				}
			})
		})
	}
}

// Where a bootstrap cannot help, or would be in another's place, all is as without one.
func TestKubeletWhoseNodeIsGoneDoesNotBootstrapJustAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		begin  func(*sim)
		wanted wanted
	}{
		"it has no configuration":                     {nil, func(s *sim) { s.disk.Configured = false }, wanted{reason: Joined, joins: 1, resets: 1}},
		"it was in another cluster":                   {nil, func(s *sim) { s.kubeletCA, s.creds.CA = simCA2, simCA2 }, wanted{reason: Joined, joins: 1, resets: 1}},
		"what is left of kubelet.conf has another CA": {nil, func(s *sim) { s.creds.CA = simCA2 }, wanted{reason: Joined, joins: 1, resets: 1}},
		"it is to have another name":                  {func(c *Config) { c.NodeName = "w2" }, func(*sim) {}, wanted{reason: Joined, joins: 1, resets: 1}},
		"another machine has its name":                {func(c *Config) { c.Timeout = 20 * time.Minute }, func(s *sim) { s.twinComes() }, wanted{reason: NameTaken}},
		"its files are an unfinished join's": {nil, func(s *sim) {
			s.wipe()
			s.unfinished(kubeletConf)
			s.torn, s.creds = errTorn, &cluster.Credentials{CA: simCA}
		}, wanted{reason: Joined, joins: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, c.change, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.torn = errTorn
				s.stopKubelet()
				s.deleteNode()
				c.begin(s)
				r, err := start()
				c.wanted.check(s.t, r, err)
			})
		})
	}
	t.Run("a command that fails is no step to a reset", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.torn = errTorn
			s.stopKubelet()
			s.deleteNode()
			s.restart = errors.New("job failed")
			r, err := start()
			wanted{reason: JoinFailed}.check(s.t, r, err)
			if s.pods != 2 {
				s.t.Errorf("%d pods; %q", s.pods, s.log)
			}
		})
	})
}

// A Node that another machine makes between the last look and the certificate is not ours to take.
func TestLostCredentialsAreLookedAtRightBeforeABootstrap(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.torn = errTorn
		s.stopKubelet()
		s.deleteNode()
		s.answers = 3 * judge.FreshFor
		r, err := start()
		wanted{reason: Recovered, again: 1}.check(s.t, r, err)
		if slices.Contains(s.log, "reset") {
			s.t.Errorf("%q", s.log)
		}
	})
}

// A machine's CA is that of its cluster only if nothing that is left of the kubelet's credentials speaks for another.
func TestCAOfAKubeletWithoutCredentials(t *testing.T) {
	m, _ := kubeletOf(t, "exit 0")
	put(t, m.Path("/var/lib/kubelet/config.yaml"), "authentication:\n  x509:\n    clientCAFile: /pki/ca.crt\n")
	put(t, m.Path("/pki/ca.crt"), string(simCA))
	if ca := m.KubeletCA(); string(ca) != string(simCA) {
		t.Errorf("it is %q", ca)
	}
	put(t, m.Path("/k/kubelet.conf"), "certificate-authority-data: "+base64.StdEncoding.EncodeToString(simCA2)[:300])
	if ca := m.KubeletCA(); ca != nil {
		t.Errorf("beside another in kubelet.conf it is %q", ca)
	}
}
