package join

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/ec2"
)

var (
	anInstance  = &ec2.Instance{ID: "i-0123456789abcdef0", Zone: "us-east-1a", PrivateDNSName: "ip-10-0-0-7.ec2.internal"}
	byResource  = &ec2.Instance{ID: "i-0123456789abcdef0", Zone: "us-east-1a", PrivateDNSName: "i-0123456789abcdef0.ec2.internal"}
	errNoAnswer = errors.New("connection refused")
)

func from(source NameSource) func(*Config) { return func(c *Config) { c.NodeNameFrom = source } }
func autoID(c *Config)                     { c.ProviderID = ProviderIDAuto }

func warned(t *testing.T, r Report, words string) {
	t.Helper()
	if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, words) }) {
		t.Errorf("no warning says %q: %q", words, r.Warnings)
	}
}

func TestNodeIsNamedAsEC2KnowsTheInstance(t *testing.T) {
	for want, instance := range map[string]*ec2.Instance{"ip-10-0-0-7.ec2.internal": anInstance, "i-0123456789abcdef0": byResource} {
		simulate(t, from(FromEC2), func(s *sim, start func() (Report, error)) {
			s.ready, s.instance = true, instance
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
			if s.told != (registration{name: want}) || r.Node.Name != want || len(r.Warnings) > 0 {
				t.Errorf("told %+v, report %+v, warnings %q", s.told, r.Node, r.Warnings)
			}
		})
	}
}

func TestNodeGetsTheProviderIDOfTheInstance(t *testing.T) {
	simulate(t, autoID, func(s *sim, start func() (Report, error)) {
		s.ready, s.instance = true, anInstance
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if s.told != (registration{"w1", "aws:///us-east-1a/i-0123456789abcdef0"}) || len(r.Warnings) > 0 {
			t.Errorf("told %+v, warnings %q", s.told, r.Warnings)
		}
	})
}

func TestGivenProviderIDIsTakenAsItIs(t *testing.T) {
	simulate(t, func(c *Config) { c.ProviderID = "gce://p/z/i" }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if s.told.providerID != "gce://p/z/i" || s.asked > 0 {
			t.Errorf("told %+v, EC2 was asked %d times", s.told, s.asked)
		}
	})
}

func TestMachineThatIsNotEC2sGoesWithoutProviderID(t *testing.T) {
	simulate(t, autoID, func(s *sim, start func() (Report, error)) {
		s.ready, s.imds = true, errNoAnswer
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		warned(t, r, "--provider-id auto: this machine is not an EC2 instance")
		took(t, r, 0, 5*time.Second)
		if s.told != (registration{name: "w1"}) || s.asked != 1 {
			t.Errorf("told %+v, asked %d times", s.told, s.asked)
		}
	})
}

func TestNameFromEC2OnAMachineThatIsNotEC2sEndsBeforeAnythingIsTouched(t *testing.T) {
	simulate(t, from(FromEC2), func(s *sim, start func() (Report, error)) {
		s.imds = errNoAnswer
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		took(t, r, 0, time.Second)
		if !strings.Contains(r.Message, "--node-name-from ec2: this machine is not an EC2 instance: connection refused") || len(s.log) > 0 || s.asked != 1 {
			t.Errorf("%s; done: %v; asked %d times", r.Message, s.log, s.asked)
		}
	})
}

func TestLateMetadataServiceOfAnInstanceIsWaitedFor(t *testing.T) {
	simulate(t, func(c *Config) { from(FromEC2)(c); autoID(c) }, func(s *sim, start func() (Report, error)) {
		s.ready, s.ec2, s.imds = true, true, errNoAnswer
		s.after(20*time.Second, func() { s.instance = anInstance })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		took(t, r, 20*time.Second, 25*time.Second)
		if s.told != (registration{"ip-10-0-0-7.ec2.internal", "aws:///us-east-1a/i-0123456789abcdef0"}) {
			t.Errorf("told %+v", s.told)
		}
	})
}

func TestInstanceWithoutMetadataServiceIsWaitedForAndToldOf(t *testing.T) {
	simulate(t, func(c *Config) { autoID(c); c.Timeout = 20 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ec2, s.imds = true, errNoAnswer
		r, err := start()
		wanted{reason: JoinFailed}.check(t, r, err)
		took(t, r, 20*time.Minute, 20*time.Minute)
		if !strings.Contains(r.Hint, "--http-endpoint enabled") || !strings.Contains(r.Hint, "--provider-id aws:///ZONE/INSTANCE") {
			t.Errorf("hint %q", r.Hint)
		}
	})
}

