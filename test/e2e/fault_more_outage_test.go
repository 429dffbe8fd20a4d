package e2e

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// During reset and back-off: what comes after both needs the API server, and must wait for it.
func TestResetAndBackOffOutlastAKilledAPIServer(t *testing.T) {
	b := betweenJoins(t)
	b.fault(10)
	b.must(b.cp.Kill())
	b.passBy()
	b.must(b.cp.Start(b.ctx))
	b.letThemEnd()
}

func TestResetAndBackOffOutlastAFrozenAPIServer(t *testing.T) {
	b := betweenJoins(t)
	b.fault(11)
	b.must(b.cp.Pause(testbed.APIServer))
	b.passBy()
	b.must(b.cp.Resume(testbed.APIServer))
	b.letThemEnd()
}

func TestResetAndBackOffOutlastACutNetwork(t *testing.T) {
	b := betweenJoins(t)
	b.fault(17)
	for _, r := range []*running{b.reset, b.backOff} {
		b.must(r.node.CutNetwork())
	}
	b.passBy()
	for _, r := range []*running{b.reset, b.backOff} {
		b.must(r.node.RestoreNetwork())
	}
	b.letThemEnd()
}

// between is a cluster with two machines: kubeadm reset has begun on one, the other backs off after a join that failed.
type between struct {
	*story
	reset, backOff *running
}

// slowReset says that it has begun, waits for its permission, and is kubeadm's own reset then.
var slowReset = instead("reset", "touch /srv/begun\nwhile [ ! -e /srv/go ]; do sleep 0.1; done")

// failsOnce is a join that fails the first time before it has done anything.
var failsOnce = instead("join", "if [ ! -e /srv/failed ]; then touch /srv/failed; echo 'error: not today' >&2; exit 1; fi")

func betweenJoins(t *testing.T) *between {
	t.Helper()
	b := &between{story: tellLive(t, ready())}
	other := b.newNode("w2", ready())
	b.leftover()
	b.must(b.node.WrapKubeadm(slowReset))
	b.must(other.WrapKubeadm(failsOnce))
	b.reset = b.start(b.node, b.args()...)
	b.backOff = b.start(other, b.args("--backoff-initial", "12s", "--backoff-max", "12s")...)
	b.must(b.backOff.Stderr.WaitFor(b.ctx, "trying again in"))
	for !b.node.Exists("/srv/begun") {
		b.sleep(100 * time.Millisecond)
	}
	for r, phase := range map[*running]string{b.reset: "reset", b.backOff: "backoff"} {
		if is := b.phaseOf(r); is != phase {
			b.Errorf("%s is in phase %q when the fault begins, wanted %q", r.node.Name, is, phase)
		}
	}
	return b
}

func (s *story) phaseOf(r *running) string {
	s.Helper()
	raw, err := r.node.ReadFile("/run/nodejoin/status.json")
	s.must(err)
	var is report
	s.must(json.Unmarshal(raw, &is))
	return is.Phase
}

// passBy lets the fault last: the real reset does its work while it does, and the back-off ends in it.
func (b *between) passBy() {
	b.Helper()
	b.sleep(5 * time.Second)
	b.must(b.node.WriteFile("/srv/go", "", 0o600))
	b.sleep(outage - 5*time.Second)
	if n := b.node.KubeadmCount("join") + b.backOff.node.KubeadmCount("join"); n != 1 {
		b.Errorf("kubeadm join was started %d times, wanted once: nobody answers", n)
	}
}

func (b *between) letThemEnd() {
	b.Helper()
	b.member(b.reset.end().is(0, "Joined").counts(1, 1, 0, 0).says("kubeadm reset"))
	b.member(b.backOff.end().is(0, "Joined").counts(2, 0, 0, 0).says("trying again in"))
}
