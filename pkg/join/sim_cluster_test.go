package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"reflect"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

const (
	refusedByPolicy = "nodes is forbidden: refused by policy"
	gracePeriod     = judge.GracePeriod + time.Millisecond/2 // not at an instant of somebody's: see offBeat
	leaseEvery      = 10 * time.Second
	statusEvery     = 5 * time.Minute // of a kubelet with nothing new to say
)

// simCluster is what the API server has, and how it answers.
type simCluster struct {
	down       bool          // nothing answers
	frozen     bool          // connections stay open, and nothing answers
	answers    time.Duration // after which it does
	requests   int           // that came
	secret     string        // of the token that the cluster takes, if not simToken
	manual     bool          // nobody approves certificate requests
	second     bool          // simToken2 is taken, too
	verdict    cluster.Probe // what a probe finds, if not Proven
	unnamed    bool          // the endpoint's certificate does not name it
	node       *cluster.Node // the one that the kubelet's credentials, or else the machine, name
	backup     *cluster.Node // as it was before it was deleted
	uids       int
	refuses    bool // 401 to kubelets
	policy     bool // Nodes are refused
	mute       bool // kubelets do not register, and do not say why
	ready      bool // a network plugin is there
	tainted    bool // kubelets register with the cloud's taint
	request    *cluster.Request
	bootstraps int // the life of the kubelet that bootstraps again,
	csrs       int // and how often one has made a request
	watchers   []chan struct{}
	judge      func(n cluster.Node) (other bool) // its Node's machineID is another one's

	stranger       bool             // another cluster answers at the endpoint
	hideFromToken  bool             // asked with the token, there is no Node of our name
	leaseless      bool             // the Lease of the Node cannot be had
	unwritable     bool             // a policy refuses what a kubelet's credentials create, but for its own
	asksForNothing bool             // a kubelet that bootstraps does not get to it
	unwell         bool             // the kubelet says so itself
	slowPutBack    func()           // what happens before a creation arrives
	ungiven        []string         // what a Node that is put back cannot be given
	unheard        bool             // the answer to a creation gets lost
	aloofKubelet   bool             // the kubelet that runs does not take up a Node that it has not made
	predecessor    cluster.Sighting // what a run that was killed has left
	putBack        time.Time        // our Node was, last
	putBacks       []time.Time

	alive   bool       // kubelets report, and the controllers see it
	rival   *neighbour // another machine whose kubelet runs
	reports int        // the life of our kubelet that reports
	renewed time.Time  // the Node's Lease
	noticed time.Time  // by the controllers, that somebody reports
}

// neighbour is another machine.
type neighbour struct{ boot, machine, name string }

var simCA = newCA()

func newCA() []byte {
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
}

// change alters the world and lets the watches know.
func (s *sim) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.book()
	s.nudge()
}

func (s *sim) nudge() {
	for _, w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// live makes kubelets report and controllers look, until the story is over.
func (s *sim) live(over <-chan struct{}) {
	s.alive = true
	go func() {
		select {
		case <-over:
			return
		case <-time.After(7 * time.Millisecond): // beside what nodejoin does
		}
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			s.mu.Lock()
			var before *cluster.Node
			if s.node != nil {
				node := *s.node
				before = &node
			}
			s.tick(n%2 == 0)
			if !reflect.DeepEqual(before, s.node) {
				s.book()
				s.nudge()
			}
			s.mu.Unlock()
		}
	}()
}

// tick: one machine's kubelet or the other's reports, and the controller sees who does not.
func (s *sim) tick(ours bool) {
	answers := !s.down && !s.frozen
	switch {
	case !answers || s.noticed.IsZero():
		s.noticed = time.Now()
	case s.node == nil:
	case ours && s.aloofKubelet && s.putBack.After(s.born):
	case ours && s.reports == s.life && s.mayReport():
		s.report()
	case !ours && s.rival != nil && s.rival.name == s.node.Name:
		s.rivalReports()
	case time.Since(s.noticed) > gracePeriod && time.Since(s.renewed) > gracePeriod:
		s.node.Ready = "Unknown"
	}
}

