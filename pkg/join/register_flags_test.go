package join

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRegistrationFlagsThatCannotGoTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "join.yaml")
	text := `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken: {apiServerEndpoint: "cp:6443", unsafeSkipCAVerification: true, token: ` + simToken + `}
`
	write := func(more string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fromFile := func(c *Config) {
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value, c.ConfigFile = "", false, "", file
	}
	const named = "nodeRegistration: {name: n1}\n"
	const identified = `nodeRegistration: {kubeletExtraArgs: [{name: provider-id, value: "aws:///z/i-1"}]}` + "\n"
	for _, c := range []struct {
		more   string // of a config file; "-": none is used
		change func(*Config)
		words  string // "": it is fine
	}{
		{"-", func(c *Config) { c.NodeName, c.NodeNameFrom = "n1", FromHostname }, "--node-name-from: cannot be used with --node-name"},
		{"-", from("dns"), `--node-name-from: "dns" is not hostname, fqdn or ec2`},
		{"-", func(c *Config) { c.ProviderID = "aout" }, "--provider-id: "},
		{"-", func(c *Config) { c.ProviderID = ProviderIDNone }, ""},
		{"-", func(c *Config) { c.NodeLabels = []string{"node-role.kubernetes.io/x="} }, "--node-label: "},
		{"-", func(c *Config) { c.Taints = []string{"x"} }, "--taint: "},
		{"-", func(c *Config) { c.KubeletExtraArgs = []string{"x"} }, "--kubelet-extra-arg: "},
		{"", func(c *Config) { c.NodeLabels = []string{"a=b"} }, "--node-label: cannot be used with --config, set nodeRegistration.kubeletExtraArgs"},
		{"", func(c *Config) { c.Taints = []string{"a=b:NoSchedule"} }, "--taint: cannot be used with --config, set nodeRegistration.taints"},
		{"", func(c *Config) { c.KubeletExtraArgs = []string{"v=4"} }, "--kubelet-extra-arg: cannot be used with --config, set nodeRegistration.kubeletExtraArgs"},
		{"-", func(c *Config) {
			c.Endpoint, c.UnsafeSkipCAVerification, c.DiscoveryFile = "", false, file
			c.NodeLabels, c.Taints, c.KubeletExtraArgs = []string{"a=b"}, []string{"a=b:NoSchedule"}, []string{"v=4"}
		}, ""},
		{"", from(FromEC2), ""},
		{"", autoID, ""},
		{named, from(FromEC2), "--node-name-from: cannot be used with --config"},
		{named, autoID, ""},
		{identified, autoID, "--provider-id: cannot be used with --config"},
		{identified, from(FromEC2), ""},
	} {
		conf := Defaults()
		conf.Endpoint, conf.UnsafeSkipCAVerification, conf.Token.Value = "cp:6443", true, simToken
		c.change(&conf)
		if c.more != "-" {
			write(c.more)
			fromFile(&conf)
		}
		err := conf.Validate()
		var e *Error
		switch {
		case c.words == "" && err != nil:
			t.Errorf("%+v: %v", conf, err)
		case c.words != "" && (!errors.As(err, &e) || e.Reason != Usage || !strings.HasPrefix(e.Message, c.words)):
			t.Errorf("got %v, wanted %q", err, c.words)
		}
	}
}

func TestConfigFileIsCompletedWithWhatEC2Says(t *testing.T) {
	file := filepath.Join(t.TempDir(), "join.yaml")
	text := `{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "JoinConfiguration", "discovery": {"bootstrapToken":
		{"apiServerEndpoint": "cp:6443", "unsafeSkipCAVerification": true, "token": "` + simToken + `"}}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.ConfigFile, c.NodeNameFrom, c.ProviderID = file, FromEC2, ProviderIDAuto
	p, err := c.plan()
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.render(p.options(registration{"ip-10-0-0-7.ec2.internal", anInstance.ProviderID()}, simToken, simToken))
	if err != nil || !strings.Contains(string(got), "name: ip-10-0-0-7.ec2.internal") || !strings.Contains(string(got), "value: aws:///us-east-1a/i-0123456789abcdef0") {
		t.Errorf("%v\n%s", err, got)
	}
}
