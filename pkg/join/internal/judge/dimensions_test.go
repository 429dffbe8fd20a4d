package judge

import (
	"errors"
	"time"
)

// row is one combination of all values.
type row struct {
	p Policy
	m Memory
	f Facts
}

// value of a dimension sets fields that no other dimension sets.
type value struct {
	name    string
	unknown bool // the fact that it stands for is not known
	set     func(*row)
}

// axis names a dimension.
type axis int

const (
	byReset axis = iota
	byLevel
	byDisk
	byMachine
	byCreds
	byKubelet
	byPrograms
	byName
	byEndpoint
	byCluster
	byNext
	byRequest
	bySight
	bySecond
	byLease
	byJoin
	bySince
	byRestart
	byHeard
	byFailed
	byPause
	byStopped
	byJoined
	byTaken
	byDoubt
	byDeletions
	byHold
	byReturn
	byUntaken
	byLeft
	byFirstBoot
	byFresh
	axes
)

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	errSeen = errors.New("it could not be found out")
)

func ago(d time.Duration) time.Time { return now.Add(-d) }

const acts = 3 // done by the run so far

func val(name string, set func(*row)) value { return value{name: name, set: set} }

func notKnown(set func(*row)) value { return value{"not known", true, set} }

// dimensions: times and counts have a value on each side of every threshold that
// the judge has for them.
var dimensions = [axes][]value{
	byReset: {
		val("auto", func(r *row) { r.p.Reset, r.m.ForcedDone = ResetAuto, false }),
		val("never", func(r *row) { r.p.Reset, r.m.ForcedDone = ResetNever, false }),
		val("always, done", func(r *row) { r.p.Reset, r.m.ForcedDone = ResetAlways, true }),
		val("always, due", func(r *row) { r.p.Reset, r.m.ForcedDone = ResetAlways, false }),
	},
	byLevel: {
		val("registered", func(r *row) { r.p.Until = Registered }),
		val("initialized", func(r *row) { r.p.Until = Initialized }),
		val("ready", func(r *row) { r.p.Until = Ready }),
	},
	byDisk: {
		notKnown(func(r *row) { r.f.Disk.Value, r.f.Disk.Err = Disk{}, errSeen }),
		onDisk("control plane", Disk{ControlPlane: "kube-apiserver.yaml", Leftovers: kubeletConf}),
		onDisk("clean", Disk{}),
		onDisk("admin.conf", Disk{AdminConf: true}),
		onDisk("leftovers", Disk{Leftovers: kubeletConf}),
		onDisk("configured", Disk{Leftovers: kubeletConf, Configured: true}),
		onDisk("leftovers and admin.conf", Disk{Leftovers: kubeletConf, AdminConf: true}),
		onDisk("leftovers and losses", Disk{Leftovers: kubeletConf, Losses: []string{"static.yaml"}}),
		onDisk("an unfinished join", Disk{Leftovers: kubeletConf, Written: kubeletConf}),
		onDisk("an unfinished join, losses", Disk{Leftovers: kubeletConf, Written: kubeletConf, Losses: []string{"static.yaml"}}),
		onDisk("an unfinished join, configured", Disk{Leftovers: kubeletConf, Written: kubeletConf, Configured: true}),
		onDisk("an unfinished join, admin.conf", Disk{Leftovers: kubeletConf, Written: kubeletConf, AdminConf: true}),
		onDisk("another CA of an unfinished join", Disk{CAFile: "ca.crt", CA: []string{"other"}, Written: []string{"ca.crt"}}),
		onDisk("an unfinished join beside somebody's CA", Disk{Leftovers: kubeletConf, CAFile: "ca.crt", CA: []string{"other"}, Written: kubeletConf}),
		onDisk("the cluster's own CA", Disk{CAFile: "ca.crt", CA: clusterPins}),
		onDisk("another CA", Disk{CAFile: "ca.crt", CA: []string{"other"}}),
		onDisk("a bootstrap file", Disk{Bootstrap: "bootstrap-kubelet.conf"}),
	},
	byMachine: {
		notKnown(func(r *row) { r.hosts(Machine{}, errSeen) }),
		hosting("mounts missing", Machine{Mounts: []string{"/var/lib/kubelet"}}),
		hosting("a kubeadm", Machine{Kubeadm: "kubeadm upgrade"}),
		hosting("no pod", Machine{}),
		hosting("pods", Machine{Pods: 3}),
	},
	byCreds: {
		notKnown(func(r *row) { r.holds(Credentials{}, errSeen) }),
		having("not there", Credentials{State: NotThere}),
		having("unusable", Credentials{State: Unusable, Problem: errSeen}),
		having("lost on the cluster's machine", Credentials{State: NotThere, CA: clusterPins}),
		having("torn on the cluster's machine", Credentials{State: Unusable, CA: clusterPins, Problem: errSeen}),
		having("not understood", Credentials{State: NotUnderstood, Problem: errSeen}),
		having("another cluster's", Credentials{State: Loaded, CA: []string{"other"}, OtherCA: "not the pinned one", NotAfter: ago(-time.Hour)}),
		having("loaded", Credentials{State: Loaded, CA: clusterPins, NotAfter: ago(-time.Hour)}),
		having("expired", Credentials{State: Loaded, CA: clusterPins, NotAfter: ago(time.Hour)}),
		having("of another CA", Credentials{State: Loaded, CA: []string{"other"}, NotAfter: ago(-time.Hour)}),
	},
	byKubelet: {
		notKnown(func(r *row) { r.kubelet(Kubelet{}, 0); r.f.Kubelet.Err = errSeen }),
		unit("no init system", Kubelet{NoInit: true}, 0),
		unit("missing", Kubelet{Missing: true}, 0),
		unit("masked", Kubelet{Masked: true}, 0),
		unit("swap is on", Kubelet{Fatal: "swap", Shown: true}, 0),
		val("doomed", func(r *row) { r.kubelet(Kubelet{Fatal: "unknown flag", Failed: true}, 0); r.m.Doomed = true }),
		unit("stopped", Kubelet{}, 0),
		unit("starting", Kubelet{Starting: true}, 0),
		unit("failed", Kubelet{Failed: true}, 0),
		val("in a crash loop", func(r *row) {
			r.kubelet(Kubelet{Running: true, PID: 7}, time.Second)
			r.m.exits = [2]time.Time{ago(2 * time.Second), ago(failingWithin - time.Second)}
		}),
		val("steady after a crash loop", func(r *row) {
			r.kubelet(Kubelet{Running: true, PID: 7}, 59*time.Second)
			r.m.exits = [2]time.Time{ago(failingWithin), ago(failingWithin + time.Second)}
		}),
		unit("runs for 1 s", Kubelet{Running: true, PID: 7}, time.Second),
		unit("runs for 59 s", Kubelet{Running: true, PID: 7}, 59*time.Second),
		unit("runs for an hour", Kubelet{Running: true, PID: 7}, time.Hour),
		unit("runs and is healthy", Kubelet{Running: true, PID: 7, Healthy: true}, time.Hour),
		unit("runs under another name", Kubelet{Running: true, PID: 7, NodeName: "other"}, time.Hour),
		unit("runs astray", Kubelet{Running: true, PID: 7, Stray: true}, time.Hour),
		unit("cannot register", Kubelet{Running: true, PID: 7, Unregistered: "denied the request"}, time.Hour),
		unit("is suspended", Kubelet{Running: true, PID: 7, Suspended: true}, time.Second),
	},
	byPrograms: {
		notKnown(func(r *row) { r.f.Programs.Value, r.f.Programs.Err = Fitness{}, errSeen }),
		val("unfit", func(r *row) { r.f.Programs.Value, r.f.Programs.Err = Fitness{End: unfit}, nil }),
		val("fit", func(r *row) { r.f.Programs.Value, r.f.Programs.Err = Fitness{}, nil }),
	},
	byName: {
		notKnown(func(r *row) { r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{}, errSeen, false }),
		val("cannot be", func(r *row) { r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{End: unfit}, nil, false }),
		val("waits", func(r *row) {
			r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{Wait: &Action{Reason: JoinFailed, Message: "the instance has no name yet"}}, nil, false
		}),
		val("self", func(r *row) { r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{Name: "self"}, nil, false }),
		val("self, asked for", func(r *row) { r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{Name: "self"}, nil, true }),
		val("another, asked for", func(r *row) { r.f.Name.Value, r.f.Name.Err, r.p.Named = Named{Name: "wanted"}, nil, true }),
	},
	byEndpoint: {
		{"not known", true, func(r *row) {
			r.f.Endpoint, r.p.AsksEndpoint = Fact[bool]{Err: errSeen, Acts: acts, Asked: ago(time.Second), At: ago(time.Second)}, true
		}},
		{"never asked", true, func(r *row) { r.f.Endpoint, r.p.AsksEndpoint = Fact[bool]{}, true }},
		val("no matter", func(r *row) { r.f.Endpoint, r.p.AsksEndpoint = Fact[bool]{}, false }),
		val("same", func(r *row) { r.f.Endpoint, r.p.AsksEndpoint = Fact[bool]{At: ago(time.Second)}, true }),
		val("stranger", func(r *row) { r.f.Endpoint, r.p.AsksEndpoint = Fact[bool]{Value: true, At: ago(time.Second)}, true }),
	},
	byCluster: clusters,
	byNext: {
		val("now", func(r *row) { r.f.Cluster.Value.NextAt = time.Time{} }),
		val("later", func(r *row) { r.f.Cluster.Value.NextAt = now.Add(time.Second) }),
	},
	byRequest: {
		notKnown(func(r *row) { r.asked(Request{}, errSeen, 0) }),
		request("none", Request{}, 0),
		request("none, and they are approved", Request{Approves: true}, 0),
		request("pending", Request{Name: "csr-1", NodeName: "self", Pending: true, Own: true}, 0),
		request("pending with the key in memory", Request{Name: "csr-1", NodeName: "self", Pending: true}, 0),
		val("denied", func(r *row) { r.asked(Request{Name: "csr-1", Denied: true, Denial: "no"}, nil, 0); r.m.Denial = "no" }),
		val("denied, told", func(r *row) {
			r.asked(Request{Name: "csr-1", Denied: true, Denial: "no"}, nil, 0)
			r.m.Denial, r.m.DenialTold = "no", "no"
		}),
		request("issued 14 s ago", Request{Name: "csr-1", Own: true}, issuedPatience-time.Second),
		request("issued 16 s ago", Request{Name: "csr-1", Own: true}, issuedPatience+time.Second),
		request("issued for an earlier key", Request{Name: "csr-1"}, time.Second),
	},
	bySight: sights,
	bySecond: {
		{"silent", true, func(r *row) { r.f.Second.Value = Sighting{Err: errSeen} }},
		{"forbidden", true, func(r *row) { r.f.Second.Value = Sighting{Answer: Forbidden, Err: errSeen} }},
		val("absent", func(r *row) { r.f.Second.Value = Sighting{Answer: Absent} }),
		val("ours", func(r *row) { r.f.Second.Value = Sighting{Answer: Present, Node: ourNode} }),
		val("dead", func(r *row) { r.f.Second.Value = Sighting{Answer: Present, Node: with(ourNode, "Unknown")} }),
		val("another's, dead", func(r *row) { r.f.Second.Value = Sighting{Answer: Present, Node: with(otherNode, "Unknown")} }),
	},
	byLease: {
		notKnown(func(r *row) { r.f.Lease.Value, r.f.Lease.Err, r.m.Renewed = time.Time{}, errSeen, time.Time{} }),
		val("as it was", func(r *row) {
			r.f.Lease.Value, r.f.Lease.Err, r.m.Renewed = ago(20*time.Second), nil, ago(20*time.Second)
		}),
		val("renewed", func(r *row) { r.f.Lease.Value, r.f.Lease.Err, r.m.Renewed = ago(time.Second), nil, ago(20*time.Second) }),
	},
	byJoin: {
		val("none", func(r *row) { r.f.Join = Joining{} }),
		val("runs", func(r *row) { r.f.Join = Joining{Running: true} }),
		val("has succeeded", func(r *row) { r.f.Join = Joining{Back: true} }),
		val("has failed", func(r *row) { r.f.Join = Joining{Back: true, Err: errSeen} }),
		val("has failed for good", func(r *row) { r.f.Join = Joining{Back: true, Err: errSeen, End: unfit} }),
	},
	bySince: {
		val("1 s", func(r *row) { r.m.Since = ago(time.Second) }),
		val("59 s", func(r *row) { r.m.Since = ago(59 * time.Second) }),
		val("90 s", func(r *row) { r.m.Since = ago(90 * time.Second) }),
		val("2 h", func(r *row) { r.m.Since = ago(2 * time.Hour) }),
	},
	byRestart: {
		val("never", func(r *row) { r.m.Restarted, r.m.RestartedBeside = time.Time{}, time.Time{} }),
		val("5 min", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(5*time.Minute), ago(time.Hour) }),
		val("61 s", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(61*time.Second), ago(time.Hour) }),
		val("59 s", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(59*time.Second), ago(time.Hour) }),
		val("1 s", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(time.Second), ago(time.Hour) }),
		val("61 s and no report", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(61*time.Second), lastBeat.Add(time.Minute) }),
		val("1 s and no report", func(r *row) { r.m.Restarted, r.m.RestartedBeside = ago(time.Second), lastBeat }),
	},
	byHeard: {
		val("throughout", func(r *row) { r.m.Heard = time.Time{} }),
		val("again for 30 s", func(r *row) { r.m.Heard = ago(30 * time.Second) }),
		val("again for 80 s", func(r *row) { r.m.Heard = ago(80 * time.Second) }),
	},
	byFailed: {
		val("no attempt", func(r *row) { r.m.FailedAt, r.m.BackOffUntil = time.Time{}, time.Time{} }),
		val("one, and its pause is over", func(r *row) { r.m.FailedAt, r.m.BackOffUntil = ago(3*time.Second), ago(2*time.Second) }),
		val("one just now", func(r *row) { r.m.FailedAt, r.m.BackOffUntil = ago(time.Second), now.Add(time.Second) }),
	},
	byPause: {
		val("none", func(r *row) { r.m.RestartPause = 0 }),
		val("30 s", func(r *row) { r.m.RestartPause = 30 * time.Second }),
	},
	byStopped: {
		val("never", func(r *row) { r.m.StoppedAt, r.m.StoppedFor = time.Time{}, None }),
		val("2 s", func(r *row) { r.m.StoppedAt, r.m.StoppedFor = ago(2*time.Second), StaysAway }),
		val("2 s for a clone", func(r *row) { r.m.StoppedAt, r.m.StoppedFor = ago(2*time.Second), Clone }),
		val("7 min for a clone", func(r *row) { r.m.StoppedAt, r.m.StoppedFor = ago(7*time.Minute), Clone }),
	},
	byJoined: {
		val("never", func(r *row) { r.m.JoinedAt, r.m.Newborn, r.m.Joins = time.Time{}, time.Time{}, 0 }),
		val("2 h", func(r *row) { r.m.JoinedAt, r.m.Newborn, r.m.Joins = ago(2*time.Hour), time.Time{}, 1 }),
		val("2 h, with a certificate for 30 s", func(r *row) { r.m.JoinedAt, r.m.Newborn, r.m.Joins = ago(2*time.Hour), ago(30*time.Second), 1 }),
		val("2 h, with a certificate for 1 s", func(r *row) { r.m.JoinedAt, r.m.Newborn, r.m.Joins = ago(2*time.Hour), ago(time.Second), 1 }),
	},
	byTaken: {
		val("not", func(r *row) { r.m.takenSince, r.m.silentSince = time.Time{}, time.Time{} }),
		val("89 s, silent for 14 s", func(r *row) { r.m.takenSince, r.m.silentSince = ago(89*time.Second), ago(silentPatience-time.Second) }),
		val("91 s, silent for 16 s", func(r *row) { r.m.takenSince, r.m.silentSince = ago(91*time.Second), ago(silentPatience+time.Second) }),
	},
	byDoubt: {
		val("none", func(r *row) { r.m.GoneSpent, r.m.CloneDoubted, r.m.BootstrapSpent = false, false, false }),
		val("a reset is spent", func(r *row) { r.m.GoneSpent, r.m.CloneDoubted, r.m.BootstrapSpent = true, false, false }),
		val("no clone", func(r *row) { r.m.GoneSpent, r.m.CloneDoubted, r.m.BootstrapSpent = false, true, false }),
		val("a bootstrap is spent", func(r *row) { r.m.GoneSpent, r.m.CloneDoubted, r.m.BootstrapSpent = false, false, true }),
	},
	byDeletions: {
		val("none", func(r *row) { r.m.Deletions, r.m.Lost = 0, false }),
		val("one", func(r *row) { r.m.Deletions, r.m.Lost = 1, true }),
		val("too many", func(r *row) { r.m.Deletions, r.m.Lost = 11, true }),
	},
	byHold: {
		val("59 s", func(r *row) { r.m.LevelSince = ago(59 * time.Second) }),
		val("61 s", func(r *row) { r.m.LevelSince = ago(61 * time.Second) }),
	},
	byReturn: {
		returns("as a new one only", false, "", time.Second, 0, ""),
		returns("seen 40 s ago", true, "", podPatience, 0, ""),
		returns("seen 41 s ago", true, "", podPatience+time.Second, 0, ""),
		returns("tried", true, "uid-0", time.Second, 0, ""),
		returns("put back 29 s ago", true, "uid-0", time.Second, takeupPatience-time.Second, ""),
		returns("put back 30 s ago", true, "uid-0", time.Second, takeupPatience, ""),
		bootstraps("bootstraps for 59 s", bootstrapPatience-time.Second),
		bootstraps("bootstraps for 60 s", bootstrapPatience),
		returns("marked", true, "", time.Second, 0, "taint karpenter.sh/disrupted"),
	},
	byUntaken: {
		notKnown(func(r *row) { r.f.Untaken.Value, r.f.Untaken.Err = Untaken{}, errSeen }),
		val("not taken up", func(r *row) { r.f.Untaken.Value, r.f.Untaken.Err = Untaken{Missing: "its Lease was not renewed"}, nil }),
		val("never to be", func(r *row) { r.f.Untaken.Value, r.f.Untaken.Err = Untaken{"the CSINode", true}, nil }),
	},
	byLeft: {
		val("none", func(r *row) { r.f.Left = Fact[Left]{At: ago(time.Minute)} }),
		notKnown(func(r *row) { r.f.Left = Fact[Left]{Err: errSeen, At: ago(time.Minute)} }),
		val("ours", func(r *row) {
			r.f.Left = Fact[Left]{Value: Left{"self", "taint karpenter.sh/disrupted", ago(time.Hour)}, At: ago(time.Minute)}
		}),
		val("another", func(r *row) {
			r.f.Left = Fact[Left]{Value: Left{"left", "taint karpenter.sh/disrupted", ago(time.Hour)}, At: ago(time.Minute)}
		}),
	},
	byFirstBoot: {
		boots("is over", CloudInitIdle, 0, 0),
		boots("goes on", CloudInitBusy, 0, 0),
		boots("may wait for us for 4 min", CloudInitUnclear, unclearPatience-time.Second, 0),
		boots("may wait for us for 5 min", CloudInitUnclear, unclearPatience, 0),
		boots("is just over", CloudInitIdle, 0, time.Millisecond),
		boots("was over before all was looked at", CloudInitIdle, 0, time.Hour),
	},
	byFresh: freshness,
}

