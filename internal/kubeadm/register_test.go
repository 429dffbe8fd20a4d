package kubeadm

import (
	"errors"
	"strings"
	"testing"
)

func TestWhatTheNodeRegistersWith(t *testing.T) {
	o := valid()
	o.KubeletExtraArgs = []string{"cloud-provider=external", "feature-gates=A=true,B=false", "v=4"}
	o.ProviderID = "aws:///us-east-1a/i-0123456789abcdef0"
	o.NodeLabels = []string{"tier=web", "node.kubernetes.io/pool=blue", "example.com/empty=", "topology.kubernetes.io/zone=us-east-1a"}
	o.Taints = []string{"dedicated=web:NoSchedule", "example.com/new:NoExecute", "dedicated=web:PreferNoSchedule"}
	got, err := o.Render()
	want := `nodeRegistration:
  kubeletExtraArgs:
  - name: cloud-provider
    value: external
  - name: feature-gates
    value: A=true,B=false
  - name: v
    value: "4"
  - name: provider-id
    value: aws:///us-east-1a/i-0123456789abcdef0
  - name: node-labels
    value: tier=web,node.kubernetes.io/pool=blue,example.com/empty=,topology.kubernetes.io/zone=us-east-1a
  taints:
  - effect: NoSchedule
    key: dedicated
    value: web
  - effect: NoExecute
    key: example.com/new
  - effect: PreferNoSchedule
    key: dedicated
    value: web
`
	if err != nil || !strings.Contains(string(got), want) {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestWhatAKubeletRefusesIsRefusedBefore(t *testing.T) {
	for _, c := range []struct {
		spoil        func(*Options)
		field, words string
	}{
		{func(o *Options) { o.KubeletExtraArgs = []string{"--v=4"} }, "--kubelet-extra-arg", "begins with a dash"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"v"} }, "--kubelet-extra-arg", "not KEY=VALUE"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"max pods=1"} }, "--kubelet-extra-arg", "not KEY=VALUE"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"image-credential-provider-config=/a b"} }, "--kubelet-extra-arg", "white space"},
		{func(o *Options) { o.KubeletExtraArgs = []string{`x="y"`} }, "--kubelet-extra-arg", "quotes"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"hostname-override=n2"} }, "--kubelet-extra-arg", "has a flag of its own"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"provider-id=aws:///a/i-1"} }, "--kubelet-extra-arg", "has a flag of its own"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"node-labels=a=b"} }, "--kubelet-extra-arg", "has a flag of its own"},
		{func(o *Options) { o.KubeletExtraArgs = []string{"register-with-taints=a=b:NoSchedule"} }, "--kubelet-extra-arg", "has a flag of its own"},
		{func(o *Options) { o.ProviderID = "atuo" }, "--provider-id", "PROVIDER://INSTANCE"},
		{func(o *Options) { o.ProviderID = "aws://" }, "--provider-id", "PROVIDER://INSTANCE"},
		{func(o *Options) { o.ProviderID = "aws:///us east/i-1" }, "--provider-id", "PROVIDER://INSTANCE"},
		{func(o *Options) { o.NodeLabels = []string{"a"} }, "--node-label", "not KEY=VALUE"},
		{func(o *Options) { o.NodeLabels = []string{"a b=c"} }, "--node-label", "a b=c"},
		{func(o *Options) { o.NodeLabels = []string{"a=b c"} }, "--node-label", "a=b c"},
		{func(o *Options) { o.NodeLabels = []string{"=b"} }, "--node-label", "=b"},
		{func(o *Options) { o.NodeLabels = []string{"a=b", "node-role.kubernetes.io/worker="} }, "--node-label", "NodeRestriction forbids it"},
		{func(o *Options) { o.NodeLabels = []string{"node-restriction.kubernetes.io/x=y"} }, "--node-label", "NodeRestriction forbids it"},
		{func(o *Options) { o.NodeLabels = []string{"kubernetes.io/x=y"} }, "--node-label", "NodeRestriction forbids it"},
		{func(o *Options) { o.NodeLabels = []string{"sub.k8s.io/x=y"} }, "--node-label", "NodeRestriction forbids it"},
		{func(o *Options) { o.Taints = []string{"a=b"} }, "--taint", "KEY[=VALUE]:EFFECT"},
		{func(o *Options) { o.Taints = []string{"a=b:Never"} }, "--taint", "NoSchedule"},
		{func(o *Options) { o.Taints = []string{"a b:NoSchedule"} }, "--taint", "a b"},
		{func(o *Options) { o.Taints = []string{"a=b:NoSchedule", "a=c:NoSchedule"} }, "--taint", "twice"},
	} {
		o := valid()
		c.spoil(&o)
		_, err := o.Render()
		var field *FieldError
		if !errors.As(err, &field) || field.Field != c.field || !strings.Contains(field.Problem, c.words) {
			t.Errorf("%+v: got %v, wanted %s with %q", o, err, c.field, c.words)
		}
	}
}

func TestALabelThatOnlyLooksReserved(t *testing.T) {
	for _, label := range []string{"mykubernetes.io/x=y", "kubernetes.io.example.com/x=y", "kubernetes.io=y", "kubelet.kubernetes.io/x=y", "sub.node.kubernetes.io/x=y"} {
		o := valid()
		o.NodeLabels = []string{label}
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

func TestAProviderIDGoesIntoAUsersFileThatHasNone(t *testing.T) {
	const id = "aws:///us-east-1a/i-0123456789abcdef0"
	text, err := parse(t, whole).Render(Options{ProviderID: id})
	if err != nil {
		t.Fatal(err)
	}
	again := parse(t, string(text))
	if got := again.Options().ProviderID; got != id {
		t.Errorf("provider ID %q\n%s", got, text)
	}
	if !strings.Contains(string(text), "max-pods") {
		t.Errorf("the file's own argument is gone:\n%s", text)
	}
	if _, err := again.Render(Options{ProviderID: id}); err != nil {
		t.Errorf("the same twice: %v", err)
	}
	_, err = again.Render(Options{ProviderID: "aws:///us-east-1b/i-0fedcba9876543210"})
	if err == nil || !strings.Contains(err.Error(), "join.yaml: nodeRegistration.kubeletExtraArgs") {
		t.Errorf("another one: %v", err)
	}
}

func TestALabelInAUsersFileThatTheKubeletWouldRefuse(t *testing.T) {
	text := strings.Replace(whole, `{name: max-pods, value: "250"}`, `{name: node-labels, value: "a=b, node-role.kubernetes.io/worker=,,c"}`, 1)
	_, err := ParseConfig("join.yaml", []byte(text))
	if err == nil || !strings.Contains(err.Error(), "node-labels") || !strings.Contains(err.Error(), "node-role.kubernetes.io/worker") {
		t.Errorf("got %v", err)
	}
	parse(t, strings.Replace(text, "node-role.kubernetes.io/worker=,", "", 1))
}
