package join

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// Level is how far a Node must be.
type Level string

// The levels, each including the one before it.
const (
	Registered  Level = "registered"  // the Node exists, it is this machine's, its kubelet lives
	Initialized Level = "initialized" // a cloud controller has accepted it
	Ready       Level = "ready"       // its condition Ready is True
)

// ResetMode says when `kubeadm reset` may run.
type ResetMode string

// The modes.
const (
	ResetAuto   ResetMode = "auto"   // when the evidence allows it
	ResetNever  ResetMode = "never"  // not at all
	ResetAlways ResetMode = "always" // once at the start, then as auto
)

// RestoreMode says whether our Node is put back as it was after a deletion that
// the run has seen.
type RestoreMode string

// The modes.
const (
	RestoreAuto  RestoreMode = "auto"  // with its taints, cordon, labels and podCIDR, and no kubelet restart
	RestoreNever RestoreMode = "never" // the kubelet is restarted, and registers a new one
)

// NameSource says where a Node's name comes from if nobody names it.
type NameSource string

// The sources; the zero value is FromHostname.
const (
	FromHostname NameSource = "hostname"
	FromFQDN     NameSource = "fqdn" // the fully qualified name, as `hostname -f` says
	FromEC2      NameSource = "ec2"  // the private DNS name, or the instance's ID where it uses resource names
)

// What ProviderID can be other than a provider ID.
const (
	ProviderIDNone = "none" // as ""
	ProviderIDAuto = "auto" // on EC2 aws:///ZONE/INSTANCE, elsewhere none
)

// Config of a run. Start from [Defaults]. Messages about a field name the flag
// of the same name.
type Config struct {
	// What kubeadm join takes.
	Endpoint                 string // host:port of the API server
	CACertHashes             []string
	UnsafeSkipCAVerification bool
	DiscoveryFile            string // path or https URL; instead of Endpoint
	ConfigFile               string // a kubeadm config; instead of all of the above
	TLSBootstrapToken        string // where it differs from Token
	NodeName                 string // default: lower-case hostname
	CRISocket                string
	IgnorePreflightErrors    []string
	SkipPhases               []string
	Patches                  string

	// What the Node is registered with. A member keeps what it has.
	NodeNameFrom     NameSource // instead of NodeName
	ProviderID       string     // a provider ID, ProviderIDAuto or, as "", ProviderIDNone
	KubeletExtraArgs []string   // KEY=VALUE each
	NodeLabels       []string   // KEY=VALUE each
	Taints           []string   // KEY[=VALUE]:EFFECT each

	Token Token

	Until Level         // default Registered
	Hold  time.Duration // how long the Node must stay under one UID; 0: not at all

	Timeout        time.Duration // for everything; 0: no limit
	AttemptTimeout time.Duration // for reset, join and verify of one attempt
	BackoffInitial time.Duration // between attempts that failed after the server answered
	BackoffMax     time.Duration
	MaxDeletions   int // more of them end the run; 0: no limit
	Reset          ResetMode
	Restore        RestoreMode

	// BringBack a Node that an earlier run of this boot saw deleted, and left,
	// for it had the mark of its owner's will.
	BringBack bool

	// DryRun ends the run where it would touch the machine for the first time,
	// after dryRunPatience at the latest, and tells what it would do.
	DryRun bool

	// All has Check look, beside its one question, at all that a join needs. It takes
	// what says where the cluster is, and a token, as Run does.
	All bool

	Kubeadm string // path or name of the binary
	Version string // nodejoin's own, for the report

	// Observe, if set, is called with each event, in order, from the run's own
	// goroutines, one at a time. It must not block for long.
	Observe func(Event)
}

// Defaults returns the configuration that the command begins with.
func Defaults() Config {
	return Config{
		Until:          Registered,
		Hold:           60 * time.Second,
		Timeout:        30 * time.Minute,
		AttemptTimeout: 6 * time.Minute,
		BackoffInitial: time.Second,
		BackoffMax:     30 * time.Second,
		MaxDeletions:   10,
		Reset:          ResetAuto,
		Restore:        RestoreAuto,
		Kubeadm:        "kubeadm",
		ProviderID:     ProviderIDNone,
	}
}

// Validate says what is wrong with the configuration itself; nothing is
// touched. [Run] needs no file that is not there where the machine is a member. The error is an *[Error] with reason [Usage].
func (c Config) Validate() error {
	p, err := c.plan()
	if err != nil {
		return err
	}
	return p.lost
}

// plan is a Config that has been checked and, with ConfigFile, completed.
type plan struct {
	Config
	file   *kubeadm.Config // the user's own, or nil
	lost   error           // why a file that a join needs is not there; nil: none is missing
	static string          // the token, if it comes from a flag or the file
	jitter float64         // of pauses, as a share of them; none in tests that must replay
}

// minAttempt leaves kubeadm's own timeouts, which are shares of it, room to
// mean anything.
const minAttempt = 30 * time.Second

