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
	Name     string
	NodeName string // that the certificate is to be for
	Pending  bool
	Denied   bool
	Own      bool   // made with the key that the kubelet has now
	Message  string // the approver's own words, when denied, in one line

	Before *Request // the newest one that was denied before this one, if any
}

// Request is [Client.Requests] for a node that has one name.
func (c *Client) Request(ctx context.Context, nodeName string, key crypto.PublicKey) (*Request, error) {
	return c.Requests(ctx, []string{nodeName}, key)
}

// Requests returns the newest request for a client certificate of a node that
// may go by several names, or nil: a kubelet may have been told another one than
// the host has. Where the kubelet's own key is known, only a request made with
// that key counts: another machine may ask for the same name. A bootstrap token
// may list requests (ClusterRole system:node-bootstrapper).
func (c *Client) Requests(ctx context.Context, names []string, key crypto.PublicKey) (*Request, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var list certificatesv1.CertificateSigningRequestList
	err := c.certs.Get().Resource("certificatesigningrequests").MaxRetries(0).
		Param("fieldSelector", "spec.signerName="+certificatesv1.KubeAPIServerClientKubeletSignerName).
		Do(ctx).Into(&list)
	if err != nil {
		return nil, fmt.Errorf("listing certificate requests: %w", err)
	}
	var ours []nodeRequest
	for _, csr := range list.Items {
		if name := requestedName(csr.Spec.Request, key); name != "" && slices.Contains(names, name) {
			ours = append(ours, nodeRequest{csr, name})
		}
	}
	// The times are whole seconds: of two within one, that which is decided came first, for a kubelet asks again then.
	slices.SortStableFunc(ours, func(a, b nodeRequest) int {
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

// nodeRequest is a request whose node's name was read from it.
type nodeRequest struct {
	certificatesv1.CertificateSigningRequest
	nodeName string
}

func requestOf(csr *nodeRequest, own bool) *Request {
	r := &Request{Name: csr.Name, NodeName: csr.nodeName, Pending: len(csr.Status.Certificate) == 0, Own: own}
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

// requestedName returns the node that a request made with key is for, or "".
func requestedName(raw []byte, key crypto.PublicKey) string {
	block, _ := pem.Decode(raw)
	if block == nil {
		return ""
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return ""
	}
	if own, ok := key.(interface{ Equal(crypto.PublicKey) bool }); ok && !own.Equal(request.PublicKey) {
		return ""
	}
	name, ok := strings.CutPrefix(request.Subject.CommonName, nodeUserPrefix)
	if !ok {
		return ""
	}
	return name
}
