package cluster

import (
	"strings"
	"testing"
)

// What cannot be parsed is not quoted: the parser's own words hold what stands in the file.
func TestParserThatQuotesTheFileIsNotRepeated(t *testing.T) {
	for name, text := range map[string]string{
		"a key is lost": "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  ~:\n    token: " + fuzzSecret + "\n",
		"an alias":      "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n    password: *" + fuzzSecret + "\n",
	} {
		_, err := readKubeletConf("/kubelet.conf", []byte(text))
		if err == nil || strings.Contains(err.Error(), fuzzSecret) || !strings.Contains(err.Error(), "kubeconfig") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
