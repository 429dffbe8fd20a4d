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
	kubeletConfig = "/var/lib/kubelet/config.yaml"
	clusterCA     = "/etc/kubernetes/pki/ca.crt"
	manifests     = "/etc/kubernetes/manifests"
	apiServerPod  = "kube-apiserver.yaml"
	etcdData      = "/var/lib/etcd"
	etcdMember    = "member"
	adminConf     = "/etc/kubernetes/admin.conf"
	pki           = "/etc/kubernetes/pki"
)

// controlPlaneFiles are kept by a control plane alone, and prove it where its manifests were moved away for a repair and its
// etcd is elsewhere. The keys behind ca.key are for one whose CA signs elsewhere (kubeadm's external CA mode). Certificates
// prove nothing: workers get those that their network plugin or their scrapers need.
var controlPlaneFiles = []string{
	pki + "/ca.key", "/etc/kubernetes/controller-manager.conf", "/etc/kubernetes/scheduler.conf",
	pki + "/apiserver.key", pki + "/sa.key", pki + "/etcd/ca.key",
}

// Disk is what earlier joins, or other people, left on this machine. Paths are from the machine's root.
type Disk struct {
	// ControlPlane is the path that proves a control-plane host, the API server's static pod (kubeadm's own test),
	// etcd's data, or a file that a control plane alone keeps; "" if there is none.
	ControlPlane string

	// AdminConf tells that admin.conf exists. People copy it to workers, so it proves no control plane.
	AdminConf bool

	// ForeignFiles are what the directory of the cluster's CA holds beside it. None is of kubeadm's making on a worker, and
	// `kubeadm reset` empties that directory.
	ForeignFiles []string

	// EtcdData are entries of /var/lib/etcd other than "member". `kubeadm reset` empties that directory on a worker too
	// (cmd/phases/reset/removeetcdmember.go), so an etcd with a data directory of its own in there would be lost.
	EtcdData []string

	// StaticPods are the manifests other than the API server's, as the kubelet sees them (it skips dot files). They do not
	// hinder kubeadm join; kubeadm reset deletes them.
	StaticPods []string

	// Leftovers are the files because of which kubeadm join refuses to run (its FileAvailable checks).
	Leftovers []string

	Configured    bool // the kubelet's configuration exists, as kubeadm writes it: a kubelet can run here, if it has credentials
	KubeletConf   bool // kubelet.conf exists, if only as a link to nowhere; says nothing about the certificate it names
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
	there := func(path string) bool {
		_, err := os.Lstat(h.Path(path)) // a link whose target is on a disk that is not mounted proves as much
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
		return err == nil
	}
	for _, path := range controlPlaneFiles {
		if there(path) && d.ControlPlane == "" {
			d.ControlPlane = path
		}
	}
	d.AdminConf, d.KubeletConf, d.Configured = there(adminConf), there(kubeletConf), there(kubeletConfig)
	files, err := h.files(pki)
	failed = errors.Join(failed, err)
	d.ForeignFiles = slices.DeleteFunc(files, func(path string) bool { return path == clusterCA })
	if failed != nil {
		return Disk{}, fmt.Errorf("looking for what earlier joins left: %w", failed)
	}
	return d, nil
}

// names lists a directory; one that does not exist has none. Listing, not stat'ing one entry, also sees a dangling symlink.
// A directory that is itself one is an error: its disk may be mounted later.
func (h Host) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(h.Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if _, link := os.Lstat(h.Path(dir)); link != nil {
			return nil, nil
		}
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// files lists what is below a directory but for directories; symlinks are not followed, as nothing that deletes would do.
func (h Host) files(dir string) ([]string, error) {
	names, err := h.names(dir)
	var files []string
	for _, name := range names {
		path := dir + "/" + name
		info, statErr := os.Lstat(h.Path(path))
		switch {
		case errors.Is(statErr, fs.ErrNotExist): // gone meanwhile
		case statErr == nil && info.IsDir():
			below, belowErr := h.files(path)
			files, err = append(files, below...), errors.Join(err, belowErr)
		default:
			files, err = append(files, path), errors.Join(err, statErr)
		}
	}
	return files, err
}

// RemoveBootstrapConf removes kubeadm's bootstrap-kubelet.conf, which holds the bootstrap token and which kubeadm leaves
// behind when it fails before its last phase. None there is fine. A symlink in its place goes, not what it points to.
func (h Host) RemoveBootstrapConf() error {
	if err := removeFile(h.Path(bootstrapConf)); err != nil {
		return fmt.Errorf("removing the bootstrap token from the disk: %w", err)
	}
	return nil
}
