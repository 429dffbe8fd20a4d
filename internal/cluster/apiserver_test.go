package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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
