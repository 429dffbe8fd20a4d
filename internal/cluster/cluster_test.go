package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cluster-bootstrap/token/jws"
)

const (
	tokenID     = "abcdef"
	tokenSecret = "0123456789abcdef"
	token       = tokenID + "." + tokenSecret
)

// authority is a CA and what it signs.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key: key, cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, cn string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

func (a *authority) pin() string {
	hashes, _ := CAHashes(a.pem)
	return hashes[0]
}

// apiServer answers over TLS what a test wants, and records who asked what.
type apiServer struct {
	*httptest.Server
	ca       *authority
	info     map[string]string // cluster-info's data; nil: 403
	node     http.HandlerFunc
	mu       sync.Mutex
	requests []string // path and Authorization header

	connections atomic.Int32
	handshake   atomic.Int64 // how long one takes more
	status      int          // instead of cluster-info
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{ca: newAuthority(t)}
	cert, key := s.ca.issue(t, "kube-apiserver")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(time.Duration(s.handshake.Load()))
		return nil, nil
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	s.info = s.signed(tokenSecret)
	s.node = absentNode
	return s
}

// signed is cluster-info with a signature for our token's ID.
func (s *apiServer) signed(secret string) map[string]string {
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters:\n- name: \"\"\n  cluster:\n    server: %s\n    certificate-authority-data: %s\n",
		s.URL, base64.StdEncoding.EncodeToString(s.ca.pem))
	signature, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, secret)
	if err != nil {
		panic(err)
	}
	return map[string]string{"kubeconfig": kubeconfig, "jws-kubeconfig-" + tokenID: signature}
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.URL.Path+" "+r.Header.Get("Authorization"))
	s.mu.Unlock()
	if r.ProtoMajor == 2 && r.Header.Get("Authorization") == "" && len(r.TLS.PeerCertificates) == 0 {
		w.Header().Set("Connection", "close") // k8s.io/apiserver/pkg/endpoints/filters/authentication.go
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/cluster-info") && s.status != 0:
		status(w, s.status, metav1.StatusReasonInternalError, "", "")
	case strings.HasSuffix(r.URL.Path, "/cluster-info") && s.info == nil:
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden, "cluster-info", "configmaps")
	case strings.HasSuffix(r.URL.Path, "/cluster-info"):
		answer(w, http.StatusOK, corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: s.info})
	default:
		s.node(w, r)
	}
}

func (s *apiServer) sawToken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(strings.Join(s.requests, "\n"), tokenSecret)
}

func (s *apiServer) endpoint() string { return strings.TrimPrefix(s.URL, "https://") }

func (s *apiServer) probe(t *testing.T, pins ...string) Probe {
	t.Helper()
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: pins, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return d.Probe(t.Context(), token, token)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func status(w http.ResponseWriter, code int, reason metav1.StatusReason, name, kind string) {
	answer(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reason,
		Details: &metav1.StatusDetails{Name: name, Kind: kind},
	})
}

func absentNode(w http.ResponseWriter, _ *http.Request) {
	status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w1", "nodes")
}

func presentNode(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, someNode("uid-1"))
}

func someNode(uid string) corev1.Node {
	return corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: "w1", UID: types.UID(uid), ResourceVersion: "7"},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: uninitialized, Effect: "NoSchedule"}}},
		Status: corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{BootID: "boot"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: "False", Reason: "KubeletNotReady", Message: "no CNI"}},
		},
	}
}

