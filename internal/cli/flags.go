package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// options are what the flags of join and check say.
type options struct {
	config                join.Config
	token, discoveryToken string

	onSuccess, onFailure string

	statusFile          string
	output              string
	logFormat, logLevel string
	verbosity           int

	help  string // for whoever used them wrongly
	asked bool   // it is a check
}

// flagGroup is a set of flags under a heading of --help.
type flagGroup struct {
	title string
	flags *pflag.FlagSet
}

func group(title string, define func(*pflag.FlagSet)) flagGroup {
	flags := pflag.NewFlagSet(title, pflag.ContinueOnError)
	flags.SortFlags = false
	define(flags)
	return flagGroup{title, flags}
}

// kubeadmFlags are kubeadm join's, by kubeadm's names: the line that `kubeadm
// token create --print-join-command` prints is nodejoin's too.
func (o *options) kubeadmFlags(f *pflag.FlagSet) {
	c := &o.config
	f.StringVar(&o.token, "token", "", "`token` for both discovery and TLS bootstrap")
	f.StringVar(&o.discoveryToken, "discovery-token", "", "`token` for discovery, where the two differ")
	f.StringVar(&c.TLSBootstrapToken, "tls-bootstrap-token", "", "`token` for TLS bootstrap, where the two differ")
	f.StringSliceVar(&c.CACertHashes, "discovery-token-ca-cert-hash", nil, "`pin` of the cluster's CA, sha256:... (may be repeated)")
	f.BoolVar(&c.UnsafeSkipCAVerification, "discovery-token-unsafe-skip-ca-verification", false, "go without a pin: whoever holds a token can pose as the cluster")
	f.StringVar(&c.DiscoveryFile, "discovery-file", "", "`path` or https URL of a kubeconfig with the cluster's address and CA, instead of ENDPOINT")
	f.StringVar(&c.ConfigFile, "config", "", "`path` of a kubeadm config file (kubeadm.k8s.io/v1beta4), instead of all of the above")
	f.StringVar(&c.NodeName, "node-name", "", "`name` of the Node (default: the hostname)")
	f.StringVar(&c.CRISocket, "cri-socket", "", "`socket` of the container runtime, if there are several")
	f.StringSliceVar(&c.IgnorePreflightErrors, "ignore-preflight-errors", nil, "preflight `checks` of kubeadm that only warn")
	f.StringVar(&c.Patches, "patches", "", "`directory` with kubeadm patches")
	f.StringSliceVar(&c.SkipPhases, "skip-phases", nil, "`phases` of kubeadm join to leave out")
}

// ownFlags are nodejoin's.
func (o *options) ownFlags(f *pflag.FlagSet) {
	c := &o.config
	f.StringVar(&c.Token.File, "token-file", "", "read the token from `path`, again for every attempt; - is standard input")
	f.StringVar(&c.Token.Command, "token-command", "", "run `command` with sh -c for every attempt and read the token from its output")
	f.StringVar((*string)(&c.Until), "until", string(c.Until), "`level` to reach: registered, initialized or ready")
	f.DurationVar(&c.Hold, "hold", c.Hold, "how `long` the Node must then stay; 0: not at all")
	f.DurationVar(&c.Timeout, "timeout", c.Timeout, "`limit` for everything; 0: none")
	f.DurationVar(&c.AttemptTimeout, "attempt-timeout", c.AttemptTimeout, "`limit` for one attempt")
	f.DurationVar(&c.BackoffInitial, "backoff-initial", c.BackoffInitial, "first `pause` between attempts")
	f.DurationVar(&c.BackoffMax, "backoff-max", c.BackoffMax, "longest `pause` between attempts")
	f.IntVar(&c.MaxDeletions, "max-deletions", c.MaxDeletions, "give up when the Node was deleted more `times` than this; 0: never")
	f.StringVar((*string)(&c.Reset), "reset", string(c.Reset), "`when` kubeadm reset may run: auto (on evidence), never, or always (start with one)")
	f.StringVar((*string)(&c.Restore), "restore", string(c.Restore), "whether a deleted Node is put back as it was, with its cordon, taints, labels and podCIDR: auto, or never (the kubelet registers a new one)")
	f.BoolVar(&c.BringBack, "bring-back", false, "bring back a Node that an earlier run of this boot saw deleted, and left, for it had the mark of its owner's will")
	f.BoolVar(&c.DryRun, "dry-run", false, "tell what would be done and why, and touch nothing")
	f.StringVar(&c.Kubeadm, "kubeadm", c.Kubeadm, "`path` or name of kubeadm")
	f.StringVar(&o.onSuccess, "on-success", "", "run `command` with sh -c after a success, for up to a minute, with the JSON report on its standard input")
	f.StringVar(&o.onFailure, "on-failure", "", "`command` for the same after a failure, a signal's too, but not if another nodejoin is at work (exit status 11) or the flags cannot be read")
	o.statusFileFlag(f)
}

