package join

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

func (s *sim) Join(ctx context.Context, server *cluster.Credentials, token, bearer string, harmlessCA bool) error {
	s.mu.Lock()
	s.do("join")
	s.mayJoin(ctx)
	if !s.noted {
		s.breaks("a join that no journal lists")
	}
	s.noted = false
	if server.Server == "" || !cluster.SameCA(server.CA, s.ca()) {
		s.breaks("a join by a server that was not proven")
	}
	s.kubeadms++
	s.shown = "" // what was before a reset, by whomever, is over
	leftovers, custom := len(s.disk.Leftovers), s.join
	if harmlessCA && slices.Contains(s.disk.Leftovers, clusterCA) {
		leftovers--
	}
	taken := s.node != nil && s.node.Name == s.name() && s.node.Ready == "True"
	s.mu.Unlock()
	defer s.change(func() { s.kubeadms-- })
	failure := func(err error) error { return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Err: err} }
	switch {
	case custom != nil:
		return custom(ctx)
	case leftovers > 0:
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "FileAvailable--etc-kubernetes-kubelet.conf"}}}
	case taken:
		return failure(errors.New("a Node already exists"))
	}
	if err := wait(ctx, 650*time.Millisecond); err != nil {
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: err}
	}
	var err error
	for s.silent() {
		if err := wait(ctx, 5*time.Second); err != nil {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: err}
		}
	}
	s.change(func() {
		switch {
		case s.verdict.Err != nil || !s.takes(token):
			err = failure(errors.New("the API server does not take the token"))
		case s.manual:
			s.writes(kubeletConf)
			s.disk.KubeletConf, s.disk.Configured, s.kubeletCA = true, true, s.ca()
			s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
			s.called = s.name()
			s.startKubelet()
		default:
			s.kubeletJoins()
		}
	})
	if err != nil {
		return err
	}
	for range 240 { // kubeadm's own patience with the kubelet's certificate
		if _, err := s.Credentials(); err == nil {
			return wait(ctx, 800*time.Millisecond)
		}
		if err := wait(ctx, time.Second); err != nil {
			return failure(err)
		}
	}
	return failure(errors.New("timed out waiting for the TLS bootstrap"))
}

func (s *sim) Warned() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	warned := s.warned
	s.warned = nil
	return warned
}

// kubeletJoins is what comes of kubeadm join, in the end.
func (s *sim) kubeletJoins() {
	s.called = s.name()
	if s.node != nil && s.node.Name != s.kubeletName() { // an original's: one sim shows one Node
		s.node = nil
	}
	s.disk.KubeletConf, s.disk.Configured, s.kubeletCA = true, true, s.ca()
	s.disk.Leftovers, s.wrote = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}, nil
	s.creds, s.torn = &cluster.Credentials{Server: "https://cp:6443", CA: s.ca(), NodeName: s.kubeletName()}, nil
	s.request, s.unit.Failing, s.homemade = nil, false, s.kubeadms > 0
	s.startKubelet()
}

// BootstrapAgain: the kubelet starts without credentials, and asks for some.
func (s *sim) BootstrapAgain(ctx context.Context, server *cluster.Credentials, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do("bootstrap again")
	s.mayBootstrap(ctx)
	if !cluster.SameCA(server.CA, s.ca()) && !s.justSwapped() { // else the kubelet, which is told the CA, gets no answer
		s.breaks("a bootstrap at a server that was not proven")
	}
	if s.hangs["restart"] {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return context.Cause(ctx)
	}
	if s.restart != nil {
		return s.restart
	}
	s.aside, s.asideTorn = s.creds, s.torn
	s.creds, s.torn, s.disk.BootstrapConf = nil, nil, true
	if s.running {
		s.end(false)
	}
	s.startKubelet()
	s.begun = s.born
	life := s.life
	s.bootstraps = life
	if !s.asksForNothing {
		s.after(300*time.Millisecond, func() { s.asksAgain(life) })
	}
	s.after(500*time.Millisecond, func() { s.bootstrapped(life, token) })
	return nil
}

