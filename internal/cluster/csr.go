package cluster

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// Request is the state of a kubelet's CertificateSigningRequest.
type Request struct {
	Name    string
	Pending bool
	Denied  bool
	Own     bool   // made with the key that the kubelet has now
	Message string // the approver's own, when denied
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
	var newest *certificatesv1.CertificateSigningRequest
	for i := range list.Items {
		csr := &list.Items[i]
		if isRequestOf(csr.Spec.Request, nodeName, key) &&
			(newest == nil || newest.CreationTimestamp.Before(&csr.CreationTimestamp)) {
			newest = csr
		}
	}
	if newest == nil {
		return nil, nil
	}
	r := &Request{Name: newest.Name, Pending: len(newest.Status.Certificate) == 0, Own: key != nil}
	for _, cond := range newest.Status.Conditions {
		refused := cond.Type == certificatesv1.CertificateDenied || cond.Type == certificatesv1.CertificateFailed
		if refused && cond.Status != corev1.ConditionFalse {
			r.Pending, r.Denied, r.Message = false, true, cond.Message
		}
	}
	return r, nil
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
