package join

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
)

// live is a story in which kubelets report, controllers look, and pods live here.
func live(t *testing.T, change func(*Config), story func(s *sim, start func() (Report, error))) {
	t.Helper()
	simulate(t, change, func(s *sim, start func() (Report, error)) {
		over := make(chan struct{})
		defer close(over)
		s.live(over)
		s.ready = true
		story(s, start)
	})
}

// untouched: the pods live, and the kubelet's process is the one that ran before.
func (s *sim) untouched(life int) {
	s.t.Helper()
	if s.pods != 2 || s.life != life || !s.running {
		s.t.Errorf("%d pods live, the kubelet's process is %d, was %d (runs: %t); done: %v", s.pods, s.life, life, s.running, s.log)
	}
}

func says(t *testing.T, r Report, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.Message+"; "+r.Hint, w) {
			t.Errorf("message %q, hint %q: nothing says %q", r.Message, r.Hint, w)
		}
	}
}

func TestTornFilesOfAKubeletThatRunsUnderAnotherNameAreNoReasonForAReset(t *testing.T) { // A1
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.override = "w1x"
		s.joined()
		s.torn = errTorn
		life := s.life
		r, err := start()
		wanted{reason: Refused}.check(s.t, r, err)
		says(s.t, r, "w1x", "--hostname-override=w1x")
		s.untouched(life)
	})
}

func TestDeletedNodeUnderAnotherNameComesBackByOneRestart(t *testing.T) { // A2
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.override = "w1x"
		s.joined()
		s.deleteNode()
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(s.t, r, err)
		if s.pods != 2 || s.node.Name != "w1x" {
			s.t.Errorf("%d pods, Node %s", s.pods, s.node.Name)
		}
	})
}

func TestCredentialsThatAreNotUnderstoodAreNotThrownAway(t *testing.T) { // A3
	for name, begins := range map[string]struct {
		override string
		begin    func(*sim)
		want     wanted
	}{
		"a member":                       {"", func(*sim) {}, wanted{reason: AlreadyJoined}},
		"the Node is gone":               {"", func(s *sim) { s.deleteNode() }, wanted{reason: Recovered, restarts: 1}},
		"under another name":             {"w1x", func(*sim) {}, wanted{reason: Refused}},
		"under another name, and gone":   {"w1x", func(s *sim) { s.deleteNode() }, wanted{reason: Refused}},
		"gone, and it does not register": {"", func(s *sim) { s.deleteNode(); s.mute = true }, wanted{reason: Refused, restarts: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.override = begins.override
				s.joined()
				s.torn = s.oddConf()
				begins.begin(s)
				r, err := start()
				begins.want.check(s.t, r, err)
				if s.pods != 2 {
					s.t.Errorf("%d pods", s.pods)
				}
				if r.Reason == Refused {
					says(s.t, r, "failed to parse private key")
				}
			})
		})
	}
}

func TestKubeletThatARestartBringsIntoACrashLoopIsAPersonsJob(t *testing.T) { // A4
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.deleteNode()
		s.dies = "unknown flag: --gone"
		r, err := start()
		wanted{reason: HostUnfit, restarts: 1}.check(s.t, r, err)
		says(s.t, r, "unknown flag: --gone")
		took(s.t, r, 0, time.Minute)
		if s.pods != 2 {
			s.t.Errorf("%d pods", s.pods)
		}
	})
}

func TestNodeThatComesBackWhileATokenIsFetchedOutweighsTheEvidence(t *testing.T) { // A5
	for name, late := range map[string]func(*sim){
		"slow token": func(s *sim) { s.slow = 26 * time.Second }, "cold kubeadm": func(s *sim) { s.fitTakes = 26 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.override = "w1x"
				s.joined()
				s.deleteNode()
				s.mute = true
				late(s)
				s.after(70*time.Second, func() { s.mute = false })
				r, err := start()
				wanted{reason: Recovered, restarts: -1}.check(s.t, r, err)
				if s.pods != 2 {
					s.t.Errorf("%d pods", s.pods)
				}
			})
		})
	}
}

func TestContainerWithTheNameOfALivingOneUnderOneKernelIsRefusedTheName(t *testing.T) { // A6
	for name, hear := range map[string]time.Duration{"its network plugin is late": 0, "Ready": time.Hour} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.neighbourComes(neighbour{simBoot, "machine-of-another", "w1"})
				if hear == 0 {
					s.node.Ready = "False"
				}
				r, err := start()
				wanted{reason: NameTaken}.check(s.t, r, err)
			})
		})
	}
}

