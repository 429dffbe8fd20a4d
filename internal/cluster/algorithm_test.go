package cluster

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// mldsaKey is an ML-DSA-44 key (RFC 9881), of bytes that are no secret; false: this Go does not know them.
func mldsaKey(t *testing.T, seed byte) (crypto.Signer, []byte, bool) {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}{Algorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}}, Key: append([]byte{0x80, 32}, bytes.Repeat([]byte{seed}, 32)...)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := key.(crypto.Signer)
	return signer, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err == nil && ok
}

// certificateOf is one of a key, signed by a parent's; a nil parent: by itself.
func certificateOf(t *testing.T, cn string, key crypto.Signer, parent *x509.Certificate, by crypto.Signer) (*x509.Certificate, []byte) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: parent == nil,
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Kubernetes 1.38 makes such keys, and Go before 1.27 does not know them.
func TestMLDSAIsSpokenOrSaidNotToBeKnown(t *testing.T) {
	t.Parallel()
	caKey, _, known := mldsaKey(t, 1)
	if !known {
		k := newKubelet(t)
		_, key, _ := mldsaKey(t, 3)
		cert, _ := k.ca.issue(t, "system:node:w1")
		k.write(t, "pki/current.pem", append(cert, key...))
		_, err := k.load(t)
		if !errors.Is(err, ErrNotUnderstood) || !strings.Contains(err.Error(), runtime.Version()) {
			t.Errorf("a key of ML-DSA: %v", err)
		}
		return
	}
	ca, caPEM := certificateOf(t, "kubernetes", caKey, nil, nil)
	serverKey, serverKeyPEM, _ := mldsaKey(t, 2)
	_, serverPEM := certificateOf(t, "kube-apiserver", serverKey, ca, caKey)
	s := newAPIServer(t)
	pair, err := tls.X509KeyPair(serverPEM, serverKeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS.Certificates = []tls.Certificate{pair}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}, nil
	}
	s.ca = &authority{cert: ca, pem: caPEM}
	s.info = s.signed(tokenSecret)
	if p := s.probe(t, s.ca.pin()); p.Verdict != Proven || !p.Pinned {
		t.Errorf("verdict %d, %v", p.Verdict, p.Err)
	}
	if IsStranger(t.Context(), s.URL, caPEM) {
		t.Error("its own server is a stranger")
	}
	kubeletKey, kubeletKeyPEM, _ := mldsaKey(t, 3)
	_, kubeletPEM := certificateOf(t, "system:node:w1", kubeletKey, ca, caKey)
	k := newKubelet(t)
	k.replace("https://10.0.0.1:6443", s.URL)
	k.write(t, "pki/current.pem", slices.Concat(kubeletPEM, kubeletKeyPEM))
	k.write(t, "ca.crt", caPEM)
	creds, err := k.load(t)
	if err != nil {
		t.Fatal(err)
	}
	client, err := creds.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if seen := client.Node(t.Context(), "w1"); seen.Answer != Absent || creds.NodeName != "w1" {
		t.Errorf("%+v", seen)
	}
	if signed, sure := creds.IssuedBy(caPEM); !signed || !sure {
		t.Errorf("signed by its CA: %t, %t", signed, sure)
	}
}

// An algorithm that does not exist, so that no Go will ever know it.
func TestCAOfAnUnknownAlgorithmIsNoOtherClustersAndProvesNobody(t *testing.T) {
	t.Parallel()
	for name, unknown := range map[string][]byte{"an algorithm": {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}, "a curve": {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}} {
		s := newAPIServer(t)
		text := unknownIn(t, s.ca.pem, unknown)
		if pins, err := CAHashes(text); err != nil || len(pins) != 1 || pins[0] == s.ca.pin() {
			t.Fatalf("%s: %v, %v", name, pins, err)
		}
		s.ca.pem = text
		for _, secret := range []string{tokenSecret, "another0another0"} {
			s.info = s.signed(secret)
			var strange *AlgorithmError
			p := s.probe(t, s.ca.pin())
			if p.Verdict != Unreachable || !errors.As(p.Err, &strange) || !strange.CA || !strings.Contains(p.Err.Error(), runtime.Version()) {
				t.Errorf("%s, pinned: verdict %d, %v", name, p.Verdict, p.Err)
			}
		}
		if p := s.probe(t, newAuthority(t).pin()); p.Verdict != WrongCA {
			t.Errorf("%s, and another pin: verdict %d, %v", name, p.Verdict, p.Err)
		}
		s.info = s.signed(tokenSecret)
		var strange *AlgorithmError
		if p := s.probe(t); p.Verdict != Unreachable || !errors.As(p.Err, &strange) || !strange.CA {
			t.Errorf("%s, not pinned: verdict %d, %v", name, p.Verdict, p.Err)
		}
		if s.sawToken() {
			t.Errorf("%s: the token was shown", name)
		}
		if IsStranger(t.Context(), s.URL, text) {
			t.Errorf("%s: its server is a stranger", name)
		}
	}
}

func unknownIn(t *testing.T, text, known []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if !bytes.Contains(block.Bytes, known) {
		t.Fatal("it has no such algorithm")
	}
	last := len(known) - 1
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: bytes.Replace(block.Bytes, known, append(slices.Clone(known[:last]), 0x7f), 1)})
}

// What a server shows that this Go cannot check says nothing of whose server it is.
func TestServerWhoseCertificateIsOfAnUnknownAlgorithmIsNeitherDownNorAStranger(t *testing.T) {
	t.Parallel()
	s := newAPIServer(t)
	cert := slices.Clone(s.TLS.Certificates[0].Certificate[0])
	ecdsaWithSHA256 := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}
	cert = bytes.ReplaceAll(cert, ecdsaWithSHA256, append(slices.Clone(ecdsaWithSHA256[:7]), 0x7f))
	pair := tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: s.TLS.Certificates[0].PrivateKey}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
	}
	var strange *AlgorithmError
	if p := s.probe(t, s.ca.pin()); p.Verdict != Unreachable || !errors.As(p.Err, &strange) || strange.CA {
		t.Errorf("verdict %d, %v", p.Verdict, p.Err)
	}
	s.info = nil // nothing but the certificate tells whose it is
	if IsStranger(t.Context(), s.URL, s.ca.pem) {
		t.Error("it is a stranger")
	}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }
	// A server without a key of an algorithm that its client knows ends the handshake so.
	none := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair := s.TLS.Certificates[0]
		pair.SupportedSignatureAlgorithms = []tls.SignatureScheme{0x7f7f}
		return &pair, nil
	}}
	s.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return none, nil }
	if p := s.probe(t, s.ca.pin()); p.Verdict != Unreachable || !errors.As(p.Err, &strange) || strange.CA || !strings.Contains(p.Err.Error(), "handshake failure") {
		t.Errorf("verdict %d, %v", p.Verdict, p.Err)
	}
}
