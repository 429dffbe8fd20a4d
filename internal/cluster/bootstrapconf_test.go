package cluster

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// The kubelet writes it with its own client-go, an older one maybe.
func TestKubeconfigThatAKubeletWritesBeforeItHasACertificate(t *testing.T) {
	confs, err := KubeletConfs("https://cp:6443", []byte("ca"))
	if err != nil {
		t.Fatal(err)
	}
	const today = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://cp:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
`
	older := strings.Replace(today, "users:", "preferences: {}\nusers:", 1)
	if len(confs) != 2 || string(confs[0]) != today || string(confs[1]) != older {
		t.Errorf("%q", confs)
	}
}

// kubeadm writes the whole bundle, whatever of it is pinned.
func TestBundleIsWhatKubeadmWrites(t *testing.T) {
	s := newAPIServer(t)
	own := s.ca.pem
	s.ca.pem = slices.Concat([]byte("# old and new\n"), newAuthority(t).pem, own)
	s.info = s.signed(tokenSecret)
	for _, pins := range [][]string{{pinOf(t, own)}, nil} {
		d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: pins, NodeName: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if p := d.Probe(t.Context(), token, token); p.Verdict != Proven || !bytes.Equal(p.Bundle, s.ca.pem) {
			t.Errorf("%v pins: verdict %d (%v), bundle %s", len(pins), p.Verdict, p.Err, p.Bundle)
		}
	}
}

func pinOf(t *testing.T, ca []byte) string {
	t.Helper()
	pins, err := CAHashes(ca)
	if err != nil {
		t.Fatal(err)
	}
	return pins[0]
}
