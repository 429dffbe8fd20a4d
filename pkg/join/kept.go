package join

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// kept is our Node and its CSINode, whole, as a watch saw them last.
type kept struct {
	sync.Mutex
	of   cluster.Kept
	back cluster.Kept // as it was put back last, well or not
}

// keep is told by the watch. A file has it for the next run, should this one be
// killed; one that ends at once has nothing to leave.
func (m *machine) keep(of cluster.Kept) {
	m.kept.Lock()
	defer m.kept.Unlock()
	m.kept.of = of
	if raw, err := json.Marshal(of); err == nil && time.Since(m.began) >= time.Second {
		_ = m.Keep(raw) // without it the next run restarts the kubelet
	}
}

// recall is what a run that was killed has left: since when nobody has watched.
func (m *machine) recall() {
	var of cluster.Kept
	if json.Unmarshal(m.Kept(), &of) == nil && of.Node != nil {
		of.GoneAt = time.Time{}
		m.kept.of = of
	}
}

// lastKept: what the watch of now has seen, or one before it.
func (m *machine) lastKept() cluster.Kept {
	m.asking.Lock()
	client := m.kubelet
	m.asking.Unlock()
	if client != nil {
		if of := client.Kept(); of.Node != nil {
			return of
		}
	}
	m.kept.Lock()
	defer m.kept.Unlock()
	return m.kept.of
}

func (m *machine) LastSeen() cluster.Sighting {
	of := m.lastKept()
	if of.Node == nil {
		return cluster.Sighting{}
	}
	return cluster.Sighting{Answer: cluster.Present, Node: of.Last(), At: of.SeenAt}
}

func (m *machine) PutBack(ctx context.Context, creds *cluster.Credentials, ready bool) (cluster.Sighting, []string, error) {
	of := m.lastKept()
	m.kept.Lock()
	m.kept.back = of
	m.kept.Unlock()
	client, err := m.client(creds)
	if err != nil {
		return cluster.Sighting{}, nil, err
	}
	back, err := client.PutBack(ctx, of, ready)
	if back.CSINode != nil { // a restarted kubelet makes it anew, and until then no volume can be attached
		back.Lost = append(back.Lost, back.CSINode.Error())
	}
	return back.Node, back.Lost, err
}

// TakenUp also ends what PutBack began: where its answer got lost, or a CSINode
// of before was long in the way, the watch knows of none any more.
func (m *machine) TakenUp(ctx context.Context, creds *cluster.Credentials, uid string, since time.Time) (string, error) {
	m.kept.Lock()
	of := m.kept.back
	m.kept.Unlock()
	client, err := m.client(creds)
	if err != nil {
		return "", err
	}
	missing, err := client.TakenUp(ctx, creds.NodeName, uid, since, of.CSINode != nil)
	if err == nil && strings.HasPrefix(missing, "the CSINode") {
		err = client.PutCSINodeBack(ctx, of, uid)
	}
	return missing, err
}

func (m *machine) SayStopped(ctx context.Context, creds *cluster.Credentials) error {
	s := m.Ask(ctx, creds)
	switch {
	case s.Answer != cluster.Present:
		return s.Err
	case s.Node.BootID != m.identity.BootID || s.Node.MachineID != m.identity.MachineID:
		return errors.New("it is not this machine's")
	}
	client, err := m.client(creds)
	if err != nil {
		return err
	}
	return client.SayStopped(ctx, creds.NodeName, s.Node.UID)
}

func (m *machine) KubeletName() string {
	args, err := m.kubeletArgs()
	if err != nil {
		return ""
	}
	name, _ := m.NodeName()
	return cmp.Or(strings.ToLower(strings.TrimSpace(args.HostnameOverride)), name)
}

// KubeletHealthy asks the kubelet that runs.
func (m *machine) KubeletHealthy(ctx context.Context) bool {
	args, err := m.kubeletArgs()
	return err == nil && m.Host.KubeletHealthy(ctx, args)
}

// kubeletsOwn are the files with the kubelet's credentials, and the one that it
// bootstraps with.
func (m *machine) kubeletsOwn() (own []string, bootstrap string, err error) {
	args, err := m.kubeletArgs()
	if err != nil {
		return nil, "", err
	}
	return []string{cmp.Or(args.Kubeconfig, kubeletConf), cmp.Or(args.CertDir, "/var/lib/kubelet/pki") + "/kubelet-client-current.pem"},
		cmp.Or(args.BootstrapKubeconfig, bootstrapConf), nil
}

// BootstrapAgain: both files have to go, or a kubelet whose certificate was refused
// goes on with it, and one with a plain file in place of the link to the current
// certificate throws each new one away (client-go util/certificate).
func (m *machine) BootstrapAgain(ctx context.Context, server *cluster.Credentials, bearer string) error {
	own, bootstrap, err := m.kubeletsOwn()
	if err != nil {
		return err
	}
	content, err := cluster.BootstrapConf(server.Server, server.CA, bearer)
	if err != nil {
		return err
	}
	if err := m.MoveAside(own...); err != nil {
		return errors.Join(err, m.MoveBack(own...))
	}
	m.removeBootstrap, err = m.WriteBootstrapConf(bootstrap, content)
	if err == nil {
		err = m.RestartKubelet(ctx)
	}
	if err != nil {
		return errors.Join(err, m.BootstrapEnded(true, false))
	}
	return nil
}

func (m *machine) BootstrapEnded(back, forget bool) error {
	own, _, err := m.kubeletsOwn()
	if m.removeBootstrap != nil {
		err = errors.Join(err, m.removeBootstrap())
		m.removeBootstrap = nil
	}
	switch {
	case back:
		return errors.Join(err, m.MoveBack(own...))
	case forget:
		return errors.Join(err, m.RemoveAside(own...))
	}
	return err
}

func (m *machine) ApprovesRequests(ctx context.Context) (bool, error) {
	client := m.cluster.Client()
	if client == nil {
		return false, errNoServer
	}
	return client.ApprovesRequests(ctx)
}
