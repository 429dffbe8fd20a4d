package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

const (
	kubeletConf   = "/etc/kubernetes/kubelet.conf"
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
	clusterCA     = "/etc/kubernetes/pki/ca.crt"
	manifests     = "/etc/kubernetes/manifests"
	apiServerPod  = "kube-apiserver.yaml"
	etcdData      = "/var/lib/etcd"
	etcdMember    = "member"
)

// Disk is what earlier joins, or other people, left on this machine. Paths are from the machine's root.
type Disk struct {
	// ControlPlane is the path that proves a control-plane host, the API server's static pod (kubeadm's own test) or
	// etcd's data; "" if there is none.
	ControlPlane string

	// EtcdData are entries of /var/lib/etcd other than "member". `kubeadm reset` empties that directory on a worker too
	// (cmd/phases/reset/removeetcdmember.go), so an etcd with a data directory of its own in there would be lost.
	EtcdData []string

	// StaticPods are the manifests other than the API server's, as the kubelet sees them (it skips dot files). They do not
	// hinder kubeadm join; kubeadm reset deletes them.
	StaticPods []string

	// Leftovers are the files because of which kubeadm join refuses to run (its FileAvailable checks).
	Leftovers []string

	KubeletConf   bool // kubelet.conf exists; says nothing about the certificate it names
	BootstrapConf bool // bootstrap-kubelet.conf exists, and with it a bootstrap token
}

// Inspect looks at the disk. What cannot be read is an error, never "nothing there".
func (h Host) Inspect() (Disk, error) {
	var (
		d      Disk
		failed error
	)
	look := func(path string) bool {
		_, err := os.Stat(h.Path(path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
		return err == nil
	}
	for _, path := range []string{kubeletConf, bootstrapConf, clusterCA} {
		if look(path) {
			d.Leftovers = append(d.Leftovers, path)
		}
	}
	d.KubeletConf = slices.Contains(d.Leftovers, kubeletConf)
	d.BootstrapConf = slices.Contains(d.Leftovers, bootstrapConf)
	pods, err := h.names(manifests)
	failed = errors.Join(failed, err)
	for _, name := range pods {
		switch {
		case name == apiServerPod:
			d.ControlPlane = manifests + "/" + name
		case !strings.HasPrefix(name, "."):
			d.StaticPods = append(d.StaticPods, manifests+"/"+name)
		}
	}
	data, err := h.names(etcdData)
	failed = errors.Join(failed, err)
	for _, name := range data {
		if name != etcdMember {
			d.EtcdData = append(d.EtcdData, etcdData+"/"+name)
		} else if d.ControlPlane == "" {
			d.ControlPlane = etcdData + "/" + name
		}
	}
	if failed != nil {
		return Disk{}, fmt.Errorf("looking for what earlier joins left: %w", failed)
	}
	return d, nil
}

// names lists a directory; one that does not exist has none. Listing, not stat'ing one entry, also sees a dangling symlink.
func (h Host) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(h.Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// RemoveBootstrapConf removes kubeadm's bootstrap-kubelet.conf, which holds the bootstrap token and which kubeadm leaves
// behind when it fails before its last phase. None there is fine. A symlink in its place goes, not what it points to.
func (h Host) RemoveBootstrapConf() error {
	err := os.Remove(h.Path(bootstrapConf))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the bootstrap token from the disk: %w", err)
	}
	return nil
}
