package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

var beginnings = map[string]func(*sim){
	"a clean host":                       func(*sim) {},
	"a member":                           func(s *sim) { s.joined() },
	"a silent server":                    func(s *sim) { s.down = true },
	"leftovers":                          func(s *sim) { s.disk = host.Disk{Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}} },
	"a Node that was left to its owner":  func(s *sim) { s.joined(); s.leaves(); s.node = nil },
	"a member that was left before":      func(s *sim) { s.joined(); s.leaves() },
	"a deleted Node":                     func(s *sim) { s.joined(); s.node = nil },
	"a dead kubelet":                     func(s *sim) { s.joined(); s.running = false; s.node.Ready = "Unknown" },
	"a rebooted host":                    func(s *sim) { s.joined(); s.node.BootID = "boot-before"; s.startKubelet() },
	"a stale Node":                       func(s *sim) { s.addNode(simBoot); s.stopKubelet() },
	"a kubelet that was stopped":         func(s *sim) { s.joined(); s.end(false) },
	"a kubelet in a crash loop":          func(s *sim) { s.joined(); s.end(false); s.dies = "unknown flag: --gone"; s.startKubelet() },
	"a kubelet outside its service":      func(s *sim) { s.joined(); s.stray = true },
	"a kubelet outside it, and no Node":  func(s *sim) { s.joined(); s.stray, s.node = true, nil },
	"a torn kubelet.conf":                func(s *sim) { s.joined(); s.torn = errTorn },
	"a kubelet.conf of another kind":     func(s *sim) { s.joined(); s.torn = s.oddConf() },
	"another kind of it, and no Node":    func(s *sim) { s.joined(); s.torn, s.node = s.oddConf(), nil },
	"a kubelet.conf that cannot be read": func(s *sim) { s.joined(); s.torn = lostConf },
	"a Node that is being deleted":       func(s *sim) { s.joined(); s.finalized() },
	"its earlier Node is being deleted":  func(s *sim) { s.addNode("boot-before"); s.finalized() },
	"a rebooted host with a late mount": func(s *sim) {
		s.joined()
		s.node.BootID, s.mounts = "boot-before", []string{"/var/lib/kubelet"}
		s.startKubelet()
	},
	"a clone of a living machine":       func(s *sim) { s.clone(neighbour{"boot-of-golden", "machine-of-golden", "golden"}) },
	"a copy of a living container":      func(s *sim) { s.clone(neighbour{simBoot, "machine-of-golden", "golden"}) },
	"a copy of a living one's name too": func(s *sim) { s.clone(neighbour{simBoot, "machine-of-golden", s.name()}) },
	"a clone of a dead machine": func(s *sim) {
		s.clone(neighbour{"boot-of-golden", "machine-of-golden", "golden"})
		s.rival, s.node.Ready = nil, "Unknown"
	},
	"a container beside a living twin":    func(s *sim) { s.neighbourComes(neighbour{simBoot, "machine-of-another", s.name()}) },
	"a host that has another name now":    func(s *sim) { s.joined(); s.renameHost() },
	"somebody else's kubeadm":             func(s *sim) { s.kubeadm = "join" },
	"somebody else's kubeadm on a member": func(s *sim) { s.joined(); s.node, s.kubeadm = nil, "upgrade" },
	"a control plane under repair":        func(s *sim) { s.joined(); s.creds, s.disk.ControlPlane = nil, "/etc/kubernetes/pki/ca.key" },
	"an administrator's files":            func(s *sim) { s.disk = host.Disk{AdminConf: true, Leftovers: []string{"/etc/kubernetes/pki/ca.crt"}} },
	"an expired certificate":              func(s *sim) { s.joined(); s.expire() },
	"an expired one, and no Node":         func(s *sim) { s.joined(); s.expire(); s.node = nil },
	"a torn kubelet.conf, and no Node":    func(s *sim) { s.joined(); s.torn, s.node = errTorn, nil; s.stopKubelet() },
	"lost credentials, and no Node":       func(s *sim) { s.joined(); s.creds, s.node = nil, nil; s.end(false); s.startKubelet() },
	"the same in another cluster":         func(s *sim) { s.joined(); s.creds, s.node, s.stranger = nil, nil, true; s.stopKubelet() },
	"a mute kubelet without a Node":       func(s *sim) { s.joined(); s.node, s.mute = nil, true; s.startKubelet() },
	"a live twin":                         func(s *sim) { s.neighbourComes(neighbour{"boot-of-another", "machine-of-another", s.name()}) },
	"a twin of which nothing is heard":    func(s *sim) { s.addNode("boot-of-another") },
	"a dead twin":                         func(s *sim) { s.addNode("boot-of-another"); s.node.Ready = "Unknown" },
	"lost credentials of a living member": func(s *sim) { s.joined(); s.creds = nil },
	"a kubeadm on a cold disk":            func(s *sim) { s.fitTakes = 20 * time.Second },
	"a kubeadm that fails":                func(s *sim) { s.join = failingJoin },
	"a Node that does not come back":      func(s *sim) { s.joined(); s.node, s.policy = nil, true },
	"a refused kubelet without a Node":    func(s *sim) { s.joined(); s.node, s.refuses = nil, true },
	"another cluster's member":            func(s *sim) { s.joined(); s.stranger = true },
	"an unfinished join":                  func(s *sim) { s.unfinished(kubeletConf, clusterCA) },
	"an unfinished join beside a static pod": func(s *sim) {
		s.unfinished(clusterCA)
		s.disk.StaticPods = []string{"/etc/kubernetes/manifests/proxy.yaml"}
	},
	"an unfinished join, its kubelet runs": func(s *sim) { s.unfinished(kubeletConf); s.startKubelet() },
	"a certificate request": func(s *sim) {
		s.disk, s.running = host.Disk{KubeletConf: true, Leftovers: []string{"/etc/kubernetes/kubelet.conf"}}, true
		s.request = &cluster.Request{Name: "csr-1", Pending: true, Own: true}
	},
}

