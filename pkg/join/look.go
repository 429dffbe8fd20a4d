package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// eyes find out facts, each in a goroutine of its own: a slow answer to one
// question keeps nobody from hearing another.
type eyes struct {
	answers  chan answer
	inFlight judge.Topic
	window   time.Time           // since when asks are counted,
	asks     map[judge.Topic]int // by topic
	tooOften bool                // one of them waits for the next window
	asking   sync.WaitGroup

	creds   *cluster.Credentials // that loaded last
	watch   <-chan cluster.Sighting
	unwatch context.CancelFunc
	proven  cluster.Credentials // server and CA that the token was last shown to
	probe   cluster.Probe       // with which they were proven
	swept   bool                // bootstrap-kubelet.conf, left by a join that was killed, was taken away
}

// answer to one question; apply puts it among the facts.
type answer struct {
	topic judge.Topic
	apply func()
}

// close waits for whoever still asks; their context has ended.
func (e *eyes) close() {
	if e.unwatch != nil {
		e.unwatch()
	}
	done := make(chan struct{})
	go func() {
		e.asking.Wait()
		close(done)
	}()
	for {
		select {
		case <-e.answers:
		case <-done:
			return
		}
	}
}

// ask puts the questions that are not on their way yet.
func (r *run) ask(ctx context.Context, topics judge.Topic) {
	if time.Since(r.eyes.window) >= askWindow {
		r.eyes.window, r.eyes.asks = time.Now(), map[judge.Topic]int{}
	}
	r.eyes.tooOften = false
	for t := judge.Topic(1); t <= topics; t <<= 1 {
		if topics&t == 0 || r.eyes.inFlight&t != 0 {
			continue
		}
		find := r.find(t)
		if find == nil {
			continue
		}
		if r.eyes.asks[t]++; r.eyes.asks[t] > askMost {
			r.eyes.tooOften = true
			continue
		}
		r.eyes.inFlight |= t
		r.eyes.asking.Go(func() {
			a := answer{t, find(ctx)}
			select {
			case r.eyes.answers <- a:
			case <-ctx.Done():
			}
		})
	}
}

// find is the way to an answer: a function for a goroutine of its own,
// which touches no part of the run; what it returns does.
func (r *run) find(t judge.Topic) func(context.Context) func() {
	asked := question{r.memory.Acts, time.Now()}
	switch t {
	case judge.Files:
		return func(context.Context) func() { return fact(asked, &r.facts.Disk)(r.disk()) }
	case judge.Company:
		return func(context.Context) func() { return fact(asked, &r.facts.Machine)(r.whoIsHere()) }
	case judge.Kubeconfig:
		joins := r.facts.Join.Running
		return func(context.Context) func() {
			creds, err := r.mountedCredentials(joins)
			var ca []byte // asked for here, for it may take an init system's answer
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, cluster.ErrUnusable) {
				ca = r.w.KubeletCA()
			}
			return func() { r.credentials(asked, creds, ca, err) }
		}
	case judge.Unit:
		said, gone := r.memory.Is != judge.Member && r.memory.Started(), r.memory.Is == judge.Gone
		member := r.memory.Is == judge.Member && r.memory.Acts == 0
		return func(ctx context.Context) func() {
			k, found := judge.Kubelet{}, false
			if member {
				k, found = r.membersKubelet()
			}
			if found {
				k.Name = r.w.KubeletName()
				return fact(asked, &r.facts.Kubelet)(k, nil)
			}
			k, disabled, err := r.kubelet(ctx, said)
			k.Name = r.w.KubeletName()
			k.Healthy = gone && k.Running && r.w.KubeletHealthy(ctx)
			put := fact(asked, &r.facts.Kubelet)(k, err)
			return func() {
				put()
				if disabled {
					r.tell.warn("the service \"kubelet\" is disabled: this Node will not come back after a reboot (`systemctl enable kubelet`)")
				}
			}
		}
	case judge.Programs:
		return func(ctx context.Context) func() {
			warning, err := r.w.KubeadmFit(ctx)
			put := fact(asked, &r.facts.Programs)(fitness(err))
			return func() {
				put()
				if warning != "" {
					r.tell.warn(warning)
				}
			}
		}
	case judge.Naming:
		return func(ctx context.Context) func() {
			found := r.naming.find(ctx, r.plan, r.w)
			return func() { r.named(asked, found) }
		}
	case judge.Endpoint:
		creds := r.eyes.creds
		return func(ctx context.Context) func() {
			return fact(asked, &r.facts.Endpoint)(creds != nil && r.w.StrangerAt(ctx, creds), nil)
		}
	case judge.Token:
		return r.lookWithToken(asked)
	case judge.Certificate:
		names := []string{r.facts.Name.Value.Name}
		if name := r.facts.Kubelet.Value.NodeName; name != "" && name != names[0] {
			names = append(names, name)
		}
		return func(ctx context.Context) func() { return fact(asked, &r.facts.Request)(r.request(ctx, names)) }
	case judge.OwnNode:
		creds := r.eyes.creds
		if creds == nil {
			return nil
		}
		return func(ctx context.Context) func() {
			return fact(asked, &r.facts.Node)(sightingOf(r.w.Ask(ctx, creds)), nil)
		}
	case judge.TokensNode:
		return r.askWithToken(asked)
	}
	creds := r.eyes.creds
	switch uid, since := r.memory.OwnUID, r.memory.PutBackAt; {
	case creds == nil:
		return nil
	case t == judge.Takeup:
		return func(ctx context.Context) func() {
			missing, stays, err := r.w.TakenUp(ctx, creds, uid, since)
			return fact(asked, &r.facts.Untaken)(judge.Untaken{Missing: missing, Stays: stays}, err)
		}
	}
	return func(ctx context.Context) func() { return fact(asked, &r.facts.Lease)(r.w.LeaseRenewed(ctx, creds)) }
}

