package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/cluster-bootstrap/token/jws"
)

// In place of what differs from run to run, or else the seeds would be worth nothing to the next.
const (
	pairHere      = "/the/pair.pem"
	serverHere    = "https://the.server"
	signatureHere = "THE-SIGNATURE"
)

// fuzzSecret is in every place of the seeds where a kubeconfig keeps what nobody may see.
const fuzzSecret = "c2VjcmV0c2VjcmV0"

var (
	// fields are what an error about a kubeconfig must name, for a person to know where to look.
	fields = regexp.MustCompile(`": (certificate-authority|client-certificate|client-key|server|clusters|users|current-context|insecure-skip-tls-verify|proxy-url|` +
		`exec|auth-provider|username|as|tokenFile|it is empty|it is not a kubeconfig)\b`)
	// hidden is a line whose value is a secret.
	hidden = regexp.MustCompile(`^\s*"?(token|password|client-key-data)"?:\s*"?[A-Za-z0-9+/=.]*` + fuzzSecret)
)

var caData = regexp.MustCompile(`(certificate-authority-data: ).*`)

// kubeconfigs are files as kubeadm and the kubelet write them, and what becomes of them on a bad day.
func kubeconfigs(ca, cert, key []byte) map[string]string {
	b64 := base64.StdEncoding.EncodeToString
	head := "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n    certificate-authority-data: " + b64(ca) +
		"\n    server: https://10.0.0.1:6443\n  name: default-cluster\ncontexts:\n- context:\n    cluster: default-cluster\n" +
		"    namespace: default\n    user: default-auth\n  name: default-context\ncurrent-context: default-context\npreferences: {}\nusers:\n- name: default-auth\n  user:\n"
	files := map[string]string{
		"the kubelet's":      head + "    client-certificate: " + pairHere + "\n    client-key: " + pairHere + "\n",
		"with data inside":   head + "    client-certificate-data: " + b64(cert) + "\n    client-key-data: " + b64(key) + "\n",
		"bootstrap":          head + "    token: abcdef." + fuzzSecret + "\n",
		"password":           head + "    username: admin\n    password: " + fuzzSecret + "\n",
		"no key":             head + "    client-certificate-data: " + b64(cert) + "\n",
		"a key that is none": head + "    client-certificate-data: " + b64(cert) + "\n    client-key-data: " + fuzzSecret + "\n",
		"http":               strings.Replace(head, "https://", "http://", 1) + "    token: " + fuzzSecret + "\n",
		"no server":          strings.Replace(head, "    server: https://10.0.0.1:6443\n", "", 1) + "    token: " + fuzzSecret + "\n",
		"CA torn":            strings.Replace(head, b64(ca), b64(ca)[:44], 1) + "    token: " + fuzzSecret + "\n",
		"CA no base64":       strings.Replace(head, b64(ca), "%%%", 1) + "    token: " + fuzzSecret + "\n",
		"other context":      strings.Replace(head, "current-context: default-context", "current-context: other", 1) + "    token: " + fuzzSecret + "\n",
		"wrong type":         strings.Replace(head, "clusters:\n", "clusters: 7\nx:\n", 1) + "    token: " + fuzzSecret + "\n",
		"token is a list":    head + "    token: [" + fuzzSecret + "]\n",
		"twice":              head + "    token: " + fuzzSecret + "\n    token: " + fuzzSecret + "\n",
		"bad indent":         head + "   token: " + fuzzSecret + "\n",
		"a tab":              head + "\ttoken: " + fuzzSecret + "\n",
		"an alias":           head + "    token: *" + fuzzSecret + "\n",
		"a Secret":           "apiVersion: v1\nkind: Secret\nstringData:\n  token: " + fuzzSecret + "\n",
		"tokenFile":          head + "    tokenFile: " + pairHere + "\n",
		"CA twice":           strings.Replace(head, "    server", "    certificate-authority: "+pairHere+"\n    server", 1) + "    token: " + fuzzSecret + "\n",
		"key twice":          head + "    client-certificate-data: " + b64(cert) + "\n    client-key-data: " + b64(key) + "\n    client-key: " + pairHere + "\n",
		"no proof":           strings.Replace(head, "certificate-authority-data: "+b64(ca), "insecure-skip-tls-verify: true", 1) + "    token: " + fuzzSecret + "\n",
		"behind a proxy":     strings.Replace(head, "    server", "    proxy-url: http://u:"+fuzzSecret+"@10.0.0.9\n    tls-server-name: kubernetes\n    server", 1) + "    token: " + fuzzSecret + "\n",
		"exec":               head + "    exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, interactiveMode: Never}\n",
		"nobody":             head + "    {}\n",
		"as somebody":        head + "    token: " + fuzzSecret + "\n    as: admin\n",
		"no context":         "apiVersion: v1\nkind: Config\n",
		"no current context": strings.Replace(head, "current-context: default-context\n", "", 1) + "    token: " + fuzzSecret + "\n",
		"names are empty":    strings.NewReplacer("current-context: default-context\n", "", "default-cluster", `""`, "default-auth", `""`).Replace(head) + "    token: " + fuzzSecret + "\n",
		"empty":              "",
		"JSON":               `{"apiVersion":"v1","kind":"Config","users":[{"name":"u","user":{"token":"` + fuzzSecret + `"}}]}`,
		"bad JSON":           `{"apiVersion":"v1","kind":"Config","users":[{"name":"u","user":{"token":"` + fuzzSecret + `"}`,
		"zeroes":             strings.Repeat("\x00", 512), // after a crash, on some file systems
	}
	// What kubeadm, the kubelet and kubeadm's cluster-info really said; the token of the second is ours to look for.
	for _, name := range []string{"kubelet.conf", "bootstrap-kubelet.conf", "cluster-info.conf"} {
		raw, err := os.ReadFile(filepath.Join("testdata/v1.37.2", name))
		if err != nil {
			panic(err)
		}
		files[name] = strings.NewReplacer("/var/lib/kubelet/pki/kubelet-client-current.pem", pairHere, "0123456789abcdef", fuzzSecret,
			"https://10.77.0.10:6443", "https://10.0.0.1:6443").Replace(string(raw))
		files[name+", with a CA that answers"] = caData.ReplaceAllString(files[name], "${1}"+b64(ca))
	}
	whole := files["with data inside"]
	files["torn"] = whole[:len(whole)*2/3]
	files["torn in its head"] = whole[:120]
	return files
}

