package kubeadm

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

func valid() Options {
	return Options{Endpoint: "10.0.0.1:6443", Token: token, CACertHashes: []string{pin}, AttemptTimeout: 6 * time.Minute}
}

func TestRender(t *testing.T) {
	o := valid()
	o.NodeName, o.CRISocket, o.Patches = "n1", "unix:///run/x.sock", "/p"
	o.IgnorePreflightErrors, o.SkipPhases = []string{"Swap", "Mem"}, []string{"preflight"}
	got, err := o.Render()
	want := `apiVersion: kubeadm.k8s.io/v1beta4
discovery:
  bootstrapToken:
    apiServerEndpoint: 10.0.0.1:6443
    caCertHashes:
    - ` + pin + `
    token: ` + token + `
  tlsBootstrapToken: ` + token + `
kind: JoinConfiguration
nodeRegistration:
  criSocket: unix:///run/x.sock
  ignorePreflightErrors:
  - Swap
  - Mem
  name: n1
patches:
  directory: /p
skipPhases:
- preflight
timeouts:
  discovery: 45s
  kubeletHealthCheck: 1m30s
  kubernetesAPICall: 45s
  tlsBootstrap: 2m0s
`
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestWhatIsRenderedReadsAsItWasGiven(t *testing.T) {
	for _, awkward := range []string{"123456.1234567890123456", "000000.0000000000000000", "12e345.0000000000000000", "0x1234.5678901234567890"} {
		o := valid()
		o.Token, o.TLSBootstrapToken, o.UnsafeSkipCAVerification, o.Endpoint = awkward, newToken, true, "[fd00::1]:6443"
		o.CACertHashes = nil
		text, err := o.Render()
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseConfig("f", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got := c.Options(); got.Token != awkward || got.TLSBootstrapToken != newToken || got.Endpoint != "[fd00::1]:6443" || !got.UnsafeSkipCAVerification {
			t.Errorf("got %+v", got)
		}
	}
}

func TestTimeoutsFitTheAttempt(t *testing.T) {
	for _, attempt := range []time.Duration{time.Minute, 6 * time.Minute, time.Hour} {
		var sum time.Duration
		for field, s := range timeouts(attempt) {
			d, err := time.ParseDuration(s.(string))
			if err != nil || d < floor {
				t.Errorf("%s: %s: %v, %v", attempt, field, s, err)
			}
			if sum += d; field == "discovery" {
				sum += d // asked twice when the CA is pinned
			}
		}
		if sum >= attempt {
			t.Errorf("%s: kubeadm may wait for %s", attempt, sum)
		}
	}
	if got := timeouts(time.Second)["discovery"]; got != "5s" {
		t.Errorf("a second's attempt: %v", got)
	}
	o := valid()
	o.AttemptTimeout = 0
	text, err := o.Render()
	if err != nil || strings.Contains(string(text), "timeouts") {
		t.Errorf("no limit: %v\n%s", err, text)
	}
}

func TestSpoiltOptions(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Options){
		"ENDPOINT":                        func(o *Options) { o.Endpoint = "" },
		"ENDPOINT ":                       func(o *Options) { o.Endpoint = "https://10.0.0.1:6443" },
		"--discovery-token-ca-cert-hash":  func(o *Options) { o.CACertHashes = nil },
		"--discovery-token-ca-cert-hash ": func(o *Options) { o.CACertHashes = []string{pin, "sha256:12"} },
		"--token":                         func(o *Options) { o.Token = "abcdef.SECRET" },
		"--tls-bootstrap-token":           func(o *Options) { o.TLSBootstrapToken = "SECRET" },
		"--discovery-file":                func(o *Options) { o.DiscoveryFile = "/x" },
		"--discovery-file ":               func(o *Options) { o.Endpoint, o.DiscoveryFile = "", "/no/such/file" },
		"--ignore-preflight-errors":       func(o *Options) { o.IgnorePreflightErrors = []string{"all", "Swap"} },
	} {
		o := valid()
		spoil(&o)
		err := o.Validate()
		var wrong *FieldError
		if !errors.As(err, &wrong) || wrong.Field != strings.TrimSpace(field) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: got %v", field, err)
		}
		if _, err := o.Render(); err == nil {
			t.Errorf("%s: rendered nevertheless", field)
		}
	}
	o := valid()
	o.Token = ""
	if err := o.Validate(); err != nil {
		t.Errorf("a token that comes later: %v", err)
	}
	if _, err := o.Render(); err == nil {
		t.Error("rendered without a token")
	}
}

