package testbed

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// uid is the user of a control plane's processes. The kernel lends every user only so many inotify instances (often 128);
// the API server and the controllers take 18 each, and root's share is for the kubelets, which cannot be anybody else.
func (cp *ControlPlane) uid() uint32 {
	// Distinct for all control planes of this run; two runs may share one, which costs nothing but room.
	return 200_000 + uint32(os.Getpid()%10_000)*100 + uint32(cp.number%100)
}

// own hands the files of the control plane to its user.
func (cp *ControlPlane) own() error {
	for _, dir := range []string{"/etc/kubernetes", "/var/lib/etcd", "/var/lib/flex-volumes"} {
		if err := os.MkdirAll(cp.disk(dir), 0o700); err != nil {
			return err
		}
		err := filepath.WalkDir(cp.disk(dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, int(cp.uid()), int(cp.uid()))
		})
		if err != nil {
			return fmt.Errorf("handing over %s: %w", dir, err)
		}
	}
	return nil
}

// kubeadmConfig is the cluster's. By default a kubelet evicts pods where less than 15 % of the disk is free, which is the host's.
func (cp *ControlPlane) kubeadmConfig() string {
	endpoint := cp.opts.ClusterEndpoint
	if endpoint == "" {
		endpoint = cp.Endpoint()
	}
	sans := append([]string{cp.IP, cp.IP6, cp.Hostname, "127.0.0.1"}, cp.opts.ExtraSANs...)
	config := fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: %s, bindPort: 6443}
nodeRegistration: {name: %s, criSocket: %q}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: %s
controlPlaneEndpoint: %q
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/16}
apiServer:
  certSANs: ["%s"]
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
volumePluginDir: /var/lib/kubelet/volume-plugins
evictionHard: {memory.available: 1Mi}
authentication:
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
`, cp.IP, cp.Hostname, CRISocket, cp.parts.Kubernetes, endpoint, strings.Join(sans, `", "`))
	if !machine.IsCgroupV2() {
		config += "failCgroupV1: false\n"
	}
	return config
}

func (cp *ControlPlane) etcdUnit() machine.Unit {
	return machine.Unit{Name: Etcd + ".service", Description: "etcd", UID: cp.uid(), Command: []string{"etcd",
		"--data-dir=/var/lib/etcd", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn",
	}}
}

func (cp *ControlPlane) apiServerUnit(flags []string) machine.Unit {
	args := []string{"kube-apiserver",
		"--advertise-address=" + cp.IP,
		"--bind-address=::", // both families
		"--secure-port=6443",
		"--etcd-servers=http://127.0.0.1:2379",
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--enable-bootstrap-token-auth=true",
		"--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/apiserver.crt",
		"--tls-private-key-file=" + pki + "/apiserver.key",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt",
		"--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt",
		"--proxy-client-key-file=" + pki + "/front-proxy-client.key",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki + "/sa.pub",
		"--service-account-signing-key-file=" + pki + "/sa.key",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--shutdown-delay-duration=0s",
	}
	args = replaceFlags(replaceFlags(args, cp.opts.APIServerArgs), flags)
	// It may wait a minute for open requests; a test would rather have them cut.
	return machine.Unit{Name: APIServer + ".service", Description: "Kubernetes API server", UID: cp.uid(), Command: args, StopTimeout: 3 * time.Second}
}

func (cp *ControlPlane) controllerManagerUnit() machine.Unit {
	conf := "/etc/kubernetes/controller-manager.conf"
	args := []string{"kube-controller-manager",
		"--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + pki + "/ca.crt",
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--cluster-signing-cert-file=" + pki + "/ca.crt",
		"--cluster-signing-key-file=" + pki + "/ca.key",
		"--root-ca-file=" + pki + "/ca.crt",
		"--service-account-private-key-file=" + pki + "/sa.key",
		"--use-service-account-credentials=true",
		"--cluster-name=kubernetes",
		"--controllers=" + cp.controllers,
		"--leader-elect=false",                         // it is alone, and a lease would cost it seconds
		"--kube-api-qps=1000", "--kube-api-burst=1000", // at the default rate its controllers start for 5 s
		"--flex-volume-plugin-dir=/var/lib/flex-volumes", // the default is below /usr
	}
	return machine.Unit{Name: ControllerManager + ".service", Description: "Kubernetes controller manager", UID: cp.uid(), Command: replaceFlags(args, cp.opts.ControllerArgs)}
}

// replaceFlags adds flags, each in the place of one with the same name.
func replaceFlags(args, flags []string) []string {
	result := append([]string(nil), args...)
next:
	for _, flag := range flags {
		name, _, _ := strings.Cut(flag, "=")
		for i, old := range result {
			if old == name || strings.HasPrefix(old, name+"=") {
				result[i] = flag
				continue next
			}
		}
		result = append(result, flag)
	}
	return result
}
