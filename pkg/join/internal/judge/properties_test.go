package judge

import (
	"slices"
	"time"
)

// What holds for every row, whatever is known, old or not known in it. None of
// it is computed with the judge's own functions, but for what fails and what is
// ours.

type property struct {
	name  string
	holds func(*row, Action) bool
}

var properties = []property{
	{"one kind, coherent fields", coherent},
	{"an act rests on known and fresh facts, and says so", restsOnFreshFacts},
	{"nothing is done on a control plane", sparesControlPlane},
	{"nothing is done beside another kubeadm or without a mount", undisturbed},
	{"no reset while a kubelet runs and does not fail", sparesRunningKubelet},
	{"the kubelet is stopped for a ground only", stopsForAGround},
	{"no reset against the user's word", obeysUser},
	{"no reset of what is not kubeadm's", sparesLosses},
	{"no reset while our certificate request lives", sparesRequest},
	{"no reset of a clone without a sign of life of the other", clonedForSure},
	{"only what a join of this machine's has written is tidied away", tidiesItsOwn},
	{"a healthy member is not touched", sparesMember},
	{"only what was just seen is put back, beside a kubelet that runs", putsBackWhatWasSeen},
	{"what its owner wants gone is not brought back", obeysOwner},
	{"nor by a run that has not seen its end", obeysEarlierRun},
	{"no run ends for what cloud-init may yet mend", waitsForCloudInit},
	{"a kubelet bootstraps again in its own cluster only, where nobody reports for its Node", bootstrapsOwn},
	{"no reset where the kubelet could bootstrap again", prefersBootstrap},
	{"success is a member, seen just now", observesSuccess},
	{"the token goes to a proven server only", keepsToken},
	{"no join into a live Node or with credentials", joinsAlone},
	{"a wait ends, or says who can end it", ends},
}

// forcedReset: the user's word, until it is done.
func (r *row) forcedReset() bool { return r.p.Reset == ResetAlways && !r.m.ForcedDone }

func (r *row) kubeletRuns() bool {
	k := r.f.Kubelet.Value
	return k.Running && !r.m.fails(k, now)
}

// kubeletWorks: one that is suspended cannot be a member's, but its Node may be.
func (r *row) kubeletWorks() bool { return r.kubeletRuns() && !r.f.Kubelet.Value.Suspended }

func (r *row) sight() Sighting {
	if r.f.Credentials.Value.State == Loaded {
		return r.f.Node.Value
	}
	return r.f.Second.Value
}

func (r *row) isMember() bool {
	s := r.sight()
	return s.Answer == Present && s.Node.UID != "uid-0" && r.p.Ours(s.Node) && s.Node.Ready != "Unknown"
}

// reports: the kubelet's heartbeat has gone on since its restart.
func (r *row) reports() bool {
	beat := r.sight().Node.Heartbeat
	return r.m.RestartedBeside.IsZero() || beat.After(r.m.RestartedBeside) || !beat.Before(r.m.Restarted)
}

func isFresh(s stamp) bool {
	if s.at.IsZero() || s.acts != acts {
		return false
	}
	return now.Sub(s.at) <= FreshFor || s.asked.Before(ago(5*FreshFor-1)) && now.Sub(s.at) < FreshFor
}

func (r *row) known(t Topic) bool {
	switch t {
	case Files:
		return r.f.Disk.Known()
	case Company:
		return r.f.Machine.Known()
	case Kubeconfig:
		return r.f.Credentials.Known() || r.forcedReset()
	case Unit:
		return r.f.Kubelet.Known()
	case Token:
		return r.f.Cluster.Known() && r.f.Cluster.Value.Verdict == Proven
	case Certificate:
		return r.f.Request.Known()
	case OwnNode:
		return r.f.Node.Value.Answer == Unauthorized || r.f.Node.Value.Answer >= Absent
	}
	return r.f.Second.Value.Answer >= Absent
}

func coherent(_ *row, a Action) bool {
	switch a.Kind {
	case Wait:
		return a.Because == 0 && a.Ground == None && (a.Message == "" && a.Reason == "" || a.Message != "" && a.Reason != "")
	case BackOff:
		return a.Because == 0 && a.Ask == 0 && a.Reason != "" && (a.Message != "" || a.Err != nil)
	case End:
		return a.Ask == 0 && a.Reason != "" && (a.Message != "" || a.Err != nil) && (a.Because != 0) == (a.Reason == Held)
	case Reset, StopKubelet:
		return a.Ask == 0 && a.Until.IsZero() && a.Message != "" && a.Ground != None
	case RestartKubelet, Join, PutBack, Bootstrap, Tidy:
		return a.Ask == 0 && a.Until.IsZero() && a.Message != "" && a.Ground == None
	case StartKubelet:
		return a.Ask == 0 && a.Until.IsZero() && a.Message != ""
	}
	return false
}

