package kubeadm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	kubeletapis "k8s.io/kubelet/pkg/apis"
)

// What a kubelet refuses to start with is refused here, by its own rules: kubeadm would wait for it for minutes.

const (
	argProviderID = "provider-id"
	argNodeLabels = "node-labels"
	argOverride   = "hostname-override"
)

// ownFlag are the arguments of the kubelet for which nodejoin has a flag: given as anything else, it would not know of them.
var ownFlag = map[string]string{
	argProviderID: "--provider-id", argNodeLabels: "--node-label", argOverride: "--node-name", "register-with-taints": "--taint",
}

var argName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// kubeletArgs is what the kubelet is told, as v1beta4 writes it.
func (o Options) kubeletArgs() ([]any, error) {
	var args []any
	for _, pair := range o.KubeletExtraArgs {
		name, value, ok := strings.Cut(pair, "=")
		err := &FieldError{Field: "--kubelet-extra-arg"}
		switch {
		case strings.HasPrefix(name, "-"):
			err.Problem, err.Remedy = fmt.Sprintf("%q begins with a dash", pair), "write it without: "+strings.TrimLeft(pair, "-")
		case !ok || !argName.MatchString(name):
			err.Problem = fmt.Sprintf("%q is not KEY=VALUE, with the name of a flag of the kubelet as KEY", pair)
		case ownFlag[name] != "":
			err.Problem, err.Remedy = fmt.Sprintf("%q has a flag of its own", name), "use "+ownFlag[name]
		case !oneWord(value):
			err.Problem = fmt.Sprintf("%q: white space, quotes, $ and \\ do not survive the environment file by which kubeadm hands it over", pair)
		default:
			args = append(args, arg(name, value))
			continue
		}
		return nil, err
	}
	if o.ProviderID != "" {
		if err := validateProviderID(o.ProviderID); err != nil {
			return nil, err
		}
		args = append(args, arg(argProviderID, o.ProviderID))
	}
	if len(o.NodeLabels) > 0 {
		if err := validateLabels(o.NodeLabels); err != nil {
			err.Field = "--node-label"
			return nil, err
		}
		args = append(args, arg(argNodeLabels, strings.Join(o.NodeLabels, ",")))
	}
	return args, nil
}

func arg(name, value string) map[string]any { return map[string]any{"name": name, "value": value} }

// oneWord: systemd splits the kubelet's arguments at white space, whatever quotes there are.
func oneWord(s string) bool { return !strings.ContainsAny(s, " \t\r\n\"'`$\\") }

func validateProviderID(id string) error {
	if _, instance, ok := strings.Cut(id, "://"); ok && instance != "" && oneWord(id) {
		return nil
	}
	return &FieldError{"--provider-id", fmt.Sprintf("%q is not none, auto or PROVIDER://INSTANCE", id), ""}
}

// validateLabels follows the kubelet's ValidateKubeletFlags; the caller sets the field.
func validateLabels(labels []string) *FieldError {
	for _, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return &FieldError{Problem: fmt.Sprintf("%q is not KEY=VALUE", label)}
		}
		problems := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value))
		if len(problems) > 0 {
			return &FieldError{Problem: fmt.Sprintf("%q: %s", label, problems[0])}
		}
		if err := allowedLabel(key); err != nil {
			return err
		}
	}
	return nil
}

func allowedLabel(key string) *FieldError {
	namespace, _, ok := strings.Cut(key, "/")
	if !ok || !reserved.MatchString(namespace) || kubeletapis.IsKubeletLabel(key) {
		return nil
	}
	return &FieldError{
		Problem: fmt.Sprintf("%q is not for a kubelet to set on its own Node: NodeRestriction forbids it, and the kubelet refuses to start with it", key),
		Remedy: "an administrator can set it once the Node is there (`kubectl label node`); a kubelet may set labels below " +
			strings.Join(kubeletapis.KubeletLabelNamespaces(), " and ") + ", and any that are not Kubernetes' own",
	}
}

// reserved are the label namespaces of Kubernetes itself.
var reserved = regexp.MustCompile(`^(.*\.)?(kubernetes|k8s)\.io$`)

var effects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

// taints are o's as v1beta4 writes them. The kubelet's rules: pkg/util/taints.
func (o Options) taints() ([]any, error) {
	var taints []any
	seen := map[string]bool{}
	for _, taint := range o.Taints {
		pair, effect, _ := strings.Cut(taint, ":")
		key, value, _ := strings.Cut(pair, "=")
		problems := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value))
		switch {
		case !slices.Contains(effects, effect):
			problems = []string{"want KEY[=VALUE]:EFFECT, with one of " + strings.Join(effects, ", ")}
		case seen[key+":"+effect]:
			problems = []string{"is there twice, and the kubelet refuses that"}
		}
		if len(problems) > 0 {
			return nil, &FieldError{"--taint", fmt.Sprintf("%q: %s", taint, problems[0]), ""}
		}
		seen[key+":"+effect] = true
		taints = append(taints, drop(map[string]any{"key": key, "value": value, "effect": effect}))
	}
	return taints, nil
}
