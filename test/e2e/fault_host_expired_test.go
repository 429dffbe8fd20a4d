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
	"time"
)

// expiredKubeletConf gives the node what a machine has that was switched off for too long: a kubelet.conf whose certificate
// the cluster's own CA has signed, and which expired an hour ago.
func (s *story) expiredKubeletConf() error {
	caPEM, caKey, err := s.cp.KeyPair("ca")
	if err != nil {
		return err
	}
	issuer, err := tls.X509KeyPair(caPEM, caKey)
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(issuer.Certificate[0])
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "system:node:" + s.node.Hostname, Organization: []string{"system:nodes"}},
		NotBefore: time.Now().Add(-25 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, key.Public(), issuer.PrivateKey)
	if err != nil {
		return err
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	pair := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey}))
	const current = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	if err := s.node.WriteFile(current, pair, 0o600); err != nil {
		return err
	}
	encoded, err := json.Marshal(caPEM) // base64, in quotes
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
`, encoded, s.cp.Endpoint(), current, current), 0o600)
}