var faults = map[string]func(*sim){
	"the API server falls silent":              func(s *sim) { s.down = true },
	"the API server answers again":             func(s *sim) { s.down = false },
	"somebody deletes the Node":                func(s *sim) { s.deleteNode() },
	"the Node is deleted and made again":       func(s *sim) { s.again() },
	"the kubelet is refused (401)":             func(s *sim) { s.refuses = true },
	"the kubelet is taken again":               func(s *sim) { s.refuses = false },
	"a policy refuses Nodes":                   func(s *sim) { s.policy = true },
	"the policy is lifted":                     func(s *sim) { s.policy = false },
	"the kubelet dies":                         func(s *sim) { s.stopKubelet() },
	"the kubelet is started by somebody":       (*sim).startedBySomebody,
	"the network plugin comes":                 func(s *sim) { s.setReady(true) },
	"the network plugin goes":                  func(s *sim) { s.setReady(false) },
	"restarting the kubelet fails from now on": func(s *sim) { s.restart = errors.New("job failed") },
	"restarting the kubelet works from now on": func(s *sim) { s.restart = nil },
	"the token is refused":                     func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")} },
	"cluster-info is not signed":               func(s *sim) { s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Err: errors.New("unsigned")} },
	"token and signature are good again":       func(s *sim) { s.verdict = cluster.Probe{} },
	"kubeadm join fails from now on":           func(s *sim) { s.join = failingJoin },
	"kubeadm join hangs from now on":           func(s *sim) { s.join = hangingJoin },
	"kubeadm join works from now on":           func(s *sim) { s.join = nil },
	"kubeadm reset leaves files from now on":   func(s *sim) { s.resetFail = func() error { return nil } },
	"kubeadm reset works from now on":          func(s *sim) { s.resetFail = nil },
	"another machine's kubelet reports":        func(s *sim) { s.twinReports() },
	"a certificate request is pending":         func(s *sim) { s.request = &cluster.Request{Name: "csr-1", Pending: true} },
	"no certificate request is pending":        func(s *sim) { s.request = nil },
	"a signal comes":                           func(s *sim) { s.interrupted = time.Now(); s.interrupt() },

	"the API server freezes":                     func(s *sim) { s.frozen = true },
	"the API server thaws":                       func(s *sim) { s.frozen = false },
	"restarting the kubelet hangs from now on":   func(s *sim) { s.hang("restart", true) },
	"restarting the kubelet ends from now on":    func(s *sim) { s.hang("restart", false) },
	"kubeadm reset hangs from now on":            func(s *sim) { s.hang("reset", true) },
	"kubeadm reset ends from now on":             func(s *sim) { s.hang("reset", false) },
	"kubeadm join is killed half-way":            func(s *sim) { s.join = s.killedJoin },
	"kubeadm join fails though the kubelet runs": func(s *sim) { s.join = s.unsureJoin },
	"the token is rotated":                       func(s *sim) { s.secret = "fedcba.0123456789abcdef" },
	"the old token is taken again":               func(s *sim) { s.secret = "" },
	"requests are not approved from now on":      func(s *sim) { s.manual = true },
	"requests are approved from now on":          func(s *sim) { s.manual = false; s.approve() },
	"our certificate request is denied":          func(s *sim) { s.deny() },
	"another machine takes our name":             func(s *sim) { s.twinComes() },
	"the other machine dies":                     func(s *sim) { s.twinDies() },
	"the cloud controller accepts our Node":      func(s *sim) { s.accept() },
	"somebody places a CA":                       func(s *sim) { s.places(clusterCA) },
	"somebody changes what is left":              func(s *sim) { s.wrote = nil },
	"kubelet.conf is lost":                       func(s *sim) { s.creds = nil },
	"kubelet.conf is torn":                       func(s *sim) { s.tear(errTorn) },
	"kubelet.conf is of another kind":            func(s *sim) { s.tear(s.oddConf()) },
	"kubelet.conf cannot be read":                func(s *sim) { s.tear(lostConf) },
	"the certificate expires":                    func(s *sim) { s.expire() },
	"each new kubelet ends at once":              func(s *sim) { s.dies = "unknown flag: --gone" },
	"the kubelet crashes":                        func(s *sim) { s.crashNow() },
	"new kubelets live":                          func(s *sim) { s.dies = "" },
	"a kubelet is started outside its service":   func(s *sim) { s.strayKubelet() },
	"somebody deletes the Node, a finalizer":     func(s *sim) { s.finalized() },
	"the finalizer is lifted":                    func(s *sim) { s.unfinalized() },
	"etcd is restored":                           func(s *sim) { s.restored() },
	"a disk is not there":                        func(s *sim) { s.mounts = []string{"/var/lib/kubelet"} },
	"the disk is mounted":                        func(s *sim) { s.mounts = nil },
	"somebody else's kubeadm begins":             func(s *sim) { s.kubeadm = "join" },
	"somebody else's kubeadm ends":               func(s *sim) { s.kubeadm = "" },
	"kubelets do not register, and are mute":     func(s *sim) { s.mute = true },
	"kubelets register again":                    func(s *sim) { s.mute = false },
	"a control plane is put here":                func(s *sim) { s.disk.ControlPlane = "/etc/kubernetes/pki/ca.key" },
	"an administrator's kubeconfig is put here":  func(s *sim) { s.disk.AdminConf = true },
	"another container takes our name":           func(s *sim) { s.neighbourComes(neighbour{simBoot, "machine-of-another", s.kubeletName()}) },
	"kubeadm is cold from now on":                func(s *sim) { s.fitTakes = 26 * time.Second },
	"kubelet.conf is whole again":                func(s *sim) { s.mend() },
	"somebody resets by hand":                    func(s *sim) { s.wipe(); s.wiped = time.Now() },
	"somebody joins by hand":                     func(s *sim) { s.joinByHand() },
	"nobody may create what a kubelet had":       func(s *sim) { s.unwritable = true },
	"kubelets may create what they had":          func(s *sim) { s.unwritable = false },
	"answers to creations get lost":              func(s *sim) { s.unheard = true },
	"kubelets do not take Nodes up":              func(s *sim) { s.aloofKubelet = true },
	"the owner marks our Node":                   func(s *sim) { s.mark() },
	"cloud-init begins":                          func(s *sim) { s.clouding, s.clouds = true, time.Now() },
	"cloud-init is done":                         func(s *sim) { s.clouding = false },
	"another cluster answers":                    func(s *sim) { s.stranger = true },
	"our cluster answers":                        func(s *sim) { s.stranger = false },
}