// question is when one was put.
type question struct {
	acts int // of the run until then
	at   time.Time
}

// fact dates an answer.
func fact[T any](asked question, f *judge.Fact[T]) func(T, error) func() {
	return func(value T, err error) func() {
		at := time.Now()
		return func() { *f = judge.Fact[T]{Value: value, Err: err, Acts: asked.acts, Asked: asked.at, At: at} }
	}
}

func (r *run) disk() (judge.Disk, error) {
	d, err := r.w.Inspect()
	if err != nil {
		return judge.Disk{}, err
	}
	found := judge.Disk{ControlPlane: d.ControlPlane, AdminConf: d.AdminConf, Configured: d.Configured}
	for _, path := range d.Leftovers {
		switch path {
		case clusterCA:
			found.CAFile = path
		case bootstrapConf:
			found.Bootstrap = path
		default:
			found.Leftovers = append(found.Leftovers, path)
		}
	}
	if r.ignoresCAFile() || r.caFile() != clusterCA {
		found.CAFile = ""
	}
	found.Written = r.w.Written()
	if ca := r.caFile(); ca != clusterCA && slices.Contains(found.Written, ca) { // a reset would leave it there
		found.Leftovers = append(found.Leftovers, ca)
	}
	if found.CAFile != "" {
		found.CA, _ = cluster.CAHashes(r.w.ClusterCA())
	}
	found.Losses = slices.Concat(d.StaticPods, d.EtcdData, d.ForeignFiles)
	return found, nil
}

func (r *run) company() (judge.Machine, error) {
	mounts, err := r.w.MissingMounts()
	if err != nil {
		return judge.Machine{}, err
	}
	kubeadms, err := r.w.Kubeadms()
	if err != nil {
		return judge.Machine{}, err
	}
	pods, err := r.w.Pods()
	if err != nil {
		return judge.Machine{}, err
	}
	here := judge.Machine{Mounts: mounts, Pods: pods, Naming: r.w.CloudInitWorks()}
	for _, k := range kubeadms {
		here.Kubeadm = fmt.Sprintf("kubeadm %s (process %d)", k.Command, k.PID)
	}
	return here, nil
}

// membersKubelet is the one that init has started and that runs: all that a
// success asks for, at a small part of the cost of asking for the service. Who
// would do something asks for that, once the Node is no member's any more.
func (r *run) membersKubelet() (k judge.Kubelet, found bool) {
	if !r.w.StartsAtBoot() {
		return k, false
	}
	processes, err := r.w.KubeletProcesses()
	if err != nil || len(processes) != 1 || processes[0].Suspended != "" || !slices.Equal(processes[0].Ancestors, []int{1}) {
		return k, false
	}
	k = judge.Kubelet{Exits: -1, State: "running"}
	runs(&k, processes[0])
	return k, true
}

// runs takes in the process that the kubelet is.
func runs(k *judge.Kubelet, p host.KubeletProcess) {
	k.Running, k.PID = true, p.PID
	if k.Since.IsZero() {
		k.Since = p.Started
	}
	k.NodeName = p.Args.NodeName()
	k.Arguments = tellingArguments(p.Args)
}

