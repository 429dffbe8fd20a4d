package cluster

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// What is left of credentials that do not load may speak for the cluster with this CA, for another, or for none.
func TestNamesOtherCA(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	embedded := func(ca []byte) string {
		return "clusters:\n- cluster:\n    certificate-authority-data: " + base64.StdEncoding.EncodeToString(ca) + "\n    server: https://cp:6443\n  name: k\nusers:\n"
	}
	pair := func(of *authority) string {
		cert, key := of.issue(t, "system:node:w1")
		return string(cert) + string(key)
	}
	whole, theirs := embedded(ours.pem), embedded(other.pem)
	written := slices.Concat([]byte("# our CA\n"), ours.pem)
	for name, c := range map[string]struct {
		kubeconfig, pair string
		other            bool
	}{
		"nothing":                       {"", "", false},
		"our CA":                        {whole, "", false},
		"our CA, written otherwise":     {embedded(written), "", false},
		"our CA, torn":                  {whole[:200], "", false},
		"our CA, in JSON":               {strings.ReplaceAll(whole, "data: ", `data": "`), "", false},
		"nothing but a beginning":       {whole[:30], "", false},
		"another CA":                    {theirs, "", true},
		"another CA, torn":              {theirs[:len(theirs)-80], "", true},
		"another CA, in JSON":           {strings.ReplaceAll(theirs, "data: ", `data": "`), "", true},
		"another CA beside ours":        {whole + theirs, "", true},
		"a CA in some file":             {"certificate-authority: /srv/ca.crt\n", "", true},
		"our certificate":               {"", pair(ours), false},
		"another cluster's certificate": {"", pair(other), true},
		"the same under our CA":         {whole, pair(other), true},
		"a torn certificate":            {"", pair(other)[:100], false},
	} {
		if is := NamesOtherCA([]byte(c.kubeconfig), []byte(c.pair), ours.pem); is != c.other {
			t.Errorf("%s: another CA is named: %t", name, is)
		}
	}
	for name, c := range map[string]struct {
		kubeconfig, pair string
		other            bool
	}{
		"nothing":             {"", "", false},
		"a user of no Node":   {"users:\n- name: default-auth\n", "", false},
		"our user":            {"users:\n- name: system:node:w1\n", "", false},
		"another Node's user": {"users:\n- name: system:node:w2\n", "", true},
		"our certificate":     {"", pair(ours), false},
	} {
		if is := NamesOtherNode([]byte(c.kubeconfig), []byte(c.pair), "w1"); is != c.other {
			t.Errorf("%s: another Node is named: %t", name, is)
		}
	}
	if !NamesOtherNode(nil, []byte(pair(ours)), "w2") {
		t.Error("the certificate of w1 is not w2's")
	}
	if !NamesOtherCA(nil, nil, []byte("no CA")) {
		t.Error("what is no CA is that of the cluster")
	}
}
