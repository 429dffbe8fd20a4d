package cluster

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// Request is the state of a kubelet's CertificateSigningRequest.
type Request struct {
	Name    string
	Pending bool
	Denied  bool
	Own     bool   // made with the key that the kubelet has now
	Message string // the approver's own words, when denied, in one line

	Before *Request // the newest one that was denied before this one, if any
}

// Request returns the newest request for a client certificate of the named
// node, or nil. Where the kubelet's own key is known, only a request made with
// that key counts: another machine may ask for the same name. A bootstrap token
// may list requests (ClusterRole system:node-bootstrapper).
func (c *Client) Request(ctx context.Context, nodeName string, key crypto.PublicKey) (*Request, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var list certificatesv1.CertificateSigningRequestList
	err := c.certs.Get().Resource("certificatesigningrequests").MaxRetries(0).
		Param("fieldSelector", "spec.signerName="+certificatesv1.KubeAPIServerClientKubeletSignerName).
		Do(ctx).Into(&list)
	if err != nil {
		return nil, fmt.Errorf("listing certificate requests: %w", err)
	}
	ours := slices.DeleteFunc(list.Items, func(csr certificatesv1.CertificateSigningRequest) bool {
		return !isRequestOf(csr.Spec.Request, nodeName, key)
	})
	// The times are whole seconds: of two within one, that which is decided came first, for a kubelet asks again then.
	slices.SortStableFunc(ours, func(a, b certificatesv1.CertificateSigningRequest) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), len(b.Status.Conditions)-len(a.Status.Conditions))
	})
	var newest, denied *Request
	for i := range ours {
		newest = requestOf(&ours[i], key != nil)
		newest.Before = denied
		if newest.Denied {
			denied = newest
		}
	}
	return newest, nil
}

func requestOf(csr *certificatesv1.CertificateSigningRequest, own bool) *Request {
	r := &Request{Name: csr.Name, Pending: len(csr.Status.Certificate) == 0, Own: own}
	for _, cond := range csr.Status.Conditions {
		refused := cond.Type == certificatesv1.CertificateDenied || cond.Type == certificatesv1.CertificateFailed
		if refused && cond.Status != corev1.ConditionFalse {
			r.Pending, r.Denied, r.Message = false, true, words(cond)
		}
	}
	return r
}

// words are a condition's message and its reason, as far as it has them.
func words(cond certificatesv1.CertificateSigningRequestCondition) string {
	message := strings.Join(strings.Fields(cond.Message), " ")
	switch {
	case message == "":
		return cond.Reason
	case cond.Reason == "":
		return message
	}
	return fmt.Sprintf("%s (%s)", message, cond.Reason)
}

func isRequestOf(raw []byte, nodeName string, key crypto.PublicKey) bool {
	block, _ := pem.Decode(raw)
	if block == nil {
		return false
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.Subject.CommonName != nodeUserPrefix+nodeName {
		return false
	}
	own, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	return !ok || own.Equal(request.PublicKey)
}
