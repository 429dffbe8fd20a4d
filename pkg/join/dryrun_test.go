package join

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

func TestADryRunTellsTheFirstActAndTouchesNothing(t *testing.T) {
	for name, story := range map[string]struct {
		prepare func(*sim)
		reason  Reason
		says    []string
		most    time.Duration
	}{
		"a clean host": {func(*sim) {}, WouldJoin, []string{"dry run: would run kubeadm join as Node \"w1\""}, time.Second},
		"leftovers": {func(s *sim) {
			s.disk.Leftovers = []string{"/etc/kubernetes/pki/ca.crt"}
		}, WouldJoin, []string{"would run kubeadm reset and then kubeadm join", "without credentials that load: /etc/kubernetes/pki/ca.crt"}, time.Second},
		"an unfinished join": {func(s *sim) { s.unfinished(clusterCA) }, WouldJoin,
			[]string{"would take away what a join that never got to a certificate has left", "run kubeadm join as Node \"w1\"", clusterCA}, time.Second},
		"a deleted Node": {func(s *sim) {
			s.joined()
			s.node = nil
		}, WouldJoin, []string{"would restart the kubelet", `no Node "w1"`}, 2 * time.Second},
		"a member": {func(s *sim) { s.joined() }, AlreadyJoined, []string{"nothing would be done"}, time.Second},
		"a control plane that is down": {func(s *sim) { s.down = true }, Unreachable,
			[]string{"dry run: would wait, up to 30m0s in all", "the API server does not answer", "connection refused"}, 11 * time.Second},
		"our request is pending": {func(s *sim) {
			s.disk.Leftovers, s.disk.KubeletConf, s.running = []string{"/etc/kubernetes/kubelet.conf"}, true, true
			s.request = &cluster.Request{Name: "csr-1", Pending: true}
		}, JoinFailed, []string{"would wait", "csr-1", "pending"}, 11 * time.Second},
		"a control-plane host": {func(s *sim) { s.disk.ControlPlane = "/etc/kubernetes/manifests/kube-apiserver.yaml" }, Refused,
			[]string{"this is a control-plane host"}, time.Second},
		"static pods beside leftovers": {func(s *sim) {
			s.disk.Leftovers, s.disk.StaticPods = []string{"/etc/kubernetes/pki/ca.crt"}, []string{"/etc/kubernetes/manifests/proxy.yaml"}
		}, Refused, []string{"proxy.yaml"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(c *Config) { c.DryRun = true }, func(s *sim, start func() (Report, error)) {
				story.prepare(s)
				s.disk.BootstrapConf = true
				r, err := start()
				if r.Reason != story.reason || (err == nil) != (story.reason == WouldJoin || story.reason == AlreadyJoined) {
					t.Fatalf("%s (%s), error %v", r.Reason, r.Message, err)
				}
				for _, words := range story.says {
					if !strings.Contains(r.Message, words) {
						t.Errorf("nothing says %q: %s", words, r.Message)
					}
				}
				if len(s.log) > 0 || !s.disk.BootstrapConf {
					t.Errorf("a dry run did %v, bootstrap-kubelet.conf is there: %t", s.log, s.disk.BootstrapConf)
				}
				if r.Counts != (Counts{}) || len(r.Attempts) > 0 {
					t.Errorf("it counts %+v, attempts %+v", r.Counts, r.Attempts)
				}
				took(t, r, 0, story.most)
			})
		})
	}
}

func TestEventsTellSinceWhenAndForHowLong(t *testing.T) {
	var events []Event
	watch := func(c *Config) {
		c.Timeout = 20 * time.Minute
		c.Observe = func(e Event) { events = append(events, e) }
	}
	simulate(t, watch, func(s *sim, start func() (Report, error)) {
		s.down = true
		s.after(time.Minute, func() { s.down = false })
		began := time.Now()
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		seen := map[Phase]bool{}
		for _, e := range events {
			seen[e.Phase] = true
			var want time.Duration
			switch e.Phase {
			case Discover:
				want = 20 * time.Minute // as --timeout
				if e.Since.Sub(began) > time.Second {
					t.Errorf("discover began at %s", e.Since.Sub(began))
				}
			case Hold:
				want = e.Since.Sub(began) + 60*time.Second
			case Join:
				want = e.Since.Sub(began) + 6*time.Minute
			default:
				continue
			}
			if got := e.Until.Sub(began); (got-want).Abs() > time.Second || e.Wait != strings.Contains(e.Message, "waiting:") {
				t.Errorf("%s: until %s, wanted %s; wait %t: %s", e.Phase, got, want, e.Wait, e.Message)
			}
		}
		if !seen[Discover] || !seen[Join] || !seen[Hold] {
			t.Errorf("events of %v", seen)
		}
	})
}

func TestAnInterruptedRunSaysWhatItLeaves(t *testing.T) {
	for name, story := range map[string]struct {
		prepare func(*sim)
		after   time.Duration
		says    string
	}{
		"while waiting": {func(s *sim) { s.down = true }, 5 * time.Second, "stopped in phase discover; not joined: nothing is left to clean up"},
		"amid kubeadm join": {func(s *sim) {
			s.join = func(ctx context.Context) error {
				s.change(func() { s.disk.Leftovers = []string{"/etc/kubernetes/pki/ca.crt"} })
				<-ctx.Done()
				return context.Cause(ctx)
			}
		}, 5 * time.Second, "stopped in phase join; not joined: kubeadm was ended and left /etc/kubernetes/pki/ca.crt"},
		"amid the hold": {func(*sim) {}, 10 * time.Second, `stopped in phase hold; Node "w1" is a member (UID uid-1), the hold was not over`},
		"with credentials, and no Node": {func(s *sim) { s.joined(); s.node, s.policy = nil, true }, 10 * time.Second,
			"stopped in phase verify; the kubelet has credentials, but its Node was not seen"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, nil, func(s *sim, start func() (Report, error)) {
				story.prepare(s)
				time.AfterFunc(story.after, s.interrupt)
				r, err := start()
				if r.Reason != Interrupted || err == nil || !strings.Contains(r.Message, story.says) {
					t.Errorf("%s: %s (%v)", r.Reason, r.Message, err)
				}
			})
		})
	}
}
