package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

var (
	// ErrUnusable: the files are there and were read, and no kubelet could use
	// what is in them.
	ErrUnusable = errors.New("no kubelet can use these credentials")
	// ErrNotUnderstood: a kubelet may be able to use them; this program cannot.
	// See [NotUnderstoodError].
	ErrNotUnderstood = errors.New("these credentials are not understood")
)

// NotUnderstoodError says why credentials are not understood, and what they
// tell all the same.
type NotUnderstoodError struct {
	Path   string // of the kubeconfig
	Field  string // as it is written there
	Reason string

	NodeName string // from the certificate's CN; "" if that cannot be read
	Server   string // "" if that is not understood
	CA       []byte // PEM; nil if none can be read
}

func (e *NotUnderstoodError) Error() string { return inField(e.Path, e.Field, e.Reason) }

// Is makes every one of them an [ErrNotUnderstood].
func (e *NotUnderstoodError) Is(target error) bool { return target == ErrNotUnderstood }

type unusableError struct{ path, field, reason string }

func (e *unusableError) Error() string { return inField(e.path, e.field, e.reason) }

func (e *unusableError) Is(target error) bool { return target == ErrUnusable }

func inField(path, field, reason string) string {
	if field == "" {
		return fmt.Sprintf("%q: %s", path, reason)
	}
	return fmt.Sprintf("%q: %s: %s", path, field, reason)
}

// LoadKubeletConf reads a kubelet's kubeconfig and what it points to, as the
// kubelet reads them: what path is relative to the file is so to client-go. The
// path itself is absolute.
//
// An error is of one of four kinds, and none of them stands for another:
//   - it wraps fs.ErrNotExist: the kubeconfig, or the certificate or key that it
//     names, is not there. The kubelet writes kubelet.conf before it has its
//     first certificate, and waits for that;
//   - [ErrUnusable];
//   - [ErrNotUnderstood]: a living member may speak with them;
//   - any other: a file could not be read (an *fs.PathError), nothing is known.
//
// An error names file, field and reason, and quotes nothing that may be secret.
//
// A kubelet that rotates its certificate prefers kubelet-client-current.pem of
// its --cert-dir to the pair that its kubeconfig names (client-go's FileStore).
// kubeadm and the kubelet itself name that very file; where somebody named
// another, what is read here may be useless and the kubelet fine.
func LoadKubeletConf(path string) (*Credentials, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's credentials: %w", err)
	}
	creds, err := readKubeletConf(path, raw)
	if err != nil {
		return nil, fmt.Errorf("reading the kubelet's credentials: %w", err)
	}
	return creds, nil
}

func readKubeletConf(path string, raw []byte) (*Credentials, error) {
	if len(raw) == 0 {
		return nil, &unusableError{path, "", "it is empty"}
	}
	config, err := clientcmd.Load(raw)
	if err != nil {
		return nil, &unusableError{path, "", unparsed(err).Error()}
	}
	if err := clientcmd.ResolveConfigPaths(config, filepath.Dir(path)); err != nil {
		return nil, err
	}
	// Without a current context client-go takes the cluster and the user that have no name.
	context := config.Contexts[config.CurrentContext]
	switch {
	case context == nil && config.CurrentContext != "":
		return nil, &unusableError{path, "current-context", "there is no context of that name"}
	case context == nil:
		context = clientcmdapi.NewContext()
	}
	c := &kubeletConf{path: path, cluster: config.Clusters[context.Cluster], user: config.AuthInfos[context.AuthInfo]}
	switch {
	case c.cluster == nil:
		return nil, &unusableError{path, "clusters", "the current context names no cluster"}
	case c.user == nil:
		return nil, &unusableError{path, "users", "the current context names no user"}
	}
	c.skim()
	for _, judge := range []func() error{c.server, c.certificate, c.otherWays, c.token, c.authority} {
		if err := judge(); err != nil {
			return nil, err
		}
	}
	return &c.creds, nil
}

// kubeletConf is a kubeconfig that is becoming credentials.
type kubeletConf struct {
	path    string
	cluster *clientcmdapi.Cluster
	user    *clientcmdapi.AuthInfo
	creds   Credentials
}

