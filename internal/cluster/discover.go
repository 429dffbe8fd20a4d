package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
)

// Source says where the cluster is and how its API server is to prove itself:
// the flags of `kubeadm join` for discovery.
type Source struct {
	Endpoint string   // host:port
	Pins     []string // sha256:HEX over the CA's SubjectPublicKeyInfo; empty: the token's signature alone proves
	File     string   // a kubeconfig, instead of Endpoint and Pins
	NodeName string   // whose Node to ask for once the server is proven, until SetNodeName
}

// Verdict is how far one probe came.
type Verdict int

// The verdicts, in the order in which a starting control plane passes them.
const (
	// Unreachable: no useful answer. Wait.
	Unreachable Verdict = iota
	// NotServed: an API server answers, but does not serve cluster-info (401,
	// 403, 404 while it starts; for good where anonymous access is off).
	NotServed
	// Unsigned: cluster-info has no signature by our token: the signer is
	// late, or the token is expired or unknown. Probe.Node tells which where
	// the CA is pinned.
	Unsigned
	// BadSignature: signed with our token's ID, but with another secret.
	BadSignature
	// WrongCA: the cluster's CA is not a pinned one.
	WrongCA
	// Rejected: a proven server answered 401 to the token.
	Rejected
	// Proven: the server is the right one and knows the token.
	Proven
)

// Probe is the outcome of one look at the cluster from outside.
type Probe struct {
	Verdict    Verdict
	Err        error         // unless Proven
	RetryAfter time.Duration // how long the server asks to be left alone
	At         time.Time     // when the last answer arrived, or its lack was plain

	Server string // URL that kubeadm will use: cluster-info's, not Endpoint
	CA     []byte // PEM, trusted: proven by pin, signature or file. Empty until then
	Node   Sighting
	// Bundle is CA and what cluster-info has beside it, as kubeadm writes it to
	// pki/ca.crt; CA alone where nothing but the token's signature vouches for the
	// rest, though a CA is pinned.
	Bundle []byte
	Old    bool // Node is what was said some seconds ago, at Node.At
	// Pinned: the CA matches a pin and the connection's certificate chains to
	// it, so that a bad signature can only mean a bad secret.
	Pinned bool
	// Signers counts the signatures of other tokens: the signer works.
	Signers int
	// Ahead is how far the server's clock was ahead of ours at its last answer.
	// Nothing proves it: good for a hint only.
	Ahead time.Duration
	// Took is how long the server took to answer, without what the network and
	// a handshake take: some milliseconds, if it is at ease.
	Took time.Duration
}

// Discoverer probes one cluster again and again, on kept connections.
type Discoverer struct {
	source Source
	name   atomic.Pointer[string] // of the Node to ask for
	anon   *Client
	door   *door                               // of its server
	hears  bool                                // its last request was answered: a connection is kept
	dialed time.Time                           // when new connections were last asked for
	peer   atomic.Pointer[[]*x509.Certificate] // shown by the last connection that anon made; a dial outlives its request

	last  *reading      // of cluster-info
	least time.Duration // that an answer took

	proven atomic.Pointer[Client] // with the token, to a proven server; others ask it while a probe runs
	key    string                 // what proven was made from

	unsigned Sighting  // what came of showing the token though cluster-info was not signed for it,
	asked    time.Time // and when; or since when cluster-info is served
}

// otherServer is for how long connections are kept. Behind a load balancer they
// stay with one API server, which may be the one that never gets well: several
// are to be heard before a token is called wrong.
const otherServer = 15 * time.Second

// unsignedAgain is when a token that cluster-info is not signed for is shown
// again, and to a server that was not there before, when it is shown at all. A
// late signer is all that is behind it as a rule, and a crowd of nodes is waiting
// for it; a wrong token is known by its answers over a minute.
const unsignedAgain = 5 * time.Second

// NewDiscoverer makes no connection yet.
func NewDiscoverer(source Source) (*Discoverer, error) {
	d := &Discoverer{source: source}
	d.SetNodeName(source.NodeName)
	if source.File != "" {
		return d, nil
	}
	var err error
	// Nothing secret goes over this connection; what it brings is believed
	// only once pin or signature have proven it.
	transport := newTransport(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			d.peer.Store(&state.PeerCertificates)
			return nil
		},
	})
	d.door = newDoor(source.Endpoint)
	transport.DialContext = d.door.DialContext
	d.anon, err = newClientOver(transport, "https://"+source.Endpoint, bearer{})
	return d, err
}

// SetNodeName says whose Node to ask for from now on. It may be called while a
// probe runs.
func (d *Discoverer) SetNodeName(name string) { d.name.Store(&name) }

// Close ends the kept connections.
func (d *Discoverer) Close() {
	if d.anon != nil {
		d.anon.Close()
	}
	if proven := d.Client(); proven != nil {
		proven.Close()
	}
}

// Client returns the client of the last proven probe, or nil. It may be called
// while a probe runs.
func (d *Discoverer) Client() *Client { return d.proven.Load() }

