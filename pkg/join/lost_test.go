package join

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// lostFiles are those that a join was given and that are not there any more.
var lostFiles = map[string]func(*Config){
	"--config": func(c *Config) {
		c.Endpoint, c.UnsafeSkipCAVerification, c.Token, c.ConfigFile = "", false, Token{}, "/nowhere/join.yaml"
	},
	"--discovery-file": func(c *Config) {
		c.Endpoint, c.UnsafeSkipCAVerification, c.DiscoveryFile = "", false, "/nowhere/discovery.conf"
	},
}

// lost tells a story for each of them, with the arguments of the join.
func lost(t *testing.T, change func(*Config), story func(s *sim, flag string, start func() (Report, error))) {
	t.Helper()
	for flag, without := range lostFiles {
		t.Run(flag, func(t *testing.T) {
			live(t, func(c *Config) {
				without(c)
				if change != nil {
					change(c)
				}
			}, func(s *sim, start func() (Report, error)) { story(s, flag, start) })
		})
	}
}

func TestMemberNeedsNoFileThatItsJoinNeeded(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		with   func(*sim)
		want   wanted
	}{
		"a member":                   {want: wanted{reason: AlreadyJoined}},
		"in a dry run":               {change: func(c *Config) { c.DryRun = true }, want: wanted{reason: AlreadyJoined}},
		"deleted":                    {with: func(s *sim) { s.after(10*time.Second, s.deleteNode) }, want: wanted{reason: Recovered, deletions: 1, back: 1}},
		"deleted before":             {with: func(s *sim) { s.deleteNode() }, want: wanted{reason: Recovered, restarts: 1}},
		"whose kubelet was stopped":  {with: func(s *sim) { s.stopKubelet() }, want: wanted{reason: Recovered, restarts: 1}},
		"refused for a moment":       {with: func(s *sim) { s.refuses = true; s.after(17*time.Second, func() { s.refuses = false }) }, want: wanted{reason: AlreadyJoined}},
		"whose server is slow to be": {with: func(s *sim) { s.down = true; s.after(5*time.Minute, func() { s.down = false }) }, want: wanted{reason: AlreadyJoined}},
	} {
		t.Run(name, func(t *testing.T) {
			lost(t, c.change, func(s *sim, _ string, start func() (Report, error)) {
				s.joined()
				s.setReady(false)
				if c.with != nil {
					c.with(s)
				}
				r, err := start()
				c.want.check(s.t, r, err)
			})
		})
	}
}

// Where a join or the like would be next, the file is named, and nothing touched.
func TestWhoNeedsAFileThatIsGoneIsToldSoBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Config)
		with     func(*sim)
		restarts int
	}{
		"no member":                      {with: func(s *sim) { s.creds, s.disk.KubeletConf = nil, false }},
		"torn credentials":               {with: func(s *sim) { s.torn = errTorn }},
		"credentials of an unknown kind": {with: func(s *sim) { s.torn = &cluster.NotUnderstoodError{NodeName: "w1"} }},
		"to be reset":                    {change: func(c *Config) { c.Reset = ResetAlways }},
		"a certificate past its end":     {with: func(s *sim) { s.stopKubelet(); s.creds.NotAfter = time.Now().Add(-time.Hour); s.refuses = true }},
		"a Node that stays away":         {with: func(s *sim) { s.deleteNode(); s.mute = true }, restarts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			lost(t, c.change, func(s *sim, flag string, start func() (Report, error)) {
				s.joined()
				if c.with != nil {
					c.with(s)
				}
				r, err := start()
				wanted{reason: Usage, restarts: c.restarts}.check(s.t, r, err)
				says(s.t, r, flag+": open /nowhere/", "no such file")
				for _, did := range s.log {
					if did != "restart kubelet" {
						s.t.Errorf("done: %v", s.log)
					}
				}
			})
		})
	}
}

// What is in a file is never passed over, and what a file is needed for is said at once where there is no member.
func TestConfigThatIsGoneIsNoValidOne(t *testing.T) {
	for flag, without := range lostFiles {
		c := Defaults()
		without(&c)
		var e *Error
		if err := c.Validate(); !errors.As(err, &e) || e.Reason != Usage || !strings.HasPrefix(e.Message, flag+": open /nowhere/") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	c := Defaults()
	c.ConfigFile = filepath.Join(t.TempDir(), "join.yaml")
	if err := os.WriteFile(c.ConfigFile, []byte("kind: Other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.plan(); err == nil {
		t.Error("a malformed one was passed over")
	}
	c.ConfigFile = t.TempDir()
	if _, err := c.plan(); err == nil {
		t.Error("a folder was passed over")
	}
}

// A token in the kubelet's kubeconfig stands for its certificate; whose it is the kubelet's arguments say.
func TestMemberWhoseConfigIsGoneKeepsTheNameThatItHas(t *testing.T) {
	for name, c := range map[string]struct {
		conf  string
		named string
		want  string // of the Node, or the error
	}{
		"no credentials":       {want: "--config: open /nowhere/join.yaml"},
		"credentials":          {conf: tokenConf, want: "named"},
		"another name by flag": {conf: tokenConf, named: "other", want: "other"},
		"torn credentials":     {conf: "{", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := machineOf(t.TempDir(), host.KubeletArgs{HostnameOverride: "named"})
			put(t, m.Path("/proc/self/mountinfo"), "")
			if c.conf != "" {
				put(t, m.Path(kubeletConf), c.conf)
			}
			config := Defaults()
			lostFiles["--config"](&config)
			config.NodeName = c.named
			var err error
			if m.plan, err = config.plan(); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := m.goWithout(); err != nil {
				got = err.Error()
			} else if got = m.plan.NodeName; got != m.name && c.named == "" {
				t.Errorf("name %q and %q", got, m.name)
			}
			if _, err := cluster.NewDiscoverer(cluster.Source{File: m.plan.DiscoveryFile, Endpoint: m.plan.Endpoint}); err != nil {
				t.Error(err)
			}
			if got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("%q, wanted %q", got, c.want)
			}
		})
	}
}

var tokenConf = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://cp:6443", certificate-authority-data: ` + base64.StdEncoding.EncodeToString(simCA) + `}}]
users: [{name: u, user: {token: abc}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
