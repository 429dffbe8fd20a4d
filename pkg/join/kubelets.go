package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// argsFor is how long the kubelet's arguments are remembered: the disk is asked
// for its credentials ten times a second while kubeadm runs.
const argsFor = time.Second

// kubeletArgs are those of the kubelet that runs; without one, those with which
// its service would start it. Where these are not known, those of the one that
// ran last in this run are the next best.
func (m *machine) kubeletArgs() (host.KubeletArgs, error) {
	m.service.Lock()
	defer m.service.Unlock()
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	if time.Since(m.kubelets.argsAt) < argsFor {
		return m.kubelets.args, nil
	}
	run, err := m.lookForKubelets()
	if err != nil {
		return m.kubelets.args, err
	}
	if len(run) == 0 {
		m.kubelets.Unlock() // D-Bus may be dead
		ctx, cancel := context.WithTimeout(context.Background(), unitTimeout)
		args, err := m.ServiceArgs(ctx)
		cancel()
		m.kubelets.Lock()
		if err == nil {
			m.kubelets.args = args
		} else if !m.kubelets.ran {
			return args, err
		}
	}
	m.kubelets.argsAt = time.Now()
	return m.kubelets.args, nil
}

func (m *machine) KubeletProcesses() ([]host.KubeletProcess, error) {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	return m.lookForKubelets()
}

func (m *machine) lookForKubelets() ([]host.KubeletProcess, error) {
	began := time.Now()
	run, err := m.Host.KubeletProcesses()
	if err != nil {
		return nil, err
	}
	oldest := 0
	for i, p := range run { // of several, the one that has run longest
		if i == 0 || p.Started.Before(run[oldest].Started) {
			oldest = i
		}
	}
	if len(run) > 0 {
		m.kubelets.args, m.kubelets.ran, m.kubelets.argsAt = run[oldest].Args, true, began
	}
	return run, nil
}

// Credentials are read from where the kubelet reads them.
func (m *machine) Credentials() (*cluster.Credentials, error) {
	args, err := m.kubeletArgs()
	switch {
	case err != nil && m.untrodden():
		return nil, fmt.Errorf("%w, and no kubelet was ever a member here: %w", err, fs.ErrNotExist)
	case err != nil:
		return nil, err
	}
	creds, err := cluster.LoadKubeletConf(m.Path(m.CredentialsPath()))
	if err == nil && creds.NodeName == "" { // a token is shown in place of a certificate
		if creds.NodeName = args.NodeName(); creds.NodeName == "" {
			creds.NodeName, err = m.NodeName()
		}
	}
	return creds, err
}

// untrodden: neither kubeadm nor a kubelet has left anything, and no pod lives
// here. What the service would start the kubelet with does not matter then.
func (m *machine) untrodden() bool {
	pods, err := m.Host.Pods("")
	disk, diskErr := m.Inspect()
	return errors.Join(err, diskErr) == nil && pods == 0 && !disk.Configured && !disk.KubeletConf && len(disk.Leftovers) == 0
}

func (m *machine) CredentialsPath() string {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	return cmp.Or(m.kubelets.args.Kubeconfig, kubeletConf)
}

// KubeletCA is the one by which the kubelet knows its API server.
func (m *machine) KubeletCA() []byte {
	args, err := m.kubeletArgs()
	files, filesErr := m.bootstrapOf()
	ca := m.Host.KubeletCA(args)
	if err != nil || filesErr != nil || ca == nil {
		return nil
	}
	var left [2][]byte
	for i, path := range files.own {
		if left[i], err = os.ReadFile(m.Path(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if cluster.NamesOtherCA(left[0], left[1], ca) || cluster.NamesOtherNode(left[0], left[1], m.KubeletName()) {
		return nil
	}
	return ca
}

// Pods are looked for where the kubelet keeps them. Where its arguments are not
// known, nor are its credentials, and nothing is done.
func (m *machine) Pods() (int, error) {
	args, _ := m.kubeletArgs()
	return m.Host.Pods(args.RootDir)
}

// forgetKubelets: what was seen of them was before an act.
func (m *machine) forgetKubelets() {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	m.kubelets.argsAt = time.Time{}
	m.Recent.Forget()
}

func (m *machine) RestartKubelet(ctx context.Context) error {
	defer m.forgetKubelets()
	return m.Host.RestartKubelet(ctx)
}

func (m *machine) StopKubelet(ctx context.Context) error {
	defer m.forgetKubelets()
	return m.Host.StopKubelet(ctx)
}

func (m *machine) StartKubelet(ctx context.Context) error {
	defer m.forgetKubelets()
	return m.Host.StartKubelet(ctx)
}

func (m *machine) Runtime(ctx context.Context) (host.Runtime, error) {
	if err := m.runtimeServes(ctx); err != nil {
		return host.Runtime{}, err
	}
	args, _ := m.kubeletArgs()
	return host.Runtime{Driver: m.CgroupDriver(ctx, m.plan.CRISocket), Configured: m.ConfiguredDriver(args)}, nil
}

// runtimeServes asks the container runtime that kubeadm would ask and, where
// that does not answer, those that the kubelet is told of behind its back.
func (m *machine) runtimeServes(ctx context.Context) error {
	err := m.RuntimeServes(ctx, m.plan.CRISocket)
	if err == nil {
		return nil
	}
	var others []string
	for _, arg := range m.plan.KubeletExtraArgs {
		if value, ok := strings.CutPrefix(arg, "container-runtime-endpoint="); ok {
			others = append(others, value)
		}
	}
	if args, argsErr := m.kubeletArgs(); argsErr == nil && args.RuntimeEndpoint != "" {
		others = append(others, args.RuntimeEndpoint)
	}
	for _, socket := range others {
		if m.RuntimeServes(ctx, socket) == nil {
			return nil
		}
	}
	return err
}

func (m *machine) ReadPrograms(ctx context.Context) {
	host.ReadPrograms(ctx, m.plan.Kubeadm, "kubelet", "containerd", "crio")
}

// wording is a text as it leaves: without secrets, and with commands that this machine has.
func (m *machine) wording(text string) string { return host.Commands(m.redact(text)) }
