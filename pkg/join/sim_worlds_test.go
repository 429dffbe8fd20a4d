package join

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

func otherCA() []byte { return simCA2 }

var simCA2 = newCA()

type askedWorld struct {
	*sim
	shown int
}

func (w *askedWorld) AskWithToken(ctx context.Context, c *cluster.Credentials, bearer string) cluster.Sighting {
	w.shown++
	return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
}

func simulateWorld(t *testing.T, change func(*Config), world func(*sim) world, story func(s *sim), check func(Report, error)) {
	simulate(t, change, func(s *sim, _ func() (Report, error)) {
		c := Defaults()
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value = "cp:6443", true, simToken
		if change != nil {
			change(&c)
		}
		c.Observe = func(e Event) {
			if testing.Verbose() && e.Severity != Detail {
				t.Logf("%s %-8s %s", e.Time.Format("04:05.000"), e.Phase, e.Message)
			}
		}
		p, err := c.plan()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		story(s)
		s.book()
		r, err := newRun(p, world(s), simID, "w1", kubeadm.NewRedactor(simToken).Redact).run(ctx)
		check(r, err)
	})
}

// forbiddenWorld does not let the token ask for Nodes.
type forbiddenWorld struct {
	*sim
	still func() bool
}

func (w forbiddenWorld) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	p := w.sim.Probe(ctx, token, bearer)
	if w.still() {
		p.Node = cluster.Sighting{Answer: cluster.Forbidden, Err: errors.New("403")}
	}
	return p
}

type oldCluster struct{ *sim }

func (w oldCluster) Ask(context.Context, *cluster.Credentials) cluster.Sighting {
	return cluster.Sighting{Err: errors.New("connection refused")}
}
func (w oldCluster) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out := make(chan cluster.Sighting)
	go func() {
		defer close(out)
		for {
			select {
			case out <- w.Ask(ctx, c):
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

type lateWorld struct{ *sim }

func (w lateWorld) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out := make(chan cluster.Sighting)
	go func() {
		defer close(out)
		send := func(s cluster.Sighting) {
			select {
			case out <- s:
			case <-ctx.Done():
			}
		}
		a := w.see("w1")
		send(a)
		<-time.After(5 * time.Second)
		send(cluster.Sighting{Answer: cluster.Absent})
		send(a) // late news from before
		send(cluster.Sighting{Answer: cluster.Absent})
		<-ctx.Done()
	}()
	return out
}

type noFile struct{ *sim }

func (noFile) DiscoveryCA() ([]byte, error) { return nil, errors.New("permission denied") }

// systemctl that hangs (D-Bus is dead): the machine bounds it, and the loop does not depend on that.
type hungWorld struct{ *sim }

func (w hungWorld) Kubelet(ctx context.Context) (host.Unit, error) {
	<-ctx.Done()
	return host.Unit{}, context.Cause(ctx)
}

type brokenDisk struct{ *sim }

func (brokenDisk) Credentials() (*cluster.Credentials, error) {
	return nil, &fs.PathError{Op: "read", Path: kubeletConf, Err: syscall.EIO}
}
