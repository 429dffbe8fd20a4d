package join

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// lookWithToken reads the token, if that is due, and looks at the cluster with
// it: until the API server has proven itself and has taken it.
func (r *run) lookWithToken(asked question) func(context.Context) func() {
	joins := r.facts.Credentials.Value.State != judge.Loaded
	if r.lost != nil {
		return r.lookInVain(asked)
	}
	if joins {
		r.warnExposed()
	}
	tokens, refused := r.tokens, r.memory.TokenRefused() || r.memory.Is == judge.Refused || r.memory.Barred != ""
	if joins && tokens.due(refused) {
		// while it is read nothing else can be said of it
		r.tell.obstacle = &Error{Reason: JoinFailed, Message: "the token's source had not answered", Hint: r.tokenHint(nil)}
		if tokens.token == "" {
			r.tell.obstacle.Reason = TokenRejected
		}
	}
	return func(ctx context.Context) func() {
		readErr := tokens.read(ctx, r.w, refused)
		asked.at = time.Now()
		if readErr != nil && (isTerminal(readErr) || tokens.token == "") {
			return func() { r.noToken(tokens, readErr, asked) }
		}
		p := r.w.Probe(ctx, tokens.token, r.bearer(tokens.token))
		at := time.Now()
		return func() {
			if readErr != nil {
				r.unread(readErr)
			}
			if tokens.token != r.tokens.token {
				r.memory = r.memory.NewToken()
			}
			r.tokens = tokens
			r.probed(p, asked, at)
		}
	}
}

func (r *run) noToken(tokens tokens, err error, asked question) {
	r.tokens = tokens
	c := judge.Cluster{NoToken: err, NextAt: time.Now().Add(judge.ProbeSilent), Hint: r.tokenHint(err)}
	if isTerminal(err) {
		c.Usage = true
	} else {
		r.unread(err)
		c.NoToken = r.tell.lastErr
	}
	r.facts.Cluster = judge.Fact[judge.Cluster]{Value: c, Acts: asked.acts, Asked: asked.at, At: time.Now()}
}

// unread: a source that fails this time is tried again, with the token as it was.
func (r *run) unread(err error) {
	if err = errors.New(r.redact(err.Error())); r.tokens.said == err.Error() {
		return
	}
	r.tokens.said = err.Error()
	r.tell.failed(err) // it leaves with the run's own error
	r.tell.say(Warning, err.Error(), "trying again every "+seconds(r.tokens.retry))
}

func (r *run) redact(s string) string { return r.tell.redact(s) }

// probed takes in what a look at the cluster found.
func (r *run) probed(p cluster.Probe, asked question, at time.Time) {
	r.warnClock(p.Ahead)
	c := r.clusterOf(p)
	if p.Verdict != cluster.Unreachable && r.pace.answers.IsZero() {
		r.pace.answers = at
	}
	pause := judge.ProbeSilent
	if p.Verdict != cluster.Proven {
		pause = r.pace.after(p, r.jitter)
		if !r.tell.ends.IsZero() {
			pause = min(pause, max(probeFast, time.Until(r.tell.ends)/probeLeft))
		}
	}
	c.NextAt = at.Add(max(p.RetryAfter, pause))
	if p.Verdict == cluster.Proven {
		if r.facts.Cluster.Value.Verdict != judge.Proven || !r.facts.Cluster.Known() {
			r.tell.obstacle = nil
			r.tell.say(Info, fmt.Sprintf("the API server at %s is proven and takes our token", p.Server), "")
		}
		r.eyes.proven = cluster.Credentials{Server: p.Server, CA: p.CA}
		r.eyes.probe = p
	}
	r.facts.Cluster = judge.Fact[judge.Cluster]{Value: c, Acts: asked.acts, Asked: asked.at, At: at}
}

// clusterOf is a look at the cluster as the judge sees it.
func (r *run) clusterOf(p cluster.Probe) judge.Cluster {
	c := judge.Cluster{
		Verdict: judge.Verdict(p.Verdict), Err: p.Err, Answered: cluster.Answered(p.Err), Server: p.Server, Node: sightingOf(p.Node),
		Pinned: p.Pinned, Signers: p.Signers, Old: p.Old, Ahead: p.Ahead,
		Bearer: r.bearer(r.tokens.token) != "",
	}
	if len(p.CA) > 0 {
		c.CA, _ = cluster.CAHashes(p.CA)
	}
	if p.Verdict == cluster.Unreachable {
		c.Hint = r.whySilent(p.Err)
	}
	var algorithm *cluster.AlgorithmError
	if errors.As(p.Err, &algorithm) {
		c.Answered, c.Algorithm = true, algorithm.CA
	}
	return c
}

// readAhead has the programs of a join read, once, while there is nothing to do but wait for an API server. A join is all
// that this fact is asked for: a member asks with its own credentials. From when there is a server nothing is read.
func (r *run) readAhead(ctx context.Context) {
	c := r.facts.Cluster
	switch {
	case r.pace.readEnd == nil && !r.DryRun && c.Known() && c.Value.Verdict == judge.Unreachable:
		ctx, r.pace.readEnd = context.WithCancel(ctx)
		go r.w.ReadPrograms(ctx)
	case r.pace.readEnd != nil && c.Known() && c.Value.Verdict == judge.Proven:
		r.pace.readEnd()
	}
}

// warnClock: who is an hour off finds good certificates and tokens invalid.
func (r *run) warnClock(ahead time.Duration) {
	if ahead.Abs() < clockPatience || r.pace.clockSaid {
		return
	}
	r.pace.clockSaid = true
	message, hint := clockWords(ahead)
	r.tell.warn(message + ": " + hint)
}