func TestSwitchedOffMetadataIsNotWaitedFor(t *testing.T) {
	simulate(t, autoID, func(s *sim, start func() (Report, error)) {
		s.ec2, s.imds = true, ec2.ErrOff
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		took(t, r, 0, time.Second)
		if !strings.Contains(r.Message, "AWS_EC2_METADATA_DISABLED") {
			t.Errorf("message %q", r.Message)
		}
	})
}

func TestTimeoutEndsTheWaitForTheMetadataService(t *testing.T) {
	simulate(t, func(c *Config) { autoID(c); c.Timeout, c.Hold = 10*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
		s.ec2, s.imds = true, errNoAnswer
		r, _ := start()
		took(t, r, 10*time.Second, 10*time.Second)
		if !strings.Contains(r.Message, "no member after 10s: this is an EC2 instance, but its metadata service does not answer") {
			t.Errorf("message %q", r.Message)
		}
	})
}

func TestMemberNeedsNoAnswerOfEC2s(t *testing.T) {
	simulate(t, func(c *Config) { from(FromEC2)(c); autoID(c) }, func(s *sim, start func() (Report, error)) {
		s.ready, s.ec2, s.imds = true, true, errNoAnswer
		s.joined()
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		if s.asked > 0 || r.Node.Name != "w1" || len(r.Warnings) > 0 {
			t.Errorf("asked %d times, Node %+v, warnings %q", s.asked, r.Node, r.Warnings)
		}
	})
}

func TestRebootedMemberNeedsNoAnswerOfEC2s(t *testing.T) {
	simulate(t, from(FromEC2), func(s *sim, start func() (Report, error)) {
		s.ready, s.ec2, s.imds = true, true, errNoAnswer
		s.joined()
		s.node.BootID = "boot before"
		s.after(10*time.Second, func() { s.node.BootID = simBoot })
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		if s.asked > 0 {
			t.Errorf("asked %d times", s.asked)
		}
	})
}

// Rule 2d compares names, so ours must be known by then.
func TestClonedImageIsFoundOutByTheNameThatEC2Gives(t *testing.T) {
	simulate(t, from(FromEC2), func(s *sim, start func() (Report, error)) {
		s.instance = anInstance
		s.cloneOf("golden")
		s.roomForOurs()
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
		if s.told.name != "ip-10-0-0-7.ec2.internal" {
			t.Errorf("told %+v", s.told)
		}
	})
}

func TestNodeThatIsTakenOverKeepsWhatItHasAndThatIsSaid(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.ProviderID = "testbed://here/w1" }, func(c *Config) { c.NodeLabels = []string{"a=b"} }, func(c *Config) { c.Taints = []string{"a:NoSchedule"} },
	} {
		simulate(t, change, func(s *sim, start func() (Report, error)) {
			s.ready = true
			s.addNode("")
			s.node.Ready = ""
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
			warned(t, r, `a Node "w1" exists and will be taken over with the provider ID, labels and taints that it has`)
		})
		simulate(t, change, func(s *sim, start func() (Report, error)) {
			s.ready = true
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
			if len(r.Warnings) > 0 {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

// The same Node, of the machine that this one replaces under its name: that is no cloned image.
func TestNodeOfOurOwnNameIsNoClonedImage(t *testing.T) {
	simulate(t, from(FromEC2), func(s *sim, start func() (Report, error)) {
		s.ready, s.instance = true, &ec2.Instance{ID: "i-0123456789abcdef0", Zone: "us-east-1a", PrivateDNSName: "w1"}
		s.joined()
		s.node.BootID, s.node.Ready = "boot of the one before", "Unknown"
		s.judge = func(n cluster.Node) bool { return n.BootID != simBoot }
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(t, r, err)
	})
}

func TestMemberIsReportedByItsOwnNameWhileTheServerIsSilent(t *testing.T) {
	simulate(t, func(c *Config) { from(FromEC2)(c); c.Timeout, c.Hold = 5*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.down = true
		r, err := start()
		wanted{reason: Unreachable}.check(t, r, err)
		if r.Node.Name != "w1" {
			t.Errorf("Node %+v", r.Node)
		}
	})
}

func TestNameThatEC2DoesNotKnowIsSaidBeforeTheJoin(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.ec2, s.instance = true, true, anInstance
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		warned(t, r, `the Node will be called "w1", but EC2 knows this instance as "ip-10-0-0-7.ec2.internal" (ID i-0123456789abcdef0)`)
		warned(t, r, "--provider-id auto")
	})
	for what, change := range map[string]func(*Config){
		"EC2 knows it by the name":        func(c *Config) { c.NodeName = "ip-10-0-0-7.ec2.internal" },
		"EC2 knows it by the resource ID": func(c *Config) { c.NodeName = "i-0123456789abcdef0" },
		"it has a provider ID":            func(c *Config) { c.ProviderID = "aws:///us-east-1a/i-0123456789abcdef0" },
	} {
		simulate(t, change, func(s *sim, start func() (Report, error)) {
			s.ready, s.ec2, s.instance = true, true, anInstance
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
			if len(r.Warnings) > 0 {
				t.Errorf("%s: %q", what, r.Warnings)
			}
		})
	}
}

func TestMetadataIsAskedForOnNoOtherMachine(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.instance = true, anInstance
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if s.asked > 0 || len(r.Warnings) > 0 {
			t.Errorf("asked %d times, warnings %q", s.asked, r.Warnings)
		}
	})
}

