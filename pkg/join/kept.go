package join

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// kept is our Node and its CSINode, whole, as a watch saw them last.
type kept struct {
	sync.Mutex
	of    cluster.Kept
	back  cluster.Kept // as it was put back last, well or not,
	asUID string       // and under which UID
	end   bool         // the run has ended, and has nothing to leave
}

// keep is told by the watch. A file has it for the next run, should this one be
// killed; one that ends at once has nothing to leave.
func (m *machine) keep(of cluster.Kept) {
	m.kept.Lock()
	defer m.kept.Unlock()
	m.kept.of = of
	if raw, err := json.Marshal(of); err == nil && time.Since(m.began) >= time.Second && !m.plan.DryRun && !m.kept.end {
		_ = m.Keep(raw) // without it the next run restarts the kubelet
	}
}

// forget: a run that ends by itself leaves nothing.
func (m *machine) forget() {
	m.kept.Lock()
	defer m.kept.Unlock()
	m.kept.end = true
	if !m.plan.DryRun {
		_ = m.Forget()
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

func (m *machine) PutBack(ctx context.Context, creds *cluster.Credentials, uid string, ready bool) (cluster.Sighting, []string, error) {
	of := m.lastKept()
	m.kept.Lock()
	known := of.Node != nil && of.Node.Name == creds.NodeName && (string(of.Node.UID) == uid || m.kept.asUID == uid)
	m.kept.back = of
	m.kept.Unlock()
	if !known {
		return cluster.Sighting{}, nil, fmt.Errorf("%w: the Node that was deleted was not seen whole", cluster.ErrRefused)
	}
	client, err := m.client(creds)
	if err != nil {
		return cluster.Sighting{}, nil, err
	}
	back, err := client.PutBack(ctx, of, ready)
	m.kept.Lock()
	m.kept.asUID = back.Node.Node.UID
	m.kept.Unlock()
	if back.CSINode != nil { // a restarted kubelet makes it anew, and until then no volume can be attached
		back.Lost = append(back.Lost, back.CSINode.Error())
	}
	return back.Node, back.Lost, err
}

// TakenUp also ends what PutBack began: where its answer got lost, or a CSINode
// of before was long in the way, the watch knows of none any more.
func (m *machine) TakenUp(ctx context.Context, creds *cluster.Credentials, uid string, since time.Time) (missing string, stays bool, err error) {
	m.kept.Lock()
	of := m.kept.back
	m.kept.Unlock()
	client, err := m.client(creds)
	if err != nil {
		return "", false, err
	}
	missing, err = client.TakenUp(ctx, creds.NodeName, uid, since)
	if err == nil && strings.HasPrefix(missing, "the CSINode") {
		_ = client.PutCSINodeBack(ctx, of, uid) // where that is refused a restart of the kubelet makes it
	}
	return missing, missing == cluster.NoCSINode && of.CSINode == nil, err
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
	if strings.ContainsAny(args.NodeName(), "$`'\"") { // a shell's, which only the shell knows
		return ""
	}
	return cmp.Or(args.NodeName(), name)
}

// KubeletHealthy asks the kubelet that runs.
func (m *machine) KubeletHealthy(ctx context.Context) bool {
	args, err := m.kubeletArgs()
	return err == nil && m.Host.KubeletHealthy(ctx, args)
}

// bootstrap is what a kubelet bootstraps again with, and what it had before.
type bootstrap struct {
	own    []string     // the files with its credentials: its kubeconfig, and its certificate and key
	conf   string       // where it looks for a token
	remove func() error // takes that away; nil: it is not there
}

func (m *machine) bootstrapOf() (bootstrap, error) {
	args, err := m.kubeletArgs()
	if err == nil && args != (host.KubeletArgs{}) && args.BootstrapKubeconfig == "" {
		err = errors.New("the kubelet is started without --bootstrap-kubeconfig, so it cannot ask for a certificate")
	}
	return bootstrap{
		own:  []string{cmp.Or(args.Kubeconfig, kubeletConf), cmp.Or(args.CertDir, "/var/lib/kubelet/pki") + "/kubelet-client-current.pem"},
		conf: cmp.Or(args.BootstrapKubeconfig, bootstrapConf),
	}, err
}

// BootstrapAgain: both files have to go, or a kubelet whose certificate was refused
// goes on with it, and one with a plain file in place of the link to the current
// certificate throws each new one away (client-go util/certificate). A bootstrap
// kubeconfig that is not kubeadm's is somebody's, and comes back.
func (m *machine) BootstrapAgain(ctx context.Context, server *cluster.Credentials, bearer string) error {
	again, err := m.bootstrapOf()
	if err != nil {
		return err
	}
	content, err := cluster.BootstrapConf(server.Server, server.CA, bearer)
	if err != nil {
		return err
	}
	m.again = again
	aside := again.own
	if again.conf != bootstrapConf {
		aside = append(aside[:len(aside):len(aside)], again.conf)
	}
	if err = errors.Join(m.giveBack(again.conf), m.MoveAside(aside...)); err == nil {
		m.again.remove, err = m.WriteBootstrapConf(again.conf, content)
	}
	if err == nil {
		err = m.RestartKubelet(ctx)
	}
	if err != nil {
		return errors.Join(err, m.BootstrapEnded(true, false))
	}
	return nil
}

// BootstrapEnded puts nothing back in place of what the kubelet has got meanwhile.
func (m *machine) BootstrapEnded(back, forget bool) error {
	again, err := m.again, error(nil)
	if again.conf == "" { // another run began it
		if again, err = m.bootstrapOf(); again.conf == "" {
			return err
		}
	}
	err = nil
	if again.remove != nil {
		err = again.remove()
		m.again.remove = nil
	}
	err = errors.Join(err, m.giveBack(again.conf))
	if back {
		m.forgetKubelets()
		if _, unloaded := m.Credentials(); unloaded == nil {
			back, forget = false, true
		}
	}
	switch {
	case back:
		return errors.Join(err, m.MoveBack(again.own...))
	case forget:
		return errors.Join(err, m.RemoveAside(again.own...))
	}
	return err
}

// giveBack puts a bootstrap kubeconfig that is not kubeadm's in place of our link
// to a token, unless somebody has put a newer one there.
func (m *machine) giveBack(conf string) error {
	err := m.RemoveSecretLink(conf)
	if conf == bootstrapConf {
		return err
	}
	if _, missing := os.Lstat(m.Path(conf)); missing == nil {
		return errors.Join(err, m.RemoveAside(conf))
	}
	return errors.Join(err, m.MoveBack(conf))
}

// resume: where a run was killed while a kubelet bootstrapped again, and none runs
// that was started for it, that was not to be. When a process was started is known
// to about a second. Where the kubelet's configuration is gone, too, somebody has
// reset this machine since, and an old kubelet.conf would but hinder a join.
func (m *machine) resume(running []host.KubeletProcess) {
	again, _ := m.bootstrapOf()
	moved := m.MovedAside(again.own...)
	mayBootstrap := func(p host.KubeletProcess) bool { return p.Started.IsZero() || moved.Sub(p.Started) < 2*time.Second }
	if moved.IsZero() || slices.ContainsFunc(running, mayBootstrap) {
		return
	}
	disk, err := m.Inspect()
	if _, missing := m.Credentials(); err == nil && disk.Configured && errors.Is(missing, fs.ErrNotExist) {
		_ = m.MoveBack(again.own...) // what cannot be moved is looked for in vain, and said
	}
}

func (m *machine) ApprovesRequests(ctx context.Context) (bool, error) {
	client := m.cluster.Client()
	if client == nil {
		return false, errNoServer
	}
	return client.ApprovesRequests(ctx)
}
