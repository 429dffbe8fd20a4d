package cluster

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"iter"
	"slices"
	"strings"
)

// certificatesOf are those of a PEM text, in DER, whether x509 parses them or not.
func certificatesOf(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" && !yield(block.Bytes) {
				return
			}
		}
	}
}

// CAHashes returns the pins of every certificate in a PEM bundle, as kubeadm
// writes them: "sha256:" and the hash of the SubjectPublicKeyInfo (RFC 7469).
func CAHashes(bundle []byte) ([]string, error) {
	var pins []string
	for der := range certificatesOf(bundle) {
		pin, err := publicKeyHash(der)
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	if len(pins) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return pins, nil
}

// pinned keeps the certificates of a bundle whose hash is among the pins:
// the others in the bundle are nobody's to vouch for.
func pinned(bundle []byte, pins []string) (ca []byte, found bool) {
	for der := range certificatesOf(bundle) {
		hash, err := publicKeyHash(der)
		if err == nil && slices.ContainsFunc(pins, func(pin string) bool { return strings.EqualFold(pin, hash) }) {
			ca, found = append(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), true
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
	for der := range certificatesOf(bundle) {
		cert, err := x509.ParseCertificate(der)
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

// firstCertificate returns the first one in a PEM text, or nil if it cannot be
// parsed: of a client's certificate file that is the client's own.
func firstCertificate(text []byte) *x509.Certificate {
	for der := range certificatesOf(text) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil
		}
		return cert
	}
	return nil
}

// longestChain ends a search that would go round in circles of CAs that signed
// each other.
const longestChain = 8

// chainsTo follows a certificate up to its end, whatever has expired on the way:
// an API server's clock and ours may differ. It is not known where it ends if an
// issuer is not among the certificates, or signed in a way that is not understood.
func chainsTo(cert *x509.Certificate, trusted, between []*x509.Certificate) (signed, known bool) {
	return chainsWithin(longestChain, cert, trusted, between)
}

func chainsWithin(steps int, cert *x509.Certificate, trusted, between []*x509.Certificate) (signed, known bool) {
	if steps == 0 {
		return false, false
	}
	parents, understood := issuers(cert, trusted)
	if len(parents) > 0 {
		return true, true
	}
	parents, all := issuers(cert, between)
	known = understood && all && len(parents) > 0
	for _, parent := range parents {
		if parent.CheckSignatureFrom(parent) == nil {
			continue // an end, and none of the trusted
		}
		above, end := chainsWithin(steps-1, parent, trusted, between)
		if above {
			return true, true
		}
		known = known && end
	}
	return false, known
}

// issuers are those of the candidates who signed cert. All were understood if
// none has its issuer's name and a signature or a key that this Go cannot check.
func issuers(cert *x509.Certificate, candidates []*x509.Certificate) (found []*x509.Certificate, understood bool) {
	understood = true
	for _, parent := range candidates {
		if !bytes.Equal(cert.RawIssuer, parent.RawSubject) {
			continue
		}
		var insecure x509.InsecureAlgorithmError
		switch err := cert.CheckSignatureFrom(parent); {
		case err == nil:
			found = append(found, parent)
		case errors.Is(err, x509.ErrUnsupportedAlgorithm) || errors.As(err, &insecure):
			understood = false
		}
	}
	return found, understood
}