// boots is what cloud-init does: for how long it may have waited for us, and since when it does nothing any more.
func boots(name string, does CloudInit, unclear, over time.Duration) value {
	return val(name, func(r *row) {
		r.f.Machine.Value.CloudInit, r.m.cloudInit = does, does
		r.m.unclearSince, r.m.cloudInitOver = time.Time{}, time.Time{}
		if unclear > 0 {
			r.m.unclearSince = ago(unclear)
		}
		if over > 0 {
			r.m.cloudInitOver = ago(over)
		}
	})
}

// returns is how our Node may come back: whether it may be put back as it was and was not tried yet, when it was last seen,
// and since when it is put back and not taken up.
func returns(name string, restore bool, tried string, seen, since time.Duration, mark string) value {
	return val(name, func(r *row) {
		r.p.Restore, r.m.Deleted[0], r.m.PutBackUID, r.m.Mark = restore, "uid-0", tried, mark
		r.m.OwnSeen, r.m.DeletedAt, r.m.PutBackAt, r.m.BootstrapAt = ago(seen), ago(seen/2), time.Time{}, time.Time{}
		if since > 0 {
			r.m.PutBackAt = ago(since)
		}
	})
}

// bootstraps: a kubelet without credentials does so since.
func bootstraps(name string, since time.Duration) value {
	none := returns(name, false, "", time.Second, 0, "")
	return val(name, func(r *row) {
		none.set(r)
		r.m.BootstrapAt = ago(since)
	})
}
