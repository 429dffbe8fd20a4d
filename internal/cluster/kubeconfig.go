package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// nodeUserPrefix begins the CN of every kubelet's client certificate.
const nodeUserPrefix = "system:node:"

// Credentials are the kubelet's own: they exist only when certificate and key
// load. (The kubelet writes kubelet.conf before it has the certificate.)
type Credentials struct {
	Server   string    // URL of the API server
	CA       []byte    // PEM
	NodeName string    // from the certificate's CN
	NotAfter time.Time // by which the certificate expires

	pair func() (tls.Certificate, error)
}

// LoadKubeletConf reads kubelet.conf and what it points to. The error wraps
// fs.ErrNotExist if the file, or the certificate it names, is not there.
func LoadKubeletConf(path string) (*Credentials, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's credentials: %w", err)
	}
	creds, err := parseCredentials(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's credentials: %q: %w", path, err)
	}
	return creds, nil
}

func parseCredentials(raw []byte) (*Credentials, error) {
	cluster, user, err := parseKubeconfig(raw)
	if err != nil {
		return nil, err
	}
	creds := &Credentials{Server: cluster.Server, pair: func() (tls.Certificate, error) { return keyPair(user) }}
	if creds.CA, err = dataOrFile(cluster.CertificateAuthorityData, cluster.CertificateAuthority); err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	if _, err := CAHashes(creds.CA); err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	pair, err := creds.pair()
	if err != nil {
		return nil, err
	}
	creds.NotAfter = pair.Leaf.NotAfter
	name, ok := strings.CutPrefix(pair.Leaf.Subject.CommonName, nodeUserPrefix)
	if !ok || name == "" {
		return nil, fmt.Errorf("client-certificate: its CN is %q, not a node's", pair.Leaf.Subject.CommonName)
	}
	creds.NodeName = name
	return creds, nil
}

// Client returns a client with the kubelet's credentials. The certificate is
// read again for each connection, as the kubelet rotates it.
func (c *Credentials) Client() (*Client, error) {
	tlsConfig, err := verifying(c.CA)
	if err != nil {
		return nil, err
	}
	tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := c.pair()
		return &pair, err
	}
	transport := newTransport(tlsConfig)
	transport.ForceAttemptHTTP2 = true // one connection for a watch and all questions beside it
	return newClientOver(transport, c.Server, "")
}

// parseKubeconfig returns the cluster and the user of the current context. A
// file with one cluster and no context, as cluster-info is, has no user.
func parseKubeconfig(raw []byte) (*clientcmdapi.Cluster, *clientcmdapi.AuthInfo, error) {
	config, err := clientcmd.Load(raw)
	if err != nil {
		return nil, nil, unparsed(err)
	}
	context, user := config.Contexts[config.CurrentContext], clientcmdapi.NewAuthInfo()
	var cluster *clientcmdapi.Cluster
	if context != nil {
		cluster = config.Clusters[context.Cluster]
		if u := config.AuthInfos[context.AuthInfo]; u != nil {
			user = u
		}
	} else if len(config.Clusters) == 1 {
		for _, only := range config.Clusters {
			cluster = only
		}
	}
	if cluster == nil {
		return nil, nil, errors.New("it names no cluster")
	}
	if u, err := url.Parse(cluster.Server); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, nil, fmt.Errorf("server %q is not an https URL", cluster.Server)
	}
	return cluster, user, nil
}

var atLine = regexp.MustCompile(`line \d+`)

// unparsed keeps of a parser's words only where it stopped: they may quote the
// file, secrets included.
func unparsed(err error) error {
	if line := atLine.FindString(err.Error()); line != "" {
		return fmt.Errorf("it is not a kubeconfig (%s)", line)
	}
	return errors.New("it is not a kubeconfig")
}

func keyPair(user *clientcmdapi.AuthInfo) (tls.Certificate, error) {
	cert, err := dataOrFile(user.ClientCertificateData, user.ClientCertificate)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client-certificate: %w", err)
	}
	key, err := dataOrFile(user.ClientKeyData, user.ClientKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client-key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client-certificate: %w", err)
	}
	return pair, nil
}

func dataOrFile(data []byte, path string) ([]byte, error) {
	switch {
	case len(data) > 0:
		return data, nil
	case path == "":
		return nil, errors.New("not given")
	}
	return os.ReadFile(path)
}
