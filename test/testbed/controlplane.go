package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// ControlPlaneOptions describe a control plane.
type ControlPlaneOptions struct {
	// Name is "cp" if empty. Each control plane of a testbed needs its own.
	Name string
	// ExtraSANs are further names and addresses in the API server's certificate.
	ExtraSANs []string
	// ClusterEndpoint is the server that cluster-info and kubeadm's own configuration name, "host:port"; the real one if empty.
	ClusterEndpoint string
	// APIServerArgs are flags of kube-apiserver on top of the testbed's; a flag given here replaces one of the same name.
	APIServerArgs []string
	// OwnKubeletCA lets another CA than the cluster's sign the kubelets' client certificates, as some clusters do.
	OwnKubeletCA bool
	// ControllerArgs are flags of kube-controller-manager, likewise: "--cluster-signing-duration=10m".
	ControllerArgs []string
	// Kubernetes is the minor of its parts, as in "1.34"; "" as BuildControlPlaneParts has it.
	Kubernetes string
}

// ControlPlane is a machine with etcd, kube-apiserver and kube-controller-manager. Its certificates exist from the
// beginning, so its endpoint, CA pin and kubeconfig are known before it is started.
type ControlPlane struct {
	*Machine
	opts   ControlPlaneOptions
	client kubernetes.Interface
	config *rest.Config

	mu          sync.Mutex
	controllers string
	initialized bool
}

// The units of a control plane, for Pause, Resume, SignalUnit and Log.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
)

const (
	pki            = "/etc/kubernetes/pki"
	adminConf      = "/etc/kubernetes/admin.conf"
	kubeadmConf    = "/etc/kubernetes/kubeadm.yaml"
	allControllers = "*,bootstrapsigner,tokencleaner"
)

// NewControlPlane makes a control plane that is not started: nothing listens at its endpoint.
func (tb *Testbed) NewControlPlane(ctx context.Context, opts ControlPlaneOptions) (*ControlPlane, error) {
	if opts.Name == "" {
		opts.Name = "cp"
	}
	parts, err := BuildControlPlaneParts(ctx, tb.out, opts.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("making control plane %s: %w", opts.Name, err)
	}
	m, err := tb.newMachine(opts.Name, opts.Name, parts)
	if err != nil {
		return nil, fmt.Errorf("making control plane %s: %w", opts.Name, err)
	}
	if opts.OwnKubeletCA {
		opts.APIServerArgs = append([]string{"--client-ca-file=" + pki + "/both-cas.crt"}, opts.APIServerArgs...)
		opts.ControllerArgs = append([]string{"--cluster-signing-cert-file=" + pki + "/other-ca.crt", "--cluster-signing-key-file=" + pki + "/other-ca.key"}, opts.ControllerArgs...)
	}
	cp := &ControlPlane{Machine: m, opts: opts, controllers: allControllers}
	if err := cp.prepare(ctx); err != nil {
		return nil, fmt.Errorf("making control plane %s: %w", opts.Name, err)
	}
	return cp, nil
}

// ControlPlane makes a control plane and starts it.
func (tb *Testbed) ControlPlane(ctx context.Context, opts ControlPlaneOptions) (*ControlPlane, error) {
	cp, err := tb.NewControlPlane(ctx, opts)
	if err != nil {
		return nil, err
	}
	return cp, cp.Start(ctx)
}

func (cp *ControlPlane) prepare(ctx context.Context) error {
	for _, name := range []string{"kubeadm", "kubectl", "etcd", "kube-apiserver", "kube-controller-manager", "aws-cloud-controller-manager"} {
		if err := os.Symlink(filepath.Join(machine.PartsDir, name), cp.disk(filepath.Join(machine.BinDir, name))); err != nil {
			return err
		}
	}
	if err := os.WriteFile(cp.disk(kubeadmConf), []byte(cp.kubeadmConfig()), 0o600); err != nil {
		return err
	}
	if err := cp.boot(); err != nil {
		return err
	}
	if err := cp.makeCertificates(ctx); err != nil {
		return err
	}
	return cp.connect()
}

