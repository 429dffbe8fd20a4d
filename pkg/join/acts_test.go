package join

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// Rule 2: before a reset the run has said how many pods live here, and the report keeps it.
func TestPodsAreSaidBeforeAResetAndKept(t *testing.T) {
	var said []string
	tell := func(c *Config) {
		c.Observe = func(e Event) { said = append(said, e.Message+"; "+e.Hint) }
	}
	live(t, tell, func(s *sim, start func() (Report, error)) {
		s.joined()
		s.expire()
		s.deleteNode()
		s.disk.Configured = false
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(s.t, r, err)
		if r.Counts.PodsAtReset != 2 {
			s.t.Errorf("the report says that %d pods lived here", r.Counts.PodsAtReset)
		}
		if !slices.ContainsFunc(said, func(line string) bool {
			return strings.Contains(line, "running kubeadm reset") && strings.Contains(line, "2 pods live here, and a reset ends them")
		}) {
			s.t.Errorf("nothing says how many pods the reset ends: %q", said)
		}
	})
}

// Whoever is stopped to see whether another machine lives is started again, however the run ends.
func TestKubeletThatWasStoppedIsStartedAgainAtTheRunsEnd(t *testing.T) {
	clone := func(s *sim) {
		s.clone(neighbour{"boot-of-golden", "machine-of-golden", "golden"})
		s.rival = nil
	}
	live(t, nil, func(s *sim, start func() (Report, error)) {
		clone(s)
		s.after(2*time.Minute, s.interrupt)
		r, err := start()
		wanted{reason: Interrupted}.check(s.t, r, err)
		if !slices.Equal(s.log, []string{"stop kubelet", "start kubelet"}) || !s.running {
			s.t.Errorf("done: %v; the kubelet runs: %t", s.log, s.running)
		}
	})
	live(t, func(c *Config) { c.Timeout, c.Hold = 3*time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		clone(s)
		r, err := start()
		wanted{reason: JoinFailed}.check(s.t, r, err)
		if !slices.Equal(s.log, []string{"stop kubelet", "start kubelet"}) || !s.running {
			s.t.Errorf("done: %v; the kubelet runs: %t", s.log, s.running)
		}
	})
}

// Rule 11: what a source has now, each attempt gets.
func TestTokenIsReadForEveryAttempt(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{Command: "some source"} }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		reads, readsAt := 0, []int{}
		s.token = func() (string, error) { reads++; return simToken, nil }
		s.join = func(context.Context) error {
			readsAt = append(readsAt, reads)
			if len(readsAt) == 3 {
				s.change(s.kubeletJoins)
				return nil
			}
			return errors.New("the runtime is late")
		}
		r, err := start()
		wanted{reason: Joined, joins: 3}.check(t, r, err)
		if !slices.Equal(readsAt, []int{1, 2, 3}) {
			t.Errorf("at the joins it had been read %v times", readsAt)
		}
	})
}

// Rule 2: reset's exit status proves nothing, in either direction.
func TestTheDiskTellsHowAResetWent(t *testing.T) {
	leftover := []string{"/etc/kubernetes/kubelet.conf"}
	for name, c := range map[string]struct {
		left []string
		err  error
		well bool
	}{
		"it says it went well, and it did":    {nil, nil, true},
		"it says it failed, and all is gone":  {nil, errors.New("exit status 1"), true},
		"it says it went well, and it didn't": {leftover, nil, false},
		"it says it failed, and it did":       {leftover, errors.New("exit status 1"), false},
	} {
		s := &sim{t: t}
		s.disk = host.Disk{Leftovers: c.left}
		err := kubeletWorld{sim: s}.run().seeReset(c.err)
		if (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rule 9: kubeadm takes a moment to end, and is not left behind.
func TestRunEndsAfterItsKubeadm(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.join = func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(3 * time.Second)
			return context.Cause(ctx)
		}
		s.after(10*time.Second, s.interrupt)
		r, err := start()
		wanted{reason: Interrupted, joins: 1}.check(t, r, err)
		took(t, r, 13*time.Second, 14*time.Second)
	})
}

// Rule 10: a join that was killed has left a token, which a run takes with it, however it ends. Whoever refuses leaves all as it is.
func TestTokenThatAKilledJoinLeftDoesNotOutliveTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*sim)
		want    Reason
		left    bool
	}{
		"nothing answers":      {func(s *sim) { s.down = true }, Unreachable, false},
		"a control-plane host": {func(s *sim) { s.disk.ControlPlane = "/etc/kubernetes/manifests/kube-apiserver.yaml" }, Refused, true},
	} {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
			s.disk.BootstrapConf, s.disk.Leftovers = true, []string{bootstrapConf}
			c.prepare(s)
			r, err := start()
			wanted{reason: c.want}.check(t, r, err)
			if s.disk.BootstrapConf != c.left {
				t.Errorf("%s: bootstrap-kubelet.conf is there: %t", name, s.disk.BootstrapConf)
			}
		})
	}
}

func TestTokenThatAKilledJoinLeftGoesAsSoonAsTheKubeletNeedsItNoMore(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.tainted = true
		s.joined()
		s.disk.BootstrapConf = true
		s.after(time.Second, func() {
			if s.disk.BootstrapConf {
				t.Error("bootstrap-kubelet.conf is there during the hold")
			}
		})
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
	})
}

// Rule 9: systemd may hang in a restart; it is asked again.
func TestRestartThatHangsIsGivenUp(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.deleteNode()
		s.hangs = map[string]bool{"restart": true}
		s.after(time.Minute, func() { delete(s.hangs, "restart") })
		r, err := start()
		wanted{reason: Recovered, restarts: 1}.check(t, r, err)
		took(t, r, restartTimeout, restartTimeout+10*time.Second)
	})
}

// Rule 13.
func TestLastWordsOfKubeadmAndKubeletTravelWithAFailure(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		s.join = func(context.Context) error {
			return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Tail: []string{"kubeadm's last words"}}
		}
		r, err := start()
		wanted{reason: JoinFailed, joins: -1}.check(t, r, err)
		if !slices.Contains(r.LogTail.Kubeadm, "kubeadm's last words") || !slices.Contains(r.LogTail.Kubelet, "kubelet's last words") {
			t.Errorf("%+v", r.LogTail)
		}
	})
}
