package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// Whoever fills a source may do so later than we ask, and what stands there until then is no token. Values do not change.
func TestSourcesOfATokenAreWaitedForAndSayWhatTheyGave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	for name, test := range map[string]struct {
		content, credentials string
		source               Token
		usage                bool
		message, hint        string
	}{
		"an empty file":         {"\n", "", Token{File: path}, false, `--token-file: "` + path + `" is empty`, "kubeadm token create"},
		"another's credential":  {"\n", "/run/credentials/other.service", Token{File: path}, false, `"` + path + `" is empty`, "kubeadm token create"},
		"the unit's credential": {"\n", dir, Token{File: path}, false, `the unit's credential "token" is empty`, "/etc/nodejoin/token"},
		"a file with junk":      {"placeholder", "", Token{File: path}, false, `"placeholder"`, ""},
		"what may be a secret":  {"abcdef.0123456789abcdeF", "", Token{File: path}, false, "capital letters", ""},
		"another's password":    {"hunter2hunter", "", Token{File: path}, false, "13 characters and no dot", ""},
		"no file":               {"", "", Token{File: path + "2"}, false, "no such file", ""},
		"a folder":              {"", "", Token{File: dir}, true, "is a directory", ""},
		"a command's null":      {"", "", Token{Command: "echo null"}, false, `--token-command: not a bootstrap token`, ""},
		"standard input":        {"", "", Token{File: "-", Stdin: strings.NewReader("null")}, true, `"null"`, ""},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", test.credentials)
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		reader := &tokenReader{plan: &plan{Config: Config{Token: test.source}}}
		_, err := reader.read(t.Context())
		var ended *Error
		var field *kubeadm.FieldError
		if errors.As(err, &field) && !strings.Contains(field.Remedy, test.hint) {
			t.Errorf("%s: remedy %q", name, field.Remedy)
		}
		if err == nil || errors.As(err, &ended) != test.usage || !strings.Contains(err.Error(), test.message) || strings.Contains(err.Error(), "0123456789") || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// systemd fills a credential when it starts the unit: only the next start brings a new token.
func TestAUnitsCredentialIsNotReadInHopeOfANewToken(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/nodejoin.service/")
	for path, fixed := range map[string]bool{
		"/run/credentials/nodejoin.service/token": true,
		"/etc/nodejoin/token":                     false,
		"-":                                       true,
	} {
		if got := (Token{File: path}).fixed(); got != fixed {
			t.Errorf("%s: fixed is %v", path, got)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if (Token{File: "/token"}).fixed() {
		t.Error("without credentials of a unit a file can change")
	}
}

// Its own credentials are enough, and so is a token from elsewhere; without any, no server is to be blamed.
func TestDiscoveryFileWithoutCredentialsNeedsAToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "discovery.conf")
	for name, test := range map[string]struct {
		user, tls string
		lacks     bool
	}{
		"none":                      {"{}", "", true},
		"a token of its own":        {"{token: " + simToken + "}", "", false},
		"none, with a kubelet's":    {"{}", simToken, false},
		"caught while it is copied": {"{token: ", "", false},
	} {
		text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://cp:6443\"}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\nusers: [{name: u, user: " + test.user + "}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := Defaults()
		c.DiscoveryFile, c.TLSBootstrapToken = "file://"+path, test.tls
		p, err := c.plan()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = (&tokenReader{plan: p}).read(t.Context())
		hint := (&run{plan: p}).tokenHint(err)
		if (err != nil) != test.lacks || isTerminal(err) || !strings.Contains(hint, "--token-file") {
			t.Errorf("%s: %v, hint %q", name, err, hint)
		}
	}
}