// FuzzParseCredentials: whatever kubelet.conf holds, there is an answer, and client-go itself has no other; an error names
// the field; none tells a secret.
func FuzzParseCredentials(f *testing.F) {
	dir := f.TempDir()
	ca, cert, key := fuzzPair(f)
	pair := filepath.Join(dir, "kubelet-client-current.pem")
	if err := os.WriteFile(pair, append(cert, key...), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, text := range kubeconfigs(ca, cert, key) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw := []byte(strings.ReplaceAll(text, pairHere, pair))
		if leadsElsewhere(raw, pair) {
			t.Skip("it would read this machine's files")
		}
		creds, err := readKubeletConf(filepath.Join(dir, "kubelet.conf"), raw)
		if takes := clientGoTakes(raw); takes && errors.Is(err, ErrUnusable) || !takes && err == nil {
			t.Errorf("client-go takes it: %t, and we say %v", takes, err)
		}
		if err == nil {
			if creds.Server == "" || !SameCA(creds.CA, creds.CA) || (creds.NodeName == "") != creds.NotAfter.IsZero() {
				t.Errorf("half of the credentials are missing: %+v", creds)
			}
			if _, err := creds.Client(); err != nil {
				t.Logf("no client: %v", err)
			}
			return
		}
		if creds != nil {
			t.Errorf("credentials and an error: %v", err)
		}
		tellsNothing(t, text, err)
		if !fields.MatchString(err.Error()) {
			t.Errorf("the error names no field: %v", err)
		}
	})
}

// clientGoTakes reports whether a kubelet could make a connection of it, as somebody.
func clientGoTakes(raw []byte) bool {
	config, err := clientcmd.Load(raw)
	if err != nil {
		return false
	}
	rc, err := clientcmd.NewNonInteractiveClientConfig(*config, config.CurrentContext, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return false
	}
	if !rest.IsConfigTransportTLS(*rc) {
		return true // it would show nothing, nor would it ask for anything
	}
	tlsConfig, err := rest.TLSConfigFor(rc)
	if err != nil {
		return false
	}
	if tlsConfig != nil && tlsConfig.GetClientCertificate != nil {
		_, err = tlsConfig.GetClientCertificate(nil)
	}
	anybody := len(rc.CertData)+len(rc.CertFile)+len(rc.BearerToken)+len(rc.BearerTokenFile)+len(rc.Username)+len(rc.Password)+len(rc.Impersonate.UserName) > 0
	return err == nil && (anybody || rc.ExecProvider != nil || rc.AuthProvider != nil)
}