// kubelet is its service and, whoever started it, its process. What it said is
// asked for only where this run has done something to it.
func (r *run) kubelet(ctx context.Context, said bool) (k judge.Kubelet, disabled bool, err error) {
	asked := time.Now()
	unit, err := r.w.Kubelet(ctx)
	if errors.Is(err, host.ErrNoInitSystem) {
		return judge.Kubelet{NoInit: true, Exits: -1}, false, nil
	} else if err != nil {
		return k, false, err
	}
	processes, err := r.w.KubeletProcesses()
	if err != nil {
		return k, false, err
	}
	waits := strings.HasPrefix(unit.State, "activating")
	k = judge.Kubelet{
		Missing: unit.Missing, Masked: unit.Masked, Running: unit.Running, PID: unit.MainPID, Since: unit.Since, Exits: unit.Exits, State: unit.State, Blocked: unit.Blocked,
		Failed: unit.Failing && !waits || unit.Looping, Starting: waits && !unit.Running,
	}
	told := ""
	for _, p := range processes {
		// Beside a service in a crash loop, it is the one that runs that may be a member's.
		ofService := unit.MainPID == 0 && unit.Running || unit.MainPID != 0 && p.ComesFrom(unit.MainPID)
		if !ofService && p.Started.Before(asked) && !k.Stray {
			k.Running, k.Failed, k.Starting, k.Exits, k.PID, k.Since = false, false, false, -1, 0, time.Time{}
		}
		if k.Running && p.PID != k.PID && k.PID != 0 {
			continue
		}
		k.Stray = !k.Running && !k.Starting
		runs(&k, p)
		told = p.Args.NoRegistration
	}
	for _, p := range processes {
		if p.Suspended != "" && p.ComesFrom(k.PID) {
			k.Suspended, k.State = true, k.State+", "+p.Suspended
		}
	}
	if said {
		words := r.w.KubeletWords(ctx)
		k.Fatal, k.Unregistered, k.Unread = words.Fatal, words.Unregistered, words.Unread
		k.Remedy, k.Passes, k.Shown = words.Remedy, words.Passes, words.Shown
	}
	if told != "" {
		k.Unregistered = "it is told not to, as where others make the Nodes: " + told
	}
	return k, unit.Disabled, nil
}

// tellingArguments are those of a kubelet's that say whose it is.
func tellingArguments(a host.KubeletArgs) string {
	var told []string
	for _, arg := range []struct{ flag, value string }{
		{"--hostname-override", a.HostnameOverride}, {"--kubeconfig", a.Kubeconfig}, {"--bootstrap-kubeconfig", a.BootstrapKubeconfig}, {"--root-dir", a.RootDir},
	} {
		if arg.value != "" {
			told = append(told, arg.flag+"="+arg.value)
		}
	}
	return strings.Join(told, " ")
}

// fitness: what a person must mend ends the run, anything else this attempt.
func fitness(err error) (judge.Fitness, error) {
	var ended *Error
	if errors.As(err, &ended) {
		return judge.Fitness{End: endOf(ended)}, nil
	}
	return judge.Fitness{}, err
}

func endOf(e *Error) *judge.Action {
	return &judge.Action{Kind: judge.End, Reason: judge.Reason(e.Reason), Message: e.Message, Hint: e.Hint, Err: e.Err}
}

// request is our certificate request, under any of the names.
func (r *run) request(ctx context.Context, names []string) (judge.Request, error) {
	approves, unknown := r.w.ApprovesRequests(ctx)
	approves = approves && unknown == nil // who may not ask is to see that a person approves
	found, err := r.w.Request(ctx, names)
	if err != nil || found == nil {
		return judge.Request{Approves: approves}, err
	}
	is := judge.Request{Approves: approves, Name: found.Name, NodeName: found.NodeName, Pending: found.Pending, Denied: found.Denied, Own: found.Own}
	if is.NodeName == "" {
		is.NodeName = names[0]
	}
	denied := found.Before
	if found.Denied {
		denied = found
	}
	if denied != nil {
		is.Denial = fmt.Sprintf("certificate request %s of Node %q was denied: %s", denied.Name, is.NodeName, denied.Message)
	}
	return is, nil
}

// askWithToken looks at the kubelet's Node with the token. Only the server that
// was proven for the token is shown it; the kubelet's credentials prove nothing
// for that.
func (r *run) askWithToken(asked question) func(context.Context) func() {
	if !r.facts.Cluster.Known() || r.facts.Cluster.Value.Verdict != judge.Proven {
		return nil
	}
	server, name := r.eyes.proven, r.facts.Credentials.Value.NodeName
	if r.eyes.creds != nil {
		server.Server = r.eyes.creds.Server
	}
	if name == "" {
		name = r.facts.Kubelet.Value.NodeName
	}
	if name == "" {
		name = r.facts.Name.Value.Name
	}
	server.NodeName = name
	bearer := r.bearer(r.tokens.token)
	return func(ctx context.Context) func() {
		return fact(asked, &r.facts.Second)(sightingOf(r.w.AskWithToken(ctx, &server, bearer)), nil)
	}
}
