package kubeadm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	token   = "abcdef.0123456789abcdef"
	secret  = "0123456789abcdef"
	certKey = "f8902e114ef118304e561c3ecd4d0b543adc226b7a07f675f56564185ffe0c07"
)

func TestTokensAndKeysGoWhateverSurroundsThem(t *testing.T) {
	for in, want := range map[string]string{
		token:                            "abcdef.[redacted]",
		token + ".Try again":             "abcdef.[redacted].Try again",
		"token: " + token:                "token: abcdef.[redacted]",
		`Invalid value: "` + token + `"`: `Invalid value: "abcdef.[redacted]"`,
		"xx" + token + "yy":              "xxabcdef.[redacted]",
		"http://u:" + token + "@h/?t=" + token + "&x":    "http://u:abcdef.[redacted]@h/?t=abcdef.[redacted]&x",
		token + "." + secret:                             "abcdef.[redacted]",
		token + token:                                    "abcdef.[redacted]",
		"key " + certKey:                                 "key [redacted]",
		strings.ToUpper(certKey):                         "[redacted]",
		certKey + certKey:                                "[redacted]",
		"sha256:" + certKey:                              "sha256:" + certKey,
		"sha256:" + certKey + certKey:                    "sha256:" + certKey + "[redacted]",
		"Authorization: Bearer x.y-z":                    "Authorization: Bearer [redacted]",
		`"Authorization": "Bearer abc"`:                  `"Authorization": "Bearer [redacted]`,
		"bearer " + strings.Repeat("a", 30):              "bearer [redacted]",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln rest": "[redacted] rest",
		"client-key-data: LS0tLS1CRUdJTg==":              "client-key-data: [redacted]",
		"-----BEGIN EC PRIVATE KEY-----\\nMHcC\\n-----END EC PRIVATE KEY-----\\n tail":         "[redacted]\\n tail",
		"-----BEGIN PRIVATE KEY-----\nMHcCAQEEIABCDEFG\nAAA=\n-----END PRIVATE KEY-----\nnext": "[redacted]\n[redacted]\n[redacted]\n[redacted]\nnext",
		"-----BEGIN PRIVATE KEY-----\nMHcCAQEEIABCDEFG\n[preflight] Running pre-flight checks": "[redacted]\n[redacted]\n[preflight] Running pre-flight checks",
	} {
		if got := NewRedactor().Redact(in); got != want {
			t.Errorf("%q:\n got %q\nwant %q", in, got, want)
		}
	}
}

func TestAPrivateKeyGoesLineByLine(t *testing.T) {
	r := NewRedactor()
	for _, step := range [][2]string{
		{"before", "before"},
		{"key: -----BEGIN RSA PRIVATE KEY-----", "key: [redacted]"},
		{"MIIEowIBAAKCAQEAx0123456789abcdefghijABCDEFGHIJ", "[redacted]"},
		{"x8==", "[redacted]"},
		{"-----END RSA PRIVATE KEY----- after", "[redacted] after"},
		{"kubelet", "kubelet"},
	} {
		if got := r.Redact(step[0]); got != step[1] {
			t.Errorf("%q: got %q, want %q", step[0], got, step[1])
		}
	}
}

func TestKubeadmsOwnWordsStay(t *testing.T) {
	files, _ := filepath.Glob("testdata/*/*.txt")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := string(raw)
		// The only output with a secret shows it malformed, as it was registered; see the next test.
		if got := NewRedactor().Redact(want); got != want {
			t.Errorf("%s: changed to\n%s", name, got)
		}
	}
	for _, words := range []string{
		"invalid bearer token, Bearer authentication", "validatingadmissionpolicies.admissionregistration.k8s.io is forbidden",
		"worker1.productioncluster.example.com", "node01.productionclust1.example.com", "customresourcedefinitions.apiextensions.k8s.io", "image registry.k8s.io/pause@sha256:" + certKey, "[kubelet-start] /var/lib/kubelet/config.yaml",
	} {
		if got := NewRedactor().Redact(words); got != words {
			t.Errorf("%q became %q", words, got)
		}
	}
}