func (s *sim) mark() {
	if s.node != nil {
		s.node.Mark, s.marked = "taint karpenter.sh/disrupted", true
	}
}

func (s *sim) hang(what string, hangs bool) {
	if s.hangs == nil {
		s.hangs = map[string]bool{}
	}
	s.hangs[what] = hangs
}

// killedJoin: the kubelet has not got its configuration yet.
func (s *sim) killedJoin(context.Context) error {
	s.change(func() {
		s.writes(clusterCA)
		s.disk.BootstrapConf = true
	})
	return &kubeadm.Failure{Command: "kubeadm join", ExitCode: -1, Err: errors.New("signal: killed")}
}

func (s *sim) unsureJoin(ctx context.Context) error {
	s.change(func() {
		if len(s.disk.Leftovers) == 0 {
			s.kubeletJoins()
		}
	})
	return failingJoin(ctx)
}

func (s *sim) approve() {
	switch {
	case s.request == nil || !s.request.Pending:
	case s.running && s.request.Own && s.creds == nil && s.kubeadms == 0 && s.disk.Configured:
		s.certified()
	case s.running && s.request.Own && s.creds == nil: // the kubelet fetches the certificate
		s.kubeletJoins()
	default:
		s.request.Pending = false
	}
}

func (s *sim) deny() {
	if s.request != nil && s.request.Pending {
		s.request.Pending, s.request.Denied = false, true
		if life := s.life; life == s.bootstraps {
			s.after(2*time.Second, func() { s.asksAgain(life) })
		}
	}
}