// Probe looks once. token signs cluster-info, bearer is shown to the proven
// server; they are the same unless --tls-bootstrap-token says otherwise.
func (d *Discoverer) Probe(ctx context.Context, token, bearer string) Probe {
	if time.Since(d.dialed) > otherServer {
		d.Close()
		d.dialed = time.Now()
	}
	p := d.probe(ctx, token, bearer)
	p.At = time.Now()
	if p.Verdict <= NotServed { // what was said before a silence is forgotten
		d.unsigned = Sighting{}
	}
	for _, c := range []*Client{d.Client(), d.anon} {
		if c != nil {
			p.Ahead = time.Duration(c.clock.ahead.Load())
			p.Took = max(p.Took, time.Duration(c.clock.took.Swap(0)))
		}
	}
	p.Took = max(0, p.Took-d.far(p.Took))
	return p
}

// far is how long the network takes, as far as it is known: where nobody can
// knock, no longer than the quickest answer took.
func (d *Discoverer) far(took time.Duration) time.Duration {
	if d.door != nil && !d.door.behind {
		return d.door.far
	}
	if took > 0 && (d.least == 0 || took < d.least) {
		d.least = took
	}
	return d.least
}

func (d *Discoverer) probe(ctx context.Context, token, bearer string) Probe {
	if d.source.File != "" {
		return d.probeFile(ctx, bearer)
	}
	id, secret, whole := strings.Cut(token, ".")
	info, failed := d.clusterInfo(ctx)
	if info == nil {
		if failed.Verdict == NotServed || !Answered(failed.Err) {
			d.asked = time.Now()
		}
		return failed
	}
	kubeconfig := info.Data[bootstrapapi.KubeConfigKey]
	said, err := d.read(kubeconfig)
	if err != nil {
		return Probe{Verdict: NotServed, Err: fmt.Errorf("reading cluster-info: %w", err)}
	}
	p := Probe{Server: said.cluster.Server, Bundle: said.cluster.CertificateAuthorityData}
	p.Signers, p.Verdict, p.Err = signature(info.Data, id, secret)
	if len(d.source.Pins) > 0 {
		if said.ca == nil {
			return wrongCA(said.cluster, d.source.Pins)
		}
		p.CA, p.Pinned = said.ca, said.chained
		if !p.Pinned {
			p.Bundle = said.ca
		}
		if p.Verdict == BadSignature && caAlgorithm(p.CA) == nil {
			return p
		}
		if !whole {
			p.Verdict, p.Err = Rejected, errors.New("the token has no dot")
			return p
		}
	} else if !whole { // an empty secret is anybody's
		p.Verdict, p.Err = Rejected, errors.New("the token has no dot")
		return p
	} else if p.Verdict != Proven {
		return p
	} else {
		p.CA = said.cluster.CertificateAuthorityData
	}
	return d.ask(ctx, p, bearer)
}

// ask shows the token to the proven server with a question whose answer is
// needed anyway: is there a Node of our name?
func (d *Discoverer) ask(ctx context.Context, p Probe, bearer string) Probe {
	key := strings.Join([]string{p.Server, string(p.CA), bearer}, "\n")
	if d.Client() == nil || d.key != key {
		client, err := NewTokenClient(p.Server, p.CA, bearer)
		if err != nil {
			return Probe{Err: err}
		}
		d.keep(client, key)
	}
	return d.judge(ctx, p)
}

func (d *Discoverer) keep(client *Client, key string) {
	if before := d.proven.Swap(client); before != nil {
		before.Close()
		d.asked = time.Time{} // another token or CA is tried at once
	}
	d.key, d.unsigned = key, Sighting{}
}

func (d *Discoverer) judge(ctx context.Context, p Probe) Probe {
	if p.Verdict == Unsigned && time.Since(d.asked) < unsignedAgain {
		p.Node, p.Old = d.unsigned, true
		return p
	}
	p.Node = d.Client().Node(ctx, *d.name.Load())
	if p.Verdict == Unsigned && p.Node.Answer != Silent {
		d.unsigned, d.asked = p.Node, time.Now()
	}
	switch p.Node.Answer {
	case Silent:
		return Probe{
			Verdict:    Unreachable,
			Err:        d.unreachable(p),
			RetryAfter: p.Node.RetryAfter,
			Server:     p.Server,
		}
	case Unauthorized:
		if p.Verdict == Proven {
			p.Verdict, p.Err = Rejected, p.Node.Err
		}
	}
	return p
}

// unreachable names both addresses where they differ: kubeadm goes on with the
// one inside cluster-info, whatever it was given.
func (d *Discoverer) unreachable(p Probe) error {
	if d.source.File != "" || p.Server == "https://"+d.source.Endpoint {
		return fmt.Errorf("asking %s: %w", p.Server, p.Node.Err)
	}
	return fmt.Errorf("%s answers, but the server named in its cluster-info, %s, gives no useful answer: %w", d.source.Endpoint, p.Server, p.Node.Err)
}