func TestProbeVerdicts(t *testing.T) {
	html := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			fmt.Fprint(w, "<html>sorry</html>")
		}
	}
	for name, c := range map[string]struct {
		change func(*apiServer)
		pin    func(*apiServer) []string
		want   Verdict
		token  bool // the server may see the token
	}{
		"proven by pin":            {want: Proven, token: true},
		"proven by signature":      {pin: func(*apiServer) []string { return nil }, want: Proven, token: true},
		"another CA than pinned":   {pin: func(*apiServer) []string { return []string{newAuthority(t).pin()} }, want: WrongCA},
		"cluster-info forbidden":   {change: func(s *apiServer) { s.info = nil }, want: NotServed},
		"not signed, pinned":       {change: func(s *apiServer) { delete(s.info, "jws-kubeconfig-abcdef") }, want: Unsigned, token: true},
		"not signed, nothing else": {change: func(s *apiServer) { delete(s.info, "jws-kubeconfig-abcdef") }, pin: func(*apiServer) []string { return nil }, want: Unsigned},
		"other secret, pinned":     {change: func(s *apiServer) { s.info = s.signed("ffffffffffffffff") }, want: BadSignature},
		"other secret":             {change: func(s *apiServer) { s.info = s.signed("ffffffffffffffff") }, pin: func(*apiServer) []string { return nil }, want: BadSignature},
		"401 to the token": {change: func(s *apiServer) {
			s.node = func(w http.ResponseWriter, _ *http.Request) {
				status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
			}
		}, want: Rejected, token: true},
		"HTML with 503": {change: func(s *apiServer) { s.node = html(http.StatusServiceUnavailable) }, want: Unreachable, token: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			if c.change != nil {
				c.change(s)
			}
			pins := []string{s.ca.pin()}
			if c.pin != nil {
				pins = c.pin(s)
			}
			p := s.probe(t, pins...)
			if p.Verdict != c.want {
				t.Errorf("verdict %d (%v), wanted %d", p.Verdict, p.Err, c.want)
			}
			if s.sawToken() != c.token {
				t.Errorf("server saw the token: %t, requests %q", !c.token, s.requests)
			}
		})
	}
}

// What the network and a handshake take is not the server's.
func TestProbeTellsHowLongTheServerTook(t *testing.T) {
	const slow = 300 * time.Millisecond
	for name, c := range map[string]struct {
		network, handshake, server, proven time.Duration
		file                               bool
		least, most                        time.Duration
	}{
		"not serving yet":               {handshake: slow, most: slow / 2},
		"at ease":                       {most: slow / 2},
		"far away":                      {network: slow, most: slow / 2},
		"far away, by a discovery file": {network: slow, file: true, most: slow / 2},
		"busy":                          {server: slow, least: slow - 50*time.Millisecond, most: 2 * slow},
		"busy and far away":             {network: slow, server: slow, least: slow / 2, most: 2 * slow},
		"busy with what a token is for": {proven: slow, least: slow - 50*time.Millisecond, most: 2 * slow},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			handler := s.Config.Handler
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(c.server + c.network)
				if r.Header.Get("Authorization") != "" {
					time.Sleep(c.proven)
				}
				handler.ServeHTTP(w, r)
			})
			source := Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"}
			if c.file {
				path := filepath.Join(t.TempDir(), "discovery.conf")
				if err := os.WriteFile(path, []byte(s.info["kubeconfig"]), 0o600); err != nil {
					t.Fatal(err)
				}
				source = Source{File: path, NodeName: "w1"}
			}
			d, err := NewDiscoverer(source)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			s.handshake.Store(int64(c.handshake))
			dialer.Control = func(string, string, syscall.RawConn) error { time.Sleep(c.network); return nil }
			defer func() { dialer.Control = nil }()
			quickest := time.Hour // of three, for a busy host may hold up one; each with a handshake
			for range 3 {
				d.Close()
				p := d.Probe(t.Context(), token, token)
				if p.Verdict != Proven {
					t.Fatalf("verdict %d: %v", p.Verdict, p.Err)
				}
				quickest = min(quickest, p.Took)
			}
			if quickest < c.least || quickest > c.most {
				t.Errorf("took %s, wanted %s to %s", quickest, c.least, c.most)
			}
		})
	}
}

// A connection that was late once, as in a crowd it is, tells nothing about the server.
func TestOneLateConnectionHidesNoBusyServer(t *testing.T) {
	const slow = 300 * time.Millisecond
	s := newAPIServer(t)
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 3 { // a busy host may hold up one
		if err := d.door.knock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dialer.Control = func(string, string, syscall.RawConn) error { time.Sleep(slow); return nil }
	defer func() { dialer.Control = nil }()
	handler := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(slow)
		handler.ServeHTTP(w, r)
	})
	if p := d.Probe(t.Context(), token, token); p.Took < slow/2 {
		t.Errorf("took %s, wanted %s", p.Took, slow)
	}
}

