package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

const (
	simToken = "abcdef.0123456789abcdef"
	simBoot  = "boot-of-this-machine"
)

// sim is a machine and a cluster under virtual time. It behaves as the real
// ones were measured: kubelet.conf 0.6 s after kubeadm's start, the Node at
// 1.1 s, kubeadm back at 1.4 s; a kubelet registers once in its life; a Node
// whose kubelet has stopped turns Unknown after the grace period.
type sim struct {
	t  *testing.T
	mu sync.Mutex

	// the machine
	disk      host.Disk
	creds     *cluster.Credentials
	unit      host.Unit
	running   bool // the kubelet's process
	life      int  // which process it is
	restarts  []time.Time
	kubeadms  int // running at this moment
	fit       error
	restart   error                             // of the next restarts
	join      func(context.Context) error       // instead of a good join
	resetFail func() error                      // instead of a good reset
	token     func() (string, error)            // instead of simToken
	log       []string                          // what was done to the machine
	judge     func(n cluster.Node) (other bool) // OtherMachine

	// the cluster
	down     bool          // nothing answers
	verdict  cluster.Probe // what a probe finds, if not Proven
	node     *cluster.Node
	uids     int
	refuses  bool // 401 to the kubelet
	policy   bool // Nodes are refused
	ready    bool // a network plugin is there
	tainted  bool // kubelets register with the cloud's taint
	request  *cluster.Request
	watchers []chan struct{}

	stranger      bool   // another cluster answers at the endpoint
	hideFromToken bool   // asked with the token, there is no Node of our name
	interrupt     func() // as a signal does

	// what the promises are checked against
	broken       func(string) // a promise was broken
	always       bool         // --reset=always has not been done
	born         map[string]time.Time
	seen         map[string]bool // ours, by UID, that nodejoin was shown
	shown        string          // the last of them
	missed       map[string]bool // shown, then shown to be gone
	goneSince    time.Time       // of our Node; zero: it is there
	refusedSince time.Time
}

var simCA = func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}()

// simulate runs a story in a bubble of virtual time.
func simulate(t *testing.T, change func(*Config), story func(s *sim, start func() (Report, error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, unit: host.Unit{Active: true}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.interrupt = cancel
		story(s, func() (Report, error) {
			c := Defaults()
			c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
			if change != nil {
				change(&c)
			}
			observe := c.Observe
			c.Observe = func(e Event) {
				if observe != nil {
					observe(e)
				}
				if testing.Verbose() && e.Severity != Detail {
					t.Logf("%s %-8s %s", e.Time.Format("04:05.000"), e.Phase, e.Message)
				}
			}
			p, err := c.plan()
			if err != nil {
				return Report{}, err
			}
			name := c.NodeName
			if name == "" {
				name = "w1"
			}
			report, err := newRun(p, s, simBoot, name, func(m string) string { return m }).run(ctx)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.kubeadms > 0 {
				t.Errorf("nodejoin ended and left %d kubeadm behind", s.kubeadms)
			}
			return report, err
		})
	})
}

func (s *sim) do(what string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(what, args...))
}

// change alters the world and lets the watches know.
func (s *sim) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.book()
	for _, w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// book notes since when what holds.
func (s *sim) book() {
	since := func(t *time.Time, holds bool) {
		switch {
		case !holds:
			*t = time.Time{}
		case t.IsZero():
			*t = time.Now()
		}
	}
	since(&s.goneSince, s.node == nil || s.node.BootID != simBoot)
	since(&s.refusedSince, s.refuses)
	if s.node != nil && s.born == nil {
		s.born = map[string]time.Time{}
	}
	if s.node != nil && s.born[s.node.UID].IsZero() {
		s.born[s.node.UID] = time.Now()
	}
}

// show keeps book of what nodejoin has been shown with the kubelet's
// credentials.
func (s *sim) show(a cluster.Sighting) cluster.Sighting {
	if s.seen == nil {
		s.seen, s.missed = map[string]bool{}, map[string]bool{}
	}
	ours := a.Answer == cluster.Present && a.Node.BootID == simBoot
	if s.shown != "" && (a.Answer == cluster.Absent || a.Answer == cluster.Present && a.Node.UID != s.shown) {
		s.missed[s.shown] = true
		s.shown = ""
	}
	if ours {
		s.seen[a.Node.UID], s.shown = true, a.Node.UID
	}
	return a
}

// mayReset is rule 2, told by one who sees everything.
func (s *sim) mayReset() error {
	const tick = time.Second
	lastRestart := time.Duration(0)
	if n := len(s.restarts); n > 0 {
		lastRestart = time.Since(s.restarts[n-1])
	}
	gone := !s.goneSince.IsZero() && time.Since(s.goneSince)+tick >= restartPatience
	lost := s.node == nil || s.node.BootID != simBoot || s.node.Ready == "Unknown"
	alive := s.node != nil && s.node.BootID == simBoot && s.node.Ready != "Unknown" && s.running
	switch {
	case s.always:
		return nil
	case alive:
		return errors.New("a reset of a living member")
	case s.request != nil && s.request.Pending && s.running && s.creds == nil:
		return errors.New("a reset while our certificate request is pending")
	case s.creds == nil:
		return nil
	case gone && lastRestart+tick >= restartPatience:
		return nil
	case !s.refusedSince.IsZero() && time.Since(s.refusedSince)+tick >= refusedPatience && lost:
		return nil
	}
	return errors.New("a reset without evidence")
}

func (s *sim) after(d time.Duration, f func()) { time.AfterFunc(d, func() { s.change(f) }) }

// joined puts the machine into the state after a good join.
func (s *sim) joined() {
	s.disk.KubeletConf = true
	s.disk.Leftovers = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}
	s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: "w1", NotAfter: time.Now().Add(time.Hour)}
	s.running = true
	s.life++
	s.addNode(simBoot)
}

