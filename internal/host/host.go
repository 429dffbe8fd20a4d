// Package host tells what is on this machine: its names and identity, what an earlier join left on its disk, which of its
// mounts are missing, its kubelet as a service and as a process, its pods, and who else is at work with kubeadm. It
// also keeps two things for nodejoin alone: the lock, and secrets in files that never reach a disk.
//
// Everything that is read or written lies below Host.Root, so that a test, or a namespace, can be a machine too. Nothing
// here decides anything: what a leftover means, and whether a restart is wanted, is for the caller to judge. Where doubt is
// possible it is an error, never "nothing there": a caller that takes an unreadable disk for an empty one would reset or
// join a machine that is at work.
package host

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Host is a machine, seen from its root directory.
type Host struct {
	Root   string  // "/" (or empty) in production, a directory in tests
	Recent *Recent // nil: all processes are looked at for each question
}

// Path is where elem, a path from the machine's root, lies.
func (h Host) Path(elem string) string {
	root := h.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(root, elem)
}

// NodeName is the name that kubeadm gives this machine's Node if nobody names it: the hostname, trimmed and in lower case
// (k8s.io/component-helpers/node/util GetHostname).
func (h Host) NodeName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return "", errors.New("this machine has no hostname")
	}
	return name, nil
}

// fqdnWait bounds one look-up.
const fqdnWait = 2 * time.Second

// FQDN is this machine's fully qualified name as `hostname -f` would say, or "" if it cannot be found within 2 s. Clouds often
// know a machine by this name, and delete a Node that has another.
func (h Host) FQDN(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, fqdnWait)
	defer cancel()
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	if full, err := net.DefaultResolver.LookupCNAME(ctx, name); err == nil && dotted(full) {
		return strings.TrimSuffix(full, ".")
	}
	addrs, _ := net.DefaultResolver.LookupHost(ctx, name)
	for _, addr := range addrs {
		names, err := net.DefaultResolver.LookupAddr(ctx, addr)
		if err != nil {
			continue
		}
		for _, full := range names {
			if dotted(full) {
				return strings.TrimSuffix(full, ".")
			}
		}
	}
	if dotted(name) { // the hostname itself, where nobody resolves it
		return name
	}
	return ""
}

// dotted: localhost.localdomain is every machine's, and so nobody's.
func dotted(name string) bool {
	return strings.Contains(strings.TrimSuffix(name, "."), ".") && !strings.HasPrefix(name, "localhost.")
}

// HasKubelet tells whether a kubelet program is in PATH, where kubeadm's preflight checks look for it.
func (h Host) HasKubelet() bool {
	_, err := exec.LookPath("kubelet")
	return err == nil
}
