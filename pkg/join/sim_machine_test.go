package join

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

const (
	simToken  = "abcdef.0123456789abcdef"
	simToken2 = "ghijkl.0123456789abcdef"
	simBoot   = "boot-of-this-machine"
)

var simID = host.Identity{BootID: simBoot, MachineID: "machine-of-ours"}

// sim is a machine and a cluster under virtual time. It behaves as the real
// ones were measured: kubelet.conf some 0.6 s after kubeadm's start, the Node at
// 1.1 s, kubeadm back at 1.4 s; a kubelet registers once in its life; a Node
// whose kubelet has stopped turns Unknown after the grace period.
type sim struct {
	t  *testing.T
	mu sync.Mutex

	simEC2
	simCluster
	simOracle
	simJournal
	simLeft

	disk      host.Disk
	creds     *cluster.Credentials // in the kubelet's files
	homemade  bool                 // they came of nodejoin's own join
	aside     *cluster.Credentials // where they were moved for others,
	asideTorn error                // and what was wrong with them
	torn      error                // why they do not load, though they are there
	unit      host.Unit
	running   bool                 // the kubelet's process
	life      int                  // which process it is
	called    string               // what its configuration calls its Node,
	kubeletCA []byte               // and the CA that it takes its clients from
	override  string               // --hostname-override, which goes above that
	born      time.Time            // when its process was started
	held      *cluster.Credentials // in its memory
	stray     bool                 // it is not the service's
	suspended string               // why it does nothing
	waiting   bool                 // the service is to start it again soon
	starts    int                  // by the service alone
	exits     []time.Time          // of its process, which nobody ordered
	dying     bool                 // that process is to end at once
	dies      string               // the words with which each new process ends
	stopped   time.Time            // by nodejoin; zero: it was not, or was started since
	words     host.Words
	unread    bool   // its log
	aloof     string // what tells kubelets not to register
	passes    bool   // what it dies of
	swap      bool   // it has refused swap, which is on
	warned    []string
	mended    bool // its next start is a good one
	pods      int
	mounts    []string // that are not there yet, nor the kubelet's files, which are on them
	kubeadm   string   // somebody else's, at work
	restarts  []time.Time
	kubeadms  int // of nodejoin, running at this moment
	looks     int // for credentials
	fit       error
	fitTakes  time.Duration               // for kubeadm to say its version
	askTakes  time.Duration               // for the init system to say how the kubelet is
	initFails error                       // instead of that
	restart   error                       // of the next restarts
	hangs     map[string]bool             // "reset", "restart": until it is ended
	join      func(context.Context) error // instead of a good join
	resetFail func() error                // instead of a good reset
	token     func() (string, error)      // instead of simToken
	source    func() string               // what a source holds that follows the cluster's token
	slow      time.Duration               // that source
	caFile    []byte
	log       []string          // what was done to the machine
	reads     []context.Context // of the programs that a join starts

	interrupt   func() // as a signal does
	interrupted time.Time
}

func (s *sim) do(what string, args ...any) {
	s.log = append(s.log, fmt.Sprintf(what, args...))
}

func (s *sim) after(d time.Duration, f func()) { time.AfterFunc(d, func() { s.change(f) }) }

// kubeletName is what the kubelet calls its Node.
func (s *sim) kubeletName() string { return cmp.Or(s.override, s.called, s.name()) }

// usable: a kubelet that starts now can use the files that are here.
func (s *sim) usable() bool {
	return s.creds != nil && len(s.mounts) == 0 && (s.torn == nil || errors.Is(s.torn, cluster.ErrNotUnderstood)) && !s.expired()
}

func (s *sim) expired() bool {
	return s.creds != nil && !s.creds.NotAfter.IsZero() && time.Now().After(s.creds.NotAfter)
}

// elsewhere: the kubelet's credentials are those of another cluster than the endpoint's.
func (s *sim) elsewhere() bool { return s.creds != nil && !bytes.Equal(s.creds.CA, s.ca()) }

