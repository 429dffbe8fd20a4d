package join

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// doorWorld is a sim whose server is seen from outside as it is told.
type doorWorld struct {
	*sim
	door func(*cluster.Doorstep)
	runs error // why the container runtime does not
}

func (w doorWorld) Doorstep(ctx context.Context, server string, ca []byte) cluster.Doorstep {
	d := w.sim.Doorstep(ctx, server, ca)
	if w.door != nil {
		w.door(&d)
	}
	return d
}

func (w doorWorld) Runtime(ctx context.Context) (host.Runtime, error) {
	if w.runs != nil {
		return host.Runtime{}, w.runs
	}
	return w.sim.Runtime(ctx)
}

func TestEachRungSaysHowItIs(t *testing.T) {
	const all = "name look-up dial TLS pin token clock runtime kubelet certificate Node mounts ports kubeadm"
	pinned := func(c *Config) { c.CACertHashes = []string{"sha256:" + strings.Repeat("0", 64)} }
	for name, story := range map[string]struct {
		prepare  func(*sim)
		change   func(*Config)
		door     func(*cluster.Doorstep)
		runs     error
		wrong    string // the rungs that are,
		unseen   string // and that are not seen
		rung     string
		says, do string
	}{
		"a member, without an ENDPOINT": {prepare: (*sim).joined, change: func(c *Config) { c.Endpoint = "" }, unseen: "pin token", rung: "Node", says: "is this machine's"},
		"a fresh machine":               {wrong: "certificate", unseen: "pin", rung: "certificate", says: "has not joined", do: "nodejoin join"},
		"a fresh machine, alone":        {change: func(c *Config) { c.Endpoint = "" }, wrong: "certificate", unseen: "look-up dial TLS pin token clock Node", rung: "look-up", says: "no ENDPOINT"},
		"no name":                       {prepare: func(s *sim) { s.hostname = "localhost" }, wrong: "name certificate", unseen: "pin", rung: "name", says: "localhost", do: "hostnamectl"},
		"an unknown host": {door: func(d *cluster.Doorstep) { d.LookUp = errors.New("no such host") },
			wrong: "look-up certificate", unseen: "dial TLS pin clock", rung: "look-up", says: "no such host", do: "resolv.conf"},
		"a proxy": {door: func(d *cluster.Doorstep) { d.Proxy = "http://p:1" }, wrong: "certificate", unseen: "look-up dial TLS pin clock", rung: "look-up", says: "http://p:1"},
		"down":    {prepare: func(s *sim) { s.down = true }, wrong: "dial certificate", unseen: "TLS pin token clock Node", rung: "dial", says: "refused", do: "firewall"},
		"one of two addresses": {door: func(d *cluster.Doorstep) {
			d.Addresses = append(d.Addresses, "10.0.0.2")
			d.Closed = map[string]error{"10.0.0.2": errors.New("timeout")}
		}, wrong: "certificate", unseen: "pin", rung: "dial", says: "not at every address: timeout"},
		"no TLS": {door: func(d *cluster.Doorstep) { d.Certificate, d.Handshake = nil, errors.New("EOF") },
			wrong: "TLS certificate", unseen: "pin clock", rung: "TLS", says: "EOF"},
		"another name in its certificate": {door: func(d *cluster.Doorstep) {
			d.Stranger = x509.HostnameError{Certificate: &x509.Certificate{}, Host: "cp"}
		},
			wrong: "TLS certificate", unseen: "pin", rung: "TLS", do: "apiServer.certSANs"},
		"another cluster": {prepare: func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.WrongCA, Err: errors.New("another CA")} }, change: pinned,
			wrong: "pin certificate", unseen: "token Node", rung: "pin", says: "another CA", do: "print-join-command"},
		"a refused token": {prepare: func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")} },
			wrong: "token certificate", unseen: "pin Node", rung: "token", says: "does not take our token", do: "kubeadm token create"},
		"no token": {change: func(c *Config) { c.Token.Value = "" }, prepare: func(s *sim) { s.token = func() (string, error) { return "", errNoToken } },
			wrong: "certificate", unseen: "pin token", rung: "token", says: "none was given"},
		"clocks an hour apart":                 {door: func(d *cluster.Doorstep) { d.Ahead = time.Hour }, wrong: "clock certificate", unseen: "pin", rung: "clock", says: "1h0m0s ahead", do: "timedatectl"},
		"a pin and no cluster":                 {change: func(c *Config) { c.Endpoint = ""; pinned(c) }, wrong: "certificate", unseen: "look-up dial TLS pin token clock Node", rung: "pin", says: "no cluster was named"},
		"a runtime that this user may not ask": {runs: fmt.Errorf("dial unix: %w", fs.ErrPermission), wrong: "certificate", unseen: "pin runtime", rung: "runtime", do: "sudo"},
		"no runtime":                           {runs: errors.New("dial unix: no such file"), wrong: "runtime certificate", unseen: "pin", rung: "runtime", says: "no such file", do: "start the container runtime"},
		"a runtime for others":                 {runs: errors.New("x does not serve: code = Unimplemented"), wrong: "runtime certificate", unseen: "pin", rung: "runtime", do: "disabled_plugins"},
		"a masked kubelet":                     {prepare: func(s *sim) { s.unit.Masked = true }, wrong: "kubelet certificate", unseen: "pin", rung: "kubelet", says: "masked", do: "systemctl unmask kubelet"},
		"a kubelet that refuses to run": {prepare: func(s *sim) { s.joined(); s.stopKubelet(); s.crash(unknownFlag) },
			wrong: "kubelet Node", unseen: "pin", rung: "kubelet", says: unknownFlag, do: "mend " + unknownFlag},
		"an expired certificate": {prepare: func(s *sim) { s.joined(); s.creds.NotAfter = time.Now().Add(-time.Hour) },
			wrong: "certificate", unseen: "pin", rung: "certificate", says: "expired", do: "nodejoin join"},
		"a Node that is gone": {prepare: func(s *sim) { s.joined(); s.deleteNode() }, wrong: "Node", unseen: "pin", rung: "Node", says: `no Node "w1"`, do: "systemctl restart kubelet"},
		"a disk that is late": {prepare: func(s *sim) { s.mounts = []string{"/var/lib/kubelet"} }, wrong: "certificate mounts", unseen: "pin", rung: "mounts", says: "/var/lib/kubelet", do: "fstab"},
		"an old kubeadm": {prepare: func(s *sim) { s.fit = &Error{Reason: HostUnfit, Message: "too old", Hint: "install"} },
			wrong: "certificate kubeadm", unseen: "pin", rung: "kubeadm", says: "too old", do: "install"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{t: t, unit: host.Unit{Active: true}}
				s.ready = true
				s.change(func() {})
				if story.prepare != nil {
					story.prepare(s)
				}
				c := Defaults()
				c.Endpoint, c.Token.Value, c.UnsafeSkipCAVerification, c.Timeout, c.All = "cp:6443", simToken, true, time.Minute, true
				if story.change != nil {
					story.change(&c)
				}
				r := newRun(&plan{Config: c, static: c.Token.Value}, doorWorld{s, story.door, story.runs}, simID, "w1", kubeadm.NewRedactor(simToken).Redact)
				held, err := r.check(t.Context())
				found := r.climb(t.Context(), held, err)
				var names, wrong, unseen []string
				for _, rung := range found {
					names = append(names, rung.Name)
					switch rung.State {
					case Wrong:
						wrong = append(wrong, rung.Name)
					case Unseen:
						unseen = append(unseen, rung.Name)
					}
					if rung.Message == "" || strings.Contains(fmt.Sprint(rung), simToken) {
						t.Errorf("%+v", rung)
					}
					if rung.Name == story.rung && (!strings.Contains(rung.Message, story.says) || !strings.Contains(rung.Hint, story.do)) {
						t.Errorf("%+v, wanted %q, and to do %q", rung, story.says, story.do)
					}
				}
				if !slices.Equal(names, strings.Fields(all)) || strings.Join(wrong, " ") != story.wrong || strings.Join(unseen, " ") != story.unseen {
					t.Errorf("%q are wrong and %q unseen, wanted %q and %q\n%+v", wrong, unseen, story.wrong, story.unseen, found)
				}
				if len(s.log) > 0 {
					t.Errorf("a check did %v", s.log)
				}
				time.Sleep(time.Hour) // for what the sim has planned
			})
		})
	}
}

func TestWhoOnlyLooksNeedsNoPin(t *testing.T) {
	c := Defaults()
	c.All, c.Endpoint, c.Hold, c.Timeout = true, "cp:6443", 0, 10*time.Second
	if _, err := c.checked(); err != nil {
		t.Error(err)
	}
	c.Endpoint = "cp"
	c.Token.Value = "malformed"
	var e *Error
	if _, err := c.checked(); !errors.As(err, &e) || e.Reason != Usage {
		t.Errorf("malformed: %v", err)
	}
	c.All = false
	if _, err := c.checked(); err != nil {
		t.Errorf("without All they do not count: %v", err)
	}
}
