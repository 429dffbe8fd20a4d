package join

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// cloneOf puts the machine into the state of one made from an image of another Node's machine, which lives.
func (s *sim) cloneOf(name string) {
	s.ready = true
	s.joined()
	s.running = false
	s.creds.NodeName, s.node.Name, s.node.BootID = name, name, "boot-of-the-original"
	s.judge = func(n cluster.Node) bool { return n.BootID == "boot-of-the-original" }
}

// roomForOurs makes the original's Node go with the reset: the sim has one Node only, which is not ours before and is then.
func (s *sim) roomForOurs() {
	s.hideFromToken = true
	s.resetFail = func() error {
		s.change(func() { s.disk, s.creds, s.node = host.Disk{}, nil, nil })
		return nil
	}
}

// The first one's heartbeat moves only now and then, and an API server that is silent meanwhile proves nobody alive.
func TestTwinIsNotBelievedAliveAcrossASilence(t *testing.T) {
	t.Attr("fault", "1")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		s.after(100*time.Second, func() { s.down = true })
		s.after(130*time.Second, func() { s.down, s.node.Ready = false, "Unknown" })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

// A takeover is normal for a minute; if our kubelet never moves in, that is said, and nothing is reset for it.
func TestTakeoverWhoseKubeletNeverReportsIsNoSuccess(t *testing.T) {
	t.Attr("fault", "2")
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 4*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.addNode("boot-of-another")
		s.node.Ready = "Unknown"
		s.policy = true // the kubelet may not write
		r, err := start()
		wanted{reason: JoinFailed, joins: -1, restarts: -1}.check(t, r, err)
		if !strings.Contains(r.Message+r.LastError, "boot-of-another") {
			t.Errorf("message %q, last error %q: whose Node is it?", r.Message, r.LastError)
		}
	})
}

// The taints that follow a dead Node's condition go by themselves.
func TestOnlyTaintsThatStayAreWarnedOf(t *testing.T) {
	t.Attr("fault", "2")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode("boot-of-another")
		s.node.Ready = "Unknown"
		s.node.Taints = []string{"node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 0 {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
}

// The API server is the last to come back after a power cut.
func TestRebootedHostWaitsForTheAPIServerAndThenForItsKubelet(t *testing.T) {
	t.Attr("fault", "3")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node.BootID, s.node.Ready = "boot-before", "Unknown"
		s.down = true
		s.after(3*time.Minute, func() { s.down = false })
		s.after(3*time.Minute+20*time.Second, func() { s.node.BootID, s.node.Ready = simBoot, "True" })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
	})
}

// The kubelet did not start at boot; starting it is enough.
func TestRebootedHostWhoseKubeletDoesNotRunGetsItStarted(t *testing.T) {
	t.Attr("fault", "3")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.running, s.node.BootID = false, "boot-before"
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(t, r, err)
	})
}

func TestClonedImageWithTheSameNameIsRefusedTheName(t *testing.T) {
	t.Attr("fault", "4")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.cloneOf("w1")
		r, err := start()
		wanted{reason: NameTaken}.check(t, r, err)
		took(t, r, 0, 30*time.Second) // its Lease is renewed every 10 s
	})
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.cloneOf("w1")
		s.leaseless = true
		s.after(4*time.Minute, s.twinReports)
		r, err := start()
		wanted{reason: NameTaken}.check(t, r, err)
		took(t, r, 4*time.Minute, 4*time.Minute+20*time.Second)
	})
}

func TestClonedImageIsNotResetAgainstTheUsersWord(t *testing.T) {
	t.Attr("fault", "4")
	simulate(t, func(c *Config) { c.Reset = ResetNever }, func(s *sim, start func() (Report, error)) {
		s.cloneOf("golden")
		s.hideFromToken = true
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
		if !strings.Contains(r.Message, "cloned image") {
			t.Errorf("message %q", r.Message)
		}
	})
}

// Evidence for a reset does not outweigh what the reset would delete.
func TestClonedImageWithStaticPodsIsRefused(t *testing.T) {
	t.Attr("fault", "4")
	t.Attr("fault", "8")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.cloneOf("golden")
		s.disk.StaticPods = []string{"/etc/kubernetes/manifests/proxy.yaml"}
		s.hideFromToken = true
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
		if !strings.Contains(r.Message, "proxy.yaml") {
			t.Errorf("message %q", r.Message)
		}
	})
}

// The kubelet moves into a Node made by hand minutes later.
func TestNodeMadeByHandBecomesOursWithTheKubeletsFirstPost(t *testing.T) {
	t.Attr("fault", "6")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.node.BootID, s.node.Ready = "", ""
		s.after(40*time.Second, func() { s.node.BootID, s.node.Ready = simBoot, "True" })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		took(t, r, 40*time.Second, 45*time.Second)
	})
}

// A machine may become a control-plane host while nodejoin waits for the API server.
func TestHostThatBecomesAControlPlaneMeanwhileIsNotReset(t *testing.T) {
	t.Attr("fault", "7")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}}
		s.down = true
		s.after(time.Minute, func() {
			s.down, s.disk.ControlPlane = false, "/etc/kubernetes/manifests/kube-apiserver.yaml"
		})
		r, err := start()
		wanted{reason: Refused}.check(t, r, err)
	})
}

// Without a pin the endpoint itself may show that it is another cluster's.
func TestCredentialsOfAnotherClusterAreRefusedByTheEndpointsCertificate(t *testing.T) {
	t.Attr("fault", "8")
	for reset, want := range map[ResetMode]wanted{
		ResetAuto: {reason: Refused}, ResetNever: {reason: Refused}, ResetAlways: {reason: Joined, joins: 1, resets: 1},
	} {
		simulate(t, func(c *Config) { c.Reset = reset }, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.joined()
			s.node, s.stranger = nil, true // it lives in the other cluster
			r, err := start()
			want.check(t, r, err)
		})
	}
}