// crashing: the kubelet ends again and again.
func (s *sim) crashing() bool {
	n := len(s.exits)
	return s.unit.Failing || n >= 2 && time.Since(s.exits[n-2]) < time.Minute
}

// fatal are the words with which a process that is started now ends.
func (s *sim) fatal() string {
	switch {
	case s.dies != "" || !s.alive || s.usable():
		return s.dies
	case s.creds == nil && len(s.mounts) == 0 && (s.request != nil && s.request.Own && !s.request.Denied || s.disk.BootstrapConf && !s.asksForNothing):
		return ""
	}
	return "failed to run Kubelet: unable to load bootstrap kubeconfig"
}

// joined puts the machine into the state after a good join.
func (s *sim) joined() {
	s.called = ""
	s.called = s.kubeletName()
	s.disk.KubeletConf, s.disk.Configured, s.kubeletCA = true, true, simCA
	s.disk.Leftovers = []string{"/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"}
	s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: simCA, NodeName: s.kubeletName(), NotAfter: time.Now().Add(time.Hour)}
	s.running, s.born, s.held, s.dying = true, time.Now(), s.creds, false
	s.life++
	s.reports = s.life
	s.addNode(simBoot)
	if s.alive { // it was long ago
		s.pods, s.born, s.node.Heartbeat = 2, s.born.Add(-time.Hour), s.born.Add(-time.Minute)
	}
}

// startKubelet: somebody does. It registers once, as soon as it is let.
func (s *sim) startKubelet() {
	s.starts, s.exits, s.words, s.stray = 0, nil, host.Words{}, false
	s.launch()
}

func (s *sim) launch() {
	s.running, s.born, s.stopped, s.waiting, s.suspended = true, time.Now(), time.Time{}, false, ""
	if s.mended {
		s.unit.Failing, s.swap, s.policy, s.dies = false, false, false, ""
	}
	s.life++
	s.held = nil
	life, why := s.life, s.fatal()
	s.dying = why != ""
	if why != "" {
		s.after(300*time.Millisecond, func() {
			if s.life == life && s.running {
				s.crash(why)
			}
		})
		return
	}
	s.words = host.Words{}
	if s.usable() {
		s.held = s.creds
	}
	s.after(500*time.Millisecond, func() { s.register(life) })
}

// crash ends the kubelet's process, and the service starts another one.
func (s *sim) crash(why string) {
	stray := s.stray
	s.stopKubelet()
	s.words.Fatal, s.words.Refusal = why, host.Refusal{Passes: s.passes, Remedy: "mend " + why}
	s.exits = append(s.exits, time.Now())
	if stray {
		return
	}
	s.waiting = true
	life := s.life
	s.after(10*time.Second, func() {
		if s.life == life && s.waiting {
			s.starts++
			s.launch()
		}
	})
}

func (s *sim) stopKubelet() {
	s.end(false)
	if s.alive { // tick sees it
		return
	}
	life := s.life
	s.after(gracePeriod, func() {
		if s.life == life && s.ours() {
			s.node.Ready = "Unknown"
		}
	})
}

func (s *sim) Inspect() (host.Disk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mounts) > 0 {
		return host.Disk{}, nil
	}
	return s.disk, nil
}

func (s *sim) Credentials() (*cluster.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	switch {
	case len(s.mounts) > 0:
		return nil, fs.ErrNotExist
	case s.torn != nil:
		return nil, s.torn
	case s.creds == nil:
		return nil, fs.ErrNotExist
	}
	return s.creds, nil
}

func (s *sim) DiscoveryCA() ([]byte, error) { return nil, nil }
func (s *sim) FQDN() string                 { return "w1.example" }
func (s *sim) ClusterCA() []byte            { return s.caFile }
func (s *sim) CredentialsPath() string      { return kubeletConf }