func TestCopyOfAJoinedContainerJoinsUnderItsOwnName(t *testing.T) { // A7
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.clone(neighbour{simBoot, "machine-of-golden", "golden"})
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(s.t, r, err)
		if s.node.Name != "w1" {
			s.t.Errorf("Node %s", s.node.Name)
		}
	})
}

func TestClusterCAThatIsThereAlreadyCostsNoReset(t *testing.T) { // A8
	for name, foreign := range map[string][]string{"alone": nil, "beside another's": {"/etc/kubernetes/pki/corp.crt"}} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.caFile = simCA
				s.disk = host.Disk{Leftovers: []string{clusterCA}, ForeignFiles: foreign}
				s.join = s.joinsBesideCA
				r, err := start()
				wanted{reason: Joined, joins: 1}.check(s.t, r, err)
			})
		})
	}
}

func TestControlPlaneUnderRepairIsRefusedWhateverTheUserSays(t *testing.T) { // A9
	for _, reset := range []ResetMode{ResetAuto, ResetAlways} {
		live(t, func(c *Config) { c.Reset = reset }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.creds, s.disk.KubeletConf, s.disk.ControlPlane = nil, false, "/etc/kubernetes/pki/ca.key"
			r, err := start()
			wanted{reason: Refused}.check(s.t, r, err)
		})
	}
	t.Run("an administrator's file alone", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.disk.AdminConf = true
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(s.t, r, err)
		})
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.disk = host.Disk{AdminConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}
			r, err := start()
			wanted{reason: Refused}.check(s.t, r, err)
		})
	})
}

func TestClientCAThatForgetsTheKubeletsIsNoReasonForAReset(t *testing.T) { // A10
	live(t, func(c *Config) { c.Timeout = 15 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.joined()
		life := s.life
		s.refuses = true
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		says(s.t, r, "--client-ca-file")
		s.untouched(life)
		if s.node.Ready != "Unknown" {
			s.t.Error("the 401 did not make the Node Unknown")
		}
	})
	t.Run("unless its certificate has expired, its Node is gone, and no kubelet can bootstrap here", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.expire()
			s.deleteNode()
			s.disk.Configured = false
			r, err := start()
			wanted{reason: Joined, joins: 1, resets: 1}.check(s.t, r, err)
			if r.Counts.PodsAtReset != 2 {
				s.t.Errorf("the report says that %d pods lived here", r.Counts.PodsAtReset)
			}
		})
	})
}

func TestFilesOnADiskThatIsMountedLateAreWaitedFor(t *testing.T) { // A11
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.node.BootID, s.mounts = "boot-before", []string{"/var/lib/kubelet"}
		s.startKubelet()
		s.after(2*time.Minute, func() { s.mounts = nil })
		r, err := start()
		if err != nil || r.Counts.Joins+r.Counts.Resets > 0 || s.pods != 2 {
			s.t.Errorf("%s: %v, %d pods; done: %v", r.Reason, err, s.pods, s.log)
		}
	})
}

func TestSomebodyElsesKubeadmIsWaitedFor(t *testing.T) { // A12
	for name, begins := range map[string]func(*sim){
		"leftovers":      func(s *sim) { s.disk.Leftovers = []string{"/etc/kubernetes/bootstrap-kubelet.conf"} },
		"a clean host":   func(*sim) {},
		"a deleted Node": func(s *sim) { s.joined(); s.deleteNode() },
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				begins(s)
				s.kubeadm = "join"
				s.after(3*time.Minute, func() { s.kubeadm = "" })
				r, err := start()
				if err != nil || time.Duration(r.Duration) < 3*time.Minute {
					s.t.Errorf("%s after %s: %v", r.Reason, time.Duration(r.Duration), err)
				}
			})
		})
	}
}

func TestAdmissionThatRefusesTheNodeIsWaitedFor(t *testing.T) { // A13
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.deleteNode()
		s.policy = true
		s.after(6*time.Minute, func() { s.policy = false })
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(s.t, r, err)
		if s.pods != 2 {
			s.t.Errorf("%d pods", s.pods)
		}
	})
}

// Whether it is refused cannot be read where the kubelet's log goes elsewhere, or the journal gives nothing in time.
func TestKubeletWhoseLogCannotBeReadIsNoReasonForAReset(t *testing.T) { // A13
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.deleteNode()
		s.mute, s.unread = true, true
		s.after(6*time.Minute, func() { s.mute = false })
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(s.t, r, err)
		if s.pods != 2 {
			s.t.Errorf("%d pods", s.pods)
		}
	})
}