func (c Config) plan() (*plan, error) {
	p := &plan{Config: c, static: c.Token.Value, jitter: 0.25}
	for _, check := range []func() error{p.checkTimes, p.checkToken, p.checkRegistration, p.readFile, p.checkDiscovery, p.checkName, p.checkRendering} {
		if err := check(); err != nil {
			return nil, usage(err)
		}
	}
	if p.DryRun {
		p.Hold = 0
	}
	return p, nil
}

func usage(err error) error {
	var ended *Error
	if errors.As(err, &ended) {
		return err
	}
	var field *kubeadm.FieldError
	if errors.As(err, &field) {
		return &Error{Reason: Usage, Message: field.Field + ": " + field.Problem, Hint: field.Remedy}
	}
	return &Error{Reason: Usage, Message: err.Error()}
}

func (p *plan) checkTimes() error {
	switch {
	case p.Until != Registered && p.Until != Initialized && p.Until != Ready:
		return fmt.Errorf("--until: %q is not registered, initialized or ready", p.Until)
	case p.Reset != ResetAuto && p.Reset != ResetNever && p.Reset != ResetAlways:
		return fmt.Errorf("--reset: %q is not auto, never or always", p.Reset)
	case p.Restore != RestoreAuto && p.Restore != RestoreNever:
		return fmt.Errorf("--restore: %q is not auto or never", p.Restore)
	case p.Hold < 0:
		return fmt.Errorf("--hold: %s is negative", p.Hold)
	case p.Timeout < 0:
		return fmt.Errorf("--timeout: %s is negative", p.Timeout)
	case p.Timeout > 0 && p.Hold > p.Timeout:
		return fmt.Errorf("--hold: %s is longer than --timeout %s", p.Hold, p.Timeout)
	case p.AttemptTimeout < minAttempt:
		return fmt.Errorf("--attempt-timeout: %s is too short for kubeadm, use at least %s", p.AttemptTimeout, minAttempt)
	case p.BackoffInitial <= 0:
		return fmt.Errorf("--backoff-initial: %s is not positive", p.BackoffInitial)
	case p.BackoffMax < p.BackoffInitial:
		return fmt.Errorf("--backoff-max: %s is shorter than --backoff-initial %s", p.BackoffMax, p.BackoffInitial)
	case p.MaxDeletions < 0:
		return fmt.Errorf("--max-deletions: %d is negative", p.MaxDeletions)
	}
	return nil
}

func (p *plan) checkToken() error {
	var sources []string
	for flag, value := range map[string]string{"--token": p.Token.Value, "--token-file": p.Token.File, "--token-command": p.Token.Command} {
		if value != "" {
			sources = append(sources, flag)
		}
	}
	if len(sources) > 1 {
		return fmt.Errorf("--token, --token-file, --token-command: only one of them can be used, %d are given", len(sources))
	}
	if p.Token.Value != "" {
		if err := kubeadm.ValidateToken(p.Token.Value); err != nil {
			return fmt.Errorf("--token: %w", err)
		}
	}
	if p.TLSBootstrapToken != "" {
		if err := kubeadm.ValidateToken(p.TLSBootstrapToken); err != nil {
			return fmt.Errorf("--tls-bootstrap-token: %w", err)
		}
	}
	return nil
}

// readFile reads the user's kubeadm config and takes over what the loop has to
// know of it.
func (p *plan) readFile() error {
	if p.ConfigFile == "" {
		return nil
	}
	switch {
	case p.Endpoint != "":
		return fmt.Errorf("ENDPOINT: %q cannot be used with --config, which names the endpoint itself", p.Endpoint)
	case len(p.KubeletExtraArgs) > 0:
		return inFile("--kubelet-extra-arg", "nodeRegistration.kubeletExtraArgs")
	case len(p.NodeLabels) > 0:
		return inFile("--node-label", "nodeRegistration.kubeletExtraArgs (name: node-labels)")
	case len(p.Taints) > 0:
		return inFile("--taint", "nodeRegistration.taints")
	case len(p.CACertHashes) > 0 || p.UnsafeSkipCAVerification || p.DiscoveryFile != "" || p.TLSBootstrapToken != "" ||
		p.CRISocket != "" || p.Patches != "" || p.Token.Value != "":
		return errors.New("--config: of kubeadm's flags only --node-name, --ignore-preflight-errors and --skip-phases can be used with it")
	}
	raw, err := os.ReadFile(p.ConfigFile)
	if err != nil {
		return p.without(fmt.Errorf("--config: %w", err))
	}
	file, err := kubeadm.ParseConfig(p.ConfigFile, raw)
	if err != nil {
		return err
	}
	o := file.Options()
	p.file, p.static = file, o.Token
	p.Endpoint, p.CACertHashes, p.UnsafeSkipCAVerification = o.Endpoint, o.CACertHashes, o.UnsafeSkipCAVerification
	p.DiscoveryFile, p.TLSBootstrapToken, p.CRISocket = o.DiscoveryFile, o.TLSBootstrapToken, o.CRISocket
	p.IgnorePreflightErrors = append(p.IgnorePreflightErrors, o.IgnorePreflightErrors...)
	switch {
	case p.NodeNameFrom != "" && o.NodeName != "":
		return fmt.Errorf("--node-name-from: cannot be used with --config %q, which names the Node itself (nodeRegistration.name)", p.ConfigFile)
	case p.ProviderID != "" && o.ProviderID != "":
		return fmt.Errorf("--provider-id: cannot be used with --config %q, which has one itself (provider-id in nodeRegistration.kubeletExtraArgs)", p.ConfigFile)
	case p.NodeName == "":
		p.NodeName = o.NodeName
	}
	return nil
}

