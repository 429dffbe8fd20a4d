package join

import (
	"bytes"
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
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

const (
	simToken = "abcdef.0123456789abcdef"
	simBoot  = "boot-of-this-machine"
)

var simID = host.Identity{BootID: simBoot, MachineID: "machine-of-ours"}

// sim is a machine and a cluster under virtual time. It behaves as the real
// ones were measured: kubelet.conf some 0.6 s after kubeadm's start, the Node at
// 1.1 s, kubeadm back at 1.4 s; a kubelet registers once in its life; a Node
// whose kubelet has stopped turns Unknown after the grace period.
type sim struct {
	t  *testing.T
	mu sync.Mutex

	simEC2

	// the machine
	disk      host.Disk
	creds     *cluster.Credentials
	unit      host.Unit
	running   bool // the kubelet's process
	life      int  // which process it is
	swap      bool // it has refused swap, which is on
	mended    bool // its next start is a good one
	restarts  []time.Time
	kubeadms  int // running at this moment
	looks     int // for credentials
	fit       error
	fitTakes  time.Duration                     // for kubeadm to say its version
	restart   error                             // of the next restarts
	hangs     map[string]bool                   // "reset", "restart": until it is ended
	join      func(context.Context) error       // instead of a good join
	resetFail func() error                      // instead of a good reset
	token     func() (string, error)            // instead of simToken
	source    func() string                     // what a source holds that follows the cluster's token
	log       []string                          // what was done to the machine
	judge     func(n cluster.Node) (other bool) // its Node's machineID is another one's

	override  string    // --hostname-override of the kubelet that runs
	born      time.Time // when its process was started
	stopped   time.Time // by nodejoin; zero: it was not, or was started since
	words     host.Words
	torn      error // why the credentials do not load, though they are there
	caFile    []byte
	mounts    []string // that are not there yet
	kubeadm   string   // somebody else's, at work
	pods      int
	leaseless bool // the Lease of the Node cannot be had

	// the cluster
	down     bool          // nothing answers
	frozen   bool          // connections stay open, and nothing answers
	secret   string        // of the token that the cluster takes, if not simToken
	manual   bool          // nobody approves certificate requests
	verdict  cluster.Probe // what a probe finds, if not Proven
	node     *cluster.Node
	uids     int
	refuses  bool // 401 to the kubelet
	policy   bool // Nodes are refused
	mute     bool // kubelets do not register, and do not say why
	ready    bool // a network plugin is there
	tainted  bool // kubelets register with the cloud's taint
	request  *cluster.Request
	watchers []chan struct{}

	stranger      bool   // another cluster answers at the endpoint
	hideFromToken bool   // asked with the token, there is no Node of our name
	interrupt     func() // as a signal does
	interrupted   time.Time

	// what the promises are checked against
	broken       func(string)    // a promise was broken
	overridden   bool            // --reset=always
	always       bool            // --reset=always has not been done
	seen         map[string]bool // ours, by UID, that nodejoin was shown
	shown        string          // the last of them
	missed       map[string]bool // shown, then shown to be gone
	gone         blinking        // there is no Node, and an API server to say so
	refusedSince time.Time       // since when it says 401 to the kubelet,
	lost         blinking        // and, when asked with the token, that our Node is gone or dead
	level        map[Level]time.Time
	levelUID     string
	refusable    bool // there was something to refuse
	rejects      bool // a token was not taken
	twin         blinking
}

// blinking is something that nodejoin looks at only now and then: what it is
// for less than forgiven between two looks, it does not notice.
type blinking struct{ since, until time.Time }

func (b *blinking) note(holds bool, forgiven time.Duration) {
	now := time.Now()
	switch {
	case !holds && b.until.IsZero():
		b.until = now
	case holds && (b.since.IsZero() || !b.until.IsZero() && now.Sub(b.until) > forgiven):
		*b = blinking{since: now}
	case holds:
		b.until = time.Time{}
	}
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
		s.broken = func(what string) { t.Error(what) }
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s.interrupt = cancel
		story(s, func() (Report, error) {
			c := Defaults()
			c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
			if change != nil {
				change(&c)
			}
			s.overridden = c.Reset == ResetAlways
			s.always = s.overridden
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
			if name == "" && (c.NodeNameFrom == "" || c.NodeNameFrom == FromHostname) {
				name = "w1"
			}
			report, err := newRun(p, s, simID, name, func(m string) string { return m }).run(ctx)
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
	s.rejects = s.rejects || s.verdict.Err != nil || s.secret != ""
	s.refusable = s.refusable || s.stranger || s.elsewhere() || s.lives() && s.creds == nil
	answers := !s.down && !s.frozen
	const tick = time.Second
	s.twin.note(s.node != nil && !s.ours(), 0)
	s.gone.note(s.node == nil && answers, Defaults().BackoffMax+tick) // evidence, back-off, reset
	since(&s.refusedSince, s.refuses && answers)
	s.lost.note(answers && s.tokenIsGood() && !s.elsewhere() && (s.node == nil || s.node.Ready == "Unknown"), judge.TokenCheck+2*tick)
	if s.node == nil || s.node.UID != s.levelUID {
		s.level, s.levelUID = map[Level]time.Time{}, ""
	}
	if s.node == nil {
		return
	}
	s.levelUID = s.node.UID
	registered := s.ours() && s.node.Ready != "Unknown"
	for level, holds := range map[Level]bool{
		Registered: registered, Initialized: registered && !s.node.Uninitialized, Ready: registered && s.node.Ready == "True",
	} {
		if holds || answers { // what happens in a silence is not seen
			t := s.level[level]
			since(&t, holds)
			s.level[level] = t
		}
	}
}

func (s *sim) ours() bool { return s.node != nil && s.node.BootID == simBoot }

// lives: our Node is there and our kubelet runs.
func (s *sim) lives() bool {
	return s.ours() && s.node.Ready != "Unknown" && s.running && !s.unit.Failing
}

// elsewhere: the kubelet's credentials are those of another cluster than the endpoint's.
func (s *sim) elsewhere() bool { return s.creds != nil && !bytes.Equal(s.creds.CA, s.ca()) }

func (s *sim) tokenIsGood() bool {
	return s.verdict.Err == nil && (s.secret == "" || s.source != nil)
}

func (s *sim) breaks(what string) {
	if s.broken != nil {
		s.broken(what)
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
	lasted := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return time.Since(t) + tick
	}
	restarted := time.Time{}
	if n := len(s.restarts); n > 0 {
		restarted = s.restarts[n-1]
	}
	switch {
	case s.always, s.overridden && s.elsewhere(): // the user's word
		return nil
	case s.lives():
		return errors.New("a reset of a living member")
	case s.running && !s.unit.Failing:
		return errors.New("a reset while a kubelet runs")
	case s.kubeadm != "":
		return errors.New("a reset beside somebody else's kubeadm")
	case len(s.mounts) > 0:
		return errors.New("a reset below a mount point whose disk is not there yet")
	case s.torn != nil && !errors.Is(s.torn, cluster.ErrUnusable):
		return errors.New("a reset of credentials that nodejoin could not read or understand")
	case len(s.disk.Leftovers) == 0:
		return errors.New("a reset of nothing")
	case s.creds == nil && s.request != nil && s.request.Pending && (s.running || s.request.Own):
		return errors.New("a reset while our certificate request is pending")
	case s.creds == nil:
		return nil
	case s.creds.NodeName != s.name() && !s.ours(): // a cloned image
		return nil
	case s.elsewhere():
		return errors.New("a reset of another cluster's member")
	case s.gone.until.IsZero() && min(lasted(s.gone.since), lasted(restarted)) >= judge.RestartPatience:
		return nil
	case s.lost.until.IsZero() && min(lasted(s.refusedSince), lasted(s.lost.since)) >= judge.RefusedPatience:
		return nil
	}
	return errors.New("a reset without evidence")
}

// mayTouch holds for all that is done to the machine.
func (s *sim) mayTouch(ctx context.Context, what string) {
	if ctx.Err() != nil {
		s.breaks(what + " after the end")
	}
	if s.kubeadms > 0 {
		s.breaks(what + " beside kubeadm")
	}
}

func (s *sim) after(d time.Duration, f func()) { time.AfterFunc(d, func() { s.change(f) }) }

// joined puts the machine into the state after a good join.
func (s *sim) joined() {
	s.disk.KubeletConf = true
	s.disk.Leftovers = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}
	s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: "w1", NotAfter: time.Now().Add(time.Hour)}
	s.running, s.born = true, time.Now()
	s.life++
	s.addNode(simBoot)
}

func (s *sim) addNode(bootID string) {
	s.uids++
	ready := "False"
	if s.ready {
		ready = "True"
	}
	s.node = &cluster.Node{Name: s.name(), UID: fmt.Sprintf("uid-%d", s.uids), BootID: bootID, Ready: ready, Uninitialized: s.tainted, Heartbeat: time.Now()}
}

// startKubelet starts a process that registers once, as soon as it is let.
func (s *sim) startKubelet() {
	s.running, s.born, s.stopped = true, time.Now(), time.Time{}
	if s.mended {
		s.unit.Failing, s.swap, s.policy = false, false, false
	}
	s.life++
	life := s.life
	var register, report func()
	register = func() {
		switch {
		case s.life != life || !s.running:
		case s.policy || s.mute || s.down || s.frozen || s.refuses || s.creds == nil:
			s.after(5*time.Second, register)
		case s.node == nil:
			s.addNode(simBoot)
		default: // it takes over the Node that is there, at its first report
			s.after(2*time.Second, report)
		}
	}
	report = func() {
		switch {
		case s.life != life || !s.running || s.node == nil:
		case s.policy || s.down || s.frozen || s.refuses:
			s.after(5*time.Second, report)
		default:
			s.node.BootID, s.node.Heartbeat = simBoot, time.Now()
			s.node.Ready = map[bool]string{true: "True", false: "False"}[s.ready]
		}
	}
	s.after(500*time.Millisecond, register)
}

func (s *sim) stopKubelet() {
	s.running = false
	s.life++
	life := s.life
	s.after(judge.GracePeriod+time.Millisecond/2, func() { // not at an instant of somebody's: see offBeat
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
	s.looks++
	if s.torn != nil {
		return nil, s.torn
	}
	if s.creds == nil {
		return nil, fs.ErrNotExist
	}
	return s.creds, nil
}

func (s *sim) DiscoveryCA() ([]byte, error) { return nil, nil }
func (s *sim) FQDN() string                 { return "w1.example" }
func (s *sim) ClusterCA() []byte            { return s.caFile }
func (s *sim) CredentialsPath() string      { return kubeletConf }

func (s *sim) MissingMounts() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts, nil
}

func (s *sim) Kubeadms() ([]host.KubeadmProcess, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kubeadm == "" {
		return nil, nil
	}
	return []host.KubeadmProcess{{PID: 4711, Command: s.kubeadm}}, nil
}

func (s *sim) Pods() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods, nil
}

func (s *sim) pid() int { return 1000 + s.life }

func (s *sim) KubeletProcesses() ([]host.KubeletProcess, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil, nil
	}
	return []host.KubeletProcess{{PID: s.pid(), Started: s.born, Args: host.KubeletArgs{HostnameOverride: s.override}}}, nil
}