// restsOnFreshFacts: to start a kubelet that this run has stopped needs no fact:
// doubt is enough to leave the machine as it was.
func restsOnFreshFacts(r *row, a Action) bool {
	here := Files | Company | Kubeconfig | Unit
	var needed Topic
	switch {
	case a.Kind == StartKubelet:
		return !r.m.StoppedAt.IsZero()
	case a.Kind == RestartKubelet && r.f.Credentials.Value.State != Loaded:
		needed = here | TokensNode
	case a.Kind == RestartKubelet, a.Kind == PutBack:
		needed = here | OwnNode
	case a.Kind == Bootstrap && r.f.Credentials.Value.State == Loaded:
		needed = here | Token | TokensNode
	case a.Kind == Bootstrap:
		needed = here | Token | Certificate
	case a.Kind == Join, a.Ground == Asked:
		needed = here | Token
	case a.Kind == Tidy:
		needed = here | Token | Certificate
	case a.Kind != Reset && a.Kind != StopKubelet:
		return true
	case a.Ground == NoCredentials:
		needed = here | Token | Certificate
	case a.Ground == StaysAway, a.Ground == Clone:
		needed = here | Token | OwnNode
	case a.Ground == RefusesKubelet:
		needed = here | Token | OwnNode | TokensNode
	}
	if a.Because&needed != needed {
		return false
	}
	for _, t := range topics {
		if a.Because&t != 0 && (!isFresh(r.f.stamp(t)) || !r.known(t)) {
			return false
		}
	}
	return true
}

func sparesControlPlane(r *row, a Action) bool {
	return !a.Kind.Acts() || r.f.Disk.Known() && r.f.Disk.Value.ControlPlane == ""
}

func undisturbed(r *row, a Action) bool {
	here := r.f.Machine
	return !a.Kind.Acts() || a.Kind == StartKubelet || here.Known() && here.Value.Kubeadm == "" && len(here.Value.Mounts) == 0
}

func sparesRunningKubelet(r *row, a Action) bool {
	switch {
	case a.Kind != Reset && a.Kind != Tidy || a.Ground == Asked && r.forcedReset():
		return true
	case a.Ground > NoCredentials && r.m.StoppedAt.IsZero():
		return false
	}
	return !r.kubeletRuns() && r.f.Kubelet.Known() && !r.f.Join.Running
}

// stopsForAGround: a kubelet without credentials is stopped only where it waits
// for its first certificate, and beside no pod that this run's own join has not
// brought.
func stopsForAGround(r *row, a Action) bool {
	if a.Kind != StopKubelet {
		return true
	}
	c, in := r.f.Credentials.Value, r.f.Cluster.Value.Node
	if a.Ground != NoCredentials {
		return c.State == Loaded && a.Ground != Asked && r.m.StoppedAt.IsZero() && !r.f.Join.Running
	}
	alive := in.Answer == Present && r.p.Ours(in.Node) && in.Node.Ready != "Unknown"
	return c.State == NotThere && (r.f.Machine.Value.Pods == 0 || r.m.Joins > 0) && !alive
}

func obeysUser(r *row, a Action) bool {
	return a.Kind != Reset && a.Kind != StopKubelet || a.Ground == NoCredentials && r.written() || r.p.Reset != ResetNever && (a.Ground != Asked || r.forcedReset())
}

func sparesLosses(r *row, a Action) bool {
	return a.Kind != Reset && a.Kind != StopKubelet || a.Kind == StopKubelet && a.Ground == NoCredentials && r.written() || r.p.Reset == ResetAlways || len(r.f.Disk.Value.Losses) == 0 && !r.f.Disk.Value.AdminConf
}

// written: an unfinished join of this machine's has, all that hinders another.
func (r *row) written() bool {
	d := r.f.Disk.Value
	foreign := func(path string) bool { return !slices.Contains(d.Written, path) }
	others := d.CAFile != "" && foreign(d.CAFile) && !slices.Equal(d.CA, r.f.Cluster.Value.CA)
	return !others && !d.AdminConf && !slices.ContainsFunc(d.Leftovers, foreign) && !r.forcedReset()
}