func (p *plan) checkDiscovery() error {
	switch {
	case p.lost != nil: // it names the cluster
		return nil
	case p.Endpoint == "" && p.DiscoveryFile == "":
		return errors.New("ENDPOINT: the API server's host:port is missing (or use --discovery-file or --config)")
	case p.DiscoveryFile != "":
		return p.checkDiscoveryFile()
	}
	if err := kubeadm.ValidateEndpoint(p.Endpoint); err != nil {
		return fmt.Errorf("ENDPOINT: %w", err)
	}
	for _, hash := range p.CACertHashes {
		if err := kubeadm.ValidateHash(hash); err != nil {
			return fmt.Errorf("--discovery-token-ca-cert-hash: %w", err)
		}
	}
	if len(p.CACertHashes) == 0 && !p.UnsafeSkipCAVerification {
		return errors.New("--discovery-token-ca-cert-hash: missing; without it anybody who holds a token could pose as the cluster " +
			"(--discovery-token-unsafe-skip-ca-verification accepts that)")
	}
	return nil
}

func (p *plan) checkDiscoveryFile() error {
	p.DiscoveryFile = strings.TrimPrefix(p.DiscoveryFile, "file://") // as kubeadm does
	switch {
	case p.Endpoint != "":
		return errors.New("--discovery-file: cannot be used with ENDPOINT, the file names the server itself")
	case len(p.CACertHashes) > 0 || p.UnsafeSkipCAVerification:
		return errors.New("--discovery-file: cannot be used with --discovery-token-ca-cert-hash or --discovery-token-unsafe-skip-ca-verification")
	case strings.HasPrefix(p.DiscoveryFile, "https://"):
		return nil
	}
	file, err := os.Open(p.DiscoveryFile)
	if err != nil {
		return p.without(fmt.Errorf("--discovery-file: %w", err))
	}
	return file.Close()
}

func (p *plan) checkName() error {
	if p.NodeName == "" {
		return nil
	}
	p.NodeName = strings.ToLower(strings.TrimSpace(p.NodeName))
	if problems := validation.IsDNS1123Subdomain(p.NodeName); len(problems) > 0 {
		return fmt.Errorf("--node-name: %q: %s", p.NodeName, problems[0])
	}
	if err := kubeadm.ValidateNodeName(p.NodeName); err != nil {
		return fmt.Errorf("--node-name: %q: %w", p.NodeName, err)
	}
	return nil
}

// checkRendering finds what kubeadm would refuse before anything is reset for it.
func (p *plan) checkRendering() error {
	const any = "abcdef.0123456789abcdef" // in place of a token that is read later
	if p.lost != nil {
		return nil
	}
	_, err := p.render(p.options(registration{p.NodeName, p.fixedProviderID()}, any, any))
	return err
}

// options are what kubeadm is told, with the token as it is now.
func (p *plan) options(node registration, token, bearer string) kubeadm.Options {
	return kubeadm.Options{
		Endpoint:                 p.Endpoint,
		Token:                    token,
		TLSBootstrapToken:        bearer,
		CACertHashes:             p.CACertHashes,
		UnsafeSkipCAVerification: p.UnsafeSkipCAVerification,
		DiscoveryFile:            p.DiscoveryFile,
		NodeName:                 node.name,
		ProviderID:               node.providerID,
		KubeletExtraArgs:         p.KubeletExtraArgs,
		NodeLabels:               p.NodeLabels,
		Taints:                   p.Taints,
		CRISocket:                p.CRISocket,
		IgnorePreflightErrors:    p.IgnorePreflightErrors,
		SkipPhases:               p.SkipPhases,
		Patches:                  p.Patches,
		AttemptTimeout:           p.AttemptTimeout,
	}
}

func (p *plan) render(o kubeadm.Options) ([]byte, error) {
	if p.file != nil {
		return p.file.Render(o)
	}
	return o.Render()
}

// Token says where the bootstrap token comes from: at most one of the fields,
// or none where the machine is a member already or the discovery file has
// credentials.
type Token struct {
	Value   string
	File    string    // a path, or "-" for Stdin
	Command string    // run by sh -c for every attempt; its standard output
	Stdin   io.Reader // default os.Stdin; read once
}

// fixed reports whether reading the source again can bring nothing new.
func (t Token) fixed() bool {
	return t.Command == "" && (t.File == "" || t.File == "-" || credential(t.File))
}

// credential reports whether a file is a credential of our unit: a copy that
// systemd makes when it starts the unit, and not again.
func credential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(dir)
}