// Hundreds of nodes wait for one signer: each asks for cluster-info, and shows the token once only.
func TestUnsignedTokenIsNotShownWithEachProbe(t *testing.T) {
	s := newAPIServer(t)
	signed := s.info
	s.info = map[string]string{"kubeconfig": signed["kubeconfig"]}
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	shown := func() int { return strings.Count(strings.Join(s.requests, "\n"), tokenSecret) }
	s.node = func(w http.ResponseWriter, r *http.Request) {
		status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
	}
	for i := range 5 {
		if p := d.Probe(t.Context(), token, token); p.Verdict != Unsigned || p.Node.Answer != Unauthorized || p.Old != (i > 0) {
			t.Errorf("verdict %d, the Node %s, old %t: the last answer is to stand", p.Verdict, p.Node.Answer, p.Old)
		}
	}
	if shown() != 1 {
		t.Errorf("the token was shown %d times: %q", shown(), s.requests)
	}
	unsigned := s.info
	d.asked = d.asked.Add(-unsignedAgain)
	s.info = nil
	d.Probe(t.Context(), token, token)
	s.info = unsigned
	if p := d.Probe(t.Context(), token, token); p.Node.Answer != Silent || !p.Old || shown() != 1 {
		t.Errorf("just back, a server has no signature yet, and the token was shown %d times (the Node %s, old %t): %q", shown(), p.Node.Answer, p.Old, s.requests)
	}
	d.asked = d.asked.Add(-unsignedAgain)
	if p := d.Probe(t.Context(), token, token); p.Old || shown() != 2 {
		t.Errorf("a silence lies some seconds back, and the token was shown %d times: %q", shown(), s.requests)
	}
	d.asked = d.asked.Add(-unsignedAgain)
	s.status = http.StatusInternalServerError
	d.Probe(t.Context(), token, token)
	s.status = 0
	if p := d.Probe(t.Context(), token, token); p.Old || shown() != 3 {
		t.Errorf("an error lies between, and the token was shown %d times: %q", shown(), s.requests)
	}
	d.Probe(t.Context(), token, "abcdef.another89abcdef0")
	s.node, s.info = absentNode, signed
	if p := d.Probe(t.Context(), token, token); p.Verdict != Proven || p.Node.Answer != Absent {
		t.Errorf("signed: verdict %d, the Node %s: it is to be asked for at once", p.Verdict, p.Node.Answer)
	}
	if last := s.requests[len(s.requests)-3]; !strings.Contains(last, "another") {
		t.Errorf("another token was not shown at once: %q", s.requests)
	}
	s.info = map[string]string{"kubeconfig": strings.Replace(signed["kubeconfig"], base64.StdEncoding.EncodeToString(s.ca.pem),
		base64.StdEncoding.EncodeToString(newAuthority(t).pem), 1)}
	if p := d.Probe(t.Context(), token, token); p.Verdict != WrongCA {
		t.Errorf("another CA: verdict %d", p.Verdict)
	}
}

func TestProbesShareConnectionsUntilAnotherServerIsToBeAsked(t *testing.T) {
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
	}
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, want := range []int32{2, 4} { // one without and one with the token
		for range 5 {
			if p := d.Probe(t.Context(), token, token); p.Verdict != Rejected {
				t.Fatalf("verdict %d: %v", p.Verdict, p.Err)
			}
		}
		if made := s.connections.Load(); made != want {
			t.Errorf("%d connections, wanted %d", made, want)
		}
		d.dialed = time.Now().Add(-otherServer - time.Second)
	}
}