func clockWords(ahead time.Duration) (message, hint string) {
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	return fmt.Sprintf("the API server's clock is %s %s this machine's", ahead.Abs().Round(time.Minute), side),
		"set the one that is wrong (`timedatectl`), or certificates and tokens will seem expired or not yet valid"
}

// whySilent: two causes are on this machine, and look like a dead server. A
// server that says something useless is not dead.
func (r *run) whySilent(err error) string {
	var invalid x509.CertificateInvalidError
	var failed *net.OpError
	var page *cluster.PageError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var algorithm *cluster.AlgorithmError
	switch {
	case errors.As(err, &algorithm):
		return "use a nodejoin that was built with a newer Go, and a kubeadm and kubelet that know the cluster's algorithms (ML-DSA: Go 1.27, Kubernetes 1.38); " +
			"if the cluster has none but RSA and ECDSA, something else answers at " + r.where()
	case errors.As(err, &name):
		return fmt.Sprintf("give the API server a certificate that names %q (`apiServer.certSANs` of kubeadm's ClusterConfiguration), or use an address that it names", name.Host)
	case errors.As(err, &unknown):
		return "what answers there has no certificate of the cluster's CA: another server, or a load balancer or proxy that ends TLS itself and is to pass it through"
	case errors.As(err, &page):
		return "no API server sends web pages: is this a load balancer without a backend, or is " + r.where() + " the wrong address or port?"
	case cluster.Answered(err):
		return "an API server that starts or has too much to do answers so, and a load balancer without a backend; its log says more"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "is this machine's clock right? (`date -u`, `timedatectl`); if it is, the API server's certificate is to be renewed"
	case errors.As(err, &failed) && failed.Op == "proxyconnect":
		return "HTTPS_PROXY names a proxy that does not answer; to go past it, put the API server's address into NO_PROXY"
	}
	return "is it up, and is " + r.where() + " its address?"
}

// pace is what is remembered of a cluster that is not ready for us yet.
type pace struct {
	answers   time.Time     // when an API server first answered at all
	timed     bool          // an answer was, and no silence came since
	took      time.Duration // by the server, for that answer
	busy      time.Duration // what the first answer, or two in a row at least, took; less by half with each later one
	clockSaid bool
	readEnd   context.CancelFunc // of what is read ahead; nil: nothing was
}

// after is fast while a control plane is just coming up, and calm else. A server
// that was not at ease for its last two answers, or for its first, is given time:
// hundreds of nodes may be waiting for it. That is forgotten by halves, or all of
// them are back as soon as they have gone; and they are spread the wider.
func (d *pace) after(p cluster.Probe, jitter float64) time.Duration {
	pause := judge.ProbeSilent
	if !d.answers.IsZero() && time.Since(d.answers) < judge.StartsFor {
		pause = probeFast
	}
	if p.Verdict == cluster.Unreachable && !cluster.Answered(p.Err) {
		d.timed, d.busy = false, 0
	} else {
		if !d.timed {
			d.took = p.Took
		}
		d.busy = min(max(min(d.took, p.Took), d.busy/2), atEase+probeBusy/probeShare)
		d.timed, d.took = true, p.Took
		if busy := probeShare * (d.busy - atEase); busy > pause {
			pause, jitter = busy, 2*jitter
		}
	}
	return time.Duration(float64(pause) * (1 - jitter + 2*jitter*rand.Float64()))
}

// tokens is the token as its source had it last.
type tokens struct {
	token   string
	fetched time.Time     // when it was last read
	err     error         // why it could not be
	said    string        // of the failure that was told last
	retry   time.Duration // until a read that failed is tried again
}

// due: for every attempt, and again after a refusal, at most every tokenEvery.
func (t *tokens) due(refused bool) bool {
	since := time.Since(t.fetched)
	return t.fetched.IsZero() || refused && since >= tokenEvery || t.err != nil && since >= t.retry
}

func (t *tokens) read(ctx context.Context, w world, refused bool) error {
	if t.due(refused) {
		token, err := w.Token(ctx)
		if t.fetched, t.err = time.Now(), err; err == nil {
			t.token, t.said = token, ""
		}
	}
	return t.err
}

func (r *run) tokenHint(err error) string {
	var field *kubeadm.FieldError
	switch {
	case errors.As(err, &field):
		return field.Remedy
	case r.Token.Command != "":
		return "run that command by hand, as root and with the same environment; it is run again every " + seconds(tokenEvery)
	case r.Token.File != "":
		return "write a token into it (on a control-plane host `kubeadm token create` makes one); it is read again every " + seconds(r.tokens.retry)
	case r.DiscoveryFile != "":
		return "give a token with --token-file or --token-command (on a control-plane host `kubeadm token create` makes one), or put a token or a client certificate into the discovery file"
	}
	return ""
}

func (r *run) bearer(token string) string {
	if r.TLSBootstrapToken != "" {
		return r.TLSBootstrapToken
	}
	return token
}

func sightingOf(s cluster.Sighting) judge.Sighting {
	n := s.Node
	return judge.Sighting{Answer: judge.Answer(s.Answer), Err: s.Err, RetryAfter: s.RetryAfter, Node: judge.Node{
		Name: n.Name, UID: n.UID, BootID: n.BootID, MachineID: n.MachineID, SystemUUID: n.SystemUUID,
		Ready: n.Ready, ReadyWords: readyWords(n), Heartbeat: n.Heartbeat,
		DeletedAt: n.DeletedAt, Finalizers: slices.Clone(n.Finalizers), Uninitialized: n.Uninitialized, Mark: n.Mark,
	}}
}

func readyWords(n cluster.Node) string {
	return strings.TrimSpace(n.ReadyReason + ": " + n.ReadyMessage)
}
