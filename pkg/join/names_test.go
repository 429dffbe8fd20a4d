package join

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

func TestOwnStaleNodeIsWaitedOut(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode(simBoot)
		s.stopKubelet()
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, judge.GracePeriod, judge.GracePeriod+10*time.Second)
	})
}

func TestAnotherMachinesLiveNodeIsNotTakenOver(t *testing.T) {
	for name, story := range map[string]struct {
		beat time.Duration
		want Reason
	}{"heartbeat moves": {70 * time.Second, NameTaken}, "stays Ready, and nobody is heard of": {time.Hour, JoinFailed}} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				s.ready = true
				s.addNode("boot-of-another")
				s.after(story.beat, func() { s.node.Heartbeat = time.Now() })
				r, err := start()
				wanted{reason: story.want}.check(t, r, err)
				took(t, r, time.Minute, Defaults().Timeout)
			})
		})
	}
}

func TestAnotherMachinesDeadNodeIsTakenOver(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		s.node.Unschedulable = true
		s.after(30*time.Second, func() { s.node.Ready = "Unknown" })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "cordon") {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
}

func TestNodeThatMerelyStaysReadyIsNotATakenNameAtTheDeadline(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
		if !strings.Contains(r.Message, "is not known to be dead") {
			t.Errorf("message %q", r.Message)
		}
	})
}

func TestHandMadeNodeIsNotOurs(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 30*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node.BootID, s.node.Ready = "", ""
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
	})
}

// Another machine takes the name while we wait for our certificate, which is then given up: all in one second.
func TestNameThatIsTakenWithinASecondIsNoticed(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
		s.running = true
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
		s.after(200*time.Millisecond, func() { s.addNode("boot-of-another") })
		s.after(4*time.Minute, s.twinReports)
		s.after(300*time.Millisecond, s.wipe)
		r, err := start()
		wanted{reason: NameTaken}.check(s.t, r, err)
	})
}

// A name that is ours again is not taken, however little time is left.
func TestNameThatIsOursAtTheDeadlineIsNotTaken(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.addNode("boot-of-another")
		s.after(55500*time.Millisecond, s.kubeletJoins)
		r, _ := start()
		if r.Reason == NameTaken {
			s.t.Errorf("%s: %s", r.Reason, r.Message)
		}
	})
}

// The kubelet ends between the two looks at whether it runs, and with it what was seen before them.
func TestNameThatIsTakenDuringTheLooksAtTheKubeletIsNoticed(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.creds = nil
		s.after(700*time.Millisecond, func() { s.wipe(); s.addNode("boot-of-another") })
		s.after(4*time.Minute, s.twinReports)
		r, err := start()
		wanted{reason: NameTaken}.check(s.t, r, err)
	})
}
