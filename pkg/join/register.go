package join

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodejoin/nodejoin/internal/ec2"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// registration is what a kubelet is told of its own Node.
type registration struct {
	name       string
	providerID string // "": a cloud controller finds it out, by the name
}

func (p *plan) checkRegistration() error {
	switch p.NodeNameFrom {
	case "", FromHostname, FromFQDN, FromEC2:
	default:
		return fmt.Errorf("--node-name-from: %q is not hostname, fqdn or ec2", p.NodeNameFrom)
	}
	if p.NodeNameFrom != "" && p.NodeName != "" {
		return errors.New("--node-name-from: cannot be used with --node-name, which is the name itself")
	}
	if p.ProviderID == ProviderIDNone {
		p.ProviderID = ""
	}
	return nil
}

// inFile: what is written down already is not pieced together from two places.
func inFile(flag, field string) error {
	return fmt.Errorf("%s: cannot be used with --config, set %s there", flag, field)
}

// fixedProviderID is the one that is known beforehand.
func (p *plan) fixedProviderID() string {
	if p.ProviderID == ProviderIDAuto {
		return ""
	}
	return p.ProviderID
}

// hasProviderID tells whether the kubelet gets one, as far as nodejoin can see.
func (p *plan) hasProviderID(is registration) bool {
	return is.providerID != "" || p.file != nil && p.file.Options().ProviderID != ""
}

// naming is what our Node is to be called, and which instance this is.
type naming struct {
	is       registration
	instance *ec2.Instance // that we are, where EC2 was asked and answered
	since    time.Time     // since when a fully qualified name is looked for
}

// foundName is the outcome of one try; wait, or an end, comes first if it is set.
type foundName struct {
	naming
	wait, end *Error
	said      []string
	warnings  []string
}

// find finds out what the Node is to be called and which instance it is, once a
// join needs to know: a member keeps what it has, and needs no answer of EC2's.
func (n naming) find(ctx context.Context, p *plan, w world) foundName {
	f := foundName{naming: n}
	if f.since.IsZero() {
		f.since = time.Now()
	}
	f.is.providerID = p.fixedProviderID()
	if p.NodeNameFrom == FromEC2 || p.ProviderID == ProviderIDAuto {
		if f.findInstance(ctx, p, w); f.wait != nil || f.end != nil {
			return f
		}
	} else if w.OnEC2() { // nothing depends on it but a warning
		f.instance, _ = w.Instance(ctx)
	}
	source := "--node-name-from " + string(p.NodeNameFrom)
	switch {
	case p.NodeNameFrom == FromEC2:
		f.is.name = f.instance.NodeName()
	case p.NodeNameFrom == FromFQDN:
		if f.is.name = strings.ToLower(w.LookUpFQDN(ctx)); f.is.name == "" {
			f.miss(source+": this machine has no fully qualified name", "`hostname -f` shows it; set it in /etc/hosts or in the DNS, or use --node-name", w)
			return f
		}
	case p.NodeName == "":
		source = "hostname"
		var err error
		if f.is.name, err = w.HostName(); err != nil || f.is.name == "(none)" || f.is.name == "localhost" || strings.HasPrefix(f.is.name, "localhost.") {
			f.miss(fmt.Sprintf("this machine has no name of its own yet, only %q", f.is.name), "set one with `hostnamectl set-hostname NAME`, or use --node-name", w)
			return f
		}
	}
	name := f.is.name
	problems := validation.IsDNS1123Subdomain(name)
	if err := kubeadm.ValidateNodeName(name); err != nil {
		problems = append(problems, err.Error())
	}
	if len(problems) > 0 {
		f.end = &Error{Reason: HostUnfit, Message: fmt.Sprintf("%s: a Node cannot be called %q: %s", source, name, problems[0]), Hint: "use --node-name"}
		return f
	}
	if i := f.instance; p.ProviderID == ProviderIDAuto && i != nil {
		f.is.providerID = i.ProviderID()
		f.said = append(f.said, fmt.Sprintf("this is EC2 instance %s, known there as %q: the Node will be %q with provider ID %s", i.ID, i.PrivateDNSName, name, f.is.providerID))
	} else if p.NodeNameFrom != "" {
		f.said = append(f.said, fmt.Sprintf("the Node will be %q (--node-name-from %s)", name, p.NodeNameFrom))
	}
	if i := f.instance; i != nil && !p.hasProviderID(f.is) && !i.Knows(name) {
		f.warnings = append(f.warnings, fmt.Sprintf("the Node will be called %q, but EC2 knows this instance as %q (ID %s): an Amazon cloud controller does not find it, and deletes it; "+
			"--node-name-from ec2 calls it as EC2 does, and with --provider-id auto it is found by the ID", name, i.PrivateDNSName, i.ID))
	}
	return f
}

