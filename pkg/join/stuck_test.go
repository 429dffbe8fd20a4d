package join

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// kubeadm reset hangs in a dead mount, where no signal reaches it. Nothing of kubeadm's is started beside it, whatever the disk
// looks like; once it is gone the run goes on, and if it stays the report names the process.
func TestKubeadmThatCannotBeKilledIsWaitedFor(t *testing.T) {
	const pid = "process 4711 (kubeadm) cannot be killed"
	stuck := &kubeadm.Failure{Command: "kubeadm reset", ExitCode: -1, Err: &child.StuckError{Path: "kubeadm", PID: 4711}}
	reset := func(s *sim) {
		s.ready = true
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.resetFail = func() error { s.change(func() { s.fit = stuck }); return stuck } // child.Run refuses the next one, too
	}
	simulate(t, func(c *Config) { c.Timeout = 20 * time.Minute }, func(s *sim, start func() (Report, error)) {
		reset(s)
		s.after(10*time.Minute, func() { s.fit, s.resetFail = nil, nil })
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 2}.check(t, r, err)
	})
	simulate(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
		reset(s)
		r, err := start()
		wanted{reason: JoinFailed, resets: 1}.check(t, r, err)
		if !strings.Contains(r.Message, pid) {
			t.Errorf("message %q", r.Message)
		}
	})
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		reset(s)
		s.resetFail = func() error { s.interrupt(); return stuck }
		r, err := start()
		wanted{reason: Interrupted, resets: 1}.check(t, r, err)
		if !strings.Contains(r.Message, pid) || !errors.As(err, new(*child.StuckError)) {
			t.Errorf("message %q, error %v", r.Message, err)
		}
	})
}
