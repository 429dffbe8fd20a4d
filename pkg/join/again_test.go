package join

import (
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// Whose credentials are gone or useless gets others in place: no reset, the same Node, and its pods live.
func TestKubeletBootstrapsAgainInPlace(t *testing.T) {
	for name, begin := range map[string]func(*sim){
		"its certificate has expired":           func(s *sim) { s.expire() },
		"it has expired, and the host rebooted": func(s *sim) { s.expire(); s.node.BootID, s.node.Ready = "boot-before", "Unknown"; s.startKubelet() },
		"kubelet.conf is torn, and the kubelet has ended": func(s *sim) {
			s.torn = errTorn
			s.stopKubelet()
		},
		"kubelet.conf is gone, and the kubelet crashes": func(s *sim) {
			s.creds = nil
			s.end(false)
			s.startKubelet()
		},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(true)
				begin(s)
				r, err := start()
				wanted{reason: Recovered, again: 1, restarts: -1}.check(s.t, r, err)
				took(s.t, r, 0, 90*time.Second)
				if s.pods != 2 || s.node.UID != "uid-1" || s.aside != nil || s.disk.BootstrapConf {
					s.t.Errorf("%d pods, Node %s, aside %v, bootstrap-kubelet.conf %t", s.pods, s.node.UID, s.aside, s.disk.BootstrapConf)
				}
			})
		})
	}
}

// What a person has to approve is waited for; what was refused is put back as it was.
func TestBootstrapThatIsNotApproved(t *testing.T) {
	t.Run("approved late", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.setReady(true)
			s.expire()
			s.manual = true
			s.after(3*time.Minute, s.approve)
			r, err := start()
			wanted{reason: Recovered, again: 1}.check(s.t, r, err)
		})
	})
	t.Run("denied", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.setReady(true)
			s.expire()
			old := s.creds
			s.manual = true
			s.after(2*time.Minute, s.deny)
			r, err := start()
			wanted{reason: JoinFailed, again: 1, restarts: 1}.check(s.t, r, err)
			says(s.t, r, "was denied", "another token")
			if s.creds != old || s.held != nil && s.held != old || s.pods != 2 {
				s.t.Errorf("credentials %+v, the kubelet's %+v, %d pods", s.creds, s.held, s.pods)
			}
			if s.csrs != 1 {
				s.t.Errorf("the kubelet has asked %d times", s.csrs)
			}
		})
	})
	for name, begin := range map[string]func(*sim){
		"expired, denied, and then there is another token": (*sim).expire,
		"gone, denied, and then there is another token":    func(s *sim) { s.creds = nil; s.stopKubelet() },
	} {
		t.Run(name, func(t *testing.T) {
			live(t, func(c *Config) { c.Token = Token{Command: "some source"} }, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(true)
				begin(s)
				s.manual = true
				s.source = func() string {
					if s.second {
						return simToken2
					}
					return simToken
				}
				s.after(2*time.Minute, s.deny)
				s.after(4*time.Minute, func() { s.second, s.manual = true, false })
				r, err := start()
				wanted{reason: Recovered, again: 2, restarts: 1}.check(s.t, r, err)
				took(s.t, r, 4*time.Minute, 5*time.Minute)
			})
		})
	}
	t.Run("one of before was denied", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.setReady(true)
			s.expire()
			s.request = &cluster.Request{Name: "csr-0", Denied: true, Message: "not on this network"}
			r, err := start()
			wanted{reason: Recovered, again: 1}.check(s.t, r, err)
		})
	})
	t.Run("no certificate comes", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 4 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.setReady(true)
			s.expire()
			old := s.creds
			s.asksForNothing = true
			r, err := start()
			wanted{reason: JoinFailed, again: -1}.check(s.t, r, err)
			if s.creds != old || s.pods != 2 || len(s.restarts) > 0 {
				s.t.Errorf("credentials %+v, %d pods, the kubelet was restarted at %s", s.creds, s.pods, s.restarts)
			}
		})
	})
}

// Whoever ends a run while a kubelet bootstraps finds the machine as it was; but a request that is pending keeps its key.
func TestBootstrapThatARunLeavesBehind(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(*sim)
		back  bool
	}{
		"no request was made":  {func(s *sim) { s.asksForNothing = true }, true},
		"a request is pending": {func(s *sim) { s.manual = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, nil, func(s *sim, start func() (Report, error)) {
				s.joined()
				s.setReady(true)
				s.expire()
				old := s.creds
				c.begin(s)
				s.after(85*time.Second, s.interrupt)
				r, err := start()
				wanted{reason: Interrupted, again: 1}.check(s.t, r, err)
				if c.back && s.creds != old || !c.back && (s.creds != nil || s.aside != old) || s.disk.BootstrapConf {
					s.t.Errorf("credentials %+v, aside %+v, bootstrap-kubelet.conf %t", s.creds, s.aside, s.disk.BootstrapConf)
				}
			})
		})
	}
}

// Another cluster's word, or none, does not count.
func TestKubeletBootstrapsInItsOwnClusterOnly(t *testing.T) {
	t.Run("the Node is another machine's", func(t *testing.T) {
		live(t, func(c *Config) { c.Timeout = 5 * time.Minute }, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.expire()
			s.node.MachineID, s.node.Ready = "machine-of-another", "Unknown"
			r, err := start()
			if r.Counts.Bootstraps > 0 {
				s.t.Errorf("%+v, %v", r.Counts, err)
			}
		})
	})
	t.Run("the endpoint is another cluster's", func(t *testing.T) {
		live(t, nil, func(s *sim, start func() (Report, error)) {
			s.joined()
			s.expire()
			s.stranger = true
			r, err := start()
			wanted{reason: Refused}.check(s.t, r, err)
		})
	})
}