func (s *sim) KubeletWords(context.Context) host.Words {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.words; w != (host.Words{}) || !s.policy || !s.running || s.creds == nil {
		return w
	}
	return host.Words{Unregistered: "nodes is forbidden: refused by policy"}
}

func (s *sim) StopKubelet(ctx context.Context) error {
	s.change(func() {
		s.mayTouch(ctx, "stopping the kubelet")
		s.do("stop kubelet")
		if s.running {
			s.stopKubelet()
		}
		s.stopped = time.Now()
	})
	return nil
}

func (s *sim) StartKubelet(ctx context.Context) error {
	s.change(func() {
		s.do("start kubelet")
		s.startKubelet()
	})
	return nil
}

// LeaseRenewed: the kubelet of a living Node that is not ours renews it every 10 s.
func (s *sim) LeaseRenewed(ctx context.Context, _ *cluster.Credentials) (time.Time, error) {
	if err := s.reach(ctx); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.node == nil || s.leaseless {
		return time.Time{}, errors.New("no Lease")
	}
	if s.ours() || s.node.Ready == "Unknown" || s.node.Ready == "" {
		return s.node.Heartbeat, nil
	}
	return time.Now().Truncate(10 * time.Second), nil
}

func (s *sim) StrangerAt(_ context.Context, c *cluster.Credentials) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.down && !s.frozen && !cluster.SameCA(c.CA, s.ca())
}