func (s *sim) twinComes() { s.neighbourComes(neighbour{"boot-of-another", "", s.kubeletName()}) }

// neighbourComes: another machine's kubelet, which runs from now on, makes the Node or takes it over.
func (s *sim) neighbourComes(n neighbour) {
	if s.node == nil {
		s.addNode(n.boot)
		s.node.Name = n.name
	}
	if s.node.Name != n.name {
		return
	}
	s.rival = &n
	s.node.Heartbeat = time.Time{}
	s.rivalReports()
}

// clone puts the machine into the state of one that was copied from another, which lives.
func (s *sim) clone(of neighbour) {
	s.joined()
	s.pods = 0
	s.creds.NodeName, s.node.Name = of.name, of.name
	s.end(false)
	s.neighbourComes(of)
	s.startKubelet()
}

// renameHost: the kubelet does not get at its Node any more.
func (s *sim) renameHost() {
	s.creds.NodeName, s.node.Name, s.node.BootID, s.override = "w0", "w0", "boot-before", ""
	s.end(false)
	s.startKubelet()
}

func (s *sim) expire() {
	if s.creds != nil {
		creds := *s.creds
		creds.NotAfter = time.Now().Add(-time.Second)
		s.creds, s.held = &creds, &creds
	}
}

var (
	errTorn  = fmt.Errorf("%q: unexpected end: %w", kubeletConf, cluster.ErrUnusable)
	lostConf = &fs.PathError{Op: "read", Path: kubeletConf, Err: syscall.EIO}
)

func (s *sim) oddConf() error {
	return &cluster.NotUnderstoodError{Path: kubeletConf, Field: "client-key", Reason: "failed to parse private key", NodeName: s.kubeletName(), Server: "https://cp:6443"}
}

func (s *sim) tear(why error) {
	if s.creds != nil {
		s.torn = why
	}
}

func (s *sim) crashNow() {
	if s.running {
		s.crash("panic: runtime error")
	}
}

// startedBySomebody: one that runs is not started again.
func (s *sim) startedBySomebody() {
	if !s.running {
		s.startKubelet()
	}
}

func (s *sim) strayKubelet() {
	if !s.running {
		s.startKubelet()
		s.stray = true
	}
}

func (s *sim) twinDies() {
	s.rival = nil
	if s.node != nil && s.node.BootID != simBoot {
		s.node.Ready = "Unknown"
	}
}

func (s *sim) accept() {
	s.tainted = false
	if s.node != nil {
		s.node.Uninitialized = false
	}
}

func (s *sim) mend() {
	s.torn = nil
	if s.disk.KubeletConf && s.request == nil && s.creds == nil {
		s.creds = &cluster.Credentials{Server: "https://cp:6443", CA: s.ca(), NodeName: s.kubeletName()}
	}
}

func (s *sim) joinByHand() {
	if len(s.disk.Leftovers) == 0 && s.kubeadms == 0 {
		s.kubeletJoins()
	}
}

func failingJoin(context.Context) error {
	return &kubeadm.Failure{Command: "kubeadm join", ExitCode: 1, Tail: []string{"it failed"}}
}

func hangingJoin(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *sim) again() {
	if s.ours() && s.running {
		s.deleteNode()
		s.addNode(simBoot)
	}
}

func (s *sim) setReady(ready bool) {
	s.ready = ready
	if s.node != nil && s.node.Ready != "Unknown" && s.running {
		s.node.Ready = map[bool]string{true: "True", false: "False"}[ready]
	}
}

func (s *sim) twinReports() {
	if s.node != nil && s.node.BootID != simBoot {
		s.node.Heartbeat, s.heard = time.Now(), time.Now()
	}
}
