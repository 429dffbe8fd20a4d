package join

import (
	"context"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/ec2"
	"github.com/nodejoin/nodejoin/internal/host"
)

// world is all that the loop touches: this machine, kubeadm and the API
// server. The real one is [machine]; tests put a scripted one in its place, and
// virtual time around it.
type world interface {
	Inspect() (host.Disk, error)
	ClusterCA() []byte // of pki/ca.crt, in PEM; nil if it cannot be read
	// ReadLeft is our Node that an earlier run of this boot has left to its owner.
	ReadLeft(bootID string) (host.Left, error)
	WriteLeft(host.Left) error
	RemoveLeft() error
	MissingMounts() ([]string, error)
	Kubeadms() ([]host.KubeadmProcess, error)
	Pods() (int, error)
	Credentials() (*cluster.Credentials, error)
	CredentialsPath() string // from which they were last read
	// KubeletCA is the CA of the cluster whose kubelet has no credentials that load,
	// in PEM; nil where that is not known, or what is left of them has another.
	KubeletCA() []byte
	DiscoveryCA() ([]byte, error) // nil without a discovery file
	// StrangerAt reports whether an API server answers at the endpoint whose
	// certificate does not chain to the credentials' CA.
	StrangerAt(context.Context, *cluster.Credentials) bool
	HostName() (string, error)         // as it is now, as kubeadm makes a Node's name of it
	CloudInitWorks() bool              // which may give this machine its name yet
	CloudInit() host.CloudInit         // which may mend it yet
	FQDN() string                      // for a hint: as soon as it is known, and then the same
	LookUpFQDN(context.Context) string // "" if there is none, or not yet
	OnEC2() bool                       // without asking anybody
	// Instance asks EC2 once, for up to a second.
	Instance(context.Context) (*ec2.Instance, error)

	Kubelet(context.Context) (host.Unit, error)
	KubeletHealthy(context.Context) bool // by its own word
	KubeletProcesses() ([]host.KubeletProcess, error)
	KubeletName() string // of its Node, by its arguments or the host's name; "": not known
	StartsAtBoot() bool  // the kubelet, for certain
	RestartKubelet(context.Context) error
	StopKubelet(context.Context) error
	StartKubelet(context.Context) error
	KubeletLog(context.Context) []string
	// KubeletWords: while cloud-init may yet mend what the kubelet refuses for, it
	// counts as what time cures.
	KubeletWords(context.Context) host.Words

	// Runtime is the container runtime; an error says why no kubelet could use it.
	Runtime(context.Context) (host.Runtime, error)
	PortTaken(port int) (bool, error)
	KubeadmVersion() string // once KubeadmFit has asked for it
	// Doorstep is what anybody sees of a server; ca is who should have signed its
	// certificate, if that is known.
	Doorstep(ctx context.Context, server string, ca []byte) cluster.Doorstep

	// KubeadmFit: warning is what a person should know of a kubeadm that fits.
	KubeadmFit(context.Context) (warning string, err error)
	// ReadPrograms reads what a join starts, so that it is in memory.
	ReadPrograms(context.Context)
	// Register says what a join registers our Node with. Probe asks for that
	// Node from then on; before, for the one whose credentials are here.
	Register(registration)
	// Join goes by the server that was proven. It leaves pki/ca.crt where it is if
	// that is what it would write there.
	Join(ctx context.Context, server *cluster.Credentials, token, bearer string, harmlessCA bool) error
	// Warned is what kubeadm join has warned of since it was last asked for.
	Warned() []string
	Reset(context.Context) error
	RemoveBootstrapConf() error

	// Written are files in kubeadm's way that a join of this machine which never
	// got to a certificate has written, by the journal, and nobody has changed.
	// Tidy takes them away.
	Written() []string
	Tidy() error
	// WriteJournal lists what a join will write; RemoveJournal says that it is a
	// member's from now on.
	WriteJournal(cluster.Probe) error
	RemoveJournal() error

	// BootstrapAgain has the kubelet ask the server for a certificate with the
	// bearer token; its credentials are moved aside. BootstrapEnded takes the token
	// away, and puts them back, or forgets them, or leaves them where they are.
	BootstrapAgain(ctx context.Context, server *cluster.Credentials, bearer string) error
	BootstrapEnded(back, forget bool) error
	// ApprovesRequests: of those who have our token.
	ApprovesRequests(context.Context) (bool, error)

	Token(context.Context) (string, error)
	Probe(ctx context.Context, token, bearer string) cluster.Probe
	Request(ctx context.Context, nodeNames []string) (*cluster.Request, error)
	Ask(context.Context, *cluster.Credentials) cluster.Sighting
	AskWithToken(ctx context.Context, c *cluster.Credentials, bearer string) cluster.Sighting
	// LastSeen is our Node as a watch saw it last, in this run or in one that was
	// killed a moment ago.
	LastSeen() cluster.Sighting
	// PutBack creates it again as it was, as Ready as it was if ready. lost is
	// what it could not be given, for a person.
	PutBack(ctx context.Context, c *cluster.Credentials, uid string, ready bool) (back cluster.Sighting, lost []string, err error)
	// TakenUp says what is missing until its kubelet has taken it up; "": nothing.
	// It stays so where only a kubelet that starts can bring it.
	TakenUp(ctx context.Context, c *cluster.Credentials, uid string, since time.Time) (missing string, stays bool, err error)
	// SayStopped says of our own Node that its kubelet has stopped.
	SayStopped(context.Context, *cluster.Credentials) error
	LeaseRenewed(context.Context, *cluster.Credentials) (time.Time, error)
	Watch(context.Context, *cluster.Credentials) <-chan cluster.Sighting
}
