package cluster

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
)

// AlgorithmError: a key or a signature is, or may be, of an algorithm that the
// Go which this program was built with does not have, as ML-DSA is to Go before
// 1.27. Nothing is known of a server then: it is neither down nor another's.
type AlgorithmError struct {
	What string
	// CA: it is the trusted CA's own key, so that no server can ever prove itself
	// to this program.
	CA  bool
	Err error // what Go said; nil: nothing
}

func (e *AlgorithmError) Error() string {
	said := e.What + " that nodejoin, built with " + runtime.Version() + ", does not know"
	if e.Err != nil {
		said += ": " + e.Err.Error()
	}
	return said
}

func (e *AlgorithmError) Unwrap() error { return e.Err }

// caAlgorithm is the error of a bundle (PEM) in which no CA's key is of an
// algorithm that this Go has.
func caAlgorithm(bundle []byte) error {
	var cause error
	for der := range certificatesOf(bundle) {
		cert, err := x509.ParseCertificate(der)
		if err == nil && cert.PublicKeyAlgorithm != x509.UnknownPublicKeyAlgorithm {
			return nil
		}
		cause = err
	}
	return &AlgorithmError{What: "the cluster's CA is of an algorithm or in a form", CA: true, Err: cause}
}

// unspoken says of a handshake's error if what is behind it may be an algorithm.
func unspoken(err error) error {
	var authority x509.UnknownAuthorityError
	var alert *net.OpError
	switch {
	case errors.As(err, &authority) && authority.Cert != nil && authority.Cert.SignatureAlgorithm == x509.UnknownSignatureAlgorithm:
		return &AlgorithmError{What: "the API server's certificate is signed with an algorithm", Err: err}
	case strings.Contains(err.Error(), "unsupported type of public key"): // crypto/tls verifyServerCertificate
		return &AlgorithmError{What: "the key of the API server's certificate is of an algorithm", Err: err}
	case errors.As(err, &alert) && alert.Op == "remote error" && strings.HasSuffix(alert.Err.Error(), "handshake failure"):
		return &AlgorithmError{What: "the server speaks TLS only with versions or algorithms", Err: err}
	}
	return err
}

// publicKeyHash is what a pin is made of. A certificate that x509 does not parse,
// for an algorithm that it does not know, can still be told from another one; none
// that it does parse is read in a second way, for nobody may be trusted by one
// reading of it and proven by the other.
func publicKeyHash(certificate []byte) (string, error) {
	if cert, err := x509.ParseCertificate(certificate); err == nil {
		return hashOf(cert.RawSubjectPublicKeyInfo), nil
	}
	var fields struct {
		TBS struct {
			Version                         int `asn1:"optional,explicit,default:0,tag:0"`
			Serial, Signature, Issuer       asn1.RawValue
			Validity, Subject, SubjectsInfo asn1.RawValue
		}
	}
	if _, err := asn1.Unmarshal(certificate, &fields); err != nil {
		return "", fmt.Errorf("no certificate: %w", err)
	}
	return hashOf(fields.TBS.SubjectsInfo.FullBytes), nil
}

func hashOf(publicKeyInfo []byte) string {
	sum := sha256.Sum256(publicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}
