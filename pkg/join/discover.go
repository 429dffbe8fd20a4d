package join

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// discovery is what discover remembers between two probes.
type discovery struct {
	answers time.Time     // when an API server first answered at all
	serves  time.Time     // when it first served cluster-info
	timed   bool          // an answer was, and no silence came since
	took    time.Duration // by the server, for that answer
	busy    time.Duration // what the first answer, or two in a row at least, took; less by half with each later one
	refused time.Time     // since when the token is refused; zero: it is not
	badSign time.Time     // when a bad signature was first seen
}

// discover probes until the API server has proven itself and has taken our
// token. Everything on the way that time may cure is waited for.
func (r *run) discover(ctx context.Context) (cluster.Probe, error) {
	r.enter(Discover)
	var d discovery
	for {
		if err := r.readToken(ctx, !d.refused.IsZero()); err != nil {
			return cluster.Probe{}, r.giveUp(err)
		}
		if r.unread && r.token == "" {
			r.wait(Error{Reason: JoinFailed, Message: "the token could not be read yet", Err: r.lastErr, Hint: r.tokenHint()})
			if err := r.sleep(ctx, probeSilent); err != nil {
				return cluster.Probe{}, err
			}
			continue
		}
		p := r.w.Probe(ctx, r.token, r.bearer(r.token))
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		if done, err := r.judge(&d, p); done || err != nil {
			return p, err
		}
		if r.evidence != "" {
			return p, r.giveUp(cmp.Or(p.Err, p.Node.Err)) // the latter of a server that is proven
		}
		pause := d.pace(p, r.jitter)
		if end, ok := ctx.Deadline(); ok {
			pause = min(pause, max(probeFast, time.Until(end)/probeLeft))
		}
		if err := r.sleep(ctx, max(p.RetryAfter, pause)); err != nil {
			return p, err
		}
	}
}

// giveUp: who has credentials does not wait here, for what was found out about
// them grows old meanwhile. It is forgotten, and look asks again.
func (r *run) giveUp(err error) error {
	if r.evidence == "" {
		return err
	}
	err = fmt.Errorf("%s, but a reset must wait: %s", r.evidence, err.Error()) // not wrapped: it ends no run with credentials
	r.forget()
	return err
}

// forget drops what allowed a reset, as a whole: which rule it came from, too.
func (r *run) forget() { r.evidence, r.gone = "", false }

// judge turns one probe into the next step: done, an end, or a wait.
func (r *run) judge(d *discovery, p cluster.Probe) (done bool, err error) {
	now := time.Now()
	r.warnClock(p.Ahead)
	if p.Verdict != cluster.Unreachable && d.answers.IsZero() {
		d.answers = now
	}
	if p.Verdict > cluster.NotServed && d.serves.IsZero() {
		d.serves = now
		r.answered = true
	}
	if p.Verdict != cluster.BadSignature {
		d.badSign = time.Time{}
	}
	if p.Verdict <= cluster.NotServed { // a 401 before a silence and one after it are two lone ones
		d.refused = time.Time{}
	}
	if p.Verdict == cluster.Proven && p.Node.Answer == cluster.Forbidden && now.Sub(d.serves) < fastFor {
		// kubeadm would fail on it; a starting API server learns its own roles within seconds
		r.wait(Error{Reason: JoinFailed, Message: "our token may not ask for Nodes yet", Err: p.Node.Err,
			Hint: "`kubeadm init phase bootstrap-token` sets up what tokens may do"})
		return false, nil
	}
	if p.Verdict == cluster.Proven {
		return true, r.proven(p)
	}
	if p.Verdict == cluster.WrongCA {
		return false, &Error{
			Reason: WrongCluster, Message: "this is not the cluster that was pinned", Err: p.Err,
			Hint: "take a fresh line from `kubeadm token create --print-join-command`; if the pin is right, somebody else answers at " + r.Endpoint,
		}
	}
	return false, r.unproven(d, p, now)
}

// warnClock: who is an hour off finds good certificates and tokens invalid.
func (r *run) warnClock(ahead time.Duration) {
	if ahead.Abs() < clockPatience || r.clockSaid {
		return
	}
	r.clockSaid = true
	side := "ahead of"
	if ahead < 0 {
		side = "behind"
	}
	r.warn(fmt.Sprintf("the API server's clock is %s %s this machine's: set the one that is wrong (`timedatectl`), "+
		"or certificates and tokens will seem expired or not yet valid", ahead.Abs().Round(time.Minute), side))
}

func (r *run) proven(p cluster.Probe) error {
	r.answered, r.obstacle = true, nil
	creds, err := r.w.Credentials()
	if err == nil && r.Reset != ResetAlways && !cluster.SameCA(creds.CA, p.CA) {
		return otherCluster("its CA is not this cluster's")
	}
	r.say(Info, fmt.Sprintf("the API server at %s is proven and takes our token", p.Server), "")
	return nil
}

