package join

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

var simProbe = cluster.Probe{Server: "https://cp:6443", Bundle: []byte("the cluster's CA")}

// journaling is a machine whose root is empty, with a plan.
func journaling(t *testing.T, change func(*plan)) *machine {
	t.Helper()
	m := machineOf(t.TempDir(), host.KubeletArgs{})
	m.identity = host.Identity{BootID: "boot", MachineID: "machine", SystemUUID: "uuid"}
	if change != nil {
		change(m.plan)
	}
	return m
}

// next is the next run's view of the same machine.
func (m *machine) next(t *testing.T) *machine {
	t.Helper()
	n := &machine{Host: m.Host, plan: m.plan, identity: m.identity}
	if n.journal.files, n.journal.err = n.ReadJournal(n.identity); n.journal.err != nil {
		t.Fatal(n.journal.err)
	}
	return n
}

// kubelets is kubelet.conf as a kubelet writes it.
func kubelets(t *testing.T) string {
	t.Helper()
	confs, err := cluster.KubeletConfs(simProbe.Server, simProbe.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	return string(confs[0])
}

func TestWhatAnUnfinishedJoinHasWrittenIsKnownToTheNextRun(t *testing.T) {
	m := journaling(t, nil)
	if err := m.WriteJournal(simProbe); err != nil {
		t.Fatal(err)
	}
	if got := m.Written(); len(got) != 0 {
		t.Errorf("before kubeadm has written anything: %q", got)
	}
	put(t, m.Path(clusterCA), string(simProbe.Bundle))
	put(t, m.Path(kubeletConf), kubelets(t))
	put(t, m.Path(bootstrapConf), "a token")
	put(t, m.Path("/etc/kubernetes/pki/corp.crt"), "precious")
	n := m.next(t)
	if got := n.Written(); !slices.Equal(got, []string{kubeletConf, clusterCA}) {
		t.Errorf("%q", got)
	}

	t.Log("a second try finds the CA where it was, and kubelet.conf changed")
	put(t, n.Path(kubeletConf), kubelets(t)+"# mine\n")
	if err := n.WriteJournal(simProbe); err != nil {
		t.Fatal(err)
	}
	n = n.next(t)
	if got := n.Written(); !slices.Equal(got, []string{clusterCA}) {
		t.Errorf("%q", got)
	}
	if err := n.Tidy(); err != nil {
		t.Fatal(err)
	}
	for path, there := range map[string]bool{clusterCA: false, bootstrapConf: false, kubeletConf: true, "/etc/kubernetes/pki/corp.crt": true} {
		if _, err := os.Lstat(n.Path(path)); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}

	t.Log("with a certificate it is a member's")
	put(t, n.Path(clusterCA), string(simProbe.Bundle))
	if err := n.RemoveJournal(); err != nil || len(n.Written())+len(n.next(t).Written()) > 0 {
		t.Errorf("%v, %q", err, n.Written())
	}
}

func TestWhatWasThereBeforeTheJoinIsNotTheJoins(t *testing.T) {
	m := journaling(t, nil)
	put(t, m.Path(clusterCA), string(simProbe.Bundle))
	if err := m.WriteJournal(simProbe); err != nil {
		t.Fatal(err)
	}
	if got := m.Written(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestCAThatTheUserHasPlacedOnPurposeIsNotTidiedAway(t *testing.T) {
	for _, ignored := range []string{"all", "fileavailable--etc-kubernetes-pki-ca.crt"} {
		m := journaling(t, func(p *plan) { p.IgnorePreflightErrors = []string{ignored} })
		if err := m.WriteJournal(simProbe); err != nil {
			t.Fatal(err)
		}
		put(t, m.Path(clusterCA), string(simProbe.Bundle))
		if got := m.Written(); len(got) != 0 {
			t.Errorf("%s: %q", ignored, got)
		}
	}
}

// A run that cannot write its journal knows what it does all the same; the next one will not.
func TestJournalThatCannotBeWrittenLastsForTheRun(t *testing.T) {
	m := journaling(t, nil)
	put(t, m.Path("/var/lib/nodejoin"), "in the way")
	if err := m.WriteJournal(simProbe); err == nil {
		t.Error("no error")
	}
	put(t, m.Path(clusterCA), string(simProbe.Bundle))
	if got := m.Written(); !slices.Equal(got, []string{clusterCA}) {
		t.Errorf("%q", got)
	}
}

func TestCAOfTheUsersConfigurationHindersIfTheJournalListsIt(t *testing.T) {
	const elsewhere = "/srv/trust/ca.crt"
	config := filepath.Join(t.TempDir(), "join.yaml")
	put(t, config, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ncaCertPath: "+elsewhere+`
discovery:
  bootstrapToken: {apiServerEndpoint: "cp:6443", unsafeSkipCAVerification: true, token: `+simToken+"}\n")
	p, err := Config{ConfigFile: config, Until: Registered, Timeout: time.Hour, AttemptTimeout: time.Hour, BackoffInitial: 1, BackoffMax: 1, Reset: ResetAuto, Restore: RestoreAuto}.plan()
	if err != nil {
		t.Fatal(err)
	}
	if check := p.caFileCheck(); check != "FileAvailable--srv-trust-ca.crt" {
		t.Errorf("kubeadm's check is %q", check)
	}
	m := journaling(t, nil)
	m.plan = p
	r := &run{plan: p, w: m}
	put(t, m.Path(elsewhere), string(simProbe.Bundle))
	put(t, m.Path(clusterCA), "another's")
	found, err := r.disk()
	if err != nil || len(found.Leftovers)+len(found.Written)+len(found.CAFile) > 0 {
		t.Errorf("not listed: %+v, %v", found, err)
	}
	if err := os.Remove(m.Path(elsewhere)); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteJournal(simProbe); err != nil {
		t.Fatal(err)
	}
	put(t, m.Path(elsewhere), string(simProbe.Bundle))
	if found, err = r.disk(); err != nil || !slices.Equal(found.Leftovers, []string{elsewhere}) || !slices.Equal(found.Written, []string{elsewhere}) {
		t.Errorf("listed: %+v, %v", found, err)
	}
}

// Stories under virtual time.

const proxyPod = "/etc/kubernetes/manifests/proxy.yaml"

func TestUnfinishedJoinNeedsNoReset(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		left   func(*sim)
		want   wanted
	}{
		"another cluster's CA":                           {nil, func(s *sim) { s.unfinished(clusterCA) }, wanted{reason: Joined, joins: 1}},
		"kubelet.conf without a certificate":             {nil, func(s *sim) { s.unfinished(kubeletConf, clusterCA) }, wanted{reason: Joined, joins: 1}},
		"beside a static pod and others' certificates":   {nil, besideOthers(func(s *sim) { s.unfinished(clusterCA) }), wanted{reason: Joined, joins: 1}},
		"with --reset=never":                             {func(c *Config) { c.Reset = ResetNever }, func(s *sim) { s.unfinished(kubeletConf) }, wanted{reason: Joined, joins: 1}},
		"its kubelet runs":                               {nil, func(s *sim) { s.unfinished(kubeletConf); s.request = otherRequest(); s.startKubelet(); s.request = nil }, wanted{reason: Joined, joins: 1}},
		"a CA placed by hand since":                      {nil, func(s *sim) { s.unfinished(clusterCA); s.places(clusterCA) }, wanted{reason: Joined, joins: 1, resets: 1}},
		"a CA placed by hand since, beside a static pod": {nil, besideOthers(func(s *sim) { s.unfinished(clusterCA); s.places(clusterCA) }), wanted{reason: Refused}},
		"beside admin.conf":                              {nil, func(s *sim) { s.unfinished(clusterCA); s.disk.AdminConf = true }, wanted{reason: Refused}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, c.change, func(s *sim, start func() (Report, error)) {
				s.ready = true
				c.left(s)
				r, err := start()
				c.want.check(t, r, err)
				if slices.Contains(s.log, "start kubelet") {
					t.Errorf("kubeadm starts it: %q", s.log)
				}
			})
		})
	}
}

func besideOthers(left func(*sim)) func(*sim) {
	return func(s *sim) {
		left(s)
		s.disk.StaticPods, s.disk.ForeignFiles = []string{proxyPod}, []string{"/etc/kubernetes/pki/corp.crt"}
	}
}

// otherRequest lets the kubelet start without credentials.
func otherRequest() *cluster.Request {
	return &cluster.Request{Name: "csr-0", Own: true, Pending: true}
}

func TestJoinThatIsKilledHalfWayIsTidiedAwayByTheSameRun(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.disk.StaticPods = []string{proxyPod}
		s.join = s.killedJoin
		s.after(3*time.Second, func() { s.join = nil })
		r, err := start()
		wanted{reason: Joined, joins: -1}.check(t, r, err)
		if !slices.Contains(s.log, "tidy") || !slices.Equal(s.disk.StaticPods, []string{proxyPod}) {
			t.Errorf("done: %v; static pods: %v", s.log, s.disk.StaticPods)
		}
	})
}

func TestJournalThatCannotBeWrittenIsAWarning(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready, s.full = true, errors.New("no space left on device")
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 {
			t.Errorf("warnings: %q", r.Warnings)
		}
	})
}
