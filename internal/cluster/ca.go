package cluster

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
)

// CAHashes returns the pins of every certificate in a PEM bundle, as kubeadm
// writes them: "sha256:" and the hash of the SubjectPublicKeyInfo (RFC 7469).
func CAHashes(bundle []byte) ([]string, error) {
	certs, err := certificates(bundle)
	if err != nil {
		return nil, err
	}
	var pins []string
	for _, c := range certs {
		sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		pins = append(pins, "sha256:"+hex.EncodeToString(sum[:]))
	}
	return pins, nil
}

// pinned keeps the certificates of a bundle whose hash is among the pins:
// the others in the bundle are nobody's to vouch for.
func pinned(bundle []byte, pins []string) (ca []byte, found bool) {
	certs, err := certificates(bundle)
	if err != nil {
		return nil, false
	}
	for _, c := range certs {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		hash, _ := CAHashes(block)
		for _, pin := range pins {
			if strings.EqualFold(pin, hash[0]) {
				ca, found = append(ca, block...), true
			}
		}
	}
	return ca, found
}

// SameCA reports whether two bundles share a key.
func SameCA(a, b []byte) bool {
	pins, err := CAHashes(a)
	if err != nil {
		return false
	}
	_, found := pinned(b, pins)
	return found
}

// MatchesPins reports whether a bundle has a certificate with one of the pins.
func MatchesPins(bundle []byte, pins []string) bool {
	_, found := pinned(bundle, pins)
	return found
}

func certificates(bundle []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, bundle = pem.Decode(bundle); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return certs, nil
}
