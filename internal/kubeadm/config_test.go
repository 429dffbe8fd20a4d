package kubeadm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	newToken = "fedcba.fedcba9876543210"
	pin      = "sha256:" + certKey
)

// whole is a user's file with everything that must come out as it went in.
const whole = `# how we join
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods:   250   # odd spacing
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
caCertPath: /etc/kubernetes/pki/ca.crt
discovery:
  bootstrapToken:
    apiServerEndpoint: api.example.com:6443
    token: "` + token + `"
    caCertHashes: ["` + pin + `"]
  tlsBootstrapToken: ` + token + `
nodeRegistration:
  name: Node-A
  criSocket: unix:///run/x.sock
  ignorePreflightErrors: [Swap]
  taints:
  - {key: a, value: "1", effect: NoSchedule}
  kubeletExtraArgs:
  - {name: max-pods, value: "250"}
skipPhases: [preflight]
patches: {directory: /p}
timeouts:
  tlsBootstrap: 9m
futureField: 12345678901234567890
---
{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig("join.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOptionsOfAFile(t *testing.T) {
	want := Options{CACertPath: "/etc/kubernetes/pki/ca.crt", Endpoint: "api.example.com:6443", Token: token, CACertHashes: []string{pin}, NodeName: "node-a", CRISocket: "unix:///run/x.sock",
		IgnorePreflightErrors: []string{"Swap"}, SkipPhases: []string{"preflight"}, Patches: "/p"}
	if got := parse(t, whole).Options(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// kubeadm's own order: a hostname-override is the Node's name.
	named := strings.Replace(whole, "name: max-pods, value: \"250\"", "name: hostname-override, value: ip-10-0-0-1.EC2.internal", 1)
	if got := parse(t, named).Options().NodeName; got != "ip-10-0-0-1.ec2.internal" {
		t.Errorf("with hostname-override: node name %q", got)
	}
}

func TestRenderLeavesTheUsersFileAlone(t *testing.T) {
	c := parse(t, whole)
	out, err := c.Render(Options{Token: newToken, NodeName: "b", IgnorePreflightErrors: []string{"swap", "Mem"}, SkipPhases: []string{"x"}, AttemptTimeout: 6 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	first, rest, _ := strings.Cut(whole, "---\n")
	_, last, _ := strings.Cut(rest, "---\n")
	if !strings.HasPrefix(text, first+"---\n") || !strings.HasSuffix(text, "\n---\n"+last+"\n") {
		t.Errorf("the other documents changed:\n%s", text)
	}
	if strings.Contains(text, token) {
		t.Errorf("the former token is still there:\n%s", text)
	}
	for _, want := range []string{"futureField: 12345678901234567890\n", "value: \"250\"\n", "effect: NoSchedule\n", "tlsBootstrap: 9m\n",
		"discovery: 45s\n", "kubeletHealthCheck: 1m30s\n", "kubernetesAPICall: 45s\n", "name: b\n", "- Swap\n", "- Mem\n", "skipPhases:\n- x\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	again := parse(t, text).Options()
	want := c.Options()
	want.Token, want.NodeName, want.IgnorePreflightErrors, want.SkipPhases = newToken, "b", []string{"Swap", "Mem"}, []string{"x"}
	if !reflect.DeepEqual(again, want) {
		t.Errorf("read again:\n got %+v\nwant %+v", again, want)
	}
	if twice, _ := c.Render(Options{}); bytes.Contains(twice, []byte(newToken)) {
		t.Error("a rendering changed the configuration it came from")
	}
	own, err := c.Render(c.Options())
	if err != nil || !reflect.DeepEqual(parse(t, string(own)).Options(), c.Options()) {
		t.Errorf("rendered with its own options: %v\n%s", err, own)
	}
}

func TestATokenFromElsewhere(t *testing.T) {
	without := strings.NewReplacer("    token: \""+token+"\"\n", "", "  tlsBootstrapToken: "+token+"\n", "").Replace(whole)
	c := parse(t, without)
	var field *FieldError
	if _, err := c.Render(c.Options()); !errors.As(err, &field) || !strings.Contains(field.Field, "discovery.bootstrapToken.token") {
		t.Errorf("without any token: %v", err)
	}
	if out, err := c.Render(Options{Token: newToken}); err != nil || !strings.Contains(string(out), "token: "+newToken) {
		t.Errorf("with one: %v\n%s", err, out)
	}
	if _, err := c.Render(Options{Token: "nonsense"}); err == nil || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("malformed: %v", err)
	}
	// A TLS bootstrap token of its own is the user's, and stays.
	c = parse(t, strings.Replace(whole, "tlsBootstrapToken: "+token, "tlsBootstrapToken: \"111111.2222222222222222\"", 1))
	if out, err := c.Render(Options{Token: newToken}); err == nil {
		o := parse(t, string(out)).Options()
		if o.Token != newToken || o.TLSBootstrapToken != "111111.2222222222222222" {
			t.Errorf("got %+v", o)
		}
	} else {
		t.Error(err)
	}
}

func TestAFileForDiscovery(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster.conf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := parse(t, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery:\n  file: {kubeConfigPath: \"file://"+file+"\"}\n")
	if o := c.Options(); o.DiscoveryFile != file || o.Endpoint != "" {
		t.Errorf("got %+v", o)
	}
	out, err := c.Render(Options{Token: newToken})
	if err != nil || !strings.Contains(string(out), "tlsBootstrapToken: "+newToken) || strings.Contains(string(out), "bootstrapToken:\n") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// The server that was discovered stands in for discovery by token, and nothing else changes.
func TestADiscoveryFileInPlaceOfAToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proven.conf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const own = "cccccc.dddddddddddddddd"
	for name, tt := range map[string]struct{ text, token, want string }{
		"the file's token":          {text: whole, want: token},
		"one from elsewhere":        {text: whole, token: newToken, want: newToken},
		"one for the kubelet alone": {text: strings.Replace(whole, "tlsBootstrapToken: "+token, "tlsBootstrapToken: "+own, 1), token: newToken, want: own},
		"none for the kubelet":      {text: strings.Replace(whole, "  tlsBootstrapToken: "+token+"\n", "", 1), want: token},
	} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, tt.text)
			by, err := c.Render(Options{Token: tt.token})
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.Render(Options{Token: tt.token, DiscoveryFile: file})
			if err != nil {
				t.Fatal(err)
			}
			begin, end, _ := strings.Cut(string(by), "discovery:\n")
			end = end[strings.Index(end, "futureField:"):]
			if want := begin + "discovery:\n  file:\n    kubeConfigPath: " + file + "\n  tlsBootstrapToken: " + tt.want + "\n" + end; string(out) != want {
				t.Errorf("got\n%s\nwanted\n%s", out, want)
			}
		})
	}
}

func TestFilesThatCannotWork(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	const version = "kubeadm.k8s.io/v1beta4"
	const join = "apiVersion: " + version + "\nkind: JoinConfiguration\n"
	for name, tc := range map[string]struct{ text, field, problem, remedy string }{
		"empty":                 {"", "join.yaml", "has no JoinConfiguration", "kubeadm config print join-defaults"},
		"not YAML":              {"a: [", "join.yaml", "document 1", ""},
		"a list":                {"- a", "join.yaml", "document 1", ""},
		"no kind":               {"a: b", "join.yaml", "no apiVersion", ""},
		"no JoinConfiguration":  {"apiVersion: v1\nkind: Pod", "join.yaml", "has no JoinConfiguration", ""},
		"two of them":           {whole + "\n---\n" + join, "join.yaml", "two documents of kind", ""},
		"a key twice":           {change("kind: JoinConfiguration\n", "kind: JoinConfiguration\nkind: JoinConfiguration\n"), "join.yaml", "already set", ""},
		"old":                   {change(version, "kubeadm.k8s.io/v1beta3"), "apiVersion", "too old", "kubeadm config migrate"},
		"very old":              {change(version, "kubeadm.k8s.io/v1alpha1"), "apiVersion", "too old", "kubeadm config migrate"},
		"experimental":          {change(version, "kubeadm.k8s.io/v1"), "apiVersion", "not a version", "v1beta4"},
		"newer":                 {change(version, "kubeadm.k8s.io/v2"), "apiVersion", "not a version", "v1beta4"},
		"another group's":       {change(version, "example.com/v1beta4"), "apiVersion", "not a version", "v1beta4"},
		"a control plane":       {change("patches:", "controlPlane: {}\npatches:"), "controlPlane", "workers only", ""},
		"a dry run":             {change("patches:", "dryRun: true\npatches:"), "dryRun", "token", ""},
		"no discovery":          {join, "discovery", "neither", ""},
		"both discoveries":      {change("discovery:\n", "discovery:\n  file: {kubeConfigPath: /x}\n"), "discovery", "both", ""},
		"malformed token":       {change(`"`+token+`"`, "abcdef.SECRET"), "discovery.bootstrapToken.token", "not a bootstrap token", "kubeadm token create"},
		"a token of digits":     {change(`"`+token+`"`, "123456.1234567890123456"), "discovery.bootstrapToken.token", "quotes", ""},
		"malformed TLS token":   {change("tlsBootstrapToken: "+token, "tlsBootstrapToken: SECRET"), "discovery.tlsBootstrapToken", "not a bootstrap token", ""},
		"malformed hash":        {change(pin, "sha1:00"), "discovery.bootstrapToken.caCertHashes", "sha256:", ""},
		"no hash":               {change(`    caCertHashes: ["`+pin+"\"]\n", ""), "discovery.bootstrapToken.caCertHashes", "missing", "unsafeSkipCAVerification"},
		"endpoint without port": {change("api.example.com:6443", "api.example.com"), "discovery.bootstrapToken.apiServerEndpoint", "no port", ""},
		"a map is none":         {change("patches: {directory: /p}", "patches: /p"), "patches", "not a map", ""},
		"a number for a name":   {change("name: Node-A", "name: 17"), "nodeRegistration.name", "quotes", ""},
		"a list is none":        {change("[Swap]", "Swap"), "nodeRegistration.ignorePreflightErrors", "not a list", ""},
		"all and more":          {change("[Swap]", "[Swap, ALL]"), "nodeRegistration.ignorePreflightErrors", "all", "alone"},
		"a timeout of seconds":  {change("tlsBootstrap: 9m", "tlsBootstrap: 9"), "timeouts.tlsBootstrap", "duration", ""},
		"discovery file gone":   {join + "discovery: {file: {kubeConfigPath: /no/such/file}}", "discovery.file.kubeConfigPath", "no such file", ""},
		"discovery by http":     {join + "discovery: {file: {kubeConfigPath: \"http://x/y\"}}", "discovery.file.kubeConfigPath", "https", ""},
	} {
		_, err := ParseConfig("join.yaml", []byte(tc.text))
		var field *FieldError
		if !errors.As(err, &field) {
			t.Errorf("%s: %v, want a FieldError", name, err)
			continue
		}
		if !strings.HasPrefix(field.Field, "join.yaml") || !strings.HasSuffix(field.Field, tc.field) || !strings.Contains(field.Problem, tc.problem) || !strings.Contains(field.Remedy, tc.remedy) {
			t.Errorf("%s: got %+v, want %+v", name, *field, tc)
		}
		if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "1234567890123456") {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
}

