package join

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// A machine that boots has its image's name, or none, until DHCP or cloud-init has given it one.
func TestMachineThatHasNoNameYetIsWaitedFor(t *testing.T) {
	for name, c := range map[string]struct {
		clouding bool
		named    time.Duration // 0: never
		reason   Reason
	}{
		"in time":                {false, 10 * time.Second, Joined},
		"never":                  {false, 0, HostUnfit},
		"late, with cloud-init":  {true, 2 * time.Minute, Joined},
		"never, with cloud-init": {true, 0, JoinFailed},
	} {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.ready, s.hostname, s.clouding = true, "localhost.localdomain", c.clouding
			if c.named > 0 {
				s.after(c.named, func() { s.hostname = "" })
			}
			r, err := start()
			if r.Reason != c.reason {
				t.Errorf("%s: %s (%v), wanted %s", name, r.Reason, err, c.reason)
			}
			if c.reason == Joined && s.told.name != "w1" {
				t.Errorf("%s: it was registered as %q", name, s.told.name)
			}
			if c.reason != Joined && (r.Counts.Joins > 0 || !strings.Contains(r.Hint, "hostnamectl")) {
				t.Errorf("%s: %d joins, hint %q", name, r.Counts.Joins, r.Hint)
			}
		})
	}
}

func TestNameIsFoundAgainForEveryAttempt(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.join = func(context.Context) error {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "CRI", Message: "runtime not up"}}}
		}
		s.after(5*time.Second, func() { s.hostname, s.join = "w2", nil })
		r, err := start()
		wanted{reason: Joined, joins: -1}.check(t, r, err)
		if s.told.name != "w2" {
			t.Errorf("it was registered as %q", s.told.name)
		}
	})
}

// The kubelet would start, and could not register.
func TestNameThatIsTooLongEndsBeforeAnythingIsTouched(t *testing.T) {
	long := strings.Repeat("n", 64)
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.hostname = true, long
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		if !strings.Contains(r.Message, "has 64 characters") || !strings.Contains(r.Hint, "--node-name") {
			t.Errorf("message %q, hint %q", r.Message, r.Hint)
		}
	})
	c := Defaults()
	c.Endpoint, c.UnsafeSkipCAVerification, c.Token.Value, c.NodeName = "cp:6443", true, simToken, long
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--node-name") {
		t.Errorf("--node-name of 64 characters: %v", err)
	}
}
