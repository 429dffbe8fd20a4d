package cluster

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKubeletConfLoadsOnlyWithItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	pemFile := filepath.Join(dir, "kubelet-client-current.pem")
	conf := filepath.Join(dir, "kubelet.conf")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
users: [{name: u, user: {client-certificate: %s, client-key: %s}}]
`, base64.StdEncoding.EncodeToString(ca.pem), pemFile, pemFile)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKubeletConf(conf); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("without the certificate: %v", err)
	}
	cert, key := ca.issue(t, "system:node:w1")
	if err := os.WriteFile(pemFile, append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	creds, err := LoadKubeletConf(conf)
	if err != nil || creds.NodeName != "w1" || creds.Server != "https://10.0.0.1:6443" || !MatchesPins(creds.CA, []string{ca.pin()}) {
		t.Errorf("with it: %+v, %v", creds, err)
	}
	for name, broken := range map[string]string{"torn": text[:len(text)/2], "empty": "", "http": strings.Replace(text, "https", "http", 1)} {
		if err := os.WriteFile(conf, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKubeletConf(conf); err == nil {
			t.Errorf("%s kubelet.conf loads", name)
		}
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}
