package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// saying is a case in which kubeadm says something.
type saying struct {
	name    string
	prepare func(*hearing) error
	undo    func(*hearing) error // of what other machines would notice
}

const swapOn = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t4194300\t\t0\t\t-2\n"

// leftover files of a join that never got to a certificate.
func leftover(h *hearing) error {
	return errors.Join(
		h.node.WriteFile("/etc/kubernetes/kubelet.conf", "", 0o600),
		h.node.WriteFile("/etc/kubernetes/bootstrap-kubelet.conf", "", 0o600),
		h.node.WriteFile("/etc/kubernetes/pki/ca.crt", string(h.cp.CA()), 0o644))
}

// joined makes the machine a member first.
func joined(h *hearing) error {
	p, err := h.run()
	if err != nil {
		return err
	}
	if p.Wait().Code != 0 {
		return fmt.Errorf("a join with nothing wrong:\n%s", p.Stdout)
	}
	_, err = h.cp.WaitNode(h.ctx, hostname, testbed.Ready)
	return err
}

// with is a case in which only the configuration is wrong; change is as in join.
func with(change ...string) func(*hearing) error {
	return func(h *hearing) error {
		h.config = h.join(change...)
		return nil
	}
}

// typed is a case of arguments.
func typed(args ...string) func(*hearing) error {
	return func(h *hearing) error {
		h.args = args
		return nil
	}
}

// clusterSays is a case of a cluster whose kubeadm-config names another version; it goes back to its own afterwards.
func clusterSays(version func(own string) string) (prepare, undo func(*hearing) error) {
	var was string
	set := func(h *hearing, text func(string) string) error {
		maps := h.cp.Client().CoreV1().ConfigMaps("kube-system")
		m, err := maps.Get(h.ctx, "kubeadm-config", meta.GetOptions{})
		if err != nil {
			return err
		}
		named := regexp.MustCompile(`kubernetesVersion: (v\S+)`)
		own := named.FindStringSubmatch(m.Data["ClusterConfiguration"])
		if own == nil {
			return errors.New("kubeadm-config names no version")
		}
		m.Data["ClusterConfiguration"] = named.ReplaceAllString(m.Data["ClusterConfiguration"], "kubernetesVersion: "+text(own[1]))
		if was == "" {
			was = own[1]
		}
		_, err = maps.Update(h.ctx, m, meta.UpdateOptions{})
		return err
	}
	return func(h *hearing) error { return set(h, version) },
		func(h *hearing) error { return set(h, func(string) string { return was }) }
}

var toOld, toOldUndo = clusterSays(func(own string) string {
	var major, minor, patch int
	fmt.Sscanf(own, "v%d.%d.%d", &major, &minor, &patch)
	return fmt.Sprintf("v%d.%d.0", major, minor-2)
})

// kubeletOf puts a program there that only tells a version.
func kubeletOf(version string) func(*hearing) error {
	return func(h *hearing) error {
		return h.node.SetProgram("kubelet", "#!/bin/sh\necho Kubernetes "+version+"\n")
	}
}

// verification is the case of which the system verification's report is kept.
const verification = "verification"

// cases are what goes wrong in the field, each on a machine of its own. Where a minor takes what another refuses, its
// transcript says that it joined.
var cases = []saying{
	{"joined", with(), nil},
	{verification, with("[SystemVerification]", "[]"), nil},
	{"runtime", func(h *hearing) error { return h.node.StopUnit("containerd") }, nil},
	{"preflight", func(h *hearing) error {
		return errors.Join(h.node.StopUnit("containerd"), h.node.RemoveProgram("kubelet"), h.node.SetSysctl("net/ipv4/ip_forward", "0"), leftover(h))
	}, nil},
	{"leftovers", leftover, nil},
	{"forwarding", func(h *hearing) error { return h.node.SetSysctl("net/ipv4/ip_forward", "0") }, nil},
	{"swap", func(h *hearing) error { return h.node.Cover("/proc/swaps", swapOn) }, nil},
	{"nobody", func(h *hearing) error {
		h.as = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
		return nil
	}, nil},
	{"oldkubelet", kubeletOf("v1.20.0"), nil},
	{"newkubelet", kubeletOf("v1.99.0"), nil},
	{"tooold", toOld, toOldUndo},
	{"member", joined, nil},
	{"ready", func(h *hearing) error {
		if err := joined(h); err != nil {
			return err
		}
		_, err := h.node.Run(h.ctx, "kubeadm", "reset", "-f", "--cri-socket", testbed.CRISocket)
		return err
	}, nil},
	{"reset", func(h *hearing) error {
		h.args = []string{"reset", "-f", "--cri-socket", testbed.CRISocket}
		return h.node.StopUnit("containerd")
	}, nil},
	{"pin", func(h *hearing) error {
		h.config = h.join(h.cp.CAHash(), "sha256:"+strings.Repeat("0", 64))
		return nil
	}, nil},
	{"signature", with("token: "+token, "token: "+wrong), nil},
	{"unsigned", with("token: "+token, "token: fedcba"+strings.TrimPrefix(token, "abcdef")), nil},
	{"unauthorized", with("tlsBootstrapToken: "+token, "tlsBootstrapToken: "+wrong), nil},
	{"unreachable", func(h *hearing) error {
		h.config = h.join(h.cp.IP, h.tb.BlackholeIP())
		return nil
	}, nil},
	{"kubelet", func(h *hearing) error {
		return h.node.SetKubeletFault(testbed.KubeletFault{Command: []string{"sleep", "1000"}})
	}, nil},
	{"bootstrap", func(h *hearing) error { return h.cp.SetCSRApproval(false) }, func(h *hearing) error { return h.cp.SetCSRApproval(true) }},
	{"refused", func(h *hearing) error { return h.cp.RefuseNodes(h.ctx) }, func(h *hearing) error { return h.cp.AllowNodes(h.ctx) }},
	{"sockets", func(h *hearing) error {
		if err := os.MkdirAll(h.node.Path("/run/crio"), 0o755); err != nil {
			return err
		}
		other, err := net.Listen("unix", h.node.Path("/run/crio/crio.sock"))
		h.other = other
		return err
	}, func(h *hearing) error { return h.other.Close() }},
	{"malformed", with(token, "abcdef.0123456789ABCDEF"), nil},
	{"v1beta3", with("v1beta4", "v1beta3", "timeouts: ", "# timeouts: "), nil},
	{"v1", with("v1beta4", "v1"), nil},
	{"v1beta9", with("v1beta4", "v1beta9"), nil},
	{"unknownfield", with("discovery:\n", "nonsense: 1\ndiscovery:\n"), nil},
	{"twodocs", func(h *hearing) error {
		h.config += "---\n" + h.config
		return nil
	}, nil},
	{"mixed", typed("join", "--config", "/root/join.yaml", "--token", token), nil},
	{"badflag", typed("join", "--nope"), nil},
	{"badphase", typed("join", "--config", "/root/join.yaml", "--skip-phases", "nope"), nil},
	{"all-and-more", typed("join", "--config", "/root/join.yaml", "--ignore-preflight-errors", "all,swap"), nil},
}