// tidiesItsOwn: credentials would mean that the join was finished. To take away
// what only that join needed loses nothing, so a reset, which may, does not come
// instead.
func tidiesItsOwn(r *row, a Action) bool {
	state := r.f.Credentials.Value.State
	switch {
	case a.Kind == Tidy:
		return r.written() && len(r.f.Disk.Value.Written) > 0 && (state == NotThere || state == Unusable) && r.f.Disk.Known()
	case a.Kind == Reset && a.Ground == NoCredentials:
		return !r.written()
	}
	return true
}

// sparesRequest: its key is on the disk, or in the memory of a kubelet that runs
// or is about to.
func sparesRequest(r *row, a Action) bool {
	if a.Kind != Tidy && (a.Kind != Reset && a.Kind != StopKubelet || a.Ground != NoCredentials) {
		return true
	}
	return r.sparedRequest()
}

func (r *row) sparedRequest() bool {
	q, k := r.f.Request.Value, r.f.Kubelet.Value
	key := q.Own || (k.Running || k.Starting) && !r.m.fails(k, now)
	issued := q.Own && q.Name != "" && !q.Denied && now.Sub(r.m.issuedSince) < issuedPatience
	pending := q.Pending && key
	return !pending && !issued
}

// clonedForSure: a stop forgets the signs of life before it, whatever it was for.
func clonedForSure(r *row, a Action) bool {
	return a.Kind != Reset || a.Ground != Clone ||
		!r.m.StoppedAt.IsZero() && (r.m.Heartbeat.Moved || r.f.Lease.Known() && r.f.Lease.Value.After(r.m.Renewed))
}

func sparesMember(r *row, a Action) bool {
	if r.f.Credentials.Value.State != Loaded || !r.f.Credentials.Known() || r.forcedReset() || !r.isMember() {
		return true
	}
	switch a.Kind {
	case Reset, StopKubelet, Join, Tidy:
		return false
	case PutBack, Bootstrap:
		return false
	case RestartKubelet:
		return !r.kubeletWorks() || !r.reports() || r.takingUp() && (r.f.Untaken.Known() || r.f.Credentials.Value.State != Loaded)
	}
	return true
}

// takingUp: our Node was put back, and the kubelet was not seen to have taken it up.
func (r *row) takingUp() bool { return !r.m.PutBackAt.IsZero() }

func putsBackWhatWasSeen(r *row, a Action) bool {
	if a.Kind != PutBack {
		return !a.Ready
	}
	return r.p.Restore && r.m.Lost && r.f.Node.Value.Answer == Absent && now.Sub(r.m.OwnSeen) <= podPatience && r.m.PutBackUID != r.m.Deleted[0] &&
		r.kubeletRuns() && !r.f.Join.Running && (!a.Ready || r.f.Kubelet.Value.Healthy)
}

func bootstrapsOwn(r *row, a Action) bool {
	if a.Kind != Bootstrap {
		return true
	}
	c, s := r.f.Credentials.Value, r.f.Cluster.Value.Node
	if c.State == Loaded {
		s = r.f.Second.Value
	}
	n, expired := s.Node, now.Add(r.f.Cluster.Value.Ahead).After(c.NotAfter)
	refused := c.State == Loaded && r.m.Is == Refused && expired
	useless := c.State == NotThere || c.State == Unusable || refused || c.State == Loaded && r.f.Node.Value.Answer == Silent && c.OtherCA != ""
	if s.Answer == Absent {
		return (refused || useless && c.State != Loaded && !r.kubeletRuns()) && r.bootstrapsAnew() && r.f.Request.Known() && r.sparedRequest()
	}
	return useless && s.Answer == Present && n.MachineID == "machine" && n.SystemUUID == "uuid" && n.Ready == "Unknown" && n.DeletedAt.IsZero() && n.Name == r.f.Kubelet.Value.Name && r.f.Cluster.Value.Bearer &&
		r.f.Disk.Value.Configured && (!r.kubeletRuns() || c.State == Loaded || r.f.Request.Value.Approves && !r.m.silentSince.IsZero())
}

// bootstrapsAnew: this machine was a Node of the cluster, which has none of the
// kubelet's name, and of an earlier bootstrap no member has come.
func (r *row) bootstrapsAnew() bool {
	c, s, name, wanted := r.f.Credentials.Value, r.f.Cluster.Value.Node, r.f.Name.Value.Name, r.f.Name.Value.Name
	if c.State == Loaded {
		s, name = r.f.Second.Value, c.NodeName
	}
	return s.Answer == Absent && r.f.Disk.Value.Configured && r.f.Cluster.Value.Bearer && slices.Equal(c.CA, r.f.Cluster.Value.CA) && name == r.f.Kubelet.Value.Name &&
		(!r.p.Named || wanted == name) && !r.m.BootstrapSpent
}

