package join

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// argsFor is how long the arguments of the kubelet that runs are remembered: the
// disk is asked for its credentials ten times a second while kubeadm runs.
const (
	argsFor = time.Second
	amoment = 100 * time.Millisecond
)

// kubeletArgs are those of the kubelet that runs, or ran last.
func (m *machine) kubeletArgs() (host.KubeletArgs, error) {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	if time.Since(m.kubelets.at) < argsFor {
		return m.kubelets.args, nil
	}
	_, err := m.lookForKubelets()
	return m.kubelets.args, err
}

// KubeletProcesses are as they were a moment ago: who asks for several facts at
// once looks through the processes once.
func (m *machine) KubeletProcesses() ([]host.KubeletProcess, error) {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	if time.Since(m.kubelets.at) < amoment {
		return m.kubelets.run, nil
	}
	return m.lookForKubelets()
}

func (m *machine) lookForKubelets() ([]host.KubeletProcess, error) {
	began := time.Now()
	run, err := m.Host.KubeletProcesses()
	if err != nil {
		return nil, err
	}
	m.kubelets.at, m.kubelets.run = began, run
	oldest := 0
	for i, p := range run { // of several, the one that has run longest
		if i == 0 || p.Started.Before(run[oldest].Started) {
			oldest = i
		}
	}
	if len(run) > 0 {
		m.kubelets.args = run[oldest].Args
	}
	return run, nil
}

// Credentials are read from where the kubelet that runs reads them.
func (m *machine) Credentials() (*cluster.Credentials, error) {
	args, err := m.kubeletArgs()
	if err != nil {
		return nil, err
	}
	creds, err := cluster.LoadKubeletConf(m.Path(m.CredentialsPath()))
	if err == nil && creds.NodeName == "" { // a token is shown in place of a certificate
		if creds.NodeName = strings.ToLower(strings.TrimSpace(args.HostnameOverride)); creds.NodeName == "" {
			creds.NodeName, err = m.NodeName()
		}
	}
	return creds, err
}

func (m *machine) CredentialsPath() string {
	args, _ := m.kubeletArgs()
	return cmp.Or(args.Kubeconfig, kubeletConf)
}

// Pods are looked for where the kubelet that runs keeps them.
func (m *machine) Pods() (int, error) {
	args, err := m.kubeletArgs()
	if err != nil {
		return 0, err
	}
	return m.Host.Pods(args.RootDir)
}

// forgetKubelets: what was seen of them was before an act.
func (m *machine) forgetKubelets() {
	m.kubelets.Lock()
	defer m.kubelets.Unlock()
	m.kubelets.at = time.Time{}
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