func TestHintAfterADeletionComparesWithWhatEC2Knows(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		words  string
	}{
		{nil, `named "w1" (hostname `},
		{nil, "--provider-id auto (and --reset=always, since this machine has joined)"},
		{autoID, `(hostname "`},
		{autoID, "so EC2's API does not list the instance yet"},
		{from(FromEC2), "so EC2's API does not list the instance yet, or it lacks the tag kubernetes.io/cluster/ID"},
	} {
		simulate(t, func(conf *Config) {
			conf.MaxDeletions = 1
			if c.change != nil {
				c.change(conf)
			}
		}, func(s *sim, start func() (Report, error)) {
			s.ec2, s.instance = true, anInstance
			for n := range 4 {
				s.after(time.Duration(5+10*n)*time.Second, s.deleteNode)
			}
			r, err := start()
			wanted{reason: KeepsBeingDeleted, joins: 1, back: 1, deletions: 2}.check(t, r, err)
			for _, words := range []string{c.words, `EC2 knows this instance as "ip-10-0-0-7.ec2.internal" (ID i-0123456789abcdef0)`, "DeletingNode"} {
				if !strings.Contains(r.Hint, words) {
					t.Errorf("the hint does not say %q: %s", words, r.Hint)
				}
			}
		})
	}
}

// EC2 lists the instance two minutes late; its controller looks every 5 s. That is within the budget of deletions, with and
// without a provider ID: the real one deletes the Node either way (test/e2e).
func TestTwoMinutesOfEC2sEventualConsistencyAreOutlasted(t *testing.T) {
	for _, change := range []func(*Config){from(FromEC2), autoID} {
		simulate(t, func(c *Config) { change(c); c.Until = Initialized }, func(s *sim, start func() (Report, error)) {
			s.ec2, s.instance, s.tainted = true, anInstance, true
			const late = 2 * time.Minute
			for tick := 5 * time.Second; tick <= late; tick += 5 * time.Second {
				s.after(tick, s.deleteNode)
			}
			s.after(late+time.Second, func() {
				s.tainted = false
				if s.node != nil {
					s.node.Uninitialized = false
				}
			})
			r, err := start()
			wanted{reason: Recovered, joins: 1, back: -1, deletions: -1}.check(t, r, err)
			took(t, r, late, late+Defaults().BackoffMax+Defaults().BackoffMax/4+Defaults().Hold+10*time.Second)
			if n := r.Counts.Deletions; n < 5 || n > Defaults().MaxDeletions || r.Counts.NodesPutBack != n {
				t.Errorf("counts %+v", r.Counts)
			}
		})
	}
}

func TestNodeIsNamedByTheFQDN(t *testing.T) {
	simulate(t, from(FromFQDN), func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.after(10*time.Second, func() { s.fqdn = "W1.example.org" }) // a name server that comes late
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if s.told.name != "w1.example.org" || s.asked > 0 {
			t.Errorf("told %+v", s.told)
		}
	})
	simulate(t, from(FromFQDN), func(s *sim, start func() (Report, error)) {
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		took(t, r, namePatience, namePatience+time.Second)
	})
	simulate(t, from(FromFQDN), func(s *sim, start func() (Report, error)) {
		s.fqdn = "w_1.example.org"
		r, err := start()
		wanted{reason: HostUnfit}.check(t, r, err)
		if !strings.Contains(r.Message, `--node-name-from fqdn: a Node cannot be called "w_1.example.org"`) {
			t.Errorf("message %q", r.Message)
		}
	})
}
