package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// expiredPair is a kubelet's certificate and key that the cluster's own CA has signed, and which expired an hour ago.
func (s *story) expiredPair(name string) (pair string, err error) {
	caPEM, caKey, err := s.cp.KeyPair("ca")
	if err != nil {
		return "", err
	}
	issuer, err := tls.X509KeyPair(caPEM, caKey)
	if err != nil {
		return "", err
	}
	ca, err := x509.ParseCertificate(issuer.Certificate[0])
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}},
		NotBefore: time.Now().Add(-25 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, key.Public(), issuer.PrivateKey)
	if err != nil {
		return "", err
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey})), nil
}

// expiredKubeletConf gives the node what a machine has that was switched off for too long.
func (s *story) expiredKubeletConf() error {
	pair, err := s.expiredPair(s.node.Hostname)
	if err != nil {
		return err
	}
	if err := s.node.WriteFile(currentPair, pair, 0o600); err != nil {
		return err
	}
	encoded, err := json.Marshal(s.cp.CA()) // base64, in quotes
	if err != nil {
		return err
	}
	return s.node.WriteFile("/etc/kubernetes/kubelet.conf", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {certificate-authority-data: %s, server: "https://%s"}
contexts:
- name: kubelet
  context: {cluster: kubernetes, user: kubelet}
current-context: kubelet
users:
- name: kubelet
  user: {client-certificate: %s, client-key: %s}
`, encoded, s.cp.Endpoint(), currentPair, currentPair), 0o600)
}

// outdate stops a member's kubelet and makes its certificate one that has expired. A plain file in place of the link to it is
// what people's scripts leave; a kubelet that goes on with it throws its new certificate away.
func (s *story) outdate(n *testbed.Node, plain bool) {
	s.Helper()
	s.must(n.StopUnit("kubelet"))
	s.outdated(n, plain)
}

func (s *story) outdated(n *testbed.Node, plain bool) {
	s.Helper()
	pair, err := s.expiredPair(n.Hostname)
	s.must(err)
	current := filepath.Join(n.Root(), currentPair) // its machine may be off
	s.must(os.Remove(current))
	if plain {
		s.must(os.WriteFile(current, []byte(pair), 0o600))
		return
	}
	const old = "/var/lib/kubelet/pki/kubelet-client-2025-11-28-00-00-00.pem"
	s.must(os.WriteFile(filepath.Join(n.Root(), old), []byte(pair), 0o600))
	s.must(os.Symlink(old, current))
}
