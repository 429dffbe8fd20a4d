package kubeadm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Config is a user's own kubeadm configuration file.
type Config struct {
	path string
	docs []document
	join int // docs' JoinConfiguration
}

// document is one YAML document: its bytes with everything up to the next separator, and what they say.
type document struct {
	raw    []byte
	object map[string]any // numbers are json.Number, which come out as they went in
}

// ParseConfig reads a configuration file as kubeadm's --config does: YAML or JSON documents, one of them a JoinConfiguration
// of kubeadm.k8s.io/v1beta4 for a worker. path is for errors, which are *FieldError and hold no token. A token may be missing,
// because it can come from elsewhere.
func ParseConfig(path string, raw []byte) (*Config, error) {
	c := &Config{path: path, join: -1}
	kinds := map[string]bool{}
	for i, part := range split(raw) {
		object, err := decode(part)
		if err != nil {
			return nil, c.wrong("", fmt.Sprintf("document %d: %s", i+1, pattern.Redact(err.Error())), "")
		}
		if len(object) == 0 {
			continue // nothing but comments: kubeadm stumbles over it
		}
		version, _ := object["apiVersion"].(string)
		kind, _ := object["kind"].(string)
		if version == "" || kind == "" {
			return nil, c.wrong("", fmt.Sprintf("document %d has no apiVersion or no kind", i+1), "")
		}
		if kinds[kind] {
			return nil, c.wrong("", fmt.Sprintf("has two documents of kind %q", kind), "leave one of them out")
		}
		kinds[kind] = true
		if kind == kindJoin {
			if err := c.checkVersion(version); err != nil {
				return nil, err
			}
			c.join = len(c.docs)
		}
		c.docs = append(c.docs, document{raw: part, object: object})
	}
	if c.join < 0 {
		return nil, c.wrong("", "has no "+kindJoin, "`kubeadm config print join-defaults` prints one to begin with")
	}
	if err := c.check(c.docs[c.join].object); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Config) wrong(field, problem, remedy string) *FieldError {
	at := c.path
	if field != "" {
		at += ": " + field
	}
	return &FieldError{Field: at, Problem: problem, Remedy: remedy}
}

// older are kubeadm's former versions (util/config/common.go).
var older = []string{"v1alpha1", "v1alpha2", "v1alpha3", "v1beta1", "v1beta2", "v1beta3"}

func (c *Config) checkVersion(version string) error {
	group, v, _ := strings.Cut(version, "/")
	switch {
	case version == kubeadmConfig:
		return nil
	case group == kubeadmGroup && slices.Contains(older, v):
		return c.wrong("apiVersion", fmt.Sprintf("%q is too old: nodejoin needs the timeouts of %q", version, kubeadmConfig),
			"`kubeadm config migrate --old-config OLD --new-config NEW`, with a kubeadm that still knows the old version")
	}
	return c.wrong("apiVersion", fmt.Sprintf("%q is not a version that kubeadm join takes", version), "use "+kubeadmConfig)
}