func (c *kubeletConf) unusable(field, reason string) error {
	return &unusableError{c.path, field, reason}
}

func (c *kubeletConf) notUnderstood(field, reason string) error {
	return &NotUnderstoodError{
		Path: c.path, Field: field, Reason: reason,
		NodeName: c.creds.NodeName, Server: c.creds.Server, CA: c.creds.CA,
	}
}

// skim notes what can be told even if the rest is not understood.
func (c *kubeletConf) skim() {
	if ca, err := c.read("", c.cluster.CertificateAuthorityData, c.cluster.CertificateAuthority); err == nil && hasBlock(ca, isCertificate) {
		c.creds.CA = ca
	}
	if cert, err := c.read("", c.user.ClientCertificateData, c.user.ClientCertificate); err == nil {
		c.creds.NodeName = nodeNameIn(cert)
	}
}

// nodeNameIn is the node that a client's certificate (PEM) names, or "".
func nodeNameIn(cert []byte) string {
	leaf := firstCertificate(cert)
	if leaf == nil || !strings.HasPrefix(leaf.Subject.CommonName, nodeUserPrefix) {
		return ""
	}
	return strings.TrimPrefix(leaf.Subject.CommonName, nodeUserPrefix)
}

func (c *kubeletConf) server() error {
	u, err := url.Parse(c.cluster.Server)
	switch {
	case c.cluster.Server == "":
		return c.unusable("server", "not given")
	case err != nil || u.Scheme != "https" || u.Host == "":
		return c.notUnderstood("server", fmt.Sprintf("%q is not an https URL", redacted(c.cluster.Server)))
	}
	c.creds.Server, c.creds.serverName = c.cluster.Server, c.cluster.TLSServerName
	if c.cluster.ProxyURL == "" {
		return nil
	}
	proxy, err := url.Parse(c.cluster.ProxyURL)
	if err != nil || proxy.Host == "" || proxy.Scheme != "http" && proxy.Scheme != "https" && proxy.Scheme != "socks5" {
		return c.notUnderstood("proxy-url", "it is not the URL of an http, https or socks5 proxy")
	}
	c.creds.proxy = proxy
	return nil
}

// certificate reads certificate and key, if there are any. A rotation may fall
// between the two: then the next look finds them whole.
func (c *kubeletConf) certificate() error {
	u := c.user
	if len(u.ClientCertificateData) == 0 && u.ClientCertificate == "" {
		return nil
	}
	cert, err := c.read("client-certificate", u.ClientCertificateData, u.ClientCertificate)
	if err != nil {
		return err
	}
	key, err := c.read("client-key", u.ClientKeyData, u.ClientKey)
	switch {
	case err != nil:
		return err
	case len(u.ClientKeyData) == 0 && u.ClientKey == "":
		return c.unusable("client-key", "not given, but a client-certificate is")
	case !hasBlock(cert, isCertificate):
		return c.unusable("client-certificate", "no certificate in "+place(u.ClientCertificate))
	case !hasBlock(key, isPrivateKey):
		return c.unusable("client-key", "no private key in "+place(u.ClientKey))
	}
	c.creds.NodeName = nodeNameIn(cert) // the first certificate may have come since skim
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err != nil && firstCertificate(cert) == nil:
		return c.notUnderstood("client-certificate", fmt.Sprintf("%s: %s", place(u.ClientCertificate), err))
	case err != nil && strings.Contains(err.Error(), "does not match"): // another certificate's
		return c.notUnderstood("client-key", fmt.Sprintf("%s: %s", place(u.ClientKey), err))
	case err != nil:
		return c.notUnderstood("client-key", fmt.Sprintf("%s: %s", place(u.ClientKey), &AlgorithmError{What: "it is of an algorithm or in a form", Err: err}))
	case c.creds.NodeName == "":
		return c.notUnderstood("client-certificate", fmt.Sprintf("%s: its CN is %q, not a node's", place(u.ClientCertificate), pair.Leaf.Subject.CommonName))
	}
	c.creds.pair = func() (tls.Certificate, error) { return keyPair(u) }
	c.creds.NotAfter = pair.Leaf.NotAfter
	c.creds.chain = []*x509.Certificate{pair.Leaf}
	for _, der := range pair.Certificate[1:] {
		if parent, err := x509.ParseCertificate(der); err == nil {
			c.creds.chain = append(c.creds.chain, parent)
		}
	}
	return nil
}

