package cluster

import (
	"encoding/base64"
	"regexp"
	"strings"
)

// embeddedCA is a CA in a kubeconfig, as far as a torn one goes; filedCA is one
// that stands elsewhere.
var (
	embeddedCA = regexp.MustCompile(`certificate-authority-data["']?\s*:\s*["']?([A-Za-z0-9+/]+=*)`)
	filedCA    = regexp.MustCompile(`certificate-authority["']?\s*:`)
)

// nodeUser is the user of a kubelet in a kubeconfig that kubeadm has written, and in a certificate.
var nodeUser = regexp.MustCompile(`system:node:([a-z0-9][a-z0-9.-]*)`)

// NamesOtherNode reports whether what is left of a kubelet's credentials that do
// not load, its kubeconfig and its certificate, is another Node's than this.
func NamesOtherNode(kubeconfig, pair []byte, node string) bool {
	for _, found := range nodeUser.FindAllSubmatch(kubeconfig, -1) {
		if string(found[1]) != node {
			return true
		}
	}
	leaf := firstCertificate(pair)
	return leaf != nil && leaf.Subject.CommonName != "system:node:"+node
}

// NamesOtherCA reports whether what is left of a kubelet's credentials that do
// not load, its kubeconfig and its certificate, may be those of another cluster
// than the one with this CA (PEM). What is not there speaks for none.
func NamesOtherCA(kubeconfig, pair, ca []byte) bool {
	trusted, err := certificates(ca)
	if err != nil || filedCA.Match(kubeconfig) {
		return true
	}
	for _, found := range embeddedCA.FindAllSubmatch(kubeconfig, -1) {
		text := string(found[1])
		whole, err := base64.StdEncoding.DecodeString(text)
		if (err != nil || !SameCA(whole, ca)) && !strings.HasPrefix(base64.StdEncoding.EncodeToString(ca), strings.TrimRight(text, "=")) {
			return true
		}
	}
	leaf := firstCertificate(pair)
	if leaf == nil {
		return false
	}
	between, _ := certificates(pair)
	signed, _ := chainsTo(leaf, trusted, between)
	return !signed
}
