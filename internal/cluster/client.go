// Package cluster asks API servers, through client-go, what nodejoin has to
// know: is this the right cluster, does it take our token, is our Node there
// and whose is it.
//
// Every answer is judged before it leaves the package. What an unproven server
// says is never evidence: a [Client] speaks only over TLS that chains to a CA
// that was proven first, by pin, by discovery file, by the token's signature
// ([Discoverer]) or by kubelet.conf ([LoadKubeletConf]).
package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

const (
	// dialTimeout lets a probe of a silent address end in time for the next
	// one; the kernel repeats a lost SYN after 1 s, so one loss is survived.
	dialTimeout = 3 * time.Second
	// requestTimeout bounds one GET: a healthy API server answers in
	// milliseconds, one that has just started within two or three seconds.
	requestTimeout = 8 * time.Second
	// A dead HTTP/2 connection is noticed after the sum of these two, where
	// client-go's defaults (30 s and 15 s) would take 45 s.
	pingAfter   = 8 * time.Second
	pingTimeout = 5 * time.Second
)

const userAgent = "nodejoin"

// scheme holds the few types that nodejoin reads. client-go's own scheme would
// bring every API group, 13 MB of them.
var scheme = runtime.NewScheme()

var codecs = serializer.NewCodecFactory(scheme)

func init() {
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, certificatesv1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two fixed groups: cannot fail on a user's machine only
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
}

// Client asks one API server, with one set of credentials, over TLS that
// chains to one CA.
type Client struct {
	Server string
	core   *rest.RESTClient
	certs  *rest.RESTClient
	clock  *clock
	keeper *keeper
	close  func()
}

// clock notes, by the Date of each answer, how far the server's clock is ahead
// of ours, and how long the server took from when it had the question. It stands
// where every answer passes, so it also takes out the web pages, which no API
// server sends.
type clock struct {
	http.RoundTripper
	ahead, took atomic.Int64
}

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	var asked atomic.Pointer[time.Time]
	response, err := c.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { now := time.Now(); asked.Store(&now) },
	})))
	if err != nil {
		return nil, unspoken(err)
	}
	if since := asked.Load(); since != nil {
		c.took.Store(int64(time.Since(*since)))
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.ahead.Store(int64(time.Until(date)))
	}
	if page := pageIn(response); page != nil {
		return nil, page
	}
	return response, nil
}

// NewTokenClient returns a client that shows token as a bearer token, to a
// server whose certificate chains to ca (PEM).
func NewTokenClient(server string, ca []byte, token string) (*Client, error) {
	tlsConfig, err := verifying(ca)
	if err != nil {
		return nil, err
	}
	return newClientOver(newTransport(tlsConfig), server, bearer{token: token})
}

// bearer is what is shown as a bearer token: one given, or the content of a file
// that client-go reads again once a minute. Neither: nothing is shown.
type bearer struct{ token, file string }

func verifying(ca []byte) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		if !hasBlock(ca, isCertificate) {
			return nil, errors.New("reading the CA: no certificate in it")
		}
	}
	if err := caAlgorithm(ca); err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func newClientOver(transport *http.Transport, server string, shown bearer) (*Client, error) {
	c := &Client{Server: server, clock: &clock{RoundTripper: transport}, keeper: newKeeper(), close: transport.CloseIdleConnections}
	var err error
	if c.core, err = restClient(server, c.clock, shown, "/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	c.certs, err = restClient(server, c.clock, shown, "/apis", certificatesv1.SchemeGroupVersion)
	return c, err
}

var dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}

// newTransport speaks HTTP/1.1. An API server ends an HTTP/2 connection after a
// request that it does not authenticate (UnauthenticatedHTTP2DOSMitigation,
// Kubernetes 1.29), so that each probe would cost it a handshake. Handshakes are
// waited for as long as answers are: an API server has its port open for seconds
// before it serves, and owes a signature to each client that came and went.
func newTransport(tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment, // as kubeadm and the kubelet do
		DialContext:           dialer.DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   requestTimeout,
		ResponseHeaderTimeout: requestTimeout,
		IdleConnTimeout:       time.Minute,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
}

func restClient(server string, transport http.RoundTripper, shown bearer, apiPath string, gv schema.GroupVersion) (*rest.RESTClient, error) {
	config := &rest.Config{
		Host:            server,
		APIPath:         apiPath,
		BearerToken:     shown.token,
		BearerTokenFile: shown.file,
		UserAgent:       userAgent,
		Transport:       transport,
		QPS:             -1, // the loop paces itself
		ContentConfig: rest.ContentConfig{
			GroupVersion:         &gv,
			NegotiatedSerializer: codecs.WithoutConversion(),
		},
	}
	over, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for %q: %w", server, err)
	}
	// A redirect may lead anywhere, also away from TLS, and the token would go there too. No API server sends one.
	over.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client, err := rest.RESTClientForConfigAndClient(config, over)
	if err != nil {
		return nil, fmt.Errorf("making a client for %q: %w", server, err)
	}
	return client, nil
}

// Close ends the connections that nobody uses.
func (c *Client) Close() { c.close() }

// Node asks for one Node with a quorum read, once: client-go's own retries
// would hide the answers that the loop has to time.
func (c *Client) Node(ctx context.Context, name string) Sighting {
	s, _ := c.sight(ctx, name)
	return s
}

// sight is [Client.Node] with the whole object, if it is there.
func (c *Client) sight(ctx context.Context, name string) (Sighting, *corev1.Node) {
	asked := time.Now()
	s, node := c.node(ctx, name)
	s.At = time.Now()
	s.Took = s.At.Sub(asked)
	return s, node
}

func (c *Client) node(ctx context.Context, name string) (Sighting, *corev1.Node) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var node corev1.Node
	if err := c.core.Get().Resource("nodes").Name(name).MaxRetries(0).Do(ctx).Into(&node); err != nil {
		return sightingOf(name, err), nil
	}
	if node.Name != name || node.UID == "" {
		return Sighting{Err: fmt.Errorf("asking for Node %q: the answer is not that Node", name)}, nil
	}
	return Sighting{Answer: Present, Node: nodeOf(&node)}, &node
}

// LeaseRenewed says when a Node's kubelet last renewed its Lease, as it does
// every 10 s while it lives. A kubelet may ask for its own.
func (c *Client) LeaseRenewed(ctx context.Context, nodeName string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	raw, err := c.core.Get().AbsPath("/apis/coordination.k8s.io/v1/namespaces", corev1.NamespaceNodeLease, "leases", nodeName).
		SetHeader("Accept", "application/json").MaxRetries(0).Do(ctx).Raw()
	if err != nil {
		return time.Time{}, fmt.Errorf("getting the Lease of Node %q: %w", nodeName, err)
	}
	var lease struct {
		Spec struct {
			RenewTime time.Time `json:"renewTime"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &lease); err != nil {
		return time.Time{}, fmt.Errorf("reading the Lease of Node %q: %w", nodeName, err)
	}
	return lease.Spec.RenewTime, nil
}