// FuzzClusterInfo: anybody may answer for an API server that has not proven itself. Whatever comes, the token goes only
// to one whose answer is signed with it, or which has the pinned CA.
func FuzzClusterInfo(f *testing.F) {
	api := newFuzzAPI()
	f.Cleanup(api.Close)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	pins, err := CAHashes(own)
	if err != nil {
		f.Fatal(err)
	}
	ca, cert, key := fuzzPair(f)
	info := strings.Replace(kubeconfigs(own, cert, key)["cluster-info.conf, with a CA that answers"], "https://10.0.0.1:6443", serverHere, 1)
	for _, pinned := range []bool{true, false} {
		for _, signature := range []string{signatureHere, "", signatureHere + "AAA", "eyJhbGciOiJub25lIn0..", "..", "x" + signatureHere} {
			f.Add(info, signature, pinned)
		}
		f.Add(strings.Replace(info, "    server", "    insecure-skip-tls-verify: true\n    server", 1), signatureHere, pinned)
		for _, text := range kubeconfigs(ca, cert, key) {
			f.Add(strings.Replace(text, "https://10.0.0.1:6443", serverHere, 1), signatureHere, pinned)
		}
	}
	f.Fuzz(func(t *testing.T, kubeconfig, signature string, pinned bool) {
		kubeconfig = strings.ReplaceAll(kubeconfig, serverHere, api.URL)
		if good, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, tokenSecret); err == nil {
			signature = strings.ReplaceAll(signature, signatureHere, good)
		}
		cluster, _, parsed := parseKubeconfig([]byte(kubeconfig))
		if parsed == nil && cluster.Server != api.URL || strings.Contains(kubeconfig, tokenSecret) {
			t.Skip("it would ask somebody else, or has the token already")
		}
		source := Source{Endpoint: strings.TrimPrefix(api.URL, "https://"), NodeName: "w1"}
		if pinned {
			source.Pins = pins
		}
		d, err := NewDiscoverer(source)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		api.serve(kubeconfig, signature)
		p := d.Probe(t.Context(), token, token)

		signed := jws.DetachedTokenIsValid(signature, kubeconfig, tokenID, tokenSecret)
		ours := parsed == nil && MatchesPins(cluster.CertificateAuthorityData, pins)
		proven := parsed == nil && (pinned && ours || !pinned && signed)
		if api.sawToken() && !proven {
			t.Errorf("the token was shown to a server that had proven nothing: %+v", p)
		}
		if p.Verdict == Proven && (!proven || !signed) {
			t.Errorf("believed: %+v", p)
		}
		if (p.Verdict == Proven) != (p.Err == nil) {
			t.Errorf("verdict %d with error %v", p.Verdict, p.Err)
		}
		if pinned && len(p.CA) > 0 && !onlyPinned(p.CA, pins) {
			t.Errorf("a CA is trusted that is not pinned: %s", p.CA)
		}
		if p.Err != nil {
			tellsNothing(t, kubeconfig, p.Err)
			if strings.Contains(p.Err.Error(), tokenSecret) {
				t.Errorf("the token is in the error: %v", p.Err)
			}
		}
	})
}

func onlyPinned(ca []byte, pins []string) bool {
	hashes, err := CAHashes(ca)
	for _, h := range hashes {
		if !MatchesPins(ca, []string{h}) || !strings.EqualFold(h, pins[0]) {
			return false
		}
	}
	return err == nil
}

// fuzzPair is a CA and a kubelet's certificate and key.
func fuzzPair(f *testing.F) (ca, cert, key []byte) {
	f.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "system:node:w1"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		f.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		f.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// tellsNothing: a secret must not be in an error, unless the file holds it in other places too.
func tellsNothing(t *testing.T, raw string, err error) {
	t.Helper()
	kept := false
	for line := range strings.Lines(raw) {
		switch {
		case !strings.Contains(line, fuzzSecret):
		case hidden.MatchString(line) && strings.Count(line, fuzzSecret) == 1:
			kept = true
		default:
			return
		}
	}
	if kept && strings.Contains(err.Error(), fuzzSecret) {
		t.Errorf("the error tells a secret: %v", err)
	}
}

// leadsElsewhere: a kubeconfig may name any file, and reading some never ends.
func leadsElsewhere(raw []byte, allowed string) bool {
	config, err := clientcmd.Load(raw)
	if err != nil {
		return false
	}
	for _, c := range config.Clusters {
		if c.CertificateAuthority != "" && c.CertificateAuthority != allowed {
			return true
		}
	}
	for _, u := range config.AuthInfos {
		for _, path := range []string{u.ClientCertificate, u.ClientKey, u.TokenFile} {
			if path != "" && path != allowed {
				return true
			}
		}
	}
	return false
}

// fuzzAPI serves one cluster-info and notes whether it was shown the token.
type fuzzAPI struct {
	*httptest.Server
	mu   sync.Mutex
	info map[string]string
	saw  bool
}

func newFuzzAPI() *fuzzAPI {
	a := &fuzzAPI{}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.saw = a.saw || strings.Contains(r.Header.Get("Authorization"), tokenSecret)
		if !strings.HasSuffix(r.URL.Path, "/cluster-info") {
			absentNode(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: a.info})
	}))
	return a
}

func (a *fuzzAPI) serve(kubeconfig, signature string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.saw, a.info = false, map[string]string{"kubeconfig": kubeconfig}
	if signature != "" {
		a.info["jws-kubeconfig-"+tokenID] = signature
	}
}

func (a *fuzzAPI) sawToken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.saw
}