// Somebody else is to make its Node; another kubelet on this machine would be told the same.
func TestKubeletThatIsToldNotToRegisterIsNoReasonForAReset(t *testing.T) { // A13
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.deleteNode()
		s.mute, s.aloof = true, "--register-node=false"
		s.after(6*time.Minute, func() { s.mute = false }) // others have made it
		r, err := start()
		wanted{reason: Recovered, restarts: -1}.check(s.t, r, err)
		if s.pods != 2 {
			s.t.Errorf("%d pods", s.pods)
		}
	})
}

// An etcd that was restored has the Node that was deleted, under its old UID.
func TestNodeThatARestoredEtcdHasAgainIsNoReasonForAReset(t *testing.T) {
	for _, back := range []time.Duration{3 * time.Second, 30 * time.Second, 65 * time.Second} {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.ready, s.node.Ready, s.mute, s.unwritable = false, "False", true, true
			s.after(10*time.Second, s.deleteNode)
			s.after(10*time.Second+back, func() { s.mute = false; s.restored() })
			s.slow = 26 * time.Second
			r, err := start()
			wanted{reason: Recovered, restarts: -1, deletions: 1}.check(s.t, r, err)
			if s.pods != 2 || r.Node.UID != "uid-1" {
				s.t.Errorf("%d pods, Node %s", s.pods, r.Node.UID)
			}
		})
	}
}

// A kubelet that somebody started outside its service holds ports and pods: nothing is started beside it.
func TestKubeletOutsideItsServiceIsLeftAlone(t *testing.T) {
	for name, begins := range map[string]struct {
		begin func(*sim)
		want  Reason
	}{
		"a member":          {func(*sim) {}, AlreadyJoined},
		"a deleted Node":    {func(s *sim) { s.deleteNode() }, JoinFailed},
		"torn credentials":  {func(s *sim) { s.torn = errTorn }, Refused},
		"none to be found":  {func(s *sim) { s.creds = nil }, Refused},
		"cannot be read":    {func(s *sim) { s.torn = lostConf }, JoinFailed},
		"none, and no Node": {func(s *sim) { s.creds = nil; s.deleteNode() }, Refused},
		"torn, and the service is in a crash loop": {func(s *sim) { s.torn = errTorn; s.serviceLoops() }, Refused},
		"none, and the service is in a crash loop": {func(s *sim) { s.creds = nil; s.serviceLoops() }, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.stray = true
				life := s.life
				begins.begin(s)
				r, err := start()
				wanted{reason: begins.want}.check(s.t, r, err)
				s.untouched(life)
			})
		})
	}
}

// serviceLoops: the service starts kubelets that end at once, beside the one that runs.
func (s *sim) serviceLoops() {
	s.waiting, s.starts, s.exits = true, s.starts+1, append(s.exits, time.Now(), time.Now())
	s.after(10*time.Second, s.serviceLoops)
}

// Only another machine whose kubelet still reports makes a copy of this one.
func TestCredentialsOfAMachineThatMayBeDeadAreKept(t *testing.T) {
	live(t, func(c *Config) { c.Timeout = 20 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.clone(neighbour{"boot-of-golden", "machine-of-golden", "golden"})
		s.rival = nil
		r, err := start()
		wanted{reason: JoinFailed, restarts: -1}.check(s.t, r, err)
	})
}

// Its pods live on without it, and the cluster has its Node.
func TestTornCredentialsOfAStoppedKubeletWithPodsAreAPersonsJob(t *testing.T) { // A1
	live(t, nil, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.torn, s.disk.Configured = errTorn, false // there is nothing that a kubelet could run with
		s.stopKubelet()
		r, err := start()
		wanted{reason: Refused}.check(s.t, r, err)
		says(s.t, r, "2 pods live here")
	})
}

// Found by a random schedule: what the kubelet was stopped for is a clone's, what is left then looks like no credentials.
func TestCredentialsThatGoWhileTheKubeletIsStoppedAreAPersonsJob(t *testing.T) { // A1
	live(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.override = "w1x"
		s.change(func() { beginnings["a Node that does not come back"](s) })
		s.after(100*time.Millisecond+offBeat(0), func() { faults["another container takes our name"](s) })
		s.after(200*time.Millisecond+offBeat(1), func() { faults["kubelet.conf is lost"](s) })
		r, err := start()
		wanted{reason: Refused, restarts: -1}.check(s.t, r, err)
	})
}

// Found by a random schedule: a kubelet that was stopped for another reset and started again says why it cannot register, too.
func TestWhyAKubeletThatWasStartedAgainCannotRegisterIsRead(t *testing.T) { // A1
	live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.change(func() { beginnings["a clone of a dead machine"](s) })
		s.after(100*time.Millisecond+offBeat(0), func() { s.deleteNode() })
		s.after(300*time.Millisecond+offBeat(1), func() { s.policy = true })
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		says(s.t, r, refusedByPolicy)
	})
}
