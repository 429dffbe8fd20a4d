package testbed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	jws "k8s.io/cluster-bootstrap/token/jws"
)

// StrangerOptions describe a Stranger.
type StrangerOptions struct {
	// Of is a control plane whose CA signs the stranger's certificate, and which answers what no script answers: then it is
	// a load balancer that ends TLS. Bearer tokens pass, client certificates do not. Nil: a CA of its own.
	Of *ControlPlane
	// Names are in the certificate beside the stranger's addresses.
	Names []string
	// NotBefore is when the certificate begins; an hour ago if zero.
	NotBefore time.Time
}

// Stranger is a TLS server on the hub that is not, or not quite, the cluster it is asked about. It records every request.
type Stranger struct {
	IP, IP6 string

	of      *ControlPlane
	caPEM   []byte
	proxy   http.Handler
	cleanup func()

	mu       sync.Mutex
	requests []StrangerRequest
	script   []Response
	tokens   []string
	server   string // the one that cluster-info names
}

// StrangerRequest is one request as it came.
type StrangerRequest struct {
	At     time.Time
	Method string
	URI    string
	Header http.Header
	Body   string
}

// Response is one scripted answer.
type Response struct {
	Status int               // 0: do what is done without a script, with Header and Delay
	Header map[string]string // Date and Retry-After included
	Body   string
	Delay  time.Duration
	Hangup bool // close the connection without an answer
}

// NewStranger starts a stranger at an address of its own, port 6443.
func (tb *Testbed) NewStranger(opts StrangerOptions) (*Stranger, error) {
	s, err := tb.newStranger(opts)
	if err != nil {
		return nil, fmt.Errorf("starting a stranger: %w", err)
	}
	return s, nil
}

func (tb *Testbed) newStranger(opts StrangerOptions) (*Stranger, error) {
	s := &Stranger{of: opts.Of}
	var err error
	if s.IP, s.IP6, err = tb.NewHubIP(); err != nil {
		return nil, err
	}
	s.server = "https://" + s.Endpoint()
	cert, err := s.certificate(opts)
	if err != nil {
		return nil, err
	}
	if s.of != nil {
		s.proxy = s.of.reverseProxy()
	}
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
	}
	for _, ip := range []string{s.IP, s.IP6} {
		listener, err := tb.Listen(net.JoinHostPort(ip, "6443"))
		if err != nil {
			server.Close()
			return nil, err
		}
		go server.ServeTLS(listener, "", "")
	}
	s.cleanup = sync.OnceFunc(func() { server.Close() })
	tb.onClose(s.cleanup)
	return s, nil
}

func (s *Stranger) certificate(opts StrangerOptions) (tls.Certificate, error) {
	var issuer tls.Certificate
	var err error
	if s.of != nil {
		s.caPEM = s.of.CA()
		issuer, err = tls.LoadX509KeyPair(s.of.disk(pki+"/ca.crt"), s.of.disk(pki+"/ca.key"))
	} else {
		var key *ecdsa.PrivateKey
		s.caPEM, key, err = newCA("kubernetes")
		issuer.PrivateKey = key
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	block, _ := pem.Decode(s.caPEM)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	begin := opts.NotBefore
	if begin.IsZero() {
		begin = time.Now().Add(-time.Hour)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: begin, NotAfter: begin.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    opts.Names, IPAddresses: []net.IP{net.ParseIP(s.IP), net.ParseIP(s.IP6)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), issuer.PrivateKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}, nil
}

// reverseProxy passes requests on to the API server.
func (cp *ControlPlane) reverseProxy() http.Handler {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cp.CA())
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "https", Host: cp.Endpoint()})
	proxy.FlushInterval = -1 // watches
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.Transport = &http.Transport{
		DialContext: func(ctx context.Context, proto, addr string) (net.Conn, error) {
			return cp.DialContext(ctx, proto, addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}
	return proxy
}

// Endpoint is the stranger's "IP:port".
func (s *Stranger) Endpoint() string { return net.JoinHostPort(s.IP, "6443") }

// CAHash is the pin of the CA that signed the stranger's certificate.
func (s *Stranger) CAHash() string { return pin(s.caPEM) }

// CA is the certificate of the CA that signed the stranger's, in PEM.
func (s *Stranger) CA() []byte { return s.caPEM }

// Close stops the stranger: connections are refused from then on.
func (s *Stranger) Close() { s.cleanup() }

// Sign signs the stranger's cluster-info with more tokens. Without any it is served unsigned.
func (s *Stranger) Sign(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, tokens...)
}

// SetServer changes the URL that the stranger's cluster-info names.
func (s *Stranger) SetServer(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = url
}

// Script answers the next requests, each with one response; the last one is for all that follow. An empty script ends it.
func (s *Stranger) Script(responses ...Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = responses
}

// Requests lists what was asked so far.
func (s *Stranger) Requests() []StrangerRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Saw tells whether a text was in any request: its line, headers or body.
func (s *Stranger) Saw(text string) bool {
	for _, r := range s.Requests() {
		if strings.Contains(r.URI, text) || strings.Contains(r.Body, text) {
			return true
		}
		for values := range maps.Values(r.Header) {
			if strings.Contains(strings.Join(values, "\n"), text) {
				return true
			}
		}
	}
	return false
}

func (s *Stranger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.requests = append(s.requests, StrangerRequest{time.Now(), r.Method, r.URL.RequestURI(), r.Header.Clone(), string(body)})
	var response Response
	if len(s.script) > 0 {
		response = s.script[0]
		if len(s.script) > 1 {
			s.script = s.script[1:]
		}
	}
	s.mu.Unlock()
	time.Sleep(response.Delay)
	if response.Hangup {
		panic(http.ErrAbortHandler)
	}
	w = &headerWriter{w, response.Header}
	switch {
	case response.Status != 0:
		w.WriteHeader(response.Status)
		io.WriteString(w, response.Body)
	case s.proxy != nil:
		s.proxy.ServeHTTP(w, r)
	case r.URL.Path == "/api/v1/namespaces/kube-public/configmaps/cluster-info":
		s.serveClusterInfo(w)
	default:
		writeJSON(w, http.StatusNotFound, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
	}
}

// headerWriter lets scripted headers win over those of the answer, of a proxied one too.
type headerWriter struct {
	http.ResponseWriter
	header map[string]string
}

func (w *headerWriter) WriteHeader(status int) {
	for key, value := range w.header {
		w.Header().Set(key, value)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is how net/http finds Flush.
func (w *headerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Stranger) serveClusterInfo(w http.ResponseWriter) {
	data, err := s.clusterInfo()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"kind": "ConfigMap", "apiVersion": "v1",
		"metadata": map[string]any{"name": "cluster-info", "namespace": "kube-public"}, "data": data})
}

func (s *Stranger) clusterInfo() (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kubeconfig := Kubeconfig(s.caPEM, s.server, "")
	data := map[string]string{"kubeconfig": kubeconfig}
	for _, token := range s.tokens {
		id, secret, _ := strings.Cut(token, ".")
		signature, err := jws.ComputeDetachedSignature(kubeconfig, id, secret)
		if err != nil {
			return nil, fmt.Errorf("signing cluster-info: %w", err)
		}
		data["jws-kubeconfig-"+id] = signature
	}
	return data, nil
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
