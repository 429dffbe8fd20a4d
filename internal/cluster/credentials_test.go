package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// at lets a kubelet speak to an API server of a test.
func (k *kubelet) at(t *testing.T, s *apiServer) {
	t.Helper()
	k.ca = s.ca
	k.write(t, "ca.crt", s.ca.pem)
	k.rotate(t, "system:node:w1")
	k.replace("https://10.0.0.1:6443", s.URL)
}

func (k *kubelet) rotate(t *testing.T, cn string) {
	t.Helper()
	cert, key := k.ca.issue(t, cn)
	k.write(t, "pki/current.pem", append(cert, key...))
}

func TestKubeletsWaysToItsServer(t *testing.T) {
	const elsewhere = "127.0.0.2"
	var shown atomic.Value // to the API server: the token, or the certificate's CN
	var through atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through.Add(1)
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			return
		}
		w.WriteHeader(http.StatusOK)
		in, buffered, _ := w.(http.Hijacker).Hijack()
		go io.Copy(out, buffered)
		io.Copy(in, out)
	}))
	defer proxy.Close()
	for name, c := range map[string]struct {
		change  func(*testing.T, *kubelet, *apiServer)
		want    Answer
		shown   string
		proxied bool
	}{
		"a certificate": {want: Present, shown: "system:node:w1"},
		"a token":       {want: Present, shown: "Bearer t0p", change: func(_ *testing.T, k *kubelet, _ *apiServer) { k.user("token: t0p") }},
		"a token file": {want: Present, shown: "Bearer t0p", change: func(t *testing.T, k *kubelet, _ *apiServer) {
			k.user("tokenFile: token")
			k.write(t, "token", []byte("t0p\n"))
		}},
		"by a proxy": {want: Present, shown: "system:node:w1", proxied: true, change: func(_ *testing.T, k *kubelet, _ *apiServer) {
			k.replace("server:", "proxy-url: "+proxy.URL+", server:")
		}},
		"under an address that its certificate lacks": {want: Silent, change: func(_ *testing.T, k *kubelet, s *apiServer) {
			k.replace(s.URL, strings.Replace(s.URL, "127.0.0.1", elsewhere, 1))
		}},
		"under that address, with a name that it has": {want: Present, shown: "system:node:w1", change: func(_ *testing.T, k *kubelet, s *apiServer) {
			k.replace(s.URL, strings.Replace(s.URL, "127.0.0.1", elsewhere, 1))
			k.replace("server:", "tls-server-name: 127.0.0.1, server:")
		}},
		"under a name that its certificate lacks": {want: Silent, change: func(_ *testing.T, k *kubelet, _ *apiServer) {
			k.replace("server:", "tls-server-name: kubernetes, server:")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, k := newAPIServer(t), newKubelet(t)
			s.node = func(w http.ResponseWriter, r *http.Request) {
				shown.Store(r.Header.Get("Authorization"))
				if len(r.TLS.PeerCertificates) > 0 {
					shown.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
				}
				presentNode(w, r)
			}
			s.alsoAt(t, elsewhere)
			k.at(t, s)
			if c.change != nil {
				c.change(t, k, s)
			}
			shown.Store("")
			through.Store(0)
			creds, err := k.load(t)
			if err != nil {
				t.Fatal(err)
			}
			client, err := creds.Client()
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			sighting := client.Node(t.Context(), "w1")
			if sighting.Answer != c.want || shown.Load() != c.shown || (through.Load() > 0) != c.proxied {
				t.Errorf("%s (%v), shown %q, %d times through the proxy", sighting.Answer, sighting.Err, shown.Load(), through.Load())
			}
		})
	}
}

// alsoAt lets the API server be found at another address, which its certificate does not name.
func (s *apiServer) alsoAt(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address+s.URL[strings.LastIndex(s.URL, ":"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", s.endpoint())
			if err != nil {
				return
			}
			go io.Copy(out, in)
			go io.Copy(in, out)
		}
	}()
}

func TestEachConnectionShowsTheCertificateOfThatTime(t *testing.T) {
	s, k := newAPIServer(t), newKubelet(t)
	var shown []string
	s.node = func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.TLS.PeerCertificates[0].Subject.CommonName)
		presentNode(w, r)
	}
	k.at(t, s)
	creds, err := k.load(t)
	if err != nil {
		t.Fatal(err)
	}
	client, err := creds.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, cn := range []string{"system:node:w1", "system:node:rotated"} {
		k.rotate(t, cn)
		client.Node(t.Context(), "w1")
		client.Close()
	}
	if want := []string{"system:node:w1", "system:node:rotated"}; !slices.Equal(shown, want) {
		t.Errorf("shown %q, wanted %q", shown, want)
	}
}

