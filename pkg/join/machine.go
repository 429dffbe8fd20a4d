package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/ec2"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// kubeletConf is where kubeadm has the kubelet write its kubeconfig, clusterCA
// where it puts the cluster's CA, and bootstrapConf holds the token meanwhile.
const (
	kubeletConf   = "/etc/kubernetes/kubelet.conf"
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
	clusterCA     = "/etc/kubernetes/pki/ca.crt"
)

// kubeletLogLines of the kubelet's log travel with a failure.
const kubeletLogLines = 20

// kubeletLifeLines hold all of a kubelet that refused, configuration and all,
// and what the next try has said so far.
const kubeletLifeLines = 200

// machine is the real [world].
type machine struct {
	host.Host
	plan     *plan
	name     string // "" until somebody is asked: see register
	node     registration
	identity host.Identity
	lock     *host.Lock
	redactor *kubeadm.Redactor
	kubeadm  kubeadm.Kubeadm
	version  kubeadm.Version // zero until KubeadmFit
	warned   chan string     // by kubeadm join, and not told yet
	tokens   tokenReader
	fqdn     func() string
	cluster  *cluster.Discoverer

	service  sync.Mutex // held while the service is asked for its arguments
	kubelets struct {   // what was last seen of them
		sync.Mutex
		ran    bool // one did, in this run
		argsAt time.Time
		args   host.KubeletArgs
	}

	began time.Time

	again bootstrap // that is under way, or was last
	kept  kept

	journal journaled

	asking  sync.Mutex           // guards who speaks with the kubelet's credentials
	creds   *cluster.Credentials // that kubelet speaks with
	kubelet *cluster.Client
}

// newMachine sees that this process may do the work and is the only one.
func newMachine(p *plan) (*machine, error) {
	if os.Geteuid() != 0 {
		return nil, &Error{Reason: HostUnfit, Message: "nodejoin join is not run by root", Hint: "run it with sudo"}
	}
	m, err := identify(p)
	if err != nil {
		return nil, err
	}
	if err = m.goWithout(); err != nil {
		return nil, err
	}
	if m.cluster, err = p.discoverer(m.likelyName()); err != nil {
		return nil, err
	}
	take := m.Lock
	if p.DryRun {
		take = m.SeeLock
	}
	if m.lock, err = take(); err != nil {
		var locked *host.LockedError
		if errors.As(err, &locked) {
			return nil, &Error{Reason: Locked, Message: err.Error(), Hint: "wait for it, or see what it does: `nodejoin check`, /run/nodejoin/status.json"}
		}
		return nil, &Error{Reason: HostUnfit, Message: "the lock in /run/nodejoin cannot be taken", Err: err, Hint: roomHint(err)}
	}
	m.recall()
	m.journal.files, m.journal.err = m.ReadJournal(m.identity)
	go m.fqdn() // a name server may take its time; a hint will want it at once
	if p.DryRun {
		return m, nil
	}
	if running, err := m.KubeletProcesses(); err == nil {
		m.resume(running)
	}
	if err := m.Sweep(); err != nil {
		m.close()
		return nil, &Error{Reason: HostUnfit, Message: "a secret left by an earlier run cannot be removed", Err: err}
	}
	return m, nil
}

// identify finds out who this machine is; nothing is touched.
func identify(p *plan) (*machine, error) {
	m := &machine{Host: host.Host{Root: "/", Recent: &host.Recent{}}, plan: p, tokens: tokenReader{plan: p}, began: time.Now()}
	m.fqdn = sync.OnceValue(func() string { return m.Host.FQDN(context.Background()) })
	m.identity = m.Identity()
	if m.identity.BootID == "" {
		return nil, &Error{Reason: HostUnfit, Message: "/proc/sys/kernel/random/boot_id cannot be read, so no Node can be known to be this machine's"}
	}
	m.name = p.NodeName
	if m.name == "" && (p.NodeNameFrom == "" || p.NodeNameFrom == FromHostname) {
		var err error
		if m.name, err = m.NodeName(); err != nil {
			return nil, &Error{Reason: HostUnfit, Message: "this machine has no usable hostname", Err: err, Hint: "set one, or use --node-name"}
		}
	}
	m.redactor = kubeadm.NewRedactor(p.static, p.TLSBootstrapToken)
	m.kubeadm, m.warned = kubeadm.Kubeadm{Path: p.Kubeadm, Redact: m.redact, Warn: m.keepWarning}, make(chan string, warnedMost)
	return m, nil
}