// makeCertificates makes what is missing below /etc/kubernetes.
func (cp *ControlPlane) makeCertificates(ctx context.Context) error {
	phases := [][]string{{"certs", "all"}, {"kubeconfig", "admin"}, {"kubeconfig", "super-admin"}, {"kubeconfig", "controller-manager"}}
	for _, phase := range phases {
		if err := cp.kubeadmInit(ctx, phase...); err != nil {
			return err
		}
	}
	if err := cp.makeOtherCA(); err != nil {
		return err
	}
	return cp.own()
}

func (cp *ControlPlane) kubeadmInit(ctx context.Context, phase ...string) error {
	_, err := cp.Run(ctx, append(append([]string{"kubeadm", "init", "phase"}, phase...), "--config", kubeadmConf)...)
	return err
}

// connect makes the administrator's client. It dials from inside the machine, so it works whatever is cut.
func (cp *ControlPlane) connect() error {
	raw, err := os.ReadFile(cp.disk("/etc/kubernetes/super-admin.conf"))
	if err != nil {
		return err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		return fmt.Errorf("reading super-admin.conf: %w", err)
	}
	config.Host = "https://" + cp.Endpoint()
	config.Dial = cp.DialContext
	config.QPS = -1
	config.Timeout = 30 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	cp.config, cp.client = config, client
	return nil
}

// Endpoint is the API server's "IP:port", Endpoint6 the same by IPv6.
func (cp *ControlPlane) Endpoint() string { return net.JoinHostPort(cp.IP, "6443") }

// Endpoint6 is the API server's IPv6 "[IP]:port".
func (cp *ControlPlane) Endpoint6() string { return net.JoinHostPort(cp.IP6, "6443") }

// CA is the cluster's CA certificate in PEM.
func (cp *ControlPlane) CA() []byte {
	data, _ := os.ReadFile(cp.disk(pki + "/ca.crt"))
	return data
}

// CAHash is the pin of the cluster's CA, as in "sha256:...".
func (cp *ControlPlane) CAHash() string { return pin(cp.CA()) }

// Kubeconfig is the cluster administrator's, for use inside a machine of the testbed.
func (cp *ControlPlane) Kubeconfig() []byte {
	data, _ := os.ReadFile(cp.disk(adminConf))
	return data
}

// Client is the administrator's client.
func (cp *ControlPlane) Client() kubernetes.Interface { return cp.client }

// RESTConfig is the administrator's configuration; it works in this process only.
func (cp *ControlPlane) RESTConfig() *rest.Config { return rest.CopyConfig(cp.config) }

// Kubectl runs kubectl as the cluster's administrator.
func (cp *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return cp.Run(ctx, append([]string{"kubectl", "--kubeconfig", "/etc/kubernetes/super-admin.conf"}, args...)...)
}

// JoinArgs is kubeadm's join command with a token, as `kubeadm token create --print-join-command` prints it, without the
// program's name.
func (cp *ControlPlane) JoinArgs(token string) []string {
	return []string{"join", cp.Endpoint(), "--token", token, "--discovery-token-ca-cert-hash", cp.CAHash()}
}

// PreflightArgs are the flags that kubeadm needs on this host: it refuses cgroup v1 without them.
func PreflightArgs() []string {
	if machine.IsCgroupV2() {
		return nil
	}
	return []string{"--ignore-preflight-errors=SystemVerification"}
}

// Start starts what does not run and returns when a join can work. At the first time it also uploads what kubeadm expects
// in a cluster.
func (cp *ControlPlane) Start(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if err := cp.start(ctx); err != nil {
		return fmt.Errorf("starting control plane %s: %w", cp.Name, err)
	}
	return nil
}

