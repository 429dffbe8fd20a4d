package host

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// bootstrapKey is where a kubelet keeps its private key between asking for its first certificate and getting it
// (pkg/kubelet/certificate/bootstrap/bootstrap.go, tmpPrivateKeyFile).
const bootstrapKey = "/var/lib/kubelet/pki/kubelet-client.key.tmp"

// BootstrapKey is the public half of the key for which the kubelet has asked a certificate; the error wraps fs.ErrNotExist if
// there is no such file. A pending CertificateSigningRequest with this key is this machine's.
//
// The file exists only with `rotateCertificates: false`. With rotation, kubeadm's default, the kubelet keeps the key in
// memory and makes a new one, and a new request, each time it starts (cmd/kubelet/app/server.go,
// client-go util/certificate): then only requester and name tell whose a request is.
func (h Host) BootstrapKey() (crypto.PublicKey, error) {
	b, err := os.ReadFile(h.Path(bootstrapKey))
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's bootstrap key: %w", err)
	}
	key, err := privateKey(b)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's bootstrap key %q: %w", bootstrapKey, err)
	}
	return key.Public(), nil
}

func privateKey(b []byte) (crypto.Signer, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("no private key in PEM form")
		}
		b = rest
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
	}
}