func (m *machine) close() {
	m.forget()
	m.cluster.Close()
	_ = m.lock.Unlock()
}

func (m *machine) redact(line string) string { return m.redactor.Redact(line) }

func (m *machine) ClusterCA() []byte {
	raw, err := os.ReadFile(m.Path(clusterCA))
	if err != nil {
		return nil
	}
	return raw
}

// kubeletsFolders hold what makes a machine a member, and what its pods need.
var kubeletsFolders = []string{"/var/lib/kubelet", "/etc/kubernetes", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker"}

func (m *machine) MissingMounts() ([]string, error) { return m.Host.MissingMounts(kubeletsFolders...) }

// DiscoveryCA leaves a discovery file at a URL to discover: a member needs no
// network but its own API server's.
func (m *machine) DiscoveryCA() ([]byte, error) {
	if m.plan.DiscoveryFile == "" || m.plan.lost != nil || strings.HasPrefix(m.plan.DiscoveryFile, "https://") {
		return nil, nil
	}
	return cluster.DiscoveryFileCA(m.plan.DiscoveryFile)
}

func (m *machine) Doorstep(ctx context.Context, server string, ca []byte) cluster.Doorstep {
	return cluster.LookAt(ctx, server, ca)
}

func (m *machine) HostName() (string, error) { return m.NodeName() }

func (m *machine) FQDN() string { return m.fqdn() }

func (m *machine) LookUpFQDN(ctx context.Context) string { return m.Host.FQDN(ctx) }

func (m *machine) OnEC2() bool { return ec2.Expected(m.Path("/")) }

func (m *machine) Instance(ctx context.Context) (*ec2.Instance, error) { return ec2.Ask(ctx) }

// unitTimeout bounds a question to the init system; D-Bus may be dead.
const unitTimeout = 30 * time.Second

func (m *machine) Kubelet(ctx context.Context) (host.Unit, error) {
	ctx, cancel := context.WithTimeout(ctx, unitTimeout)
	defer cancel()
	return m.Host.Kubelet(ctx)
}

func (m *machine) StrangerAt(ctx context.Context, creds *cluster.Credentials) bool {
	server := "https://" + m.plan.Endpoint
	return server != creds.Server && cluster.IsStranger(ctx, server, creds.CA)
}

func (m *machine) KubeletLog(ctx context.Context) []string {
	var lines []string
	log := m.Host.KubeletLog(context.WithoutCancel(ctx), kubeletLifeLines)
	for _, line := range host.Telling(log, kubeletLogLines) {
		lines = append(lines, m.redact(line))
	}
	return lines
}

// KubeletWords are what the kubelet said last of why it does not run, or is not
// registered.
func (m *machine) KubeletWords(ctx context.Context) host.Words {
	words := host.WordsOf(m.Host.KubeletLog(ctx, kubeletLifeLines))
	words.Refusal = m.RefusalOf(words.Fatal)
	words.Fatal, words.Unregistered = m.redact(words.Fatal), m.redact(words.Unregistered)
	if m.CloudInitWorks() {
		words.Passes, words.Shown = words.Fatal != "", false
	}
	return words
}

func (m *machine) Register(as registration) {
	m.node = as
	m.cluster.SetNodeName(as.name)
}

// likelyName is the name to begin with: ours or, where that is not known yet,
// the one whose credentials are here.
func (m *machine) likelyName() string {
	if m.name != "" {
		return m.name
	}
	creds, err := m.Credentials()
	if err != nil {
		return ""
	}
	return creds.NodeName
}

// Join gives kubeadm the server that was proven, in a discovery file: it need not
// find out again, and shows the token to nobody else. It is left to discover for
// itself where a file would keep it from saying what is wrong with this machine.
func (m *machine) Join(ctx context.Context, server *cluster.Credentials, token, bearer string, harmlessCA bool) error {
	if m.version.IgnoresRuntime() && !m.plan.ignores("CRI") {
		if err := m.runtimeServes(ctx); err != nil {
			return m.version.NoRuntime(err)
		}
	}
	options := m.plan.options(m.node, token, bearer)
	if harmlessCA && !m.plan.ignoresCAFile() {
		options.IgnorePreflightErrors = append(slices.Clone(options.IgnorePreflightErrors), m.plan.caFileCheck())
	}
	if kubeadm.MindsEndpoint(m.Root, options.Endpoint) {
		return m.joinWith(ctx, options)
	}
	file, err := cluster.BootstrapConf(server.Server, server.CA, "")
	if err != nil {
		return err
	}
	return m.withSecret(ctx, file, func(path string) error {
		options.Endpoint, options.DiscoveryFile = "", path
		return m.joinWith(ctx, options)
	})
}

func (m *machine) joinWith(ctx context.Context, options kubeadm.Options) error {
	config, err := m.plan.render(options)
	if err != nil {
		return err
	}
	return m.withSecret(ctx, config, func(path string) error { return m.kubeadm.Join(ctx, path, nil) })
}

// withSecret has kubeadm read a file that lives in memory and no longer than
// kubeadm.
func (m *machine) withSecret(ctx context.Context, content []byte, run func(path string) error) error {
	path, remove, err := m.SecretFile(content)
	if err != nil {
		return &Error{Reason: HostUnfit, Message: "the secret for kubeadm cannot be written", Err: err, Hint: roomHint(err)}
	}
	// Who is being stopped has read it, and a second signal leaves no time for it.
	defer context.AfterFunc(ctx, func() { _ = remove() })()
	err = run(path)
	if rmErr := remove(); err == nil && rmErr != nil {
		err = fmt.Errorf("removing the secret for kubeadm: %w", rmErr)
	}
	return err
}

// roomHint names the folder in which there is no room, if that is what err says.
func roomHint(err error) string {
	var path *fs.PathError
	if !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &path) {
		return ""
	}
	dir := filepath.Dir(path.Path)
	return fmt.Sprintf("make room in %s, which is kept in memory (`df -h %s` and `df -i %s` show how full it is), and run nodejoin again", dir, dir, dir)
}