// A watch and a question begin at the same moment.
func TestFirstRequestsShareOneConnection(t *testing.T) {
	s, k := newAPIServer(t), newKubelet(t)
	s.node = presentNode
	k.at(t, s)
	creds, err := k.load(t)
	if err != nil {
		t.Fatal(err)
	}
	client, err := creds.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var asking sync.WaitGroup
	for range 5 {
		asking.Go(func() {
			if got := client.Node(t.Context(), "w1"); got.Answer != Present {
				t.Errorf("got %+v", got)
			}
		})
	}
	asking.Wait()
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Nobody waits long for a first request that is not answered.
func TestRequestsDoNotWaitForASilentFirstOne(t *testing.T) {
	never := &oneConnection{RoundTripper: http.DefaultTransport, made: make(chan struct{})}
	never.making.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	began := time.Now()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://192.0.2.1", nil)
	if err := send(never, r); err == nil || time.Since(began) > connectionWait/2 {
		t.Errorf("got %v after %s, with a context that has ended", err, time.Since(began))
	}
	synctest.Test(t, func(t *testing.T) {
		answer := roundTrip(func(*http.Request) (*http.Response, error) { return &http.Response{Body: http.NoBody}, nil })
		silent := &oneConnection{RoundTripper: answer, made: make(chan struct{})}
		silent.making.Store(true)
		began := time.Now()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://192.0.2.1", nil)
		if err := send(silent, r); err != nil || time.Since(began) != connectionWait {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func send(over http.RoundTripper, r *http.Request) error {
	response, err := over.RoundTrip(r)
	if err == nil {
		response.Body.Close()
	}
	return err
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sign makes a certificate of a name; by nobody: by itself.
func sign(t *testing.T, cn string, key *ecdsa.PrivateKey, ca bool, by *authority) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: cn}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour), // expired, and no matter
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key: key, cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// A certificate that the cluster's CA did not sign is useless, which is a reason to reset: so it must be known, not guessed.
func TestWhoIssuedTheCertificate(t *testing.T) {
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root := sign(t, "kubernetes", key(), true, nil)
	renewed := sign(t, "kubernetes", root.key, true, nil)
	other := sign(t, "kubernetes", key(), true, nil) // kubeadm calls them all so
	named := sign(t, "elsewhere", key(), true, nil)
	between := sign(t, "kubelets", key(), true, root)
	crossed := sign(t, "kubernetes", root.key, true, named)
	leaf := sign(t, "system:node:w1", key(), false, root)
	below := sign(t, "system:node:w1", key(), false, between)
	forged := sign(t, "system:node:w1", key(), false, sign(t, "kubernetes", key(), false, nil))
	odd := unknownAlgorithm(t, other.pem)
	bundle := func(of ...[]byte) []byte { return slices.Concat(of...) }
	for name, c := range map[string]struct {
		shown         []*authority
		own           []byte // kubelet.conf's CA
		ca            []byte
		signed, known bool
	}{
		"by this CA":                           {[]*authority{leaf}, root.pem, root.pem, true, true},
		"by this CA, of two":                   {[]*authority{leaf}, other.pem, bundle(other.pem, root.pem), true, true},
		"by this CA, since renewed":            {[]*authority{leaf}, root.pem, renewed.pem, true, true},
		"by one below":                         {[]*authority{below, between}, nil, root.pem, true, true},
		"by one below, which the conf holds":   {[]*authority{below}, bundle(between.pem, root.pem), root.pem, true, true},
		"by one below, trusted itself":         {[]*authority{below}, nil, between.pem, true, true},
		"by one below, not to be seen":         {[]*authority{below}, root.pem, root.pem, false, false},
		"by another CA of the same name":       {[]*authority{leaf}, root.pem, other.pem, false, true},
		"by another CA":                        {[]*authority{leaf}, root.pem, named.pem, false, true},
		"by one below another CA":              {[]*authority{below, between}, root.pem, other.pem, false, true},
		"by another CA, signed across by ours": {[]*authority{leaf}, bundle(root.pem, crossed.pem), named.pem, true, true},
		"by a CA that nobody has":              {[]*authority{leaf}, other.pem, other.pem, false, false},
		"by one who may not":                   {[]*authority{forged}, root.pem, root.pem, false, false},
		"a CA of another algorithm":            {[]*authority{leaf}, root.pem, odd, false, false},
		"a CA of another algorithm, and ours":  {[]*authority{leaf}, root.pem, bundle(odd, root.pem), true, true},
		"a CA that cannot be parsed":           {[]*authority{leaf}, root.pem, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), false, false},
		"no CA":                                {[]*authority{leaf}, root.pem, nil, false, false},
		"no certificate":                       {nil, root.pem, root.pem, false, false},
	} {
		creds := &Credentials{CA: c.own}
		for _, a := range c.shown {
			creds.chain = append(creds.chain, a.cert)
		}
		if signed, known := creds.IssuedBy(c.ca); signed != c.signed || known != c.known {
			t.Errorf("%s: signed %t, known %t", name, signed, known)
		}
	}
}

// What comes with the certificate, in its file, is part of the chain.
func TestChainIsReadWithTheCertificate(t *testing.T) {
	k := newKubelet(t)
	between := sign(t, "kubelets", newKey(t), true, k.ca)
	cert, key := between.issue(t, "system:node:w1")
	k.write(t, "pki/current.pem", slices.Concat(cert, key, between.pem))
	creds, err := k.load(t)
	if err != nil {
		t.Fatal(err)
	}
	if signed, known := creds.IssuedBy(k.ca.pem); !signed || !known {
		t.Errorf("signed %t, known %t", signed, known)
	}
}