func (cp *ControlPlane) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, unit := range []machine.Unit{cp.etcdUnit(), cp.apiServerUnit(nil)} {
		if err := cp.setUnit(unit); err != nil {
			return err
		}
		if err := cp.StartUnit(unit.Name); err != nil {
			return err
		}
	}
	if err := cp.waitReady(ctx); err != nil {
		return err
	}
	if err := cp.setUnit(cp.controllerManagerUnit()); err != nil {
		return err
	}
	if err := cp.StartUnit(ControllerManager); err != nil {
		return err
	}
	if cp.initialized {
		return nil
	}
	// The phases do not depend on each other; each is a kubeadm of its own.
	phases := [][]string{{"upload-config", "all"}, {"bootstrap-token", "--skip-token-print", "--kubeconfig", adminConf}, {"addon", "kube-proxy"}}
	// admin.conf may do nothing before its group is bound, which super-admin.conf has to do.
	if err := cp.bindAdmins(ctx); err != nil {
		return err
	}
	if cp.parts.wantsNode {
		forget, err := cp.standInNode(ctx)
		if err != nil {
			return err
		}
		defer forget()
	}
	errs := make([]error, len(phases))
	var all sync.WaitGroup
	for i, phase := range phases {
		all.Go(func() { errs[i] = cp.kubeadmInit(ctx, phase...) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	cp.initialized = true
	return nil
}

// waitReady returns when the API server says so to its administrator, or to anybody: after a swap of the client CA the
// administrator's certificate is refused.
func (cp *ControlPlane) waitReady(ctx context.Context) error {
	anonymous, err := kubernetes.NewForConfig(rest.AnonymousClientConfig(cp.config))
	if err != nil {
		return err
	}
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var last error
		for _, client := range []kubernetes.Interface{cp.client, anonymous} {
			_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
			if err == nil {
				return true, nil
			}
			last = err
		}
		state, err := cp.UnitState(APIServer)
		if err == nil && state.MainPID == 0 {
			return false, fmt.Errorf("kube-apiserver does not run:\n%s", tail(cp.Log(APIServer), 15))
		}
		return false, last
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server: %w", err)
	}
	return nil
}

// Stop stops the API server politely; connections are refused from then on. etcd and the controllers keep running.
func (cp *ControlPlane) Stop() error { return cp.StopUnit(APIServer) }

// Kill kills the API server.
func (cp *ControlPlane) Kill() error {
	if err := cp.SignalUnit(APIServer, syscall.SIGKILL); err != nil {
		return err
	}
	return cp.StopUnit(APIServer) // waits for its end
}

// RestartAPIServer restarts the API server with other flags and waits until it serves. The flags replace those of the same
// name and go with the next restart.
func (cp *ControlPlane) RestartAPIServer(ctx context.Context, flags ...string) error {
	err := cp.StopUnit(APIServer)
	if err == nil {
		err = cp.setUnit(cp.apiServerUnit(flags))
	}
	if err == nil {
		err = cp.StartUnit(APIServer)
	}
	if err == nil {
		err = cp.waitReady(ctx)
	}
	if err != nil {
		return fmt.Errorf("restarting the API server of %s: %w", cp.Name, err)
	}
	return nil
}

// OtherClientCA are the flags for RestartAPIServer that make it refuse every client certificate of this cluster (401)
// while tokens still work.
func (cp *ControlPlane) OtherClientCA() []string {
	return []string{"--client-ca-file=" + pki + "/other-ca.crt"}
}

// ForgetKubeletCA are the flags for RestartAPIServer that make a cluster with OwnKubeletCA refuse every kubelet (401), while the
// controllers, the administrator and tokens still work.
func (cp *ControlPlane) ForgetKubeletCA() []string {
	return []string{"--client-ca-file=" + pki + "/ca.crt"}
}

// WithoutPodGC are the flags, as ControllerArgs, of a cluster that leaves the pods of a missing Node alone; any other ends them
// after 40 to 60 seconds.
func WithoutPodGC() []string {
	return []string{"--controllers=" + allControllers + ",-pod-garbage-collector-controller"}
}

// SetCSRApproval turns the automatic approval of kubelet certificates on or off.
func (cp *ControlPlane) SetCSRApproval(on bool) error {
	controllers := allControllers
	if !on {
		controllers += ",-certificatesigningrequest-approving-controller"
	}
	return cp.setControllers(controllers)
}

func (cp *ControlPlane) setControllers(list string) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.controllers = list
	err := cp.setUnit(cp.controllerManagerUnit())
	if err == nil {
		err = cp.StopUnit(ControllerManager)
	}
	if err == nil {
		err = cp.StartUnit(ControllerManager)
	}
	if err != nil {
		return fmt.Errorf("restarting the controllers of %s: %w", cp.Name, err)
	}
	return nil
}
