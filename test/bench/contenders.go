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

// isNodejoin is of either build: one process, of whose requests and memory more is known than of the others'.
func isNodejoin(contender string) bool { return contender == ours || contender == before }

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

// resetBy is the whole of a contender that resets a member first.
func (s *stage) resetBy(who, token string) []string {
	const reset = "kubeadm reset -f --cri-socket " + testbed.CRISocket
	args := s.command(who, token)
	switch who {
	case shellLoop: // in the form that heeds kubeadm's exit status: the other sees the old Node and stops at once
		return []string{"sh", "-c", fmt.Sprintf("%s; until %s; do %s; sleep 4; done", reset, strings.Join(s.command(bare, token), " "), reset)}
	case installer:
		return []string{"sh", "-c", reset + "; exec " + strings.Join(args, " ")}
	}
	return append(args, "--reset=always")
}
