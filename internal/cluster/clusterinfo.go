package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/token/jws"
)

// reading is what a kubeconfig in cluster-info amounts to, on a connection.
type reading struct {
	kubeconfig string
	peer       *[]*x509.Certificate

	cluster *clientcmdapi.Cluster
	ca      []byte // that is pinned; nil: none is
	chained bool   // peer chains to it
}

// read remembers the last reading: half of a probe's work, and the same each
// time while a signature is waited for.
func (d *Discoverer) read(kubeconfig string) (*reading, error) {
	peer := d.peer.Load()
	if d.last != nil && d.last.kubeconfig == kubeconfig && d.last.peer == peer {
		return d.last, nil
	}
	cluster, _, err := parseKubeconfig([]byte(kubeconfig))
	if err != nil {
		return nil, err
	}
	d.last = &reading{kubeconfig: kubeconfig, peer: peer, cluster: cluster}
	if ca, found := pinned(cluster.CertificateAuthorityData, d.source.Pins); found {
		d.last.ca, d.last.chained = ca, d.chains(peer, ca)
	}
	return d.last, nil
}

// clusterInfo reads the public ConfigMap; without it, the probe says why.
func (d *Discoverer) clusterInfo(ctx context.Context) (*corev1.ConfigMap, Probe) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !d.hears {
		d.dialed = time.Now()
		if err := d.door.knock(ctx); err != nil {
			return nil, Probe{Err: fmt.Errorf("getting cluster-info: %w", err)}
		}
		defer d.door.Close() // in vain, where a connection was kept after all
	}
	var info corev1.ConfigMap
	err := d.anon.core.Get().Namespace("kube-public").Resource("configmaps").
		Name(bootstrapapi.ConfigMapClusterInfo).MaxRetries(0).Do(ctx).Into(&info)
	d.hears = err == nil || Answered(err)
	switch {
	case err == nil && info.Data[bootstrapapi.KubeConfigKey] != "":
		return &info, Probe{}
	case err == nil:
		err = errors.New("it has no kubeconfig in it")
		return nil, Probe{Verdict: NotServed, Err: fmt.Errorf("getting cluster-info: %w", err)}
	}
	p := Probe{Err: fmt.Errorf("getting cluster-info: %w", err), RetryAfter: retryAfter(err)}
	if apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		p.Verdict = NotServed
	}
	return nil, p
}

// signature checks the detached JWS that the bootstrap signer adds for every
// token, keyed by its ID.
func signature(data map[string]string, id, secret string) (signers int, v Verdict, err error) {
	for key := range data {
		if strings.HasPrefix(key, bootstrapapi.JWSSignatureKeyPrefix) {
			signers++
		}
	}
	sig := data[bootstrapapi.JWSSignatureKeyPrefix+id]
	switch {
	case sig == "":
		return signers, Unsigned, fmt.Errorf("cluster-info is not signed for token ID %q", id)
	case !jws.DetachedTokenIsValid(sig, data[bootstrapapi.KubeConfigKey], id, secret):
		return signers, BadSignature, fmt.Errorf("cluster-info is signed for token ID %q with another secret", id)
	}
	return signers, Proven, nil
}

func wrongCA(cluster *clientcmdapi.Cluster, pins []string) Probe {
	got := "none that can be read"
	if hashes, err := CAHashes(cluster.CertificateAuthorityData); err == nil {
		got = strings.Join(hashes, ", ")
	}
	return Probe{Verdict: WrongCA, Err: fmt.Errorf("the cluster's CA is %s, pinned is %s", got, strings.Join(pins, ", "))}
}

func (d *Discoverer) chains(peer *[]*x509.Certificate, ca []byte) bool {
	pool := x509.NewCertPool()
	if peer == nil || len(*peer) == 0 || !pool.AppendCertsFromPEM(ca) {
		return false
	}
	host, _, err := net.SplitHostPort(d.source.Endpoint)
	if err != nil {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range (*peer)[1:] {
		between.AddCert(c)
	}
	_, err = (*peer)[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: host})
	return err == nil
}

// IsStranger reports whether a server answers whose certificate does not chain
// to ca (PEM). Silence is no answer. Nothing secret is sent.
func IsStranger(ctx context.Context, server string, ca []byte) bool {
	client, err := NewTokenClient(server, ca, "")
	if err != nil {
		return false
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = client.core.Get().AbsPath("/version").MaxRetries(0).Do(ctx).Error()
	var unknown x509.UnknownAuthorityError
	var algorithm *AlgorithmError
	return errors.As(err, &unknown) && !errors.As(err, &algorithm) && !namesCA(ctx, server, ca)
}

// namesCA reports whether the server's cluster-info has the CA, as it has where a
// load balancer shows a certificate of its own. It proves nothing: good only for
// leaving a doubt to those who ask on, over TLS that chains to the CA.
func namesCA(ctx context.Context, server string, ca []byte) bool {
	d, err := NewDiscoverer(Source{Endpoint: strings.TrimPrefix(server, "https://")})
	if err != nil {
		return false
	}
	defer d.Close()
	info, _ := d.clusterInfo(ctx)
	if info == nil {
		return false
	}
	cluster, _, err := parseKubeconfig([]byte(info.Data[bootstrapapi.KubeConfigKey]))
	return err == nil && SameCA(ca, cluster.CertificateAuthorityData)
}
