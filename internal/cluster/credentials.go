package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// nodeUserPrefix begins the CN of every kubelet's client certificate.
const nodeUserPrefix = "system:node:"

// Credentials are the kubelet's own, with which the kubelet itself could speak
// to its API server: see [LoadKubeletConf].
type Credentials struct {
	Server string // URL of the API server
	CA     []byte // PEM

	// NodeName is from the certificate's CN. It is empty where a token is shown
	// in place of a certificate: whose Node that kubelet posts stands in its
	// arguments (--hostname-override), or is the host's name, and is the
	// caller's to find out.
	NodeName string
	// NotAfter is when the certificate expires; zero without a certificate.
	NotAfter time.Time

	pair       func() (tls.Certificate, error) // reads it again; nil without a certificate
	chain      []*x509.Certificate             // as it was when read first, the kubelet's own in front
	bearer     bearer
	serverName string   // to be found in the server's certificate, in place of the URL's
	proxy      *url.URL // in place of the environment's
}

// Client returns a client with the kubelet's credentials. The certificate is
// read again for each connection, as the kubelet rotates it, and a token's file
// once a minute, as client-go does.
func (c *Credentials) Client() (*Client, error) {
	tlsConfig, err := verifying(c.CA)
	if err != nil {
		return nil, err
	}
	tlsConfig.ServerName = c.serverName
	if c.pair != nil {
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := c.pair()
			return &pair, err
		}
	}
	transport := newTransport(tlsConfig)
	transport.ForceAttemptHTTP2 = true // one connection for a watch and all questions beside it
	if c.proxy != nil {
		transport.Proxy = http.ProxyURL(c.proxy)
	}
	client, err := newClientOver(transport, c.Server, c.bearer)
	if err != nil {
		return nil, err
	}
	client.clock.RoundTripper = &oneConnection{RoundTripper: transport, made: make(chan struct{})}
	return client, nil
}

// oneConnection lets the first request make the connection, and the others wait
// for it, though not for long: net/http has each make one of its own while there
// is none, and a handshake is the dearest part of asking.
type oneConnection struct {
	http.RoundTripper
	making atomic.Bool
	made   chan struct{}
}

const connectionWait = time.Second

func (o *oneConnection) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.making.CompareAndSwap(false, true) {
		defer close(o.made)
		return o.RoundTripper.RoundTrip(r)
	}
	select {
	case <-o.made:
	case <-r.Context().Done():
	case <-time.After(connectionWait):
	}
	return o.RoundTripper.RoundTrip(r)
}

// IssuedBy reports whether the client certificate chains to a CA of the bundle
// (PEM), expired or not. It is known only where the chain can be followed to its
// end, through what stands with the certificate and kubelet.conf's own CA: an
// issuer that is nowhere to be seen may be signed by anybody.
func (c *Credentials) IssuedBy(ca []byte) (signed, known bool) {
	trusted, err := certificates(ca)
	if err != nil || len(c.chain) == 0 {
		return false, false
	}
	between := c.chain[1:]
	if own, err := certificates(c.CA); err == nil {
		between = append(between[:len(between):len(between)], own...)
	}
	return chainsTo(c.chain[0], trusted, between)
}