func TestADiscoveryFileNeedsNoToken(t *testing.T) {
	o := Options{DiscoveryFile: "/dev/null"}
	text, err := o.Render()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if d := doc["discovery"].(map[string]any); len(d) != 1 || d["file"].(map[string]any)["kubeConfigPath"] != "/dev/null" {
		t.Errorf("got %v", d)
	}
	o.Token = token
	if text, err = o.Render(); err != nil || !strings.Contains(string(text), "tlsBootstrapToken: "+token) {
		t.Errorf("got %v\n%s", err, text)
	}
}

func TestValidateEndpoint(t *testing.T) {
	for _, good := range []string{"10.0.0.1:6443", "api.example.com:443", "[fd00::1]:6443", "a_b:6443", "h:1", "h:65535"} {
		if err := ValidateEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"":                       "empty",
		"https://10.0.0.1:6443":  `leave the "https://" out, write "10.0.0.1:6443"`,
		"https://10.0.0.1:6443/": `write "10.0.0.1:6443"`,
		"https://10.0.0.1":       "leave the",
		"10.0.0.1:6443/api":      `write "10.0.0.1:6443"`,
		"10.0.0.1":               `write "10.0.0.1:6443"`,
		"api.example.com":        "no port",
		"fd00::1":                `"[fd00::1]:6443"`,
		"fd00::1:6443":           `brackets`,
		":6443":                  "no host",
		"h:":                     "1 to 65535",
		"h:0":                    "1 to 65535",
		"h:65536":                "1 to 65535",
		"h:https":                "1 to 65535",
		"a b:6443":               "not host:port",
		"x:y:z":                  "not host:port",
		"[fe80::1%eth0]:6443":    "no host of a URL",
		"ex%ample:6443":          "no host of a URL",
		"cp|x:6443":              "no host of a URL",
		"[cp]:6443":              "no host of a URL",
		token:                    "abcdef.[redacted]",
		token + ":6443/":         "abcdef.[redacted]",
	} {
		err := ValidateEndpoint(bad)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got %v, want %q in it", bad, err, want)
		}
	}
}

func TestValidateTokenNeverShowsIt(t *testing.T) {
	if err := ValidateToken(token); err != nil {
		t.Error(err)
	}
	for bad, want := range map[string]string{
		"": "empty", "abcdef": "no dot", "abcdef.0123456789ABCDEF": "capital", "abcdef.012": "6 and 3", "abcde.0123456789abcdef": "5 and 16",
		token + "\n": "white space", "abcdef.0123456789abcde!": "not a bootstrap token", token + ".x": "6 and 18",
	} {
		err := ValidateToken(bad)
		if err == nil || !strings.Contains(err.Error(), want) || len(bad) > 8 && strings.Contains(err.Error(), bad[7:]) {
			t.Errorf("%q: got %v, want %q in it", bad, err, want)
		}
	}
}

func TestValidateHash(t *testing.T) {
	for _, good := range []string{pin, strings.ToUpper(pin)} {
		if err := ValidateHash(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "sha256:", "sha256:12", certKey, "sha512:" + certKey, pin + "00", "sha256:" + certKey[1:] + "g", token} {
		if err := ValidateHash(bad); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// script makes an executable that stands for kubeadm.
func script(t *testing.T, body string) string {
	t.Helper()
	path := t.TempDir() + "/kubeadm"
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