// otherWays are those in which a kubelet may name itself and this program does
// not. client-go would run an exec plugin without a deadline, and with this
// program's environment, in which a token may be.
func (c *kubeletConf) otherWays() error {
	u := c.user
	switch {
	case u.Exec != nil:
		return c.notUnderstood("exec", "the credentials come from a program, which nodejoin does not run")
	case u.AuthProvider != nil:
		return c.notUnderstood("auth-provider", "the credentials come from a plugin, which nodejoin does not have")
	case u.Username != "" || u.Password != "":
		return c.notUnderstood("username", "nodejoin shows no passwords")
	case u.Impersonate != "" || u.ImpersonateUID != "" || len(u.ImpersonateGroups)+len(u.ImpersonateUserExtra) > 0:
		return c.notUnderstood("as", "nodejoin acts as nobody else")
	}
	return nil
}

// token notes the token, if there is one. Its file may be filled late, on tmpfs
// as a rule, by whoever hands out tokens: the lack of it proves nothing.
func (c *kubeletConf) token() error {
	c.creds.bearer = bearer{token: c.user.Token, file: c.user.TokenFile}
	switch {
	case c.creds.bearer == bearer{} && c.creds.pair == nil:
		return c.unusable("users", "the user has neither certificate nor token")
	case c.user.Token != "" || c.user.TokenFile == "":
		return nil
	}
	token, err := c.read("tokenFile", nil, c.user.TokenFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.notUnderstood("tokenFile", c.user.TokenFile+" is not there")
	case err != nil:
		return err
	case len(bytes.TrimSpace(token)) == 0:
		return c.notUnderstood("tokenFile", c.user.TokenFile+" is empty")
	}
	return nil
}

// authority sees that the API server can prove itself: without that no answer
// of its is worth anything. A CA that is lost can be put back, and the client's
// certificate is good again: it is not taken for credentials that are not there.
func (c *kubeletConf) authority() error {
	file := c.cluster.CertificateAuthority
	ca, err := c.read("certificate-authority", c.cluster.CertificateAuthorityData, file)
	switch {
	case c.cluster.InsecureSkipTLSVerify:
		return c.notUnderstood("insecure-skip-tls-verify", "nothing proves the API server")
	case errors.Is(err, fs.ErrNotExist):
		return c.notUnderstood("certificate-authority", file+" is not there")
	case err != nil:
		return err
	case len(ca) == 0: // a kubelet would go by the system's CAs
		return c.notUnderstood("certificate-authority", "none is given")
	case !hasBlock(ca, isCertificate):
		return c.unusable("certificate-authority", "no certificate in "+place(file))
	}
	c.creds.CA = ca // it may have come since skim
	if _, err := certificates(ca); err != nil {
		return c.notUnderstood("certificate-authority", fmt.Sprintf("%s: %s", place(file), err))
	}
	if err := caAlgorithm(ca); err != nil {
		return c.notUnderstood("certificate-authority", place(file)+": "+err.Error())
	}
	return nil
}

// read returns what a field holds, here or in the file that it names; client-go
// takes no kubeconfig that has both.
func (c *kubeletConf) read(field string, data []byte, file string) ([]byte, error) {
	switch {
	case len(data) > 0 && file != "":
		return nil, c.unusable(field, "given twice, as a file and as data")
	case file == "":
		return data, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%q: %s: %w", c.path, field, err)
	}
	return content, nil
}

func place(file string) string {
	if file == "" {
		return "its data"
	}
	return file
}

// redacted takes out of a URL what it may show to a server.
func redacted(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return u.Redacted()
	}
	return "what is given"
}

func isCertificate(blockType string) bool { return blockType == "CERTIFICATE" }

// isPrivateKey is as crypto/tls looks for one.
func isPrivateKey(blockType string) bool {
	return blockType == "PRIVATE KEY" || strings.HasSuffix(blockType, " PRIVATE KEY")
}

func hasBlock(text []byte, wanted func(blockType string) bool) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if wanted(block.Type) {
			return true
		}
	}
}