// check looks for what kubeadm would refuse, and for what nodejoin must not do.
func (c *Config) check(join map[string]any) error {
	if _, ok := join["controlPlane"]; ok && join["controlPlane"] != nil {
		return c.wrong("controlPlane", "is for control-plane hosts, and nodejoin joins workers only", "leave it out, or use kubeadm join")
	}
	if dry, _ := join["dryRun"].(bool); dry {
		return c.wrong("dryRun", "leaves the token behind in /etc/kubernetes/tmp, and joins nothing", "leave it out")
	}
	r := reader{join: join}
	o := r.options()
	r.durations()
	if r.err != nil {
		return c.wrong(r.err.Field, r.err.Problem, r.err.Remedy)
	}
	token, file := r.object("discovery", "bootstrapToken") != nil, r.object("discovery", "file") != nil
	switch {
	case token && file:
		return c.wrong("discovery", "has both bootstrapToken and file", "leave one of them out")
	case file:
		if o.DiscoveryFile == "" {
			return c.wrong("discovery.file.kubeConfigPath", "is missing", "")
		}
		if err := validateDiscoveryFile(o.DiscoveryFile); err != nil {
			return c.wrong("discovery.file.kubeConfigPath", err.Problem, err.Remedy)
		}
	case token:
		if err := ValidateEndpoint(o.Endpoint); err != nil {
			return c.wrong("discovery.bootstrapToken.apiServerEndpoint", err.Error(), "")
		}
		if len(o.CACertHashes) == 0 && !o.UnsafeSkipCAVerification {
			return c.wrong("discovery.bootstrapToken.caCertHashes", "is missing: without it anyone on the network can pass for the cluster",
				"set it, or unsafeSkipCAVerification: true")
		}
		for _, h := range o.CACertHashes {
			if err := ValidateHash(h); err != nil {
				return c.wrong("discovery.bootstrapToken.caCertHashes", err.Error(), "")
			}
		}
	default:
		return c.wrong("discovery", "has neither bootstrapToken nor file", "")
	}
	if err := validateTokens(c.path+": discovery.bootstrapToken.token", o.Token, c.path+": discovery.tlsBootstrapToken", o.TLSBootstrapToken); err != nil {
		return err
	}
	if err := validateIgnored(o.IgnorePreflightErrors); err != nil {
		return c.wrong("nodeRegistration.ignorePreflightErrors", err.Problem, err.Remedy)
	}
	labels, _ := r.kubeletArg(argNodeLabels)
	for label := range strings.SplitSeq(labels, ",") {
		key, _, _ := strings.Cut(label, "=")
		if err := allowedLabel(strings.TrimSpace(key)); err != nil {
			return c.wrong("nodeRegistration.kubeletExtraArgs, "+argNodeLabels, err.Problem, err.Remedy)
		}
	}
	return nil
}

// Options are what the file says. NodeName is the name that the Node will have: kubeadm lower-cases the name, and a
// hostname-override among kubeletExtraArgs wins over it (phases/kubelet/flags.go). TLSBootstrapToken is empty if it is the
// same as Token.
func (c *Config) Options() Options {
	r := reader{join: c.docs[c.join].object}
	return r.options()
}

