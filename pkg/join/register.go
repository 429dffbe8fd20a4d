package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/ec2"
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
func (r *run) hasProviderID() bool {
	return r.providerID != "" || r.file != nil && r.file.Options().ProviderID != ""
}

// register finds out what the Node is to be called and which instance it is,
// once a join needs to know: a member keeps what it has, and needs no answer of
// EC2's.
func (r *run) register(ctx context.Context) error {
	if r.registered {
		return nil
	}
	r.providerID = r.fixedProviderID()
	if r.NodeNameFrom == FromEC2 || r.ProviderID == ProviderIDAuto {
		instance, err := r.awaitInstance(ctx)
		if err != nil {
			return err
		}
		r.instance = instance
	} else if r.w.OnEC2() { // nothing depends on it but a warning
		r.instance, _ = r.w.Instance(ctx)
	}
	name := r.name
	switch r.NodeNameFrom {
	case FromEC2:
		name = r.instance.NodeName()
	case FromFQDN:
		var err error
		if name, err = r.awaitFQDN(ctx); err != nil {
			return err
		}
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return &Error{Reason: HostUnfit, Message: fmt.Sprintf("--node-name-from %s: a Node cannot be called %q: %s", r.NodeNameFrom, name, problems[0]), Hint: "use --node-name"}
	}
	if r.ProviderID == ProviderIDAuto && r.instance != nil {
		r.providerID = r.instance.ProviderID()
		r.say(Info, fmt.Sprintf("this is EC2 instance %s, known there as %q: the Node will be %q with provider ID %s", r.instance.ID, r.instance.PrivateDNSName, name, r.providerID), "")
	} else if r.NodeNameFrom != "" {
		r.say(Info, fmt.Sprintf("the Node will be %q (--node-name-from %s)", name, r.NodeNameFrom), "")
	}
	r.name, r.registered = name, true
	r.w.Register(registration{name, r.providerID})
	r.report.Node.Name = r.redact(name)
	if i := r.instance; i != nil && !r.hasProviderID() && !i.Knows(name) {
		r.warn(fmt.Sprintf("the Node will be called %q, but EC2 knows this instance as %q (ID %s): an Amazon cloud controller does not find it, and deletes it; "+
			"--node-name-from ec2 calls it as EC2 does, and with --provider-id auto it is found by the ID", name, i.PrivateDNSName, i.ID))
	}
	return nil
}

// warnKept: a kubelet that finds a Node of its name takes it over as it is
// (pkg/kubelet/kubelet_node_status.go, tryRegisterWithAPIServer).
func (r *run) warnKept(s cluster.Sighting) {
	if s.Answer != cluster.Present || r.providerID == "" && len(r.NodeLabels)+len(r.Taints) == 0 {
		return
	}
	r.warn(fmt.Sprintf("a Node %q exists and will be taken over with the provider ID, labels and taints that it has: --provider-id, --node-label and --taint "+
		"act on a Node that the kubelet makes (`kubectl delete node %s` and `systemctl restart kubelet` bring a new one)", s.Node.Name, s.Node.Name))
}

// awaitInstance asks the metadata service. On a machine that is not EC2's it
// is known within a second that there is none; on an instance that boots just
// now it may be late, and is waited for as the API server is: a service that
// ended here would not be started again. A nil instance goes without.
func (r *run) awaitInstance(ctx context.Context) (*ec2.Instance, error) {
	for {
		instance, err := r.w.Instance(ctx)
		if err == nil {
			return instance, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		silent := Error{Reason: JoinFailed, Message: "this is an EC2 instance, but its metadata service does not answer", Err: err,
			Hint: "is it on (`aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled`)? Without it give --node-name NAME and --provider-id aws:///ZONE/INSTANCE"}
		switch expected := r.w.OnEC2(); {
		case expected && !errors.Is(err, ec2.ErrOff):
			r.wait(silent)
			if err := r.sleep(ctx, probeSilent); err != nil {
				return nil, err
			}
		case expected:
			silent.Reason = HostUnfit
			return nil, &silent
		case r.NodeNameFrom == FromEC2:
			return nil, &Error{Reason: HostUnfit, Message: "--node-name-from ec2: this machine is not an EC2 instance", Err: err,
				Hint: "use --node-name, or --node-name-from hostname; nothing was touched"}
		default:
			r.warn(fmt.Sprintf("--provider-id auto: this machine is not an EC2 instance, so its Node gets no provider ID: %v", err))
			return nil, nil
		}
	}
}

// awaitFQDN: name servers come up late, too.
func (r *run) awaitFQDN(ctx context.Context) (string, error) {
	began := time.Now()
	for {
		if name := r.w.LookUpFQDN(ctx); name != "" {
			return strings.ToLower(name), nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		missing := Error{Reason: HostUnfit, Message: "--node-name-from fqdn: this machine has no fully qualified name",
			Hint: "`hostname -f` shows it; set it in /etc/hosts or in the DNS, or use --node-name"}
		if time.Since(began) >= namePatience {
			return "", &missing
		}
		r.wait(missing)
		if err := r.sleep(ctx, probeSilent); err != nil {
			return "", err
		}
	}
}

// knownInstance is what EC2 knows of this machine, if it is EC2's and answers
// now: for a hint.
func (r *run) knownInstance() *ec2.Instance {
	if r.instance == nil && r.w.OnEC2() {
		r.instance, _ = r.w.Instance(context.Background())
	}
	return r.instance
}
