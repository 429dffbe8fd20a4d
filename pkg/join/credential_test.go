package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnEmptyTokenFileSaysWhereTheTokenGoes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	for name, test := range map[string]struct {
		credentials, message, hint string
	}{
		"of the unit": {dir, `the unit's credential "token" is empty`, "/etc/nodejoin/token"},
		"a file":      {"", `"` + path + `" is empty`, "kubeadm token create"},
		"another's":   {"/run/credentials/other.service", `"` + path + `" is empty`, "kubeadm token create"},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", test.credentials)
		if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		reader := &tokenReader{plan: &plan{Config: Config{Token: Token{File: path}}}}
		_, err := reader.read(t.Context())
		var ended *Error
		if !errors.As(err, &ended) || ended.Reason != Usage || !strings.Contains(ended.Message, test.message) || !strings.Contains(ended.Hint, test.hint) {
			t.Errorf("%s: %#v", name, err)
		}

		// Emptied under a run it is no mistake of usage: somebody may be writing it.
		if err := os.WriteFile(path, []byte(simToken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.read(t.Context()); err == nil || errors.As(err, &ended) {
			t.Errorf("%s: emptied later: %#v", name, err)
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
