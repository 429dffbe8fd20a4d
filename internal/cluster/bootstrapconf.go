package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// BootstrapConf is the kubeconfig with which a kubelet asks the server for a
// certificate of its own. It holds the token; without one it is a discovery file.
func BootstrapConf(server string, ca []byte, token string) ([]byte, error) {
	const name = "bootstrap"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return clientcmd.Write(*config)
}

// KubeletConfs are the kubeconfigs that a kubelet writes for itself as soon as it
// bootstraps, before it has the certificate that they name
// (pkg/kubelet/certificate/bootstrap, writeKubeconfigFromBootstrapping): as
// client-go renders one today, and as it did up to 1.33.
func KubeletConfs(server string, ca []byte) ([][]byte, error) {
	const cluster, user, context = "default-cluster", "default-auth", "default-context"
	const certificate = "/var/lib/kubelet/pki/kubelet-client-current.pem"
	config := clientcmdapi.NewConfig()
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificate: certificate, ClientKey: certificate}
	config.Contexts[context] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: user, Namespace: "default"}
	config.CurrentContext = context
	today, err := clientcmd.Write(*config)
	return [][]byte{today, bytes.Replace(today, []byte("\nusers:"), []byte("\npreferences: {}\nusers:"), 1)}, err
}

// ApprovesRequests reports whether the cluster approves by itself what whoever
// holds these credentials asks for a node: it may create the subresource
// nodeclient, which is what the approver looks at
// (pkg/controller/certificates/approver/sarapprove.go).
func (c *Client) ApprovesRequests(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	raw, err := c.core.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").SetHeader("Accept", "application/json").
		SetHeader("Content-Type", "application/json").MaxRetries(0).Body([]byte(`{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview",` +
		`"spec":{"resourceAttributes":{"verb":"create","group":"certificates.k8s.io","resource":"certificatesigningrequests","subresource":"nodeclient"}}}`)).Do(ctx).Raw()
	if err != nil {
		return false, fmt.Errorf("asking whether certificate requests are approved: %w", err)
	}
	var review struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	if err := json.Unmarshal(raw, &review); err != nil {
		return false, fmt.Errorf("reading whether certificate requests are approved: %w", err)
	}
	return review.Status.Allowed, nil
}
