package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

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
