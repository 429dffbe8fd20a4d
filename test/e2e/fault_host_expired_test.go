package e2e

import (
	"encoding/json"
	"fmt"
)

// expiredKubeletConf gives the node what a machine has that was switched off for too long.
func (s *story) expiredKubeletConf() error {
	pair, err := s.cp.ExpiredPair(s.node.Hostname)
	if err != nil {
		return err
	}
	if err := s.node.WriteFile(currentPair, pair, 0o600); err != nil {
		return err
	}
	encoded, err := json.Marshal(s.cp.CA()) // base64, in quotes
	if err != nil {
		return err
	}
	return s.node.WriteFile("/etc/kubernetes/kubelet.conf", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {certificate-authority-data: %s, server: "https://%s"}
contexts:
- name: kubelet
  context: {cluster: kubernetes, user: kubelet}
current-context: kubelet
users:
- name: kubelet
  user: {client-certificate: %s, client-key: %s}
`, encoded, s.cp.Endpoint(), currentPair, currentPair), 0o600)
}