func TestRegisteredSecretsGoInEveryForm(t *testing.T) {
	for _, s := range []string{token, "abcdef.0123456789ABCDEF", "AbCdEf0123456789", "abcdef.12+/ \"x<y", "0123456789abcdef.abcdef", "pässwort.žluťoučký", "line\nbreak"} {
		r := NewRedactor(s)
		_, half, _ := strings.Cut(s, ".")
		if half == "" {
			half = s
		}
		js, _ := json.Marshal("say " + s)
		for form, text := range map[string]string{
			"verbatim": "x" + s + "y", "half": "sig " + half + "!", "go": fmt.Sprintf("%q", "t="+s), "go ascii": fmt.Sprintf("%+q", s), "json": string(js),
			"base64": base64.StdEncoding.EncodeToString([]byte("a: " + s + "\n")), "base64 shifted": base64.StdEncoding.EncodeToString([]byte("ab: " + s + "\n")),
			"base64 of a kubeconfig": base64.URLEncoding.EncodeToString([]byte("user:\n  token: " + s)), "upper case": strings.ToUpper(s),
		} {
			got := r.Redact(text)
			if strings.Contains(got, s) || strings.Contains(got, half) || !strings.Contains(got, redacted) {
				t.Errorf("%q in %s: left %q", s, form, got)
			}
			for _, word := range strings.FieldsFunc(got, func(r rune) bool { return strings.ContainsRune(`[]" `, r) }) {
				if b, err := base64.RawStdEncoding.DecodeString(word); err == nil && len(b) >= 12 && strings.Contains(s, string(b)) {
					t.Errorf("%q in %s: %q still decodes", s, form, got)
				}
			}
		}
	}
	if got, want := NewRedactor("abcdef.0123456789ABCDEF").Redact(read(t, "malformed")), "abcdef.[redacted]"; !strings.Contains(got, want) || strings.Contains(got, "0123456789ABCDEF") {
		t.Errorf("kubeadm's own complaint about a malformed token: %q", got)
	}
}

func TestARedactorMayBeSharedAndLearn(t *testing.T) {
	r := NewRedactor("", "  ")
	if got := r.Redact("nothing registered"); got != "nothing registered" {
		t.Errorf("got %q", got)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s := fmt.Sprintf("Secret-Number-%d", i)
			r.Add(s)
			if got := r.Redact("x " + s); got != "x [redacted]" {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
}

func FuzzRedactor(f *testing.F) {
	f.Add("could not construct token string for token: ", "abcdef.0123456789ABCDEF", "", byte(0))
	f.Add(`error: [discovery.tlsBootstrapToken: Invalid value: "`, token, `": the bootstrap token is invalid]`, byte(1))
	f.Add("-----BEGIN PRIVATE KEY-----\n", certKey, "\n-----END PRIVATE KEY-----", byte(2))
	f.Add("abcdef", ".0123456789abcdef", "", byte(3))
	files, _ := filepath.Glob(filepath.Join(corpus, "*"))
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), token, "", byte(i))
	}
	f.Fuzz(func(t *testing.T, before, secret, after string, form byte) {
		secret = strings.TrimSpace(strings.ToValidUTF8(secret, "\uFFFD"))
		if secret == "" || strings.Contains(strings.ToLower(redacted), strings.ToLower(secret)) {
			t.Skip("nothing to hide, or in the very word that hides it")
		}
		text := secret
		switch form % 4 {
		case 1:
			text = fmt.Sprintf("%q", secret)
		case 2:
			text = base64.StdEncoding.EncodeToString([]byte(secret))
		}
		got := NewRedactor(secret).Redact(before + text + after)
		if strings.Contains(got, secret) || len(secret) > 2*shortest && text != secret && strings.Contains(got, text) {
			t.Errorf("%q survived in %q", secret, got)
		}
		// Whatever was registered, shapes go too.
		got = NewRedactor().Redact(before + "abcdef." + "0123456789abcdef" + after)
		if strings.Contains(got, token) {
			t.Errorf("a token survived in %q", got)
		}
		if !strings.HasSuffix(before, "sha256:") && !strings.HasSuffix(strings.ToLower(before), "sha256:") {
			if got = NewRedactor().Redact(before + " " + certKey + after); strings.Contains(got, certKey) && !strings.Contains(before+after, certKey) {
				t.Errorf("a certificate key survived in %q", got)
			}
		}
	})
}
