package join

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// busyWorld asks everybody who shows the token to come back later.
type busyWorld struct {
	*sim
	byNode bool // it says so where it is asked for the Node, not for cluster-info
	asked  []time.Time
}

func (w *busyWorld) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	if w.byNode {
		return w.sim.Probe(ctx, token, bearer)
	}
	w.asked = append(w.asked, time.Now())
	return cluster.Probe{Err: errors.New("429"), RetryAfter: 45 * time.Second}
}

func (w *busyWorld) AskWithToken(context.Context, *cluster.Credentials, string) cluster.Sighting {
	w.asked = append(w.asked, time.Now())
	return cluster.Sighting{Err: errors.New("429"), RetryAfter: 45 * time.Second}
}

// The kubelet is refused, and the token is shown for a second opinion: no more often than the API server wants.
func TestRetryAfterIsObeyedBySecondOpinions(t *testing.T) {
	for name, byNode := range map[string]bool{"cluster-info": false, "the Node": true} {
		var w *busyWorld
		simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = 5*time.Minute, 0 },
			func(s *sim) world { w = &busyWorld{sim: s, byNode: byNode}; return w },
			func(s *sim) { s.joined(); s.refuses = true },
			func(Report, error) {
				for i := 1; i < len(w.asked); i++ {
					if d := w.asked[i].Sub(w.asked[i-1]); d < 45*time.Second || d > 50*time.Second {
						t.Errorf("%s: asked again after %s, wanted 45s", name, d)
					}
				}
				if len(w.asked) < 3 {
					t.Errorf("%s: asked %d times in five minutes", name, len(w.asked))
				}
			})
	}
}

// What everybody can read is no secret, wherever it is kept.
func TestFilesWithSecretsThatEverybodyCanReadAreNamed(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, content string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	discovery := func(user string) string {
		return "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: \"https://cp:6443\"}\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\nusers:\n- name: u\n  user: {" + user + "}\n"
	}
	config := func(discovery string) string {
		return "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ndiscovery: {" + discovery + "}\n"
	}
	const bootstrap = "bootstrapToken: {apiServerEndpoint: \"cp:6443\", unsafeSkipCAVerification: true}"
	for name, c := range map[string]struct {
		config Config
		flag   string // that the warning names; none: no warning
	}{
		"token file":            {Config{Token: Token{File: write("token", 0o644, simToken)}}, "--token-file"},
		"token file, own":       {Config{Token: Token{File: write("token600", 0o600, simToken)}}, ""},
		"with a token":          {Config{DiscoveryFile: write("d1", 0o644, discovery("token: "+simToken))}, "--discovery-file"},
		"with a password":       {Config{DiscoveryFile: write("d2", 0o604, discovery("username: a, password: b"))}, "--discovery-file"},
		"with a key":            {Config{DiscoveryFile: write("d3", 0o644, discovery("client-key-data: a2V5"))}, "--discovery-file"},
		"with a token, own":     {Config{DiscoveryFile: write("d4", 0o600, discovery("token: "+simToken))}, ""},
		"with a key elsewhere":  {Config{DiscoveryFile: write("d5", 0o644, discovery("client-key: /etc/key"))}, ""},
		"without credentials":   {Config{DiscoveryFile: write("d6", 0o644, discovery("")), TLSBootstrapToken: simToken}, ""},
		"at a URL":              {Config{DiscoveryFile: "https://example/d"}, ""},
		"config with a token":   {Config{ConfigFile: write("c1", 0o644, config("tlsBootstrapToken: "+simToken+", "+bootstrap))}, "--config"},
		"config without tokens": {Config{ConfigFile: write("c2", 0o644, config(bootstrap))}, ""},
	} {
		d := Defaults()
		d.ConfigFile, d.DiscoveryFile, d.Token, d.TLSBootstrapToken = c.config.ConfigFile, c.config.DiscoveryFile, c.config.Token, c.config.TLSBootstrapToken
		if d.ConfigFile == "" && d.DiscoveryFile == "" {
			d.Endpoint, d.UnsafeSkipCAVerification = "cp:6443", true
		}
		p, err := d.plan()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := newRun(p, nil, simID, "w1", func(m string) string { return m })
		r.warnExposed()
		switch warnings := r.tell.report.Warnings; {
		case c.flag == "" && len(warnings) > 0:
			t.Errorf("%s: warns without need: %q", name, warnings)
		case c.flag != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0], c.flag+": everybody on this machine can read the ")):
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

func TestTokenCommandThatNeverWorksEndsWithARemedy(t *testing.T) {
	simulate(t, func(c *Config) { c.Token, c.Timeout = Token{Command: "false"}, 2*time.Minute }, func(s *sim, start func() (Report, error)) {
		s.token = func() (string, error) { return "", errors.New("--token-command: exit status 1: no such parameter") }
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		if !strings.Contains(r.Message, "no such parameter") || !strings.Contains(r.Hint, "run that command by hand") {
			t.Errorf("message %q, hint %q", r.Message, r.Hint)
		}
	})
}

// The endpoint becomes another cluster's while the kubelet is refused: its opinion is none, and our Node is not its to tell of.
func TestSecondOpinionIsNotAnotherClusters(t *testing.T) {
	var w *askedWorld
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = 5*time.Minute, 0 },
		func(s *sim) world { w = &askedWorld{sim: s}; return w },
		func(s *sim) {
			s.joined()
			s.refuses = true
			s.after(4*time.Second, func() { s.stranger = true })
		},
		func(r Report, err error) {
			wanted{reason: Refused}.check(t, r, err)
			if w.shown > 1 { // once before it became another's
				t.Errorf("the token was shown %d times", w.shown)
			}
		})
}