// While nobody answers a probe is a connection and no more; the one that succeeds is what the request goes over.
func TestServerIsKnockedAtUntilItOpens(t *testing.T) {
	s := newAPIServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	d, err := NewDiscoverer(Source{Endpoint: addr, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if p := d.Probe(t.Context(), token, token); p.Verdict != Unreachable || !errors.Is(p.Err, syscall.ECONNREFUSED) {
			t.Errorf("verdict %d: %v", p.Verdict, p.Err)
		}
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatalf("somebody else has taken the port: %v", err)
	}
	accepted := make(chan struct{}, 10)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			out, err := net.Dial("tcp", s.endpoint())
			if err != nil {
				return
			}
			go io.Copy(out, in)
			go io.Copy(in, out)
		}
	}()
	defer l.Close()
	if p := d.Probe(t.Context(), token, token); p.Verdict != Proven {
		t.Errorf("verdict %d: %v", p.Verdict, p.Err)
	}
	// cluster-info names the server itself, so only the anonymous connection came this way
	if len(accepted) != 1 {
		t.Errorf("%d connections", len(accepted))
	}
	l.Close()
	s.CloseClientConnections()
	d.anon.Close()
	for range 2 {
		if p := d.Probe(t.Context(), token, token); p.Verdict != Unreachable {
			t.Errorf("gone again: verdict %d: %v", p.Verdict, p.Err)
		}
	}
}

// A page is no word of an API server's, whatever its status: somebody answers, and it is told what came.
func TestWebPageIsAnAnswerButNoEvidence(t *testing.T) {
	for _, code := range []int{200, 401, 403, 404, 429, 502} {
		s := newAPIServer(t)
		s.node = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
			fmt.Fprint(w, "<html><head><title>No \x1b[2J backend</title></head></html>")
		}
		p := s.probe(t, s.ca.pin())
		want := fmt.Sprintf(`the answer is a web page (%d %s, titled "No \x1b[2J backend")`, code, http.StatusText(code))
		if p.Verdict != Unreachable || !Answered(p.Err) || !strings.Contains(p.Err.Error(), want) || p.RetryAfter != 7*time.Second {
			t.Errorf("%d: verdict %d, retry after %s, error %v", code, p.Verdict, p.RetryAfter, p.Err)
		}
	}
	s := newAPIServer(t)
	for _, contentType := range []string{"text/html", "text/plain"} {
		for _, seconds := range []string{"3600", "9223372037", "99999999999999999999"} {
			s.node = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.Header().Set("Retry-After", seconds)
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			if p := s.probe(t, s.ca.pin()); p.RetryAfter < 0 || p.RetryAfter > time.Minute {
				t.Errorf("%s, Retry-After %s: to be left alone for %s", contentType, seconds, p.RetryAfter)
			}
		}
	}
	s.Close()
	if p := s.probe(t, s.ca.pin()); Answered(p.Err) {
		t.Errorf("nobody answers, but %v", p.Err)
	}
}

// A stranger that copied cluster-info, signature and all, but cannot prove the
// CA on its own connection never sees the token.
func TestTokenGoesOnlyOverTLSThatChainsToTheProvenCA(t *testing.T) {
	real := newAPIServer(t)
	stranger := newAPIServer(t)
	stranger.info = strangerInfo(t, real, stranger)
	p := stranger.probe(t, real.ca.pin())
	if p.Verdict == Proven || stranger.sawToken() {
		t.Errorf("verdict %d, stranger saw %q", p.Verdict, stranger.requests)
	}
	if !strings.Contains(p.Err.Error(), "certificate") {
		t.Errorf("error %q does not say what is wrong", p.Err)
	}
}

func strangerInfo(t *testing.T, real, stranger *apiServer) map[string]string {
	t.Helper()
	kubeconfig := strings.ReplaceAll(real.info["kubeconfig"], real.URL, stranger.URL)
	signature, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, tokenSecret)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"kubeconfig": kubeconfig, "jws-kubeconfig-" + tokenID: signature}
}

