package testbed

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
)

// Kubeconfig is one as cluster-info and discovery files hold it: a cluster without a name, which kubeadm looks for. With a
// token it is one with a user, as for any client.
func Kubeconfig(ca []byte, server, token string) string {
	name, rest := `""`, "contexts: []\ncurrent-context: \"\"\nusers: []\n"
	if token != "" {
		name, rest = "cluster", fmt.Sprintf(`contexts:
- name: discovery
  context: {cluster: cluster, user: discovery}
current-context: discovery
users:
- name: discovery
  user: {token: %q}
`, token)
	}
	encoded, _ := json.Marshal(ca) // base64, in quotes
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %s
  cluster:
    certificate-authority-data: %s
    server: %s
`, name, encoded, server) + rest
}

// DiscoveryFile is a file for kubeadm's --discovery-file that names this cluster. Without a token in it kubeadm asks for
// cluster-info all the same, as nobody; where anonymous access is off it then tries in vain.
func (cp *ControlPlane) DiscoveryFile(token string) string {
	return Kubeconfig(cp.CA(), "https://"+cp.Endpoint(), token)
}

// pin is a CA certificate's pin, as kubeadm writes it: "sha256:" and the hash over its public key.
func pin(caPEM []byte) string {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// KeyPair reads a certificate and its key from the control plane's certificate folder, as in KeyPair("ca").
func (cp *ControlPlane) KeyPair(name string) (certPEM, keyPEM []byte, err error) {
	if certPEM, err = os.ReadFile(cp.disk(pki + "/" + name + ".crt")); err != nil {
		return nil, nil, fmt.Errorf("reading a key pair of %s: %w", cp.Name, err)
	}
	if keyPEM, err = os.ReadFile(cp.disk(pki + "/" + name + ".key")); err != nil {
		return nil, nil, fmt.Errorf("reading a key pair of %s: %w", cp.Name, err)
	}
	return certPEM, keyPEM, nil
}
