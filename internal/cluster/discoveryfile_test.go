package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What kubeadm takes for credentials in a discovery file is taken too, or said to be missing before a server is blamed.
func TestCredentialsOfADiscoveryFile(t *testing.T) {
	s := newAPIServer(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user   string
		bearer string
		proves bool
		lacks  bool
	}{
		"a token":               {user: "token: " + token, proves: true},
		"a file with a token":   {user: "tokenFile: " + dir + "/token", proves: true},
		"a file that is late":   {user: "tokenFile: " + dir + "/late"},
		"nothing":               {user: "{}", lacks: true},
		"nothing, with a token": {user: "{}", bearer: token, proves: true, lacks: true},
		"a plugin":              {user: "{exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}}", lacks: true},
		"a password":            {user: "{username: a, password: hunter2}", lacks: true},
	} {
		path := filepath.Join(dir, "discovery.conf")
		text := s.info["kubeconfig"] + "contexts:\n- name: x\n  context: {cluster: \"\", user: u}\ncurrent-context: x\nusers:\n- name: u\n  user:\n    " + c.user + "\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := NewDiscoverer(Source{File: path, NodeName: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		if p := d.Probe(t.Context(), "", c.bearer); (p.Verdict == Proven) != c.proves {
			t.Errorf("%s: verdict %d: %v", name, p.Verdict, p.Err)
		}
		d.Close()
		if err := CheckCredentials(path); (err != nil) != c.lacks || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckCredentials("https://example.com/discovery.conf"); err != nil {
		t.Errorf("at a URL: %v", err)
	}
}