func (s *sim) addNode(bootID string) {
	s.uids++
	ready := "False"
	if s.ready {
		ready = "True"
	}
	s.node = &cluster.Node{Name: "w1", UID: fmt.Sprintf("uid-%d", s.uids), BootID: bootID, Ready: ready, Uninitialized: s.tainted, Heartbeat: time.Now()}
}

// startKubelet starts a process that registers once, as soon as it is let.
func (s *sim) startKubelet() {
	s.running = true
	s.life++
	life := s.life
	var register func()
	register = func() {
		switch {
		case s.life != life || !s.running:
		case s.policy || s.down || s.refuses || s.creds == nil:
			s.after(5*time.Second, register)
		case s.node == nil:
			s.addNode(simBoot)
		default: // it takes over the Node that is there, at its first report
			s.after(2*time.Second, func() {
				if s.life == life && s.running && s.node != nil {
					s.node.BootID, s.node.Heartbeat = simBoot, time.Now()
					s.node.Ready = map[bool]string{true: "True", false: "False"}[s.ready]
				}
			})
		}
	}
	s.after(500*time.Millisecond, register)
}

func (s *sim) stopKubelet() {
	s.running = false
	s.life++
	life := s.life
	s.after(gracePeriod, func() {
		if s.life == life && s.node != nil && s.node.BootID == simBoot {
			s.node.Ready = "Unknown"
		}
	})
}

func (s *sim) deleteNode() { s.node = nil }

func (s *sim) Inspect() (host.Disk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disk, nil
}

func (s *sim) Credentials() (*cluster.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds == nil {
		return nil, fs.ErrNotExist
	}
	return s.creds, nil
}

func (s *sim) DiscoveryCA() ([]byte, error) { return nil, nil }
func (s *sim) FQDN() string                 { return "w1.example" }
func (s *sim) OtherMachine(n cluster.Node) bool {
	return s.judge != nil && s.judge(n)
}

func (s *sim) StrangerAt(context.Context, *cluster.Credentials) bool { return s.stranger }

func (s *sim) Kubelet(context.Context) (host.Unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unit
	u.Active = s.running
	return u, nil
}

func (s *sim) RestartKubelet(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restart != nil {
		return s.restart
	}
	s.do("restart kubelet")
	s.restarts = append(s.restarts, time.Now())
	s.startKubelet()
	return nil
}

func (s *sim) KubeletLog(context.Context) []string { return []string{"kubelet's last words"} }
func (s *sim) KubeadmFit(context.Context) error    { return s.fit }
func (s *sim) RemoveBootstrapConf() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.BootstrapConf = false
	return nil
}
func (s *sim) Token(ctx context.Context) (string, error) {
	if s.token != nil {
		type read struct {
			token string
			err   error
		}
		done := make(chan read, 1)
		go func() {
			token, err := s.token()
			done <- read{token, err}
		}()
		select {
		case got := <-done:
			return got.token, got.err
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return simToken, nil
}

func (s *sim) Join(ctx context.Context, token, bearer string) error {
	s.mu.Lock()
	s.do("join")
	s.kubeadms++
	if s.kubeadms > 1 {
		s.t.Error("two kubeadm at once")
	}
	leftovers, node, custom := len(s.disk.Leftovers), s.node, s.join
	s.mu.Unlock()
	defer s.change(func() { s.kubeadms-- })
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	switch {
	case custom != nil:
		return custom(ctx)
	case leftovers > 0:
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "FileAvailable--etc-kubernetes-kubelet.conf"}}}
	case node != nil && node.Ready == "True":
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Err: errors.New("a Node already exists")}
	}
	if err := wait(600 * time.Millisecond); err != nil {
		return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: err}
	}
	s.change(func() {
		s.disk.KubeletConf = true
		s.disk.Leftovers = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}
		s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: "w1"}
		s.startKubelet()
	})
	return wait(800 * time.Millisecond)
}

func (s *sim) Reset(context.Context) error {
	s.change(func() {
		s.do("reset")
		if err := s.mayReset(); s.broken != nil && err != nil {
			s.broken(err.Error())
		}
	})
	if s.resetFail != nil {
		return s.resetFail()
	}
	s.change(func() {
		s.disk = host.Disk{}
		s.creds, s.shown, s.always = nil, "", false
		s.stopKubelet()
	})
	return nil
}

func (s *sim) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Probe{Err: errors.New("connection refused")}
	case s.verdict.Err != nil:
		return s.verdict
	case token != simToken:
		return cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
	}
	node := s.see()
	if s.hideFromToken {
		node = cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	return cluster.Probe{Verdict: cluster.Proven, Server: "https://cp:6443", CA: simCA, Node: node}
}

func (s *sim) see() cluster.Sighting {
	if s.node == nil {
		return cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	return cluster.Sighting{Answer: cluster.Present, Node: *s.node}
}

func (s *sim) Request(context.Context, string) (*cluster.Request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.request, nil
}

func (s *sim) Ask(context.Context, *cluster.Credentials) cluster.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Sighting{Err: errors.New("connection refused")}
	case s.refuses:
		return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
	}
	return s.show(s.see())
}

func (s *sim) AskWithToken(context.Context, *cluster.Credentials, string) cluster.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return cluster.Sighting{Err: errors.New("connection refused")}
	}
	return s.see()
}

func (s *sim) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out, nudge := make(chan cluster.Sighting), make(chan struct{}, 1)
	s.change(func() { s.watchers = append(s.watchers, nudge) })
	go func() {
		defer close(out)
		for {
			select {
			case out <- s.Ask(ctx, c):
			case <-ctx.Done():
				return
			}
			select {
			case <-nudge:
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
