package join

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// Rung is one of the things that a machine needs to become a member, and to stay
// one.
type Rung struct {
	Name    string    `json:"name"`
	State   RungState `json:"state"`
	Message string    `json:"message"` // what is seen, or why it is not well, or not seen
	Hint    string    `json:"hint"`    // the remedy
}

// RungState is how a rung is.
type RungState string

// The states.
const (
	Well   RungState = "ok"
	Wrong  RungState = "wrong"
	Unseen RungState = "unseen"
)

func well(format string, args ...any) Rung { return Rung{"", Well, fmt.Sprintf(format, args...), ""} }

func notSeen(format string, args ...any) Rung {
	return Rung{"", Unseen, fmt.Sprintf(format, args...), ""}
}

func wrong(message, hint string) Rung { return Rung{"", Wrong, message, hint} }

// inTheWay is a rung that the judge, or a way to find something out, has stopped at.
func inTheWay(message, hint string, err error) Rung {
	return wrong(judge.Sentence(message, err), hint)
}

// ladderWait bounds what is asked of others, beside the one question of a check.
const ladderWait = 15 * time.Second

// climber looks at one rung after the other, and remembers what later ones need.
type climber struct {
	*run
	member error // what the check has found; nil: a member
	held   string

	creds    *cluster.Credentials // nil: none that load
	credsErr error
	named    foundName
	noToken  error
	probe    *cluster.Probe // nil: no cluster was named
	door     cluster.Doorstep
	server   string // "": none is known
}

// rungs, in the order in which a join meets them.
var rungs = []struct {
	name string
	look func(*climber, context.Context) Rung
}{
	{"name", (*climber).nodeName},
	{"look-up", (*climber).lookUp},
	{"dial", (*climber).dial},
	{"TLS", (*climber).tls},
	{"pin", (*climber).pin},
	{"token", (*climber).tokenTaken},
	{"clock", (*climber).clock},
	{"runtime", (*climber).runtime},
	{"kubelet", (*climber).kubeletRuns},
	{"certificate", (*climber).certificate},
	{"Node", (*climber).node},
	{"mounts", (*climber).mounts},
	{"ports", (*climber).ports},
	{"kubeadm", (*climber).programs},
}

// climb looks at every rung. Nothing is changed, and each is looked at by itself.
func (r *run) climb(ctx context.Context, held string, member error) (all []Rung) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ladderWait)
	defer cancel()
	c := &climber{run: r, held: held, member: member}
	c.ask(ctx)
	for _, rung := range rungs {
		is := rung.look(c, ctx)
		is.Name, is.Message, is.Hint = rung.name, r.redact(is.Message), r.redact(is.Hint)
		all = append(all, is)
	}
	return all
}

// ask finds out what several rungs rest on.
func (c *climber) ask(ctx context.Context) {
	c.named = naming{}.find(ctx, c.plan, c.w)
	if c.named.is.name == "" {
		c.named.is.name = c.facts.Name.Value.Name
	}
	c.creds, c.credsErr = c.w.Credentials()
	var ca []byte
	if c.creds != nil {
		c.server, ca = c.creds.Server, c.creds.CA
	}
	if c.Endpoint != "" || c.DiscoveryFile != "" {
		c.w.Register(c.named.is) // whose Node is asked for
		c.tokens.token, c.noToken = c.w.Token(ctx)
		p := c.w.Probe(ctx, c.tokens.token, c.bearer(c.tokens.token))
		c.probe, ca, c.server = &p, p.CA, p.Server
		if c.Endpoint != "" {
			c.server = "https://" + c.Endpoint
		}
		c.facts.Cluster = judge.Fact[judge.Cluster]{Value: c.clusterOf(p), Asked: time.Now(), At: time.Now()}
		c.memory = c.memory.Take(c.policy, &c.facts, judge.Token)
	}
	if c.server != "" {
		c.door = c.w.Doorstep(ctx, c.server, ca)
	}
}

// standing is what the judge says of one topic alone.
func (c *climber) standing(of judge.Topic) (Rung, bool) {
	a, stands := judge.Standing(c.policy, c.memory, &c.facts, time.Now(), of)
	return inTheWay(a.Message, a.Hint, a.Err), stands
}

func (c *climber) nodeName(context.Context) Rung {
	for _, e := range []*Error{c.named.wait, c.named.end} {
		if e != nil {
			return inTheWay(e.Message, e.Hint, e.Err)
		}
	}
	name := c.named.is.name
	if c.creds != nil && c.creds.NodeName != name {
		return well("%s; the kubelet's credentials are those of Node %q", name, c.creds.NodeName)
	}
	return well("%s", name)
}

// noServer: there is nobody whom all that concerns the server could be asked of.
var noServer = notSeen("no ENDPOINT, --discovery-file or --config was given, and no kubelet.conf names a server")

