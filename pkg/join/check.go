package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// Check asks whether this machine is a member just now, with the kubelet's own
// credentials and one request. Nothing is changed, and no lock is taken.
//
// A nil error means a member. An *[Error] with reason [NotMember] means that it
// is proven not to be one, [Unknown] that there is no evidence either way. Of
// the configuration only NodeName is needed; with Endpoint or a pin, credentials
// of another cluster do not count.
func Check(ctx context.Context, c Config) (Report, error) {
	p, err := c.checked()
	if err != nil {
		return ended(c, err), err
	}
	m, err := identify(p)
	if err != nil {
		return ended(c, err), err
	}
	if p.Endpoint != "" || p.DiscoveryFile != "" {
		if m.cluster, err = p.discoverer(m.name); err != nil {
			return ended(c, err), err
		}
		defer m.cluster.Close()
	}
	r := newRun(p, m, m.identity, m.name, m.wording)
	held, err := r.check(ctx)
	if c.All {
		r.tell.report.Check.Rungs = r.climb(ctx, held, err)
	}
	if err == nil {
		return r.end(AlreadyJoined, held), nil
	}
	return r.finish(err), err
}

// checked is the plan of a check: without All, or a cluster to look at, there is
// only a name that could be wrong.
func (c Config) checked() (*plan, error) {
	if !c.All || c.Endpoint == "" && c.DiscoveryFile == "" && c.ConfigFile == "" {
		p := &plan{Config: c}
		if err := p.checkName(); err != nil {
			return nil, usage(err)
		}
		return p, nil
	}
	if len(c.CACertHashes) == 0 && c.Endpoint != "" {
		c.UnsafeSkipCAVerification = true // who only looks is told that there is no pin
	}
	return c.plan()
}

func (p *plan) discoverer(name string) (*cluster.Discoverer, error) {
	return cluster.NewDiscoverer(cluster.Source{Endpoint: p.Endpoint, Pins: p.CACertHashes, File: p.DiscoveryFile, NodeName: name})
}

// unitLook bounds a question to the init system whose answer only explains.
const unitLook = 3 * time.Second

// seeKubelet tells whether the kubelet runs, as far as that can be seen.
func (r *run) seeKubelet(ctx context.Context) (runs, known bool) {
	ctx, cancel := context.WithTimeout(ctx, unitLook)
	defer cancel()
	unit, err := r.w.Kubelet(ctx)
	if err != nil {
		r.unseen("the kubelet's service", err)
	}
	is := unit.State
	switch {
	case unit.Missing:
		is = "no such service"
	case unit.Masked:
		is += ", masked"
	case unit.Disabled:
		is += ", disabled"
	}
	processes, processErr := r.w.KubeletProcesses()
	if processErr != nil {
		r.unseen("the kubelet's process", processErr)
	}
	runs = unit.Running || len(processes) > 0
	for _, p := range processes {
		if p.Suspended != "" && (!unit.Running || p.ComesFrom(unit.MainPID)) {
			runs, is = false, is+", "+p.Suspended
		}
	}
	r.tell.report.Check.Kubelet = is
	return runs, err == nil && processErr == nil || unit.Running || len(processes) > 0
}

func (r *run) unseen(what string, err error) {
	r.tell.report.Check.Unseen = append(r.tell.report.Check.Unseen, r.redact(fmt.Sprintf("%s: %v", what, err)))
}

