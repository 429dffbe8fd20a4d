package cluster

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubelet is a folder with a kubelet's files, whose kubelet.conf names the others by relative paths.
type kubelet struct {
	dir  string
	ca   *authority
	conf string // its text
}

const (
	userOfPair = "client-certificate: pki/current.pem, client-key: pki/current.pem"
	clusterOf  = `server: "https://10.0.0.1:6443", certificate-authority: ca.crt`
)

func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	k := &kubelet{dir: t.TempDir(), ca: newAuthority(t)}
	cert, key := k.ca.issue(t, "system:node:w1")
	k.write(t, "ca.crt", k.ca.pem)
	k.write(t, "pki/current.pem", append(cert, key...))
	k.conf = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {` + clusterOf + `}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
users: [{name: u, user: {` + userOfPair + `}}]
`
	return k
}

func (k *kubelet) path(name string) string { return filepath.Join(k.dir, name) }

func (k *kubelet) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(k.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.path(name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *kubelet) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(k.path(name)); err != nil {
		t.Fatal(err)
	}
}

func (k *kubelet) replace(old, new string) { k.conf = strings.Replace(k.conf, old, new, 1) }

// user replaces the user's credentials.
func (k *kubelet) user(credentials string) { k.replace(userOfPair, credentials) }

func (k *kubelet) load(t *testing.T) (*Credentials, error) {
	t.Helper()
	k.write(t, "kubelet.conf", []byte(k.conf))
	return LoadKubeletConf(k.path("kubelet.conf"))
}

// unknownAlgorithm makes of an EC key or certificate one of an algorithm that no Go knows: another OID of the same length.
func unknownAlgorithm(t *testing.T, text []byte) []byte {
	t.Helper()
	known := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01}
	block, _ := pem.Decode(text)
	if block.Type == "EC PRIVATE KEY" {
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Fatal(err)
		}
		block.Type = "PRIVATE KEY"
	}
	if !bytes.Contains(block.Bytes, known) {
		t.Fatal("no EC key in it")
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: bytes.Replace(block.Bytes, known, append(known[:6:6], 0x7f), 1)})
}

func TestKubeletConfIsReadAsTheKubeletReadsIt(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		change func(*testing.T, *kubelet)
		node   string
	}{
		"paths relative to the file": {node: "w1"},
		"absolute paths": {node: "w1", change: func(_ *testing.T, k *kubelet) {
			k.conf = strings.NewReplacer("ca.crt", k.path("ca.crt"), "pki/", k.dir+"/pki/").Replace(k.conf)
		}},
		"data": {node: "w2", change: func(t *testing.T, k *kubelet) {
			cert, key := k.ca.issue(t, "system:node:w2")
			k.user("client-certificate-data: " + b64(cert) + ", client-key-data: " + b64(key))
			k.replace("certificate-authority: ca.crt", "certificate-authority-data: "+b64(k.ca.pem))
		}},
		"a token":      {change: func(_ *testing.T, k *kubelet) { k.user("token: t0p.s3cret") }},
		"a token file": {change: func(t *testing.T, k *kubelet) { k.user("tokenFile: token"); k.write(t, "token", []byte("t\n")) }},
		"a CA among others": {node: "w1", change: func(t *testing.T, k *kubelet) {
			k.write(t, "ca.crt", append(unknownAlgorithm(t, newAuthority(t).pem), k.ca.pem...))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKubelet(t)
			if c.change != nil {
				c.change(t, k)
			}
			creds, err := k.load(t)
			if err != nil {
				t.Fatal(err)
			}
			if creds.Server != "https://10.0.0.1:6443" || !SameCA(creds.CA, k.ca.pem) && name != "a CA among others" || creds.NodeName != c.node || creds.NotAfter.IsZero() != (c.node == "") {
				t.Errorf("%+v", creds)
			}
			if _, err := creds.Client(); err != nil {
				t.Errorf("no client: %v", err)
			}
		})
	}
}

// What stands between a reset and a living member: each kind of failure is told from each other.
func TestKubeletConfThatDoesNotLoad(t *testing.T) {
	kinds := map[string]func(error) bool{
		"not there":      func(err error) bool { return errors.Is(err, fs.ErrNotExist) },
		"unusable":       func(err error) bool { return errors.Is(err, ErrUnusable) },
		"not understood": func(err error) bool { return errors.Is(err, ErrNotUnderstood) },
		"unreadable": func(err error) bool {
			var path *fs.PathError
			return errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist)
		},
	}
	type files = func(*testing.T, *kubelet)
	text := func(old, new string) files { return func(_ *testing.T, k *kubelet) { k.replace(old, new) } }
	user := func(credentials string) files { return text(userOfPair, credentials) }
	file := func(name, content string) files {
		return func(t *testing.T, k *kubelet) { k.write(t, name, []byte(content)) }
	}
	gone := func(name string) files { return func(t *testing.T, k *kubelet) { k.remove(t, name) } }
	link := func(to, name string) files {
		return func(t *testing.T, k *kubelet) {
			k.remove(t, name)
			if err := os.Symlink(to, k.path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	pair := func(change func(t *testing.T, k *kubelet, cert, key []byte) (newCert, newKey []byte)) files {
		return func(t *testing.T, k *kubelet) {
			cert, key := k.ca.issue(t, "system:node:w1")
			cert, key = change(t, k, cert, key)
			k.write(t, "pki/current.pem", append(cert, key...))
		}
	}
	folder := func(name string) files {
		return func(t *testing.T, k *kubelet) {
			k.remove(t, name)
			if err := os.Mkdir(k.path(name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	const secret = "s3cr3t-s3cr3t"
	for name, c := range map[string]struct {
		files files
		kind  string
		field string // that the error names
		words string // of its reason
		told  string // what is told besides, of node, server, CA
	}{
		"no certificate yet": {gone("pki/current.pem"), "not there", "client-certificate", "pki/current.pem", ""},
		"no key yet":         {text("client-key: pki/current.pem", "client-key: pki/key.pem"), "not there", "client-key", "pki/key.pem", ""},
		"a symlink to nothing": {func(t *testing.T, k *kubelet) {
			k.remove(t, "pki/current.pem")
			os.Symlink("x", k.path("pki/current.pem"))
		}, "not there", "client-certificate", "", ""},
		"a loop of symlinks":      {link("current.pem", "pki/current.pem"), "unreadable", "client-certificate", "symbolic links", ""},
		"a folder, not a file":    {folder("pki/current.pem"), "unreadable", "client-certificate", "directory", ""},
		"a folder for the CA":     {folder("ca.crt"), "unreadable", "certificate-authority", "directory", ""},
		"empty":                   {func(_ *testing.T, k *kubelet) { k.conf = "" }, "unusable", "", "it is empty", ""},
		"zeroes":                  {func(_ *testing.T, k *kubelet) { k.conf = strings.Repeat("\x00", 512) }, "unusable", "", "not a kubeconfig", ""},
		"torn":                    {func(_ *testing.T, k *kubelet) { k.conf = k.conf[:len(k.conf)/2] }, "unusable", "", "not a kubeconfig", ""},
		"not YAML":                {func(_ *testing.T, k *kubelet) { k.conf = "\t" + secret }, "unusable", "", "not a kubeconfig", ""},
		"no current context":      {text("current-context: x\n", ""), "unusable", "clusters", "", ""},
		"another context":         {text("current-context: x", "current-context: "+secret), "unusable", "current-context", "", ""},
		"no cluster":              {text("cluster: c,", "cluster: "+secret+","), "unusable", "clusters", "", ""},
		"no user":                 {text("user: u}", "user: "+secret+"}"), "unusable", "users", "", ""},
		"nobody":                  {user(""), "unusable", "users", "neither certificate nor token", ""},
		"no server":               {text(`server: "https://10.0.0.1:6443", `, ""), "unusable", "server", "not given", ""},
		"empty certificate":       {file("pki/current.pem", ""), "unusable", "client-certificate", "pki/current.pem", ""},
		"zeroes for certificate":  {file("pki/current.pem", strings.Repeat("\x00", 512)), "unusable", "client-certificate", "no certificate in", ""},
		"certificate without key": {pair(func(_ *testing.T, _ *kubelet, cert, _ []byte) ([]byte, []byte) { return cert, nil }), "unusable", "client-key", "no private key in", ""},
		"key without certificate": {pair(func(_ *testing.T, _ *kubelet, _, key []byte) ([]byte, []byte) { return nil, key }), "unusable", "client-certificate", "no certificate in", ""},
		"no key named":            {user("client-certificate: pki/current.pem"), "unusable", "client-key", "not given", ""},
		"key twice":               {user(userOfPair + ", client-key-data: " + base64.StdEncoding.EncodeToString([]byte(secret))), "unusable", "client-key", "twice", ""},
		"junk for a CA":           {file("ca.crt", secret), "unusable", "certificate-authority", "no certificate in", ""},

		"key of another algorithm": {pair(func(t *testing.T, _ *kubelet, cert, key []byte) ([]byte, []byte) {
			return cert, unknownAlgorithm(t, key)
		}), "not understood", "client-key", "failed to parse private key", "w1 server CA"},
		"pair of another algorithm": {pair(func(t *testing.T, _ *kubelet, cert, key []byte) ([]byte, []byte) {
			return unknownAlgorithm(t, cert), unknownAlgorithm(t, key)
		}), "not understood", "client-key", "failed to parse private key", "w1 server CA"},
		"certificate of another algorithm": {pair(func(t *testing.T, _ *kubelet, cert, key []byte) ([]byte, []byte) {
			return unknownAlgorithm(t, cert), key
		}), "not understood", "client-key", "unknown public key algorithm", "w1 server CA"},
		"certificate of another format": {pair(func(_ *testing.T, _ *kubelet, _, key []byte) ([]byte, []byte) {
			return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(secret)}), key
		}), "not understood", "client-certificate", "x509", "server CA"},
		"another's key": {pair(func(t *testing.T, k *kubelet, cert, _ []byte) ([]byte, []byte) {
			_, other := k.ca.issue(t, "x")
			return cert, other
		}), "not understood", "client-key", "does not match", "w1 server CA"},
		"a person's certificate":    {pair(func(t *testing.T, k *kubelet, _, _ []byte) ([]byte, []byte) { return k.ca.issue(t, "kubernetes-admin") }), "not understood", "client-certificate", "kubernetes-admin", "server CA"},
		"nobody's certificate":      {pair(func(t *testing.T, k *kubelet, _, _ []byte) ([]byte, []byte) { return k.ca.issue(t, nodeUserPrefix) }), "not understood", "client-certificate", "not a node's", "server CA"},
		"exec":                      {user("exec: {apiVersion: client.authentication.k8s.io/v1, command: " + secret + ", interactiveMode: Never}"), "not understood", "exec", "", "server CA"},
		"exec beside a pair":        {user(userOfPair + ", exec: {apiVersion: v9, command: " + secret + "}"), "not understood", "exec", "", "w1 server CA"},
		"auth-provider":             {user("auth-provider: {name: " + secret + "}"), "not understood", "auth-provider", "", "server CA"},
		"a password":                {user("username: admin, password: " + secret), "not understood", "username", "", "server CA"},
		"as somebody else":          {user("token: " + secret + ", as: admin"), "not understood", "as", "", "server CA"},
		"no token yet":              {user("tokenFile: token"), "not understood", "tokenFile", "not there", "server CA"},
		"an empty token":            {func(t *testing.T, k *kubelet) { user("tokenFile: token")(t, k); file("token", "\n")(t, k) }, "not understood", "tokenFile", "empty", "server CA"},
		"no proof of the server":    {text("certificate-authority: ca.crt", "insecure-skip-tls-verify: true"), "not understood", "insecure-skip-tls-verify", "", "w1 server"},
		"no proof, no longer":       {text("certificate-authority: ca.crt", "certificate-authority: ca.crt, insecure-skip-tls-verify: true"), "not understood", "insecure-skip-tls-verify", "", "w1 server CA"},
		"the system's CAs":          {text(", certificate-authority: ca.crt", ""), "not understood", "certificate-authority", "none", "w1 server"},
		"an empty CA":               {file("ca.crt", ""), "not understood", "certificate-authority", "none", "w1 server"},
		"the CA is lost":            {gone("ca.crt"), "not understood", "certificate-authority", "not there", "w1 server"},
		"the CA cannot be parsed":   {file("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "not understood", "certificate-authority", "x509", "w1 server CA"},
		"a CA of another algorithm": {func(t *testing.T, k *kubelet) { k.write(t, "ca.crt", unknownAlgorithm(t, k.ca.pem)) }, "not understood", "certificate-authority", "does not know", "w1 server CA"},
		"no TLS":                    {text("https://10.0.0.1:6443", "http://u:"+secret+"@10.0.0.1"), "not understood", "server", "not an https URL", "w1 CA"},
		"no scheme":                 {text("https://10.0.0.1:6443", "10.0.0.1:6443"), "not understood", "server", "not an https URL", "w1 CA"},
		"another kind of proxy":     {text("server:", "proxy-url: \"ftp://u:"+secret+"@proxy\", server:"), "not understood", "proxy-url", "socks5", "w1 server CA"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKubelet(t)
			c.files(t, k)
			creds, err := k.load(t)
			if err == nil || creds != nil {
				t.Fatalf("it loads: %+v, %v", creds, err)
			}
			for kind, is := range kinds {
				if is(err) != (kind == c.kind) {
					t.Errorf("%s: %t, for %v", kind, is(err), err)
				}
			}
			want := fmt.Sprintf("reading the kubelet's credentials: %q: ", k.path("kubelet.conf"))
			if c.field != "" {
				want += c.field + ": "
			}
			if !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), secret) {
				t.Errorf("the error is %v, and is to begin with %s, to hold %q and no secret", err, want, c.words)
			}
			var told []string
			var odd *NotUnderstoodError
			if errors.As(err, &odd) {
				if odd.NodeName != "" {
					told = append(told, odd.NodeName)
				}
				if odd.Server != "" {
					told = append(told, "server")
				}
				if len(odd.CA) > 0 {
					told = append(told, "CA")
				}
			}
			if got := strings.Join(told, " "); got != c.told {
				t.Errorf("it tells %q of %+v, wanted %q", got, odd, c.told)
			}
		})
	}
}

// A file that is not there, one that may not be opened and one that is a dead end are three things.
func TestKubeletConfThatCannotBeOpened(t *testing.T) {
	k := newKubelet(t)
	if _, err := LoadKubeletConf(k.path("none.conf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}
	_, err := LoadKubeletConf(k.dir)
	var path *fs.PathError
	if !errors.As(err, &path) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnusable) || errors.Is(err, ErrNotUnderstood) {
		t.Errorf("a folder: %v", err)
	}
}