func (c *climber) lookUp(context.Context) Rung {
	d := c.door
	switch {
	case c.server == "":
		return noServer
	case d.Proxy != "":
		return notSeen("the way to %s leads through the proxy %s", d.Host, d.Proxy)
	case d.LookUp != nil:
		return wrong(d.LookUp.Error(), "is the name right, and does this machine's name server answer (/etc/resolv.conf)?")
	}
	return well("%s is %s", d.Host, strings.Join(d.Addresses, ", "))
}

// atDoor passes over what cannot be seen where nobody stands before the server.
func (c *climber) atDoor() (Rung, bool) {
	switch d := c.door; {
	case c.server == "":
		return noServer, true
	case d.Proxy != "":
		return notSeen("a proxy stands between"), true
	case d.LookUp != nil:
		return notSeen("the server's address is not known"), true
	}
	return Rung{}, false
}

func (c *climber) dial(context.Context) Rung {
	if r, blind := c.atDoor(); blind {
		return r
	}
	d := c.door
	var closed []string
	for _, address := range slices.Sorted(maps.Keys(d.Closed)) {
		closed = append(closed, d.Closed[address].Error())
	}
	switch words := strings.Join(closed, "; "); {
	case len(closed) == len(d.Addresses):
		return wrong(words, "is it up, is "+d.Port+" its port, and does a firewall or security group let this machine through?")
	case len(closed) > 0:
		return well("port %s is open, but not at every address: %s", d.Port, words)
	}
	return well("port %s is open", d.Port)
}

func (c *climber) tls(context.Context) Rung {
	if r, blind := c.atDoor(); blind {
		return r
	}
	d := c.door
	switch {
	case d.Handshake != nil:
		return wrong(d.Handshake.Error(), c.whySilent(d.Handshake))
	case d.Certificate == nil:
		return notSeen("nobody opens")
	case d.Stranger != nil:
		return wrong(d.Stranger.Error(), c.whySilent(d.Stranger))
	}
	return well("the certificate names %s, and is valid until %s", d.Host, d.Certificate.NotAfter.UTC().Format(time.RFC3339))
}

func (c *climber) pin(context.Context) Rung {
	switch p := c.probe; {
	case len(c.CACertHashes) == 0 && c.DiscoveryFile != "":
		return well("the discovery file has the cluster's CA")
	case len(c.CACertHashes) == 0:
		return notSeen("no --discovery-token-ca-cert-hash was given")
	case p.Verdict == cluster.WrongCA:
		r, _ := c.standing(judge.Token)
		return r
	case len(p.CA) == 0:
		return notSeen("the cluster has not shown its CA")
	case p.Server != c.server:
		return well("the cluster's CA is the pinned one; cluster-info names %s, and not %s", p.Server, c.server)
	}
	return well("the cluster's CA is the pinned one")
}

func (c *climber) tokenTaken(context.Context) Rung {
	var none *Error
	switch {
	case c.probe == nil:
		return notSeen("no cluster was named that it could be shown to")
	case errors.As(c.noToken, &none) && none == errNoToken:
		return notSeen("none was given")
	case c.noToken != nil:
		return wrong(c.noToken.Error(), c.tokenHint(c.noToken))
	case c.probe.Verdict == cluster.WrongCA:
		return notSeen("it is not shown to another cluster")
	case c.probe.Verdict == cluster.Unreachable:
		return notSeen("the API server has not answered: %v", c.probe.Err)
	}
	if r, stands := c.standing(judge.Token); stands {
		r.Message = strings.Replace(r.Message, "; looking again", "", 1)
		return r
	}
	return well("the API server at %s takes it", c.probe.Server)
}

func (c *climber) clock(context.Context) Rung {
	if r, blind := c.atDoor(); blind {
		return r
	}
	d := c.door
	switch {
	case d.Certificate == nil:
		return notSeen("nobody opens")
	case d.Clock != nil:
		return notSeen("the API server does not tell the time: %v", d.Clock)
	case d.Ahead.Abs() >= clockPatience:
		return wrong(clockWords(d.Ahead))
	}
	return well("within %s of the API server's", max(time.Second, d.Ahead.Abs().Round(time.Second)))
}

func (c *climber) runtime(ctx context.Context) Rung {
	runtime, err := c.w.Runtime(ctx)
	if err != nil {
		return wrong(err.Error(), kubeadm.Version{}.NoRuntime(err).Hint())
	}
	switch configured := runtime.Configured; {
	case runtime.Driver != "":
		return well("serves kubelets, and tells them its cgroup driver: %s", runtime.Driver)
	case configured == "":
		return well("serves kubelets, and does not tell its cgroup driver, which the kubelet's configuration is to name")
	default:
		r := notSeen("serves kubelets; whether its cgroup driver is %s, as the kubelet's configuration has it, it does not tell", configured)
		r.Hint = "where /etc/containerd/config.toml has another SystemdCgroup, pods end soon after their start"
		return r
	}
}