func (s *sim) Kubelet(context.Context) (host.Unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unit
	u.Active, u.Running, u.Exits = s.running, s.running, -1
	if s.running {
		u.MainPID, u.Since = s.pid(), s.born
	}
	return u, nil
}

func (s *sim) RestartKubelet(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mayTouch(ctx, "a kubelet restart")
	if s.lives() {
		s.breaks("a kubelet restart on a living member")
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
	s.do("restart kubelet")
	s.restarts = append(s.restarts, time.Now())
	s.startKubelet()
	return nil
}

func (s *sim) KubeletLog(context.Context) []string { return []string{"kubelet's last words"} }
func (s *sim) SwapRefused(context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.swap
}
func (s *sim) KubeadmFit(ctx context.Context) error {
	select {
	case <-time.After(s.fitTakes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fit
}

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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source != nil {
		return s.source(), nil
	}
	return simToken, nil
}

func (s *sim) Join(ctx context.Context, token, bearer string, harmlessCA bool) error {
	s.mu.Lock()
	s.do("join")
	s.mayTouch(ctx, "a join")
	if s.node != nil && !s.ours() && !s.elsewhere() && s.node.Ready != "Unknown" && s.node.Ready != "" {
		s.breaks("a join beside another machine's living Node")
	}
	s.kubeadms++
	s.shown = "" // what was before a reset, by whomever, is over
	leftovers, custom := len(s.disk.Leftovers), s.join
	taken := s.node != nil && s.node.Ready == "True"
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
			s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
			s.running = true
			s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
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

// kubeletJoins is what comes of kubeadm join, in the end.
func (s *sim) kubeletJoins() {
	s.disk.KubeletConf = true
	s.disk.Leftovers = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}
	s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: s.ca(), NodeName: s.name()}
	s.request, s.unit.Failing = nil, false
	s.startKubelet()
}

func (s *sim) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down || s.frozen
}