func (r *run) check(ctx context.Context) (held string, err error) {
	r.tell.report.Check = &Checked{Unseen: []string{}}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	left := r.checkLeft()
	r.tell.report.Check.Left = left
	runs, known := r.seeKubelet(ctx)
	creds, err := r.w.Credentials()
	if err != nil {
		return "", r.noCredentials(err)
	}
	if !creds.NotAfter.IsZero() {
		r.tell.report.Check.CredentialsExpire = &creds.NotAfter
	}
	switch what, err := r.otherCA(creds.CA); {
	case err != nil:
		return "", &Error{Reason: Unknown, Message: err.Error()}
	case what != "":
		return "", &Error{Reason: NotMember, Message: "this machine has kubelet credentials of another cluster: " + what}
	}
	sighting := r.w.Ask(ctx, creds)
	node, name := sighting.Node, creds.NodeName
	r.tell.report.Endpoint = creds.Server
	r.tell.report.Node.Name = name
	switch wanted := r.facts.Name.Value.Name; {
	case sighting.Answer == cluster.Absent && left != nil && left.Name == name:
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("the API server has no Node %q: it was missed at %s, and had the mark of its owner's will: %s", name, left.At.Format(time.RFC3339), left.Mark),
			Hint: "if it shall come back, `nodejoin join --bring-back` brings it"}
	case sighting.Answer == cluster.Absent:
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("the API server has no Node %q", name),
			Hint: "`nodejoin join` brings it back, or `systemctl restart kubelet`: a kubelet registers once in its life"}
	case sighting.Answer != cluster.Present:
		err = &Error{Reason: Unknown, Message: fmt.Sprintf("%s gives no useful answer about Node %q", creds.Server, name), Err: sighting.Err,
			Hint: fmt.Sprintf("is it up? The kubelet's certificate is valid until %s", creds.NotAfter.UTC().Format("2006-01-02 15:04 MST"))}
	case r.policy.Named && name != wanted:
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("this machine has credentials of Node %q, not %q", name, wanted)}
	case !r.policy.Ours(sightingOf(sighting).Node):
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is another machine's, or of this machine's last boot (bootID %q, here %q; machineID %q, here %q)",
			name, node.BootID, r.policy.BootID, node.MachineID, r.policy.MachineID),
			Hint: "just after a reboot the kubelet needs some seconds to report"}
	case !node.DeletedAt.IsZero():
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is being deleted since %s, held up by %s", name, node.DeletedAt.UTC().Format(time.RFC3339), strings.Join(node.Finalizers, ", ")),
			Hint: "`nodejoin join` waits until it is gone and brings a new one"}
	case node.Ready == "Unknown":
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is this machine's, but its kubelet does not report: %s", name, node.ReadyMessage),
			Hint: "see `systemctl status kubelet`; `nodejoin join` restarts it"}
	case !known:
		err = &Error{Reason: Unknown, Message: fmt.Sprintf("Node %q is this machine's, but whether its kubelet runs cannot be seen", name)}
	case !runs:
		err = &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is this machine's, but its kubelet does not run (%s)", name, r.tell.report.Check.Kubelet),
			Hint: "`nodejoin join` starts it, or `systemctl restart kubelet`"}
	}
	if err != nil {
		return "", err
	}
	r.tell.report.Node.UID = node.UID
	created := node.CreatedAt.UTC()
	r.tell.report.Check.Level, r.tell.report.Check.Since = level(node), &created
	if node.Uninitialized {
		r.tell.warn("no cloud controller has accepted this Node yet")
	}
	return fmt.Sprintf("member: Node %q is this machine's, Ready is %s", name, node.Ready), nil
}

// level is the highest that the Node has reached.
func level(node cluster.Node) Level {
	switch {
	case node.Uninitialized:
		return Registered
	case node.Ready == "True":
		return Ready
	}
	return Initialized
}

// noCredentials: without kubelet.conf no kubelet of kubeadm's can be a member;
// with one that does not load, a running kubelet may well be.
func (r *run) noCredentials(err error) error {
	disk, diskErr := r.w.Inspect()
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(diskErr, fs.ErrPermission):
		r.unseen("the API server, for it is asked with the kubelet's credentials", errors.Join(err, diskErr))
		return &Error{Reason: Unknown, Message: "the kubelet's credentials cannot be read", Err: err, Hint: "run it with sudo"}
	case diskErr != nil:
		return &Error{Reason: Unknown, Message: "what is on this machine cannot be read", Err: diskErr}
	case !disk.KubeletConf && errors.Is(err, fs.ErrNotExist):
		return &Error{Reason: NotMember, Message: "this machine has not joined: there is no " + kubeletConf, Hint: "run `nodejoin join`"}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Reason: NotMember, Message: "the kubelet has no certificate yet", Err: err, Hint: "`kubectl get csr` shows whether its request is pending"}
	}
	return &Error{Reason: Unknown, Message: "the kubelet's credentials do not load, though its process may still have good ones", Err: err}
}
