package testbed

import (
	"strings"
	"testing"
)

func TestReleasesModuleHasThePublishedStagingModules(t *testing.T) {
	r := release{version: "v1.31.14", older: map[string]string{"kube-proxy": "v0.31.11"}, pins: []string{"example.com/m/v7@v7.0.0"}}
	got := string(r.goMod([]byte(`// a comment
module k8s.io/kubernetes

go 1.22.0

require (
	k8s.io/api v0.0.0
	k8s.io/sample-apiserver v0.0.0
	sigs.k8s.io/yaml v1.4.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/kube-proxy => ./staging/src/k8s.io/kube-proxy
	k8s.io/sample-apiserver => ./staging/src/k8s.io/sample-apiserver
)
`)))
	for _, line := range []string{
		"module nodejoin.test/kubernetes\n", "require k8s.io/kubernetes v1.31.14\n", "go 1.22.0\n", "\tk8s.io/api v0.0.0\n", "\tsigs.k8s.io/yaml v1.4.0\n",
		"\tk8s.io/api => k8s.io/api v0.31.14\n", "\tk8s.io/kube-proxy => k8s.io/kube-proxy v0.31.11\n", "replace example.com/m/v7 => example.com/m/v7 v7.0.0\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	for _, word := range []string{"sample-apiserver", "./staging"} {
		if strings.Contains(got, word) {
			t.Errorf("%q in\n%s", word, got)
		}
	}
}