func TestANodeNameThatWouldNotCount(t *testing.T) {
	c := parse(t, strings.Replace(whole, "name: max-pods, value: \"250\"", "name: hostname-override, value: a", 1))
	if _, err := c.Render(Options{NodeName: "A"}); err != nil {
		t.Errorf("the same name: %v", err)
	}
	if _, err := c.Render(Options{NodeName: "b"}); err == nil || !strings.Contains(err.Error(), "kubeletExtraArgs") {
		t.Errorf("another: %v", err)
	}
}

func TestDocumentsWithNothingInThemAreLeftOut(t *testing.T) {
	_, rest, _ := strings.Cut(whole, "---\n")
	join, _, _ := strings.Cut(rest, "---\n")
	out, err := parse(t, "---\n\n--- # none\n# a word\n---\n"+join+"---\n---\r\n").Render(Options{})
	if err != nil || bytes.Contains(out, []byte("---")) {
		t.Errorf("got %v\n%s", err, out)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add(whole)
	// As `kubeadm config print join-defaults` and `kubeadm config migrate` write it.
	for _, name := range []string{"join-defaults", "join-and-kubelet", "file-discovery"} {
		b, err := os.ReadFile(filepath.Join(corpus, name+".yaml"))
		if err != nil {
			f.Fatal(err)
		}
		b = bytes.ReplaceAll(b, []byte("/etc/kubernetes/discovery.conf"), []byte("config_test.go")) // a file that is there
		if c, err := ParseConfig(name, b); err != nil || c.Options().TLSBootstrapToken != "" && name != "file-discovery" {
			f.Fatalf("%s: %v", name, err)
		}
		f.Add(string(b))
	}
	f.Add("apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {bootstrapToken: {token: " + token + ", apiServerEndpoint: \"1.2.3.4:6443\", unsafeSkipCAVerification: true}}\n")
	f.Add("--- # c\n{\"kind\": \"JoinConfiguration\", \"apiVersion\": \"kubeadm.k8s.io/v1beta3\"}\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig("f", []byte(text))
		if err != nil {
			if !errors.As(err, new(*FieldError)) || strings.Contains(err.Error(), token) {
				t.Errorf("error %T %q", err, err)
			}
			return
		}
		was := c.Options()
		out, err := c.Render(Options{Token: newToken, AttemptTimeout: time.Minute})
		if err != nil {
			t.Fatalf("parsed but cannot be rendered: %v", err)
		}
		again, err := ParseConfig("f", out)
		if err != nil {
			t.Fatalf("rendered but cannot be parsed: %v\n%s", err, out)
		}
		now := again.Options()
		if was.DiscoveryFile == "" {
			was.Token = newToken
		} else if was.TLSBootstrapToken = newToken; false {
			return
		}
		if was.TLSBootstrapToken == was.Token {
			was.TLSBootstrapToken = ""
		}
		if !reflect.DeepEqual(now, was) {
			t.Errorf("options changed:\n was %+v\n now %+v", was, now)
		}
	})
}