// Render is the file with o put into its JoinConfiguration: the tokens, the node name, the provider ID, checks to ignore (added to the
// file's), phases to skip (instead of the file's, as kubeadm's flag does), a discovery file (instead of discovery by token) and, for each of the
// timeouts that the file does not set, nodejoin's. The
// other documents stay as they are, byte for byte; fields of o that a file cannot be combined with (endpoint, hashes, ...) are
// not looked at. The error is a *FieldError.
func (c *Config) Render(o Options) ([]byte, error) {
	join, err := decode(c.docs[c.join].raw) // a fresh one: rendering changes it
	if err != nil {
		return nil, err
	}
	r := reader{join: join}
	was := r.options()
	if err := validateTokens("--token", o.Token, "--tls-bootstrap-token", o.TLSBootstrapToken); err != nil {
		return nil, err
	}
	discovery := r.make("discovery")
	if token := r.object("discovery", "bootstrapToken"); token != nil {
		if o.Token != "" {
			token["token"] = o.Token
			if was.TLSBootstrapToken == "" {
				delete(discovery, "tlsBootstrapToken") // kubeadm takes token for it, and the file's would be the former one
			}
		}
		if s, _ := token["token"].(string); s == "" {
			return nil, c.wrong("discovery.bootstrapToken.token", "is missing", "set it, or give --token-file or --token-command")
		}
		if o.DiscoveryFile != "" {
			delete(discovery, "bootstrapToken")
			discovery["file"] = map[string]any{"kubeConfigPath": o.DiscoveryFile}
			if was.TLSBootstrapToken == "" {
				discovery["tlsBootstrapToken"] = token["token"] // which kubeadm would take for it
			}
		}
	} else if o.Token != "" {
		discovery["tlsBootstrapToken"] = o.Token
	}
	if o.TLSBootstrapToken != "" {
		discovery["tlsBootstrapToken"] = o.TLSBootstrapToken
	}
	if o.NodeName != "" {
		if name, ok := r.kubeletArg(argOverride); ok && !strings.EqualFold(name, o.NodeName) {
			return nil, c.wrong("nodeRegistration.kubeletExtraArgs", fmt.Sprintf("hostname-override %q would win over the node name %q", name, o.NodeName),
				"leave one of them out")
		}
		r.make("nodeRegistration")["name"] = o.NodeName
	}
	if o.ProviderID != "" && o.ProviderID != was.ProviderID {
		if was.ProviderID != "" {
			return nil, c.wrong("nodeRegistration.kubeletExtraArgs", fmt.Sprintf("%s is %q, and --provider-id says %q", argProviderID, was.ProviderID, o.ProviderID),
				"leave one of them out")
		}
		if err := validateProviderID(o.ProviderID); err != nil {
			return nil, err
		}
		registration := r.make("nodeRegistration")
		args, _ := registration["kubeletExtraArgs"].([]any)
		registration["kubeletExtraArgs"] = append(args, arg(argProviderID, o.ProviderID))
	}
	if ignored := union(was.IgnorePreflightErrors, o.IgnorePreflightErrors); len(ignored) > 0 {
		if err := validateIgnored(ignored); err != nil {
			return nil, c.wrong("nodeRegistration.ignorePreflightErrors, with --ignore-preflight-errors", err.Problem, err.Remedy)
		}
		r.make("nodeRegistration")["ignorePreflightErrors"] = ignored
	}
	if len(o.SkipPhases) > 0 {
		join["skipPhases"] = o.SkipPhases
	}
	for field, value := range timeouts(o.AttemptTimeout) {
		if t := r.make("timeouts"); t[field] == nil {
			t[field] = value
		}
	}
	text, err := encode(join)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", kindJoin, err)
	}
	var out bytes.Buffer
	for i, d := range c.docs {
		if i > 0 {
			out.WriteString("---\n")
		}
		if i == c.join {
			d.raw = text
		}
		out.Write(d.raw)
		if !bytes.HasSuffix(d.raw, []byte{'\n'}) {
			out.WriteByte('\n')
		}
	}
	return out.Bytes(), nil
}

// union keeps the order and compares as kubeadm does, without regard to case.
func union(a, b []string) []string {
	var all []string
	for _, s := range slices.Concat(a, b) {
		if !slices.ContainsFunc(all, func(have string) bool { return strings.EqualFold(have, s) }) {
			all = append(all, s)
		}
	}
	return all
}

// split cuts at the lines that kubeadm takes for separators (apimachinery's YAMLReader): those that begin with "---".
func split(raw []byte) [][]byte {
	var (
		parts [][]byte
		part  []byte
	)
	for line := range bytes.Lines(raw) {
		if bytes.HasPrefix(line, []byte("---")) {
			parts = append(parts, part)
			part = nil
			continue
		}
		part = append(part, line...)
	}
	return append(parts, part)
}

// decode reads one document. A key that is there twice is an error, as in kubeadm.
func decode(raw []byte) (map[string]any, error) {
	b, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("is not a map of fields")
	}
	return object, nil
}

func encode(object map[string]any) ([]byte, error) {
	b, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(b)
}

// durations checks `timeouts`: kubeadm wants strings such as "2m30s".
func (r *reader) durations() {
	for field, value := range r.object("timeouts") {
		if value == nil {
			continue
		}
		s, _ := value.(string)
		if _, err := time.ParseDuration(s); err != nil {
			r.fail("timeouts."+field, "is not a duration such as \"2m30s\"")
		}
	}
}