// unproven waits, and knows when waiting is over.
func (r *run) unproven(d *discovery, p cluster.Probe, now time.Time) error {
	switch p.Verdict {
	case cluster.Unreachable:
		message := "the API server does not answer"
		if cluster.Answered(p.Err) {
			message = "the API server answers, but not usefully"
		}
		r.wait(Error{Reason: Unreachable, Message: message, Err: p.Err, Hint: r.whySilent(p.Err)})
	case cluster.NotServed:
		r.wait(Error{Reason: Unreachable, Message: "an API server answers, but does not serve cluster-info yet", Err: p.Err,
			Hint: "a starting one does so within seconds; where anonymous access is off for good, use --discovery-file with credentials in it"})
	case cluster.BadSignature:
		return r.badSignature(d, p, now)
	case cluster.Unsigned, cluster.Rejected:
		return r.refusedToken(d, p, now)
	}
	return nil
}

// whySilent: two causes are on this machine, and look like a dead server. A
// server that says something useless is not dead.
func (r *run) whySilent(err error) string {
	var invalid x509.CertificateInvalidError
	var failed *net.OpError
	var page *cluster.PageError
	switch {
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

// badSignature: cluster-info is signed for our token's ID with another secret.
// It is looked at once more; then it is a wrong token where the CA is pinned
// and proven, and else anybody's server (rule 8).
func (r *run) badSignature(d *discovery, p cluster.Probe, now time.Time) error {
	if d.badSign.IsZero() {
		d.badSign = now
	}
	switch rejected := r.tokenError(p.Err); {
	case now.Sub(d.badSign) < signatureAgain:
		r.wait(Error{Reason: TokenRejected, Message: "cluster-info has a signature that does not fit our token; looking again", Err: p.Err})
	case !p.Pinned:
		return &Error{
			Reason: WrongCluster, Message: "the token does not prove this cluster", Err: p.Err,
			Hint: "either the token's secret is mistyped or this is another cluster; --discovery-token-ca-cert-hash tells them apart",
		}
	case r.Token.fixed():
		return rejected
	default:
		d.refused = now
		r.wait(*rejected)
	}
	return nil
}

// refusedToken: not signed for, or answered with 401. Late is not wrong, but
// after tokenPatience it is.
func (r *run) refusedToken(d *discovery, p cluster.Probe, now time.Time) error {
	rejected := r.tokenError(p.Err)
	unknown := p.Verdict == cluster.Rejected || p.Node.Answer == cluster.Unauthorized ||
		!p.Pinned && p.CA == nil && p.Signers > 0 // the signer works, for other tokens
	if !unknown {
		d.refused = time.Time{}
		r.wait(Error{Reason: TokenRejected, Message: "cluster-info is not signed for our token yet", Err: p.Err,
			Hint: "the bootstrapsigner controller signs it within seconds of its start; `kubeadm token list` shows whether the token exists"})
		return nil
	}
	if d.refused.IsZero() {
		d.refused = now
	}
	if r.Token.fixed() && !p.Old && now.Sub(d.serves) >= tokenPatience && now.Sub(d.refused) >= tokenPatience/2 {
		return rejected
	}
	r.wait(*rejected)
	return nil
}

func (r *run) tokenError(cause error) *Error {
	return &Error{
		Reason: TokenRejected, Message: "the cluster does not take our token", Err: cause,
		Hint: "it is expired, deleted or mistyped; on a control-plane host `kubeadm token create` makes a new one",
	}
}

// pace is fast while a control plane is just coming up, and calm else. A server
// that was not at ease for its last two answers, or for its first, is given time:
// hundreds of nodes may be waiting for it. That is forgotten by halves, or all of
// them are back as soon as they have gone; and they are spread the wider.
func (d *discovery) pace(p cluster.Probe, jitter float64) time.Duration {
	pause := probeSilent
	if !d.answers.IsZero() && time.Since(d.answers) < fastFor {
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

func (r *run) where() string {
	if r.Endpoint != "" {
		return r.Endpoint
	}
	return "the discovery file's server"
}

// readToken reads the token's source: for every attempt, and again after a
// refusal, at most every tokenEvery. A source that fails this time is tried
// again, with the token as it was.
func (r *run) readToken(ctx context.Context, refused bool) error {
	if !r.fetched.IsZero() && (!refused && !r.unread || time.Since(r.fetched) < tokenEvery) {
		return nil
	}
	r.fetched = time.Now()
	before := r.obstacle
	r.obstacle = &Error{Reason: JoinFailed, Message: "the token's source had not answered", Hint: r.tokenHint()}
	token, err := r.w.Token(ctx)
	if ctx.Err() == nil {
		r.obstacle = before
	}
	switch {
	case isTerminal(err):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		err = errors.New(r.redact(err.Error())) // it leaves with the run's own error
		r.failed(err)
		r.say(Warning, err.Error(), "trying again in "+seconds(tokenEvery))
		r.fetched, r.unread = time.Now(), true
		return nil
	}
	r.token, r.unread = token, false
	return nil
}

func (r *run) tokenHint() string {
	if r.Token.Command == "" {
		return ""
	}
	return "run that command by hand, as root and with the same environment; it is run again every " + seconds(tokenEvery)
}

func (r *run) bearer(token string) string {
	if r.TLSBootstrapToken != "" {
		return r.TLSBootstrapToken
	}
	return token
}