// KubeletCA: a kubelet.conf that is torn has its CA still.
func (s *sim) KubeletCA() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mounts) > 0 || !s.disk.Configured || s.creds != nil && !bytes.Equal(s.creds.CA, s.kubeletCA) {
		return nil
	}
	return s.kubeletCA
}

func (s *sim) MissingMounts() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mounts, nil
}

func (s *sim) Kubeadms() ([]host.KubeadmProcess, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kubeadm == "" {
		return nil, nil
	}
	return []host.KubeadmProcess{{PID: 4711, Command: s.kubeadm}}, nil
}

func (s *sim) Pods() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods, nil
}

func (s *sim) pid() int { return 1000 + s.life }

func (s *sim) KubeletProcesses() ([]host.KubeletProcess, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return nil, nil
	}
	return []host.KubeletProcess{{PID: s.pid(), Ancestors: []int{1}, Started: s.born, Suspended: s.suspended, Args: host.KubeletArgs{HostnameOverride: s.override, NoRegistration: s.aloof}}}, nil
}

func (s *sim) ReadPrograms(ctx context.Context) { s.change(func() { s.reads = append(s.reads, ctx) }) }

// StartsAtBoot is not known of every other kubelet, whose service is asked then.
func (s *sim) StartsAtBoot() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unit.Disabled && s.life%2 == 0
}

func (s *sim) KubeletWords(context.Context) host.Words {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.unread:
		return host.Words{Unread: true}
	case s.swap:
		return host.Words{Fatal: "running with swap on is not supported", Refusal: host.Refusal{Shown: true, Remedy: "swapoff -a"}}
	}
	if w := s.words; w != (host.Words{}) || !s.policy || !s.running || s.creds == nil {
		return w
	}
	return host.Words{Unregistered: refusedByPolicy}
}

func (s *sim) Kubelet(ctx context.Context) (host.Unit, error) {
	if s.askTakes > 0 {
		_ = wait(ctx, s.askTakes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initFails != nil {
		return host.Unit{}, s.initFails
	}
	u := s.unit
	u.Running, u.Exits = s.running && !s.stray, s.starts
	u.Active, u.Looping = u.Running || s.waiting, s.waiting && s.crashing()
	switch {
	case u.Running:
		u.MainPID, u.Since, u.State = s.pid(), s.born, "active/running"
	case s.waiting:
		u.State = "activating/auto-restart"
	default:
		u.State = "inactive/dead"
	}
	return u, nil
}

func (s *sim) StopKubelet(ctx context.Context) error {
	s.change(func() {
		s.mayTouch(ctx, "stopping the kubelet")
		s.do("stop kubelet")
		if s.running && !s.stray {
			s.stopKubelet()
			s.last.byUs = true
		}
		s.waiting, s.stopped = false, time.Now()
	})
	return nil
}

func (s *sim) StartKubelet(ctx context.Context) error {
	s.change(func() {
		s.do("start kubelet")
		if s.running { // systemctl start does nothing then
			s.stopped = time.Time{}
			return
		}
		s.startKubelet()
		s.begun = s.born
	})
	return nil
}

func (s *sim) RestartKubelet(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mayRestart(ctx)
	if s.hangs["restart"] {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return context.Cause(ctx)
	}
	if s.restart != nil {
		return s.restart
	}
	s.do("restart kubelet")
	s.restarts = append(s.restarts, time.Now())
	if s.running {
		s.end(false)
	}
	s.startKubelet()
	s.begun = s.born
	return nil
}

func (s *sim) KubeletLog(context.Context) []string { return []string{"kubelet's last words"} }
func (s *sim) KubeadmFit(ctx context.Context) (string, error) {
	s.mu.Lock()
	takes := s.fitTakes
	s.mu.Unlock()
	if err := wait(ctx, takes); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return "", s.fit
}

func (s *sim) RemoveBootstrapConf() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk.BootstrapConf = false
	s.disk.Leftovers = slices.DeleteFunc(slices.Clone(s.disk.Leftovers), func(path string) bool { return path == bootstrapConf })
	return nil
}