// prefersBootstrap: a reset would end what lives here, and the Node that comes of
// either is a new one.
func prefersBootstrap(r *row, a Action) bool {
	acts := a.Kind == Reset && a.Ground == NoCredentials || (a.Kind == Reset || a.Kind == StopKubelet) && a.Ground == RefusesKubelet
	return !acts || !r.bootstrapsAnew()
}

func obeysOwner(r *row, a Action) bool {
	return r.m.Mark == "" || !r.m.Lost || a.Kind != PutBack && (a.Kind != RestartKubelet || r.m.Is != Gone)
}

// obeysEarlierRun: a Node that is there was brought back by somebody.
func obeysEarlierRun(r *row, a Action) bool {
	l, is := r.f.Left, r.f.Credentials.Value.NodeName
	if is == "" {
		is = r.f.Kubelet.Value.NodeName
	}
	if is == "" {
		is = r.f.Name.Value.Name
	}
	ours := l.Value.Mark != "" && (is == "" || is == l.Value.Node)
	return l.Err == nil && !ours || r.m.Is == Member || r.m.Is == Dead || !a.Kind.Acts() && (a.Kind == End || r.m.Is != Gone)
}

func waitsForCloudInit(r *row, a Action) bool {
	if a.Kind != End || a.Reason != HostUnfit {
		return true
	}
	does := r.f.Machine.Value.CloudInit
	return !r.f.Machine.At.IsZero() && (does == CloudInitIdle || does == CloudInitUnclear && now.Sub(r.m.unclearSince) >= 5*time.Minute)
}

func observesSuccess(r *row, a Action) bool {
	if a.Kind != End || a.Reason != Held {
		return true
	}
	seen := r.f.Node
	if r.f.Credentials.Value.State != Loaded {
		seen = r.f.Second
	}
	n, over := seen.Value.Node, now.Sub(r.m.LevelSince) >= r.p.Hold
	return r.isMember() && n.BootID == "boot" && (n.MachineID == "" || n.MachineID == "machine") && n.DeletedAt.IsZero() &&
		r.f.Kubelet.Known() && r.kubeletWorks() && r.reports() && isFresh(r.f.Kubelet.stamp()) && isFresh(seen.stamp()) && !seen.News &&
		(r.p.Until == Registered || !n.Uninitialized) && (r.p.Until != Ready || n.Ready == "True") &&
		(over || n.Ready == "True" && !n.Uninitialized) && r.m.LevelUID == n.UID && !r.takingUp() && !r.f.Join.Running && !r.forcedReset()
}

func keepsToken(r *row, a Action) bool {
	return a.Kind != Join && a.Ask&TokensNode == 0 || r.f.Cluster.Known() && r.f.Cluster.Value.Verdict == Proven && r.f.Cluster.Value.NoToken == nil
}

// joinsAlone: kubeadm takes over a Node that is not Ready, and refuses beside one
// that is. Torn credentials are of use to no kubelet, but one that runs may have
// them in its memory.
func joinsAlone(r *row, a Action) bool {
	if a.Kind != Join {
		return true
	}
	c := r.f.Cluster.Value
	n := c.Node.Node
	state, unused := r.f.Credentials.Value.State, r.f.Kubelet.Known() && !r.kubeletRuns()
	return (state == NotThere || state == Unusable && unused) && r.f.Credentials.Known() && !r.f.Join.Running &&
		(c.Node.Answer != Present || n.DeletedAt.IsZero() && n.Ready != "True" && (r.p.Ours(n) || n.Ready != "False")) && !r.forcedReset()
}

// answerable are the topics that can be asked for in this row.
func (r *row) answerable() Topic {
	asked := Topic(1<<13 - 1)
	if r.f.Credentials.Value.State != Loaded {
		asked &^= OwnNode | Renewal | Takeup
	}
	return asked
}

func ends(r *row, a Action) bool {
	return a.Kind != Wait || a.Ask&r.answerable() != 0 || a.Until.After(now) || a.Message != "" && (a.Hint != "" || a.Err != nil) || r.f.Join.Running ||
		a.Quiet && !a.Limit.IsZero() && a.Limit.After(now)
}
