package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// probeFile takes server and CA from a discovery file, and the credentials
// too if it has some and no token was given.
func (d *Discoverer) probeFile(ctx context.Context, bearer string) Probe {
	raw, err := readFileOrURL(ctx, d.source.File)
	if err != nil {
		return Probe{Err: fmt.Errorf("reading the discovery file: %w", err)}
	}
	cluster, user, err := parseKubeconfig(raw)
	if err != nil {
		return Probe{Err: fmt.Errorf("reading the discovery file %q: %w", d.source.File, err)}
	}
	p := Probe{Verdict: Proven, Server: cluster.Server}
	if p.CA, err = dataOrFile(cluster.CertificateAuthorityData, cluster.CertificateAuthority); err != nil {
		return Probe{Err: fmt.Errorf("reading the discovery file %q: certificate-authority: %w", d.source.File, err)}
	}
	p.Bundle = p.CA
	if bearer == "" {
		bearer = user.Token
	}
	if bearer == "" && user.TokenFile != "" {
		token, err := os.ReadFile(user.TokenFile)
		if err != nil {
			return Probe{Err: fmt.Errorf("reading the discovery file %q: tokenFile: %w", d.source.File, err)}
		}
		bearer = strings.TrimSpace(string(token))
	}
	if bearer != "" {
		return d.ask(ctx, p, bearer)
	}
	if key := string(raw); d.key != key {
		creds := &Credentials{Server: p.Server, CA: p.CA, pair: func() (tls.Certificate, error) { return keyPair(user) }}
		if _, err := creds.pair(); err != nil {
			return Probe{Err: fmt.Errorf("reading the discovery file %q: no token was given and it has no credentials: %w", d.source.File, err)}
		}
		client, err := creds.Client()
		if err != nil {
			return Probe{Err: err}
		}
		d.keep(client, key)
	}
	return d.judge(ctx, p)
}

// readFileOrURL reads a discovery file as kubeadm does (app/discovery/https): a
// URL must be https and is trusted by the system's CAs.
func readFileOrURL(ctx context.Context, path string) ([]byte, error) {
	if !strings.HasPrefix(path, "https://") {
		return os.ReadFile(path)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(to *http.Request, via []*http.Request) error {
		if to.URL.Scheme != "https" || len(via) > 9 {
			return fmt.Errorf("it leads to %s://%s, which is not https or a step too many", to.URL.Scheme, to.URL.Host)
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}

// DiscoveryFileCA reads the CA (PEM) that a discovery file vouches for.
func DiscoveryFileCA(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cluster, _, err := parseKubeconfig(raw)
	if err != nil {
		return nil, err
	}
	return dataOrFile(cluster.CertificateAuthorityData, cluster.CertificateAuthority)
}

// CheckCredentials says that a discovery file has no credentials, or none that can
// be used here: kubeadm would run an exec plugin. One at a URL, or one that cannot be
// read just now, is for a probe to tell of.
func CheckCredentials(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, user, err := parseKubeconfig(raw)
	if err != nil || user.Token != "" || user.TokenFile != "" || user.ClientCertificate != "" || len(user.ClientCertificateData) > 0 {
		return nil
	}
	return fmt.Errorf("--discovery-file: no token was given, and %q has neither a token nor a client certificate in it", path)
}

// HoldsSecret reports whether a discovery file has credentials in it: more than
// the names of other files. One that cannot be read has none to anybody's eyes.
func HoldsSecret(path string) bool {
	raw, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	config, err := clientcmd.Load(raw)
	if err != nil {
		return false
	}
	for _, user := range config.AuthInfos {
		if user.Token != "" || user.Password != "" || len(user.ClientKeyData) > 0 {
			return true
		}
	}
	return false
}