// ca is that of the cluster at the endpoint.
func (s *sim) ca() []byte {
	if s.stranger {
		return simCA2
	}
	return simCA
}

func (s *sim) takes(token string) bool {
	return token == simToken && s.secret == "" || token == s.secret
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reset takes a second to stop the kubelet, and one more to empty the disk.
func (s *sim) Reset(ctx context.Context) error {
	var instead func() error
	s.change(func() {
		s.do("reset")
		s.mayTouch(ctx, "a reset")
		if err := s.mayReset(); err != nil {
			s.breaks(err.Error())
		}
		s.kubeadms++
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
	s.disk = host.Disk{}
	s.creds, s.shown, s.torn, s.pods = nil, "", nil, 0
	if s.request != nil {
		s.request.Own = false // the key is gone
	}
	s.stopKubelet()
}

// reach waits for as long as a request to a frozen API server does.
func (s *sim) reach(ctx context.Context) error {
	s.mu.Lock()
	frozen := s.frozen
	s.mu.Unlock()
	if frozen {
		_ = wait(ctx, 8*time.Second)
		return errors.New("timeout")
	}
	return nil
}

func (s *sim) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	if err := s.reach(ctx); err != nil {
		return cluster.Probe{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Probe{Err: errors.New("connection refused")}
	case s.verdict.Err != nil:
		return s.verdict
	case !s.takes(token):
		return cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
	}
	node := s.see()
	if s.hideFromToken || s.elsewhere() {
		node = cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	return cluster.Probe{Verdict: cluster.Proven, Server: "https://cp:6443", CA: s.ca(), Node: node}
}

func (s *sim) see() cluster.Sighting {
	if s.node == nil {
		return cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	node := *s.node
	if node.MachineID == "" && s.judge != nil && s.judge(node) {
		node.MachineID = "machine-of-another"
	}
	return cluster.Sighting{Answer: cluster.Present, Node: node}
}

func (s *sim) Request(ctx context.Context, _ []string) (*cluster.Request, error) {
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	if s.request == nil {
		return nil, nil
	}
	request := *s.request
	return &request, nil
}

func (s *sim) Ask(ctx context.Context, _ *cluster.Credentials) cluster.Sighting {
	if err := s.reach(ctx); err != nil {
		return cluster.Sighting{Err: err}
	}
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

func (s *sim) AskWithToken(ctx context.Context, _ *cluster.Credentials, token string) cluster.Sighting {
	if err := s.reach(ctx); err != nil {
		return cluster.Sighting{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Sighting{Err: errors.New("connection refused")}
	case !s.takes(token):
		return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
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
