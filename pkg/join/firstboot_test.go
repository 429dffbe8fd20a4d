package join

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// unfitFor is what a person must mend, or a cloud-init that is still at work; mended ends it.
var unfitFor = map[string]struct {
	begin, mended func(*sim)
	says          string
}{
	"a program": {
		func(s *sim) { s.fit = &Error{Reason: HostUnfit, Message: `there is no program "kubelet" in PATH`} },
		func(s *sim) { s.fit = nil }, "no program",
	},
	"the kubelet's service": {func(s *sim) { s.unit.Missing = true }, func(s *sim) { s.unit.Missing = false }, "no service"},
	"a kernel module": {
		func(s *sim) {
			s.join = func(context.Context) error {
				return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Checks: []kubeadm.Check{{Name: "FileContent--proc-sys-net-ipv4-ip_forward", Message: "contents are not set to 1"}}}
			}
		},
		func(s *sim) { s.join = nil }, "unfit",
	},
	"a name": {func(s *sim) { s.hostname = "localhost" }, func(s *sim) { s.hostname = "" }, "no name of its own"},
}

func firstBoot(t *testing.T, change func(*Config), story func(s *sim, mended func(*sim), says string, start func() (Report, error))) {
	t.Helper()
	for name, c := range unfitFor {
		t.Run(name, func(t *testing.T) {
			live(t, change, func(s *sim, start func() (Report, error)) {
				s.clouding = true
				c.begin(s)
				story(s, c.mended, c.says, start)
			})
		})
	}
}

// A unit that has ended with 3 is not started again.
func TestWhatCloudInitMendsIsWaitedFor(t *testing.T) {
	firstBoot(t, nil, func(s *sim, mended func(*sim), _ string, start func() (Report, error)) {
		s.after(8*time.Minute, func() { mended(s) })
		s.after(9*time.Minute, func() { s.clouding = false })
		r, err := start()
		wanted{reason: Joined, joins: -1}.check(s.t, r, err)
		took(s.t, r, 8*time.Minute, 8*time.Minute+45*time.Second)
	})
}

// Its last step may be the one that mends it.
func TestWhatCloudInitMendsLastIsSeen(t *testing.T) {
	firstBoot(t, nil, func(s *sim, mended func(*sim), _ string, start func() (Report, error)) {
		s.after(2*time.Minute, func() { mended(s); s.clouding = false })
		r, err := start()
		wanted{reason: Joined, joins: -1}.check(s.t, r, err)
	})
}

func TestWhatCloudInitDoesNotMendEndsOnceItIsDone(t *testing.T) {
	firstBoot(t, nil, func(s *sim, _ func(*sim), says string, start func() (Report, error)) {
		s.after(2*time.Minute, func() { s.clouding = false })
		r, err := start()
		if r.Reason != HostUnfit || !strings.Contains(r.Message, says) {
			s.t.Errorf("%s: %s, %v", r.Reason, r.Message, err)
		}
		took(s.t, r, 2*time.Minute, 2*time.Minute+45*time.Second)
	})
}

func TestCloudInitThatIsNeverDoneIsWaitedForUntilTheDeadline(t *testing.T) {
	firstBoot(t, func(c *Config) { c.Timeout = 10 * time.Minute }, func(s *sim, _ func(*sim), says string, start func() (Report, error)) {
		r, err := start()
		wanted{reason: JoinFailed, joins: -1}.check(s.t, r, err)
		if !strings.Contains(r.Message+r.LastError, says) || !strings.Contains(r.Message+r.LastError, "cloud-init") {
			s.t.Errorf("%s (%s)", r.Message, r.LastError)
		}
	})
}

// Who waits for us mends nothing, and who may wait for us is not waited for in vain.
func TestCloudInitThatMayWaitForUsIsWaitedForFiveMinutes(t *testing.T) {
	firstBoot(t, nil, func(s *sim, _ func(*sim), says string, start func() (Report, error)) {
		s.unclear = true
		r, err := start()
		if r.Reason != HostUnfit || !strings.Contains(r.Message, says) {
			s.t.Errorf("%s: %s, %v", r.Reason, r.Message, err)
		}
		took(s.t, r, 5*time.Minute, 5*time.Minute+45*time.Second)
	})
}

// A member is held whatever cloud-init does.
func TestMemberIsNotKeptWaitingByCloudInit(t *testing.T) {
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.clouding, s.fit = true, errors.New("no kubeadm")
		r, err := start()
		wanted{reason: AlreadyJoined}.check(s.t, r, err)
		took(s.t, r, 0, 5*time.Second)
	})
}

func TestDryRunBesideCloudInitSaysThatItWouldWait(t *testing.T) {
	live(t, func(c *Config) { c.DryRun = true }, func(s *sim, start func() (Report, error)) {
		s.clouding = true
		unfitFor["a program"].begin(s)
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		says(s.t, r, "would wait", "cloud-init")
	})
}