// asksAgain: a kubelet whose request is denied makes another one.
func (s *sim) asksAgain(life int) {
	if s.life != life || !s.running || s.held != nil || s.request != nil && s.request.Pending {
		return
	}
	s.csrs++
	s.request = &cluster.Request{Name: fmt.Sprintf("csr-again-%d", s.csrs), Pending: true, Own: true}
}

func (s *sim) bootstrapped(life int, token string) {
	switch {
	case s.life != life || !s.running || s.creds != nil || s.request == nil:
	case s.down || s.frozen || !s.takes(token) || s.verdict.Err != nil:
		s.after(5*time.Second, func() { s.bootstrapped(life, token) })
	case !s.manual:
		s.certified()
	}
}

// certified: the kubelet that waits for its first certificate has got it.
func (s *sim) certified() {
	s.request = nil
	s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: s.ca(), NodeName: s.kubeletName(), NotAfter: time.Now().Add(time.Hour)}
	s.held = s.creds
	if s.node != nil && s.node.Name != s.kubeletName() { // one sim shows one Node
		s.node = nil
	}
	life := s.life
	s.after(100*time.Millisecond, func() { s.register(life) })
}

func (s *sim) BootstrapEnded(back, forget bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if back && s.aside != nil && s.creds == nil {
		s.creds, s.torn = s.aside, s.asideTorn
	}
	if back || forget {
		s.aside, s.asideTorn = nil, nil
	}
	s.disk.BootstrapConf = false
	return nil
}

func (s *sim) ApprovesRequests(ctx context.Context) (bool, error) {
	if err := s.reach(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false, errors.New("connection refused")
	}
	return !s.manual, nil
}

// Reset takes a second to stop the kubelet, and one more to empty the disk.
func (s *sim) Reset(ctx context.Context) error {
	var instead func() error
	s.change(func() {
		s.do("reset")
		s.mayTouch(ctx, "a reset")
		if err := s.harm(); err != nil {
			s.breaks(err.Error())
		}
		s.kubeadms++
		s.stopped = time.Time{}
		instead = s.resetFail
		if s.hangs["reset"] {
			instead = func() error { <-ctx.Done(); return context.Cause(ctx) }
		}
	})
	defer s.change(func() { s.kubeadms-- })
	if instead != nil {
		return instead()
	}
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	s.change(s.stopKubelet)
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	s.change(func() { s.wipe(); s.always = false })
	return nil
}

// wipe is what comes of kubeadm reset, in the end.
func (s *sim) wipe() {
	s.disk, s.wrote, s.kubeletCA = host.Disk{}, nil, nil
	s.creds, s.shown, s.torn, s.pods, s.homemade = nil, "", nil, 0, false
	if s.request != nil {
		s.request.Own = false // the key is gone
	}
	s.stopKubelet()
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// joinsBesideCA is kubeadm join, told to leave pki/ca.crt where it is.
func (s *sim) joinsBesideCA(ctx context.Context) error {
	if err := wait(ctx, 650*time.Millisecond); err != nil {
		return err
	}
	s.change(s.kubeletJoins)
	return wait(ctx, 800*time.Millisecond)
}

func (s *sim) Runtime(context.Context) (host.Runtime, error) {
	return host.Runtime{Driver: "systemd", Configured: "systemd"}, nil
}
func (s *sim) PortTaken(int) (bool, error) { return s.running, nil }
func (s *sim) KubeadmVersion() string      { return "kubeadm v1.37.2" }
func (s *sim) Doorstep(context.Context, string, []byte) cluster.Doorstep {
	if s.down {
		return cluster.Doorstep{Host: "cp", Port: "6443", Addresses: []string{"10.0.0.1"}, Closed: map[string]error{"10.0.0.1": errors.New("connection refused")}}
	}
	return cluster.Doorstep{Host: "cp", Port: "6443", Addresses: []string{"10.0.0.1"}, Certificate: &x509.Certificate{}}
}