func (o *options) statusFileFlag(f *pflag.FlagSet) {
	f.StringVar(&o.statusFile, "status-file", "/run/nodejoin/status.json", "`path` of the status file; empty: none")
}

// nodeFlags are what the Node is registered with.
func (o *options) nodeFlags(f *pflag.FlagSet) {
	c := &o.config
	f.StringVar((*string)(&c.NodeNameFrom), "node-name-from", "", "`source` of the Node's name without --node-name: hostname, fqdn, or ec2 (the private DNS name, or the instance ID where the instance uses resource names) (default hostname)")
	f.StringVar(&c.ProviderID, "provider-id", c.ProviderID, "`ID` by which the kubelet's cloud controller finds the machine: none, auto (on EC2 aws:///ZONE/INSTANCE), or the ID itself")
	f.StringArrayVar(&c.KubeletExtraArgs, "kubelet-extra-arg", nil, "flag of the kubelet, `KEY=VALUE` without dashes, as in cloud-provider=external (may be repeated)")
	f.StringSliceVar(&c.NodeLabels, "node-label", nil, "label of the Node, `KEY=VALUE` (may be repeated)")
	f.StringSliceVar(&c.Taints, "taint", nil, "taint of the Node, `KEY[=VALUE]:EFFECT` (may be repeated)")
}

// checkFlags: one question with one answer, so the timeout is short.
func (o *options) checkFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.config.All, "all", false, "look at all that a join needs, too, and tell of each thing how it is")
	f.StringVar(&o.config.NodeName, "node-name", "", "`name` of the Node (default: the hostname)")
	f.DurationVar(&o.config.Timeout, "timeout", 10*time.Second, "`limit` for the API server's answer; 0: none")
	o.statusFileFlag(f)
}

// ladderFlags are those of join's that say what is looked at.
func (o *options) ladderFlags(f *pflag.FlagSet) {
	of := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.kubeadmFlags(of)
	o.ownFlags(of)
	o.nodeFlags(of)
	for _, name := range []string{"token", "token-file", "token-command", "discovery-token-ca-cert-hash", "discovery-file", "config", "cri-socket", "node-name-from", "kubeadm"} {
		f.AddFlag(of.Lookup(name))
	}
}

func (o *options) outputFlags(f *pflag.FlagSet) {
	outputFlag(f, &o.output, "the report on standard output")
	f.StringVar(&o.logFormat, "log-format", "auto", "`format` of the log on standard error: auto (a live view on a terminal), console or json")
	f.StringVar(&o.logLevel, "log-level", "info", "`level` of the log: debug (with kubeadm's output), info, warn or error")
}

func outputFlag(f *pflag.FlagSet, into *string, what string) {
	f.StringVarP(into, "output", "o", "text", "`format` of "+what+": text or json")
}

// workersOnly are kubeadm's flags for a new control-plane node.
var workersOnly = []string{
	"control-plane", "experimental-control-plane", "certificate-key", "apiserver-advertise-address", "apiserver-bind-port",
}

