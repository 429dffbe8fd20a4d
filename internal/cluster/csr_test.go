package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// csr is a request as a kubelet makes it, so many seconds after the first.
func csr(t *testing.T, name, node string, key crypto.Signer, at int, conditions ...certificatesv1.CertificateSigningRequestCondition) certificatesv1.CertificateSigningRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: nodeUserPrefix + node, Organization: []string{"system:nodes"}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_800_000_000+int64(at), 0))},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})},
		Status:     certificatesv1.CertificateSigningRequestStatus{Conditions: conditions},
	}
}

func refusal(kind certificatesv1.RequestConditionType, reason, message string) certificatesv1.CertificateSigningRequestCondition {
	return certificatesv1.CertificateSigningRequestCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message}
}

func TestTheRequestThatCounts(t *testing.T) {
	ours, theirs := newKey(t), newKey(t)
	denied := refusal(certificatesv1.CertificateDenied, "NodePolicy", "not on\nthis network")
	bare := refusal(certificatesv1.CertificateDenied, "KubectlDeny", "")
	failed := refusal(certificatesv1.CertificateFailed, "SignerValidationFailure", "no CA")
	approved := refusal(certificatesv1.CertificateApproved, "AutoApproved", "yes")
	issued := csr(t, "a", "w1", ours, 0, approved)
	issued.Status.Certificate = []byte("x")
	first := &Request{NodeName: "w1", Name: "a", Denied: true, Message: "not on this network (NodePolicy)"}
	for name, c := range map[string]struct {
		list []certificatesv1.CertificateSigningRequest
		key  crypto.PublicKey
		want *Request
	}{
		"none":               {},
		"another node's":     {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w2", ours, 0)}},
		"pending":            {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0)}, want: &Request{NodeName: "w1", Name: "a", Pending: true}},
		"approved, unissued": {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, approved)}, want: &Request{NodeName: "w1", Name: "a", Pending: true}},
		"issued":             {list: []certificatesv1.CertificateSigningRequest{issued}, want: &Request{NodeName: "w1", Name: "a"}},
		"denied":             {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, denied)}, want: first},
		"denied, no words":   {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, bare)}, want: &Request{NodeName: "w1", Name: "a", Denied: true, Message: "KubectlDeny"}},
		"its signer failed":  {list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, approved, failed)}, want: &Request{NodeName: "w1", Name: "a", Denied: true, Message: "no CA (SignerValidationFailure)"}},
		"denied, then asked again": {
			list: []certificatesv1.CertificateSigningRequest{csr(t, "c", "w1", theirs, 2), csr(t, "0", "w1", ours, -9, failed), csr(t, "a", "w1", ours, 0, denied)},
			want: &Request{NodeName: "w1", Name: "c", Pending: true, Before: first},
		},
		"denied, asked again, denied": {
			list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, denied), csr(t, "c", "w1", ours, 2, bare)},
			want: &Request{NodeName: "w1", Name: "c", Denied: true, Message: "KubectlDeny", Before: first},
		},
		"issued, then denied": {
			list: []certificatesv1.CertificateSigningRequest{issued, csr(t, "c", "w1", ours, 2, bare)},
			want: &Request{NodeName: "w1", Name: "c", Denied: true, Message: "KubectlDeny"},
		},
		// Times of objects are whole seconds, and a kubelet that is denied at once asks again at once.
		"both within a second": {
			list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0, denied), csr(t, "b", "w1", ours, 0)},
			want: &Request{NodeName: "w1", Name: "b", Pending: true, Before: first},
		},
		"both within a second, listed the other way": {
			list: []certificatesv1.CertificateSigningRequest{csr(t, "b", "w1", ours, 0), csr(t, "a", "w1", ours, 0, denied)},
			want: &Request{NodeName: "w1", Name: "b", Pending: true, Before: first},
		},
		"own key, own request": {
			list: []certificatesv1.CertificateSigningRequest{csr(t, "a", "w1", ours, 0), csr(t, "c", "w1", theirs, 2, denied)}, key: ours.Public(),
			want: &Request{NodeName: "w1", Name: "a", Pending: true, Own: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.node = func(w http.ResponseWriter, _ *http.Request) {
				answer(w, http.StatusOK, certificatesv1.CertificateSigningRequestList{
					TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequestList"}, Items: c.list,
				})
			}
			client, err := NewTokenClient(s.URL, s.ca.pem, token)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			got, err := client.Request(t.Context(), "w1", c.key)
			if err != nil || !same(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// A kubelet may have been told another name than the host has: one list serves all that it may go by.
func TestRequestsUnderSeveralNames(t *testing.T) {
	ours, theirs := newKey(t), newKey(t)
	denied := refusal(certificatesv1.CertificateDenied, "NodePolicy", "not here")
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, certificatesv1.CertificateSigningRequestList{
			TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequestList"},
			Items: []certificatesv1.CertificateSigningRequest{
				csr(t, "a", "w1", ours, 0, denied), csr(t, "b", "w1.example.com", ours, 1), csr(t, "c", "w2", ours, 2), csr(t, "d", "w1", theirs, 3), csr(t, "e", "", ours, 4),
			},
		})
	}
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, c := range map[string]struct {
		names []string
		key   crypto.PublicKey
		want  *Request
	}{
		"none":             {names: nil},
		"an empty one":     {names: []string{""}},
		"one":              {names: []string{"w1.example.com"}, want: &Request{NodeName: "w1.example.com", Name: "b", Pending: true}},
		"two":              {names: []string{"w1.example.com", "w1"}, want: &Request{NodeName: "w1", Name: "d", Pending: true, Before: &Request{NodeName: "w1", Name: "a", Denied: true, Message: "not here (NodePolicy)"}}},
		"two, by own key":  {names: []string{"w1", "w1.example.com"}, key: ours.Public(), want: &Request{NodeName: "w1.example.com", Name: "b", Pending: true, Own: true, Before: &Request{NodeName: "w1", Name: "a", Denied: true, Own: true, Message: "not here (NodePolicy)"}}},
		"another's by key": {names: []string{"w1"}, key: newKey(t).Public()},
	} {
		before := len(s.requests)
		got, err := client.Requests(t.Context(), c.names, c.key)
		if err != nil || !same(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
		if asked := len(s.requests) - before; asked != 1 {
			t.Errorf("%s: asked %d times", name, asked)
		}
	}
}

// same: of those before, the last one matters.
func same(a, b *Request) bool {
	flat := func(r *Request) (out [2]Request) {
		for i := 0; i < len(out) && r != nil; i, r = i+1, r.Before {
			out[i] = *r
			out[i].Before = nil
		}
		return out
	}
	return flat(a) == flat(b)
}