func (c *climber) kubeletRuns(ctx context.Context) Rung {
	k, disabled, err := c.kubelet(ctx, true)
	if err != nil {
		return notSeen("%v", err)
	}
	c.facts.Kubelet = judge.Fact[judge.Kubelet]{Value: k, Asked: time.Now(), At: time.Now()}
	is := k.State
	if k.Arguments != "" {
		is += ", " + k.Arguments
	}
	switch r, stands := c.standing(judge.Unit); {
	case stands:
		return r
	case k.Fatal != "" && !k.Running && !k.Passes:
		a := judge.KubeletRefuses(k.Fatal, k.Remedy, nil)
		return wrong(a.Message, a.Hint)
	case c.creds == nil && !k.Running:
		return well("%s: it is to be started by kubeadm join", is)
	case k.Suspended:
		return wrong("it does not run: "+is, "")
	case k.Fatal != "" && !k.Running:
		return wrong(fmt.Sprintf("it does not run (%s): %s", is, k.Fatal), k.Remedy)
	case !k.Running:
		return wrong(fmt.Sprintf("it does not run (%s)", is), "`nodejoin join` starts it, or `systemctl restart kubelet`; its log says why it ended: `journalctl -u kubelet`")
	case k.Unregistered != "":
		return wrong("it runs, and cannot register its Node: "+k.Unregistered, "whatever refuses it is in the cluster")
	case disabled:
		return wrong(is+", and does not start at boot", "`systemctl enable kubelet`")
	}
	return well("%s", is)
}

func (c *climber) certificate(context.Context) Rung {
	if c.creds == nil {
		var e *Error
		if errors.As(c.noCredentials(c.credsErr), &e); e.Reason == Unknown {
			r := notSeen("%v", e)
			r.Hint = e.Hint
			return r
		}
		return inTheWay(e.Message, e.Hint, nil)
	}
	until := c.creds.NotAfter
	switch now := time.Now().Add(c.door.Ahead); {
	case until.IsZero():
		return well("the kubelet shows a token of its own in a certificate's place")
	case now.After(until):
		return wrong(fmt.Sprintf("the kubelet's has expired at %s", until.UTC().Format(time.RFC3339)), "`nodejoin join` with a token has the kubelet get another, in place")
	}
	return well("the kubelet's, of Node %q, is valid until %s", c.creds.NodeName, until.UTC().Format(time.RFC3339))
}

func (c *climber) node(context.Context) Rung {
	var e *Error
	switch {
	case c.member == nil:
		return well("%s", c.held)
	case c.creds != nil && errors.As(c.member, &e) && e.Reason == NotMember:
		return inTheWay(e.Message, e.Hint, e.Err)
	case c.creds != nil:
		return notSeen("%v", c.member)
	case c.probe == nil || c.probe.Node.Answer < cluster.Absent:
		return notSeen("there is nobody whom the API server would tell: no kubelet's credentials, and no token that it takes")
	case c.probe.Node.Answer == cluster.Absent:
		return well("there is none of this name yet")
	}
	return wrong(fmt.Sprintf("there is a Node %q already (Ready: %s)", c.probe.Node.Node.Name, c.probe.Node.Node.Ready), "`nodejoin join` says whose it is, and waits for one that is dead")
}

func (c *climber) mounts(context.Context) Rung {
	here, err := c.company()
	c.facts.Machine = judge.Fact[judge.Machine]{Value: here, Err: err, Asked: time.Now(), At: time.Now()}
	switch r, stands := c.standing(judge.Company); {
	case err != nil:
		return notSeen("%v", err)
	case stands:
		return r
	}
	return well("all that /etc/fstab and mount units want below the kubelet's files are there")
}

// kubeletPort is where API servers ask a kubelet for logs, and kubeadm sees whether
// one runs.
const kubeletPort = 10250

func (c *climber) ports(context.Context) Rung {
	switch taken, err := c.w.PortTaken(kubeletPort); {
	case err != nil:
		return notSeen("%v", err)
	case taken && !c.facts.Kubelet.Value.Running:
		return wrong(fmt.Sprintf("%d is taken, and no kubelet is seen to run", kubeletPort), fmt.Sprintf("`ss -ltnp sport = :%d` names who has it", kubeletPort))
	case taken:
		return well("%d is the kubelet's", kubeletPort)
	}
	return well("%d is free", kubeletPort)
}

func (c *climber) programs(ctx context.Context) Rung {
	warning, err := c.w.KubeadmFit(ctx)
	var e *Error
	switch {
	case errors.As(err, &e):
		return inTheWay(e.Message, e.Hint, e.Err)
	case err != nil:
		return notSeen("%v", err)
	case warning != "":
		return wrong(warning, "see whether there is a newer nodejoin")
	}
	return well("%s, of the %s that nodejoin knows, and a kubelet", c.w.KubeadmVersion(), kubeadm.Supported())
}