// mayReport: our kubelet runs and the API server listens to it. A kubelet is let to none but the Node whose credentials it has.
func (s *sim) mayReport() bool {
	return s.running && s.held != nil && !s.down && !s.frozen && !s.refuses && s.node != nil && s.node.Name == s.held.NodeName &&
		s.kubeletName() == s.held.NodeName && (s.held.NotAfter.IsZero() || time.Now().Before(s.held.NotAfter))
}

func (s *sim) report() {
	s.renewed = time.Now()
	ready := map[bool]string{true: "True", false: "False"}[s.ready]
	n := s.node
	if s.policy || s.ours() && n.Ready == ready && time.Since(n.Heartbeat) < statusEvery {
		return
	}
	n.BootID, n.MachineID, n.Ready, n.Heartbeat = simBoot, simID.MachineID, ready, time.Now()
}

func (s *sim) rivalReports() {
	s.renewed = time.Now()
	n, r := s.node, s.rival
	if n.BootID == r.boot && n.MachineID == r.machine && n.Ready == "True" && time.Since(n.Heartbeat) < statusEvery {
		return
	}
	n.BootID, n.MachineID, n.Ready, n.Heartbeat = r.boot, r.machine, "True", time.Now()
}

// register is what a kubelet does with the API server until it reports: it makes its Node, or takes over the one that is there.
func (s *sim) register(life int) {
	if s.held == nil && !s.alive {
		s.held = s.creds
	}
	switch {
	case s.life != life || !s.running:
		return
	case s.held == nil || s.mute || s.down || s.frozen || s.refuses || s.kubeletName() != s.held.NodeName && s.alive:
	case s.policy:
		s.words.Unregistered = refusedByPolicy
	case s.node == nil:
		s.addNode(simBoot)
		s.reports, s.words.Unregistered = life, ""
		return
	default:
		s.words.Unregistered = ""
		s.after(2*time.Second, func() { s.takeOver(life) })
		return
	}
	s.after(5*time.Second, func() { s.register(life) })
}

func (s *sim) takeOver(life int) {
	switch {
	case s.life != life || !s.running || s.node == nil:
	case s.policy || s.down || s.frozen || s.refuses:
		s.after(5*time.Second, func() { s.takeOver(life) })
	default:
		s.reports = life
		s.node.Heartbeat = time.Time{} // there is something new to say
		s.report()
	}
}

func (s *sim) addNode(bootID string) {
	s.uids++
	ready, name, machine := "False", s.name(), ""
	if s.ready {
		ready = "True"
	}
	if bootID == simBoot {
		name, machine = s.kubeletName(), simID.MachineID
	}
	s.node = &cluster.Node{Name: name, UID: fmt.Sprintf("uid-%d", s.uids), BootID: bootID, MachineID: machine, Ready: ready, Uninitialized: s.tainted, Heartbeat: time.Now()}
	s.renewed = time.Now()
}

func (s *sim) deleteNode() {
	if s.node != nil {
		s.backup = s.node
	}
	s.node = nil
}

// restored is what an etcd from a backup has: the same Node, under the same UID.
func (s *sim) restored() {
	if s.node == nil && s.backup != nil {
		node := *s.backup
		node.DeletedAt, node.Finalizers = time.Time{}, nil
		s.node, s.back = &node, node.UID
	}
}

// finalized: somebody deletes the Node, and a finalizer holds it up.
func (s *sim) finalized() {
	if s.node != nil && s.node.DeletedAt.IsZero() {
		s.node.DeletedAt, s.node.Finalizers = time.Now(), []string{"example.com/termination"}
	}
}

func (s *sim) unfinalized() {
	if s.node != nil && !s.node.DeletedAt.IsZero() {
		s.deleteNode()
	}
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
	return token == simToken && s.secret == "" || token == s.secret || token == simToken2 && s.second
}

func (s *sim) tokenIsGood() bool {
	return s.verdict.Err == nil && (s.secret == "" || s.source != nil)
}

func (s *sim) Token(ctx context.Context) (string, error) {
	if s.slow > 0 {
		if err := wait(ctx, s.slow); err != nil {
			return "", err
		}
	}
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