func (m *machine) Reset(ctx context.Context) error {
	defer m.forgetKubelets()
	return m.kubeadm.Reset(ctx, m.plan.CRISocket)
}

func (m *machine) Token(ctx context.Context) (string, error) {
	token, err := m.tokens.read(ctx)
	m.redactor.Add(token)
	return token, err
}

func (m *machine) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	return m.cluster.Probe(ctx, token, bearer)
}

var errNoServer = errors.New("no API server is proven just now")

// Request asks with the token; Probe has proven the server before.
func (m *machine) Request(ctx context.Context, nodeNames []string) (*cluster.Request, error) {
	key, err := m.BootstrapKey()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	client := m.cluster.Client()
	if client == nil {
		return nil, errNoServer
	}
	return client.Requests(ctx, nodeNames, key)
}

func (m *machine) Ask(ctx context.Context, creds *cluster.Credentials) cluster.Sighting {
	client, err := m.client(creds)
	if err != nil {
		return cluster.Sighting{Err: err}
	}
	defer client.Close()
	sighting := client.Node(ctx, creds.NodeName)
	if sighting.Answer != cluster.Unauthorized {
		return sighting
	}
	// a kept connection keeps the client certificate that it was made with, expired or not
	fresh, err := creds.Client()
	if err != nil {
		return sighting
	}
	defer fresh.Close()
	return fresh.Node(ctx, creds.NodeName)
}

// client is one for all that is asked with the same credentials, as Watch and
// Ask do: over one connection, for a handshake is the dearest part of asking.
func (m *machine) client(creds *cluster.Credentials) (*cluster.Client, error) {
	m.asking.Lock()
	defer m.asking.Unlock()
	if m.creds != creds {
		client, err := creds.Client()
		if err != nil {
			return nil, err
		}
		client.KeepInto(m.keep)
		m.creds, m.kubelet = creds, client
	}
	return m.kubelet, nil
}

func (m *machine) AskWithToken(ctx context.Context, creds *cluster.Credentials, bearer string) cluster.Sighting {
	client, err := cluster.NewTokenClient(creds.Server, creds.CA, bearer)
	if err != nil {
		return cluster.Sighting{Err: err}
	}
	defer client.Close()
	return client.Node(ctx, creds.NodeName)
}

func (m *machine) LeaseRenewed(ctx context.Context, creds *cluster.Credentials) (time.Time, error) {
	client, err := m.client(creds)
	if err != nil {
		return time.Time{}, err
	}
	return client.LeaseRenewed(ctx, creds.NodeName)
}

func (m *machine) Watch(ctx context.Context, creds *cluster.Credentials) <-chan cluster.Sighting {
	client, err := m.client(creds)
	if err != nil { // the files changed under us
		once := make(chan cluster.Sighting, 1)
		once <- cluster.Sighting{Err: err}
		return once
	}
	return client.Watch(ctx, creds.NodeName)
}
