package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
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

// ladderWait bounds all that is asked of others beside the one question of a check, and tokenWait the token's source, which must
// not use up the others' time.
const (
	ladderWait = 30 * time.Second
	tokenWait  = 8 * time.Second
)

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
	ctx, cancel := context.WithTimeout(ctx, ladderWait)
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
		reading, cancel := context.WithTimeout(ctx, tokenWait)
		c.tokens.token, c.noToken = c.w.Token(reading)
		cancel()
		bearer := ""
		if c.noToken == nil {
			bearer = c.bearer(c.tokens.token)
		}
		p := c.w.Probe(ctx, c.tokens.token, bearer)
		c.probe, ca, c.server = &p, p.CA, cmp.Or(p.Server, c.server)
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
	case p == nil && len(c.CACertHashes) > 0:
		return notSeen("no cluster was named that could show its CA")
	case len(c.CACertHashes) == 0 && c.DiscoveryFile != "" && len(p.CA) > 0:
		return well("the discovery file has the cluster's CA")
	case len(c.CACertHashes) == 0 && c.DiscoveryFile != "":
		return notSeen("the discovery file has shown no CA: %v", p.Err)
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