// hiddenFlags are known so that a copied line is either understood or refused
// with a reason.
func (o *options) hiddenFlags(f *pflag.FlagSet) {
	for _, name := range workersOnly {
		if strings.HasSuffix(name, "control-plane") {
			f.Bool(name, false, "")
		} else {
			f.String(name, "", "")
		}
	}
	f.IntVarP(&o.verbosity, "v", "v", 0, "")
	f.VisitAll(func(hidden *pflag.Flag) { hidden.Hidden = true })
}

// refuse what nodejoin knows and does not do.
func (o *options) refuse(flags *pflag.FlagSet) error {
	for _, name := range workersOnly {
		if f := flags.Lookup(name); f.Changed && f.Value.String() != "false" {
			return &usageError{
				message: fmt.Sprintf("--%s: nodejoin joins workers only", name),
				hint:    "for a control-plane node use `kubeadm join` itself; for a worker leave the flag out",
			}
		}
	}
	return nil
}

// verbose honours kubeadm's -v: from 2 on it means more than an ordinary log.
func (o *options) verbose(flags *pflag.FlagSet) {
	if o.verbosity >= 2 && !flags.Changed("log-level") {
		o.logLevel = "debug"
	}
}

// choices are the flags with few words to choose from; the library sees to
// those of its own itself.
var choices = map[string][]string{
	"output":     {"text", "json"},
	"log-format": {"auto", "console", "json"},
	"log-level":  {"debug", "info", "warn", "error"},
	"until":      {string(join.Registered), string(join.Initialized), string(join.Ready)},
	"restore":    {string(join.RestoreAuto), string(join.RestoreNever)},
	"reset":      {string(join.ResetAuto), string(join.ResetNever), string(join.ResetAlways)},

	"node-name-from": {string(join.FromHostname), string(join.FromFQDN), string(join.FromEC2)},
	"provider-id":    {join.ProviderIDNone, join.ProviderIDAuto},
}

func checkChoices(flags *pflag.FlagSet) error {
	for _, name := range []string{"output", "log-format", "log-level"} {
		if f := flags.Lookup(name); f != nil && !slices.Contains(choices[name], f.Value.String()) {
			words := choices[name]
			last := len(words) - 1
			return &usageError{message: fmt.Sprintf("--%s: %q is not %s or %s", name, f.Value, strings.Join(words[:last], ", "), words[last])}
		}
	}
	return nil
}

// files are the flags whose value is the path of a file.
var files = []string{"config", "discovery-file", "token-file", "kubeadm", "status-file"}

// complete tells the shells what may follow a flag: one of few words, a path,
// or nothing that they could know.
func complete(command *cobra.Command) {
	command.Flags().VisitAll(func(f *pflag.Flag) {
		words, few := choices[f.Name]
		switch {
		case few:
			_ = command.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		case f.Name == "patches":
			_ = command.MarkFlagDirname(f.Name)
		case !slices.Contains(files, f.Name):
			_ = command.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
}

// tokens gives kubeadm's three token flags kubeadm's meaning: --token stands
// in for each of the other two that is not given. It also says by which flag
// the library's --token came.
func (o *options) tokens(given names) error {
	c := &o.config
	c.Token.Value = o.token
	if o.discoveryToken == "" {
		return nil
	}
	if c.DiscoveryFile != "" {
		return &usageError{
			message: "--discovery-token: cannot be used with --discovery-file, which proves the cluster by itself",
			hint:    "give the token for TLS bootstrap as --tls-bootstrap-token",
		}
	}
	c.Token.Value = o.discoveryToken
	if c.TLSBootstrapToken == "" && o.token != "" && o.token != o.discoveryToken {
		c.TLSBootstrapToken = o.token
		given["--tls-bootstrap-token"] = given.rename("--token")
	}
	given["--token"] = given.rename("--discovery-token")
	return nil
}
