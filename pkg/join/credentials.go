package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// mountedCredentials are the kubelet's. That there are none is known only if what
// they may lie on was mounted before they were looked for.
func (r *run) mountedCredentials(joins bool) (*cluster.Credentials, error) {
	creds, err := r.w.Credentials()
	if joins || !errors.Is(err, fs.ErrNotExist) {
		return creds, err
	}
	switch missing, mountsErr := r.w.MissingMounts(); {
	case mountsErr != nil:
		return nil, mountsErr
	case len(missing) > 0:
		return nil, fmt.Errorf("not mounted yet: %s", strings.Join(missing, ", "))
	}
	return r.w.Credentials()
}

// credentials takes in what the kubelet's files hold now; kubeletCA is that of a
// kubelet that has none that load.
func (r *run) credentials(asked question, creds *cluster.Credentials, kubeletCA []byte, err error) {
	f := judge.Fact[judge.Credentials]{Acts: asked.acts, Asked: asked.at, At: time.Now()}
	c := &f.Value
	c.Path = r.w.CredentialsPath()
	var other *cluster.NotUnderstoodError
	switch {
	case err == nil:
		c.State, c.NodeName, c.Server, c.NotAfter = judge.Loaded, creds.NodeName, creds.Server, creds.NotAfter
		c.CA, _ = cluster.CAHashes(creds.CA)
		c.OtherCA, f.Err = r.otherCA(creds.CA)
	case errors.Is(err, fs.ErrNotExist):
		c.State, c.Problem = judge.NotThere, err
		c.CA, _ = cluster.CAHashes(kubeletCA)
	case errors.Is(err, cluster.ErrUnusable):
		c.State, c.Problem = judge.Unusable, err
		c.CA, _ = cluster.CAHashes(kubeletCA)
	case errors.As(err, &other):
		c.State, c.Problem, c.NodeName = judge.NotUnderstood, err, other.NodeName
	default:
		f.Err = err
	}
	before := r.facts.Credentials
	r.facts.Credentials = f
	r.watchWith(creds, before)
}

// watchWith follows our Node with the credentials that there are now.
func (r *run) watchWith(creds *cluster.Credentials, before judge.Fact[judge.Credentials]) {
	is, was := r.facts.Credentials.Value, before.Value
	same := r.facts.Credentials.Known() && is.State == was.State && is.NodeName == was.NodeName && is.Server == was.Server && is.NotAfter.Equal(was.NotAfter)
	if !r.facts.Credentials.Known() || same && !before.At.IsZero() {
		return
	}
	r.facts.Node, r.facts.Second, r.facts.Endpoint, r.facts.Lease = judge.Fact[judge.Sighting]{}, judge.Fact[judge.Sighting]{}, judge.Fact[bool]{}, judge.Fact[time.Time]{}
	if is.State != was.State || is.NodeName != was.NodeName {
		r.memory = r.memory.Blind(time.Now())
	}
	if r.eyes.unwatch != nil {
		r.eyes.unwatch()
	}
	r.eyes.watch, r.eyes.unwatch, r.eyes.creds = nil, nil, nil
	if is.State != judge.Loaded {
		return
	}
	if !r.DryRun {
		if err := r.w.RemoveJournal(); err != nil {
			r.tell.warn(err.Error())
		}
	}
	if !r.memory.BootstrapAt.IsZero() {
		r.bootstrapEnded(false, true)
	}
	if last := r.w.LastSeen(); before.At.IsZero() && last.Node.Name == is.NodeName {
		r.memory = r.memory.Inherit(r.policy, sightingOf(last), last.At, time.Now())
	}
	if r.tell.report.Node.Name == "" { // whatever a join would call it
		r.tell.report.Node.Name = r.redact(is.NodeName)
	}
	r.memory = r.memory.Certified(!before.At.IsZero(), time.Now())
	r.eyes.creds = creds
}

// bootstrapEnded takes away the token, and puts the old credentials back, or
// forgets them. While a request is pending the kubelet waits for its approval.
func (r *run) bootstrapEnded(back, forget bool) {
	if err := r.w.BootstrapEnded(back, forget); err != nil {
		r.tell.warn(err.Error())
	}
}

// stopAsking: a kubelet whose request was denied has the token in its memory, and
// makes another one 2 s later (client-go util/certificate). One that is started
// again goes by its files, which are as they were; and where it has no Node, the
// next run would take one that runs without credentials for a member's.
func (r *run) stopAsking(ctx context.Context) {
	if !r.facts.Request.Value.Denied && r.facts.Cluster.Value.Node.Answer != judge.Absent {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	err := r.w.RestartKubelet(bounded)
	r.did(judge.Action{Kind: judge.RestartKubelet}, err != nil)
	if err != nil {
		r.tell.warn(fmt.Sprintf("the kubelet, which asks for a certificate, cannot be restarted, and may get one: %v", err))
		return
	}
	r.tell.report.Counts.KubeletRestarts++
}

// follow keeps a watch on our Node while there are credentials to do so with.
func (r *run) follow(ctx context.Context) {
	if r.eyes.creds == nil || r.eyes.watch != nil || r.policy.Reset == judge.ResetAlways && !r.memory.ForcedDone {
		return
	}
	ctx, r.eyes.unwatch = context.WithCancel(ctx)
	r.eyes.watch = r.w.Watch(ctx, r.eyes.creds)
}

// sweep takes away a bootstrap-kubelet.conf that was left by a join that was
// killed; kubeadm itself keeps it no longer than that.
func (r *run) sweep() {
	if r.DryRun || r.eyes.swept || r.running.back != nil {
		return
	}
	r.eyes.swept = true
	r.bootstrapEnded(false, true)
	if err := r.w.RemoveBootstrapConf(); err != nil {
		r.tell.warn(fmt.Sprintf("bootstrap-kubelet.conf, which holds a token, cannot be removed: %v", err))
	}
}

// otherCA says why a CA is not that of the cluster that is to be joined.
func (r *run) otherCA(ca []byte) (string, error) {
	switch fileCA, err := r.w.DiscoveryCA(); {
	case len(r.CACertHashes) > 0 && !cluster.MatchesPins(ca, r.CACertHashes):
		return "its CA is not the pinned one", nil
	case err != nil:
		return "", usage(fmt.Errorf("--discovery-file: %w", err))
	case fileCA != nil && !cluster.SameCA(ca, fileCA):
		return "its CA is not the discovery file's", nil
	}
	return "", nil
}
