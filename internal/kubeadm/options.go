package kubeadm

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	kindJoin      = "JoinConfiguration"
	kubeadmGroup  = "kubeadm.k8s.io"
	kubeadmConfig = kubeadmGroup + "/v1beta4"
)

// Options are what a JoinConfiguration for a worker says. With a Config, an empty field means: as the file has it.
type Options struct {
	Endpoint string // host:port
	Token    string // for discovery, and for TLS bootstrap unless that has its own
	// TLSBootstrapToken authenticates the kubelet's first request; "" means Token.
	TLSBootstrapToken        string
	CACertHashes             []string // "sha256:<hex>", any of which may match
	UnsafeSkipCAVerification bool
	DiscoveryFile            string // a kubeconfig's path or https URL, instead of Endpoint
	NodeName                 string // "" means the hostname
	CRISocket                string // "" lets kubeadm look for one
	IgnorePreflightErrors    []string
	SkipPhases               []string
	Patches                  string        // a directory
	CACertPath               string        // of a Config alone: where kubeadm puts the cluster's CA; "" means its default
	ProviderID               string        // what the kubelet calls its instance, "aws:///ZONE/INSTANCE"; "" leaves that to the cloud controller
	KubeletExtraArgs         []string      // KEY=VALUE
	NodeLabels               []string      // KEY=VALUE
	Taints                   []string      // KEY[=VALUE]:EFFECT
	AttemptTimeout           time.Duration // for the whole of kubeadm; 0 leaves kubeadm's own timeouts
}

// Validate checks everything but that there is a token, which may come later; the error is a *FieldError that names the flag.
func (o Options) Validate() error {
	if o.DiscoveryFile != "" {
		if o.Endpoint != "" {
			return &FieldError{"--discovery-file", "cannot be used with ENDPOINT", "leave one of them out"}
		}
		if err := validateDiscoveryFile(o.DiscoveryFile); err != nil {
			err.Field = "--discovery-file"
			return err
		}
	} else {
		if o.Endpoint == "" {
			return &FieldError{"ENDPOINT", "is missing", "give the API server's host:port, or --discovery-file"}
		}
		if err := ValidateEndpoint(o.Endpoint); err != nil {
			return &FieldError{"ENDPOINT", err.Error(), ""}
		}
		if len(o.CACertHashes) == 0 && !o.UnsafeSkipCAVerification {
			return &FieldError{"--discovery-token-ca-cert-hash", "is missing: without it anyone on the network can pass for the cluster",
				"take it from `kubeadm token create --print-join-command`, or give --discovery-token-unsafe-skip-ca-verification"}
		}
	}
	for _, h := range o.CACertHashes {
		if err := ValidateHash(h); err != nil {
			return &FieldError{"--discovery-token-ca-cert-hash", err.Error(), ""}
		}
	}
	if err := validateTokens("--token", o.Token, "--tls-bootstrap-token", o.TLSBootstrapToken); err != nil {
		return err
	}
	if err := validateIgnored(o.IgnorePreflightErrors); err != nil {
		err.Field = "--ignore-preflight-errors"
		return err
	}
	if _, err := o.kubeletArgs(); err != nil {
		return err
	}
	_, err := o.taints()
	return err
}

// Render is the configuration for kubeadm, a kubeadm.k8s.io/v1beta4 JoinConfiguration in YAML. It holds the token.
func (o Options) Render() ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Token == "" && o.DiscoveryFile == "" {
		return nil, &FieldError{"--token", "is missing", ""}
	}
	discovery := map[string]any{}
	if o.DiscoveryFile != "" {
		discovery["file"] = map[string]any{"kubeConfigPath": o.DiscoveryFile}
	} else {
		discovery["bootstrapToken"] = drop(map[string]any{
			"apiServerEndpoint":        o.Endpoint,
			"token":                    o.Token,
			"caCertHashes":             o.CACertHashes,
			"unsafeSkipCAVerification": o.UnsafeSkipCAVerification,
		})
	}
	if o.TLSBootstrapToken != "" {
		discovery["tlsBootstrapToken"] = o.TLSBootstrapToken
	} else if o.Token != "" {
		discovery["tlsBootstrapToken"] = o.Token // as kubeadm's --token does, also with a discovery file
	}
	args, err := o.kubeletArgs()
	if err != nil {
		return nil, err
	}
	taints, err := o.taints()
	if err != nil {
		return nil, err
	}
	doc := map[string]any{
		"apiVersion": kubeadmConfig,
		"kind":       kindJoin,
		"discovery":  discovery,
		"nodeRegistration": drop(map[string]any{
			"name":                  o.NodeName,
			"criSocket":             o.CRISocket,
			"ignorePreflightErrors": o.IgnorePreflightErrors,
			"kubeletExtraArgs":      args,
			"taints":                taints,
		}),
		"skipPhases": o.SkipPhases,
		"patches":    drop(map[string]any{"directory": o.Patches}),
		"timeouts":   timeouts(o.AttemptTimeout),
	}
	return yaml.Marshal(drop(doc))
}

// drop removes what says nothing.
func drop(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case string:
			if v != "" {
				continue
			}
		case bool:
			if v {
				continue
			}
		case []string:
			if len(v) > 0 {
				continue
			}
		case []any:
			if len(v) > 0 {
				continue
			}
		case map[string]any:
			if len(v) > 0 {
				continue
			}
		}
		delete(m, k)
	}
	return m
}

func validateTokens(field, token, tlsField, tlsToken string) error {
	for _, t := range []struct{ field, value string }{{field, token}, {tlsField, tlsToken}} {
		if t.value == "" {
			continue
		}
		if err := ValidateToken(t.value); err != nil {
			return &FieldError{t.field, err.Error(), "make one with `kubeadm token create`"}
		}
	}
	return nil
}

// validateDiscoveryFile follows kubeadm's ValidateDiscoveryKubeConfigPath; the caller sets the field.
func validateDiscoveryFile(s string) *FieldError {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return &FieldError{Problem: "is neither a path nor a URL"}
	case u.Scheme == "":
		if _, err := os.Stat(s); err != nil {
			return &FieldError{Problem: err.Error()}
		}
	case u.Scheme != "https" && u.Scheme != "file":
		return &FieldError{Problem: "a URL must begin with https://", Remedy: "give an https URL or a path"}
	}
	return nil
}

// validateIgnored follows kubeadm's ValidateIgnorePreflightErrors; the caller sets the field.
func validateIgnored(checks []string) *FieldError {
	all := slices.ContainsFunc(checks, func(c string) bool { return strings.EqualFold(c, "all") })
	if all && slices.ContainsFunc(checks, func(c string) bool { return !strings.EqualFold(c, "all") }) {
		return &FieldError{Problem: "names checks beside \"all\"", Remedy: "give \"all\" alone, or the checks alone"}
	}
	return nil
}
