package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"time"
)

// What a kubelet has for its certificate and key: a link to the newest.
const (
	currentPair = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	oldPair     = "/var/lib/kubelet/pki/kubelet-client-2025-11-28-00-00-00.pem"
)

// Outdate stops a node's kubelet, if its machine is on, and makes its certificate one that has expired. A plain file in place of
// the link to it is what people's scripts leave; a kubelet that goes on with it throws its new certificate away.
func (cp *ControlPlane) Outdate(n *Node, plain bool) error {
	if err := cp.outdate(n, plain); err != nil {
		return fmt.Errorf("outdating the certificate of %s: %w", n.Name, err)
	}
	return nil
}

func (cp *ControlPlane) outdate(n *Node, plain bool) error {
	if n.outer() != 0 {
		if err := n.StopUnit("kubelet"); err != nil {
			return err
		}
	}
	pair, err := cp.ExpiredPair(n.Hostname)
	if err != nil {
		return err
	}
	if err := os.Remove(n.disk(currentPair)); err != nil {
		return err
	}
	if plain {
		return os.WriteFile(n.disk(currentPair), []byte(pair), 0o600)
	}
	if err := os.WriteFile(n.disk(oldPair), []byte(pair), 0o600); err != nil {
		return err
	}
	return os.Symlink(oldPair, n.disk(currentPair))
}

// ExpiredPair is a kubelet's certificate and key that the cluster's own CA has signed, and which expired an hour ago.
func (cp *ControlPlane) ExpiredPair(name string) (string, error) {
	caPEM, caKey, err := cp.KeyPair("ca")
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
