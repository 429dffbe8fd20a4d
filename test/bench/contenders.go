package main

import (
	"fmt"
	"strings"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// The contenders: what a machine may run to get into its cluster.
const (
	ours      = "nodejoin"
	before    = "nodejoin before"
	limit     = "the limit"
	bare      = "kubeadm join"
	shellLoop = "shell loop"
	installer = "installer's retry"
	restart   = "systemctl restart kubelet"
)

// command is the whole of a contender on a node.
func (s *stage) command(contender, token string) []string {
	return s.commandTo(s.cp.Endpoint(), contender, token)
}

func (s *stage) commandTo(endpoint, contender, token string) []string {
	join := append(s.cp.JoinArgs(token), testbed.PreflightArgs()...)
	join[1] = endpoint
	switch contender {
	case ours:
		return append([]string{"nodejoin"}, join...)
	case before:
		return append([]string{"nodejoin-before"}, join...)
	case installer:
		return append([]string{"installer", "kubeadm"}, join...)
	case idle:
		return []string{"sleep", "infinity"}
	case shellLoop:
		return []string{"sh", "-c", fmt.Sprintf(`until kubectl get node | grep $(hostname -f)
do
  kubeadm reset -f
  kubeadm %s
  echo "Waiting for Master to start up..."
  sleep 10
done`, strings.Join(join, " "))}
	}
	return append([]string{"kubeadm"}, join...) // bare, and the limit: they differ by when they start
}