func TestServerInClusterInfoThatIsDownIsNamedWithTheEndpoint(t *testing.T) {
	s := newAPIServer(t)
	kubeconfig := strings.ReplaceAll(s.info["kubeconfig"], s.URL, "https://127.0.0.1:1")
	signature, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, tokenSecret)
	if err != nil {
		t.Fatal(err)
	}
	s.info = map[string]string{"kubeconfig": kubeconfig, "jws-kubeconfig-" + tokenID: signature}
	p := s.probe(t, s.ca.pin())
	if p.Verdict != Unreachable || !strings.Contains(p.Err.Error(), s.endpoint()) || !strings.Contains(p.Err.Error(), "127.0.0.1:1") {
		t.Errorf("verdict %d, error %v", p.Verdict, p.Err)
	}
}

func TestSilenceIsUnreachable(t *testing.T) {
	s := newAPIServer(t)
	s.Close()
	if p := s.probe(t, s.ca.pin()); p.Verdict != Unreachable || !strings.Contains(p.Err.Error(), "refused") {
		t.Errorf("verdict %d, error %v", p.Verdict, p.Err)
	}
}

func TestOnlyTheAPIServersOwnNotFoundCounts(t *testing.T) {
	for name, c := range map[string]struct {
		node http.HandlerFunc
		want Answer
	}{
		"its own": {absentNode, Absent},
		"of another Node": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w2", "nodes")
		}, Silent},
		"a load balancer's page": {http.NotFound, Silent},
		"plain JSON": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"error": "no"})
		}, Silent},
		"the Node": {presentNode, Present},
		"too many requests": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}, Silent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.node = c.node
			client, err := NewTokenClient(s.URL, s.ca.pem, token)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			sighting := client.Node(t.Context(), "w1")
			if sighting.Answer != c.want {
				t.Errorf("%s (%v), wanted %s", sighting.Answer, sighting.Err, c.want)
			}
			if name == "too many requests" && sighting.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After was read as %s", sighting.RetryAfter)
			}
		})
	}
}

func TestKubeletConfLoadsOnlyWithItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	pemFile := filepath.Join(dir, "kubelet-client-current.pem")
	conf := filepath.Join(dir, "kubelet.conf")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
`, base64.StdEncoding.EncodeToString(ca.pem), pemFile, pemFile)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKubeletConf(conf); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("without the certificate: %v", err)
	}
	cert, key := ca.issue(t, "system:node:w1")
	if err := os.WriteFile(pemFile, append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	creds, err := LoadKubeletConf(conf)
	if err != nil || creds.NodeName != "w1" || creds.Server != "https://10.0.0.1:6443" || !MatchesPins(creds.CA, []string{ca.pin()}) {
		t.Errorf("with it: %+v, %v", creds, err)
	}
	for name, broken := range map[string]string{"torn": text[:len(text)/2], "empty": "", "http": strings.Replace(text, "https", "http", 1)} {
		if err := os.WriteFile(conf, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKubeletConf(conf); err == nil {
			t.Errorf("%s kubelet.conf loads", name)
		}
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

// A deletion is told within a second, by the watch, and a watch that breaks is
// made again.
func TestWatchTellsADeletionAtOnce(t *testing.T) {
	s := newAPIServer(t)
	events := make(chan string, 8)
	var mu sync.Mutex
	gone := false
	s.node = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				absentNode(w, r)
			} else {
				presentNode(w, r)
			}
			return
		}
		if got := r.URL.Query().Get("fieldSelector"); got != "metadata.name=w1" {
			t.Errorf("watch with field selector %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case kind := <-events:
			object, _ := json.Marshal(someNode("uid-1"))
			fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", kind, object)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	}
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	sightings := client.Watch(ctx, "w1")
	if first := <-sightings; first.Answer != Present || !first.Node.Uninitialized || first.Node.BootID != "boot" || first.Node.ReadyMessage != "no CNI" {
		t.Fatalf("first sighting %+v", first)
	}
	mu.Lock()
	gone = true
	mu.Unlock()
	events <- "DELETED"
	if next := <-sightings; next.Answer != Absent {
		t.Errorf("after the deletion: %s %v", next.Answer, next.Err)
	}
	cancel()
	for range sightings {
	}
}
