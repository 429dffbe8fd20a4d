package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	p := &plan{Config: c}
	if err := p.checkName(); err != nil {
		return ended(c, usage(err)), usage(err)
	}
	m, err := identify(p)
	if err != nil {
		return ended(c, err), err
	}
	r := newRun(p, m, m.identity.BootID, m.name, m.redact)
	err = r.check(ctx)
	r.seeKubelet(ctx)
	return r.finish(err), err
}

// unitLook bounds a question to the init system whose answer only explains.
const unitLook = 3 * time.Second

func (r *run) seeKubelet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, unitLook)
	defer cancel()
	unit, err := r.w.Kubelet(ctx)
	if err != nil {
		r.unseen("the kubelet's service", err)
		return
	}
	r.report.Check.Kubelet = unit.State
	switch {
	case unit.Missing:
		r.report.Check.Kubelet = "no such service"
	case unit.Masked:
		r.report.Check.Kubelet += ", masked"
	case unit.Disabled:
		r.report.Check.Kubelet += ", disabled"
	}
}

func (r *run) unseen(what string, err error) {
	r.report.Check.Unseen = append(r.report.Check.Unseen, r.redact(fmt.Sprintf("%s: %v", what, err)))
}

func (r *run) check(ctx context.Context) error {
	r.report.Check = &Checked{Unseen: []string{}}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	creds, err := r.w.Credentials()
	if err != nil {
		return r.noCredentials(err)
	}
	r.report.Check.CredentialsExpire = &creds.NotAfter
	if err := r.sameCluster(creds.CA); err != nil {
		reason := NotMember
		if e := (*Error)(nil); errors.As(err, &e) && e.Reason != Refused {
			reason = Unknown
		}
		return &Error{Reason: reason, Message: err.Error()}
	}
	sighting := r.w.Ask(ctx, creds)
	node, name := sighting.Node, creds.NodeName
	r.report.Endpoint = creds.Server
	r.report.Node.Name = name
	switch {
	case sighting.Answer == cluster.Absent:
		return &Error{Reason: NotMember, Message: fmt.Sprintf("the API server has no Node %q", name),
			Hint: "`nodejoin join` brings it back, or `systemctl restart kubelet`: a kubelet registers once in its life"}
	case sighting.Answer != cluster.Present:
		return &Error{Reason: Unknown, Message: fmt.Sprintf("%s gives no useful answer about Node %q", creds.Server, name), Err: sighting.Err,
			Hint: fmt.Sprintf("is it up? The kubelet's certificate is valid until %s", creds.NotAfter.UTC().Format("2006-01-02 15:04 MST"))}
	case r.named && name != r.name:
		return &Error{Reason: NotMember, Message: fmt.Sprintf("this machine has credentials of Node %q, not %q", name, r.name)}
	case node.BootID != r.bootID:
		return &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is another machine's, or of this machine's last boot (bootID %q, here %q)", name, node.BootID, r.bootID),
			Hint: "just after a reboot the kubelet needs some seconds to report"}
	case node.Ready == "Unknown":
		return &Error{Reason: NotMember, Message: fmt.Sprintf("Node %q is this machine's, but its kubelet does not report: %s", name, node.ReadyMessage),
			Hint: "see `systemctl status kubelet`; `nodejoin join` restarts it"}
	}
	r.report.Node.UID = node.UID
	created := node.CreatedAt.UTC()
	r.report.Check.Level, r.report.Check.Since = level(node), &created
	r.held = fmt.Sprintf("member: Node %q is this machine's, Ready is %s", name, node.Ready)
	if node.Uninitialized {
		r.warn("no cloud controller has accepted this Node yet")
	}
	return nil
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
	case !disk.KubeletConf:
		return &Error{Reason: NotMember, Message: "this machine has not joined: there is no " + kubeletConf, Hint: "run `nodejoin join`"}
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Reason: NotMember, Message: "the kubelet has no certificate yet", Err: err, Hint: "`kubectl get csr` shows whether its request is pending"}
	}
	return &Error{Reason: Unknown, Message: "the kubelet's credentials do not load, though its process may still have good ones", Err: err}
}
