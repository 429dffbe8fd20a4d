package kubeadm

import "strings"

// reader takes fields out of a JoinConfiguration; err is the first that was not of its type.
type reader struct {
	join map[string]any
	err  *FieldError
}

func (r *reader) options() Options {
	o := Options{
		Endpoint:                 r.text("discovery", "bootstrapToken", "apiServerEndpoint"),
		Token:                    r.text("discovery", "bootstrapToken", "token"),
		TLSBootstrapToken:        r.text("discovery", "tlsBootstrapToken"),
		CACertHashes:             r.texts("discovery", "bootstrapToken", "caCertHashes"),
		UnsafeSkipCAVerification: r.flag("discovery", "bootstrapToken", "unsafeSkipCAVerification"),
		DiscoveryFile:            r.text("discovery", "file", "kubeConfigPath"),
		NodeName:                 strings.ToLower(strings.TrimSpace(r.text("nodeRegistration", "name"))),
		CRISocket:                r.text("nodeRegistration", "criSocket"),
		IgnorePreflightErrors:    r.texts("nodeRegistration", "ignorePreflightErrors"),
		SkipPhases:               r.texts("skipPhases"),
		Patches:                  r.text("patches", "directory"),
		CACertPath:               r.text("caCertPath"),
	}
	if o.TLSBootstrapToken == o.Token {
		o.TLSBootstrapToken = ""
	}
	if name, ok := r.kubeletArg(argOverride); ok {
		o.NodeName = strings.ToLower(strings.TrimSpace(name))
	}
	o.ProviderID, _ = r.kubeletArg(argProviderID)
	// kubeadm makes a path of a file:// URL (v1beta4 SetDefaults_FileDiscovery).
	o.DiscoveryFile = strings.TrimPrefix(o.DiscoveryFile, "file://")
	return o
}

// kubeletArg is the last of that name among kubeletExtraArgs, the one that counts.
func (r *reader) kubeletArg(name string) (value string, ok bool) {
	for _, arg := range r.list("nodeRegistration", "kubeletExtraArgs") {
		a, _ := arg.(map[string]any)
		if a["name"] == name {
			value, _ = a["value"].(string)
			ok = true
		}
	}
	return value, ok
}

// at is the value of a field; nil if it, or what it is in, is not there.
func (r *reader) at(path ...string) any {
	var v any = r.join
	for i, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			if v != nil {
				r.fail(strings.Join(path[:i], "."), "is not a map of fields")
			}
			return nil
		}
		v = m[name]
	}
	return v
}

func (r *reader) object(path ...string) map[string]any {
	return value[map[string]any](r, "is not a map of fields", path)
}

func (r *reader) list(path ...string) []any { return value[[]any](r, "is not a list", path) }
func (r *reader) flag(path ...string) bool  { return value[bool](r, "is not true or false", path) }
func (r *reader) text(path ...string) string {
	return value[string](r, "is not a text: put it in quotes", path)
}

func (r *reader) texts(path ...string) []string {
	var out []string
	for _, v := range r.list(path...) {
		s, ok := v.(string)
		if !ok {
			r.fail(strings.Join(path, "."), "has an entry that is not a text: put it in quotes")
			return nil
		}
		out = append(out, s)
	}
	return out
}

func value[T any](r *reader, problem string, path []string) T {
	v := r.at(path...)
	t, ok := v.(T)
	if !ok && v != nil {
		r.fail(strings.Join(path, "."), problem)
	}
	return t
}

func (r *reader) fail(field, problem string) {
	if r.err == nil {
		r.err = &FieldError{Field: field, Problem: problem}
	}
}

// make is the map at a field of the top level, put there if there is none.
func (r *reader) make(name string) map[string]any {
	m, ok := r.join[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		r.join[name] = m
	}
	return m
}
