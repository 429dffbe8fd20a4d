package join

import (
	"errors"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

func TestPendingRequestIsWaitedFor(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true}
		s.after(5*time.Minute, func() { s.joined() })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		took(t, r, 5*time.Minute, 5*time.Minute+5*time.Second)
	})
}

// rotateCertificates: false: kubelet.conf comes with the certificate; nodejoin itself took bootstrap-kubelet.conf away.
func TestPendingRequestIsNotThrownAway(t *testing.T) {
	for name, running := range map[string]bool{"no kubelet.conf, kubelet runs": true, "kubelet.conf, own key on disk, kubelet down": false} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(c *Config) { c.Timeout, c.Hold = 2*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
				s.ready, s.running = true, running
				s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
				if !running {
					s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
				}
				s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
				r, _ := start()
				if r.Counts.Resets > 0 {
					t.Errorf("reset while our CSR is pending (%v)", s.log)
				}
			})
		})
	}
}

func TestNameIsAskedForAgainAfterTheWaitForACertificate(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.running = true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true}
		s.after(2*time.Minute, func() { s.addNode("boot-of-another") }) // alive, not Ready
		var beat func()
		beat = func() {
			if s.node.BootID == "boot-of-another" {
				s.node.Heartbeat = time.Now()
				s.after(10*time.Second, beat)
			}
		}
		s.after(121*time.Second, beat)
		s.after(5*time.Minute, func() { s.request = nil })
		r, err := start()
		t.Log(s.log)
		wanted{reason: NameTaken}.check(t, r, err)
	})
}

// Our kubelet asks for its certificate anew while we wait for the token to be taken: that request is ours, too.
func TestRequestThatComesDuringTheWaitForTheTokenIsNotThrownAway(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
		s.after(9500*time.Millisecond, func() {
			s.request = nil
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("not signed")}
		})
		s.after(20*time.Second, func() { s.request = &cluster.Request{Name: "csr-2", Pending: true, Own: true} })
		s.after(30*time.Second, func() { s.verdict = cluster.Probe{} })
		s.after(time.Minute, s.kubeletJoins)
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
	})
}

// The kubelet's request comes while the name is waited for, after it was looked for.
func TestRequestThatComesDuringTheWaitForTheNameIsNotThrownAway(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.running = true, true
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.addNode("boot-before")
		s.after(10*time.Second, func() { s.request = &cluster.Request{Name: "csr-1", Pending: true} })
		s.after(30*time.Second, func() { s.node.Ready = "Unknown" })
		s.after(2*time.Minute, func() { // approved
			s.request = nil
			s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: "w1"}
			s.startKubelet()
		})
		r, err := start()
		t.Log(s.log)
		if err != nil || r.Counts.Resets > 0 {
			t.Errorf("%d resets; %v", r.Counts.Resets, err)
		}
	})
}

// The key of such a request was in the memory of a process that has ended: its certificate would be nobody's.
func TestPendingRequestOfAKubeletInACrashLoopIsNotWaitedFor(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.request = &cluster.Request{Name: "csr-1", Pending: true}
		s.dies, s.passes = "validate service connection", true
		s.startKubelet()
		s.after(12*time.Second, func() { s.dies = "" })
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
		took(t, r, 0, 3*time.Minute)
	})
}