// findInstance asks the metadata service. On a machine that is not EC2's it
// is known within a second that there is none; on an instance that boots just
// now it may be late, and is waited for as the API server is: a service that
// ended here would not be started again. A nil instance goes without.
func (f *foundName) findInstance(ctx context.Context, p *plan, w world) {
	var err error
	if f.instance, err = w.Instance(ctx); err == nil {
		return
	}
	silent := Error{Reason: JoinFailed, Message: "this is an EC2 instance, but its metadata service does not answer", Err: err,
		Hint: "is it on (`aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled`)? Without it give --node-name NAME and --provider-id aws:///ZONE/INSTANCE"}
	switch expected := w.OnEC2(); {
	case expected && !errors.Is(err, ec2.ErrOff):
		f.wait = &silent
	case expected:
		silent.Reason = HostUnfit
		f.end = &silent
	case p.NodeNameFrom == FromEC2:
		f.end = &Error{Reason: HostUnfit, Message: "--node-name-from ec2: this machine is not an EC2 instance", Err: err,
			Hint: "use --node-name, or --node-name-from hostname; nothing was touched"}
	default:
		f.warnings = append(f.warnings, fmt.Sprintf("--provider-id auto: this machine is not an EC2 instance, so its Node gets no provider ID: %v", err))
	}
}

// miss: name servers, leases and cloud-init's own steps come late, too.
func (f *foundName) miss(message, hint string, w world) {
	missing := &Error{Reason: HostUnfit, Message: message, Hint: hint}
	works := w.CloudInitWorks()
	if time.Since(f.since) >= namePatience && !works {
		f.end = missing
		return
	}
	if works {
		missing.Message += ", and cloud-init, which is at work, may yet give it one"
	}
	missing.Reason = JoinFailed
	f.wait = missing
}

// named takes in what was found out about our name.
func (r *run) named(asked question, f foundName) {
	r.naming = f.naming
	value := judge.Named{Name: r.facts.Name.Value.Name}
	switch {
	case f.wait != nil:
		value.Wait = endOf(f.wait)
		value.Wait.Kind = judge.Wait
	case f.end != nil:
		value.End = endOf(f.end)
	default:
		value.Name = f.is.name
		r.w.Register(f.is)
		r.tell.report.Node.Name = r.redact(f.is.name)
	}
	r.facts.Name = judge.Fact[judge.Named]{Value: value, Acts: asked.acts, Asked: asked.at, At: time.Now()}
	for _, words := range f.said {
		r.tell.say(Info, words, "")
	}
	for _, words := range f.warnings {
		r.tell.warn(words)
	}
}

// knownInstance is what EC2 knows of this machine, if it is EC2's and answers
// now: for a hint.
func (r *run) knownInstance() *ec2.Instance {
	if r.naming.instance == nil && r.w.OnEC2() {
		r.naming.instance, _ = r.w.Instance(context.Background())
	}
	return r.naming.instance
}

// deletionHint names who usually deletes Nodes, and what to compare.
func (r *run) deletionHint() string {
	hostname, _ := os.Hostname()
	name := r.credentialsNode()
	const who = "a cloud controller deletes Nodes that its cloud does not list (`kubectl get events -A | grep DeletingNode`): "
	if i := r.knownInstance(); i != nil {
		why := "so EC2's API does not list the instance yet"
		switch {
		case r.hasProviderID(r.naming.is): // by the ID it is looked up without regard to tags
		case i.Knows(name):
			why += ", or it lacks the tag kubernetes.io/cluster/ID"
		default:
			why = "by which it is not found, unless it has a provider ID: join with --node-name-from ec2 or --provider-id auto (and --reset=always, since this machine has joined)"
		}
		return fmt.Sprintf(who+"EC2 knows this instance as %q (ID %s), and our Node is named %q (hostname %q, FQDN %q), %s",
			i.PrivateDNSName, i.ID, name, hostname, r.w.FQDN(), why)
	}
	return fmt.Sprintf(who+"compare our Node name %q, hostname %q and FQDN %q with the name the cloud knows "+
		"(on EC2 the private DNS name of an instance that has the tag kubernetes.io/cluster/ID)", name, hostname, r.w.FQDN())
}
