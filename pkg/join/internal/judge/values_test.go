package judge

import "time"

// What the dimensions' values are made of.

var (
	kubeletConf = []string{"kubelet.conf"}
	clusterPins = []string{"pin"}
	lastBeat    = ago(20 * time.Second)
	unfit       = &Action{Kind: End, Reason: HostUnfit, Message: "this machine is unfit"}

	ourNode    = Node{Name: "self", UID: "uid", BootID: "boot", MachineID: "machine", SystemUUID: "uuid", Ready: "True", Heartbeat: lastBeat}
	otherNode  = Node{Name: "self", UID: "uid", BootID: "boot-2", MachineID: "machine-2", SystemUUID: "uuid-2", Ready: "True", Heartbeat: lastBeat}
	imageNode  = Node{Name: "image", UID: "uid", BootID: "boot-2", MachineID: "machine-2", SystemUUID: "uuid-2", Ready: "True", Heartbeat: lastBeat}
	earlierOwn = Node{Name: "self", UID: "uid", BootID: "boot-0", MachineID: "machine", SystemUUID: "uuid", Ready: "True", Heartbeat: lastBeat}
)

func with(n Node, ready string) Node {
	n.Ready = ready
	return n
}

func leaving(n Node) Node {
	n.DeletedAt, n.Finalizers = ago(time.Minute), []string{"example.com/drain"}
	return n
}

func onDisk(name string, d Disk) value {
	return val(name, func(r *row) { r.f.Disk.Value, r.f.Disk.Err = d, nil })
}

func hosting(name string, m Machine) value {
	return val(name, func(r *row) { r.hosts(m, nil) })
}

// hosts leaves cloud-init alone.
func (r *row) hosts(m Machine, err error) {
	m.CloudInit = r.f.Machine.Value.CloudInit
	r.f.Machine.Value, r.f.Machine.Err = m, err
}

func having(name string, c Credentials) value {
	c.Path, c.Server = "kubelet.conf", "https://cluster"
	return val(name, func(r *row) { r.holds(c, nil) })
}

// holds leaves the name alone, which the Node that is seen with it sets.
func (r *row) holds(c Credentials, err error) {
	c.NodeName = r.f.Credentials.Value.NodeName
	r.f.Credentials.Value, r.f.Credentials.Err = c, err
}

func unit(name string, k Kubelet, runs time.Duration) value {
	return val(name, func(r *row) { r.kubelet(k, runs) })
}

func (r *row) kubelet(k Kubelet, runs time.Duration) {
	if k.Name = k.NodeName; k.Name == "" {
		k.Name = "self"
	}
	r.f.Kubelet.Value, r.f.Kubelet.Err = k, nil
	r.m.PID, r.m.ranSince, r.m.exits, r.m.Doomed = k.PID, time.Time{}, [2]time.Time{}, false
	if k.Running {
		r.m.ranSince = ago(runs)
	}
}

func request(name string, q Request, issued time.Duration) value {
	return val(name, func(r *row) { r.asked(q, nil, issued) })
}

func (r *row) asked(q Request, err error, issued time.Duration) {
	r.f.Request.Value, r.f.Request.Err = q, err
	r.m.issuedSince, r.m.Denial, r.m.DenialTold = time.Time{}, "", ""
	if issued > 0 {
		r.m.issuedSince = ago(issued)
	}
}

// sights are the answers about the kubelet's Node, each with what the memory has
// of it.
var sights = []value{
	{"not heard", true, sight("", Unheard, Sighting{}).set},
	{"silence", true, sight("", Mute, Sighting{Err: errSeen}).set},
	{"403", true, sight("", Mute, Sighting{Answer: Forbidden, Err: errSeen}).set},
	sight("401", Refused, Sighting{Answer: Unauthorized, Err: errSeen}),
	sight("404", Gone, Sighting{Answer: Absent}),
	sight("404, and late news of the one before", Gone, seen(Node{Name: "self", UID: "uid-0", BootID: "boot", MachineID: "machine", Ready: "True"})),
	sight("ours", Member, seen(ourNode)),
	sight("ours, not ready", Member, seen(with(ourNode, "False"))),
	sight("ours, uninitialized", Member, seen(Node{Name: "self", UID: "uid", BootID: "boot", Ready: "True", Heartbeat: lastBeat, Uninitialized: true})),
	sight("ours, leaving", Member, seen(leaving(ourNode))),
	sight("dead", Dead, seen(with(ourNode, "Unknown"))),
	sight("dead, leaving", Dead, seen(leaving(with(ourNode, "Unknown")))),
	sight("another's", Foreign, seen(otherNode)),
	sight("another's, dead", Foreign, seen(with(otherNode, "Unknown"))),
	moving(sight("another's, alive", Foreign, seen(otherNode))),
	sight("the image's", Foreign, seen(imageNode)),
	sight("the image's, dead", Foreign, seen(with(imageNode, "Unknown"))),
	sight("the image's, leaving", Foreign, seen(leaving(imageNode))),
	moving(sight("the image's, alive", Foreign, seen(imageNode))),
	sight("of one kernel with ours", Foreign, seen(Node{Name: "image", UID: "uid", BootID: "boot", MachineID: "machine-2", Ready: "True", Heartbeat: lastBeat})),
	sight("of an earlier boot", Foreign, seen(earlierOwn)),
	sight("of an earlier boot, dead", Foreign, seen(with(earlierOwn, "Unknown"))),
	sight("without a boot ID", Foreign, seen(Node{Name: "self", UID: "uid", Ready: "True", Heartbeat: lastBeat})),
}

func seen(n Node) Sighting { return Sighting{Answer: Present, Node: n} }

func sight(name string, is Condition, s Sighting) value {
	credentials, own := "self", ""
	if s.Node.Name == "image" {
		credentials = "image"
	}
	if is == Member || is == Dead {
		own = s.Node.UID
	}
	boot := "boot"
	if s.Answer == Present && s.Node.BootID == "" {
		boot = ""
	}
	return val(name, func(r *row) {
		r.f.Node.Value, r.f.Credentials.Value.NodeName, r.p.BootID = s, credentials, boot
		r.m.Is, r.m.OwnUID, r.m.LevelUID, r.m.Heartbeat = is, own, own, Heartbeat{}
	})
}

func moving(v value) value {
	still := v.set
	v.set = func(r *row) {
		still(r)
		r.m.Heartbeat = Heartbeat{UID: "uid", Since: ago(time.Minute), First: lastBeat.Add(-time.Minute), Moved: true}
	}
	return v
}

// clusters are what a look with the token finds, each with what the memory has
// of it. The last ones are those of a proven server.
var clusters = []value{
	token("no token", Cluster{NoToken: errSeen}, true, 0),
	token("no token, ever", Cluster{NoToken: errSeen, Usage: true}, true, 0),
	token("no cluster", Cluster{NoToken: errSeen, Usage: true, Lost: true}, true, 0),
	{"silence", true, token("", Cluster{Verdict: Unreachable, Err: errSeen}, true, 0).set},
	token("not served", Cluster{Verdict: NotServed, Err: errSeen}, true, 0),
	token("not signed yet", Cluster{Verdict: Unsigned, CA: clusterPins, Err: errSeen}, true, 0),
	token("not signed for this token, 29 s", Cluster{Verdict: Unsigned, Signers: 1, Err: errSeen}, true, 29*time.Second),
	token("not signed for this token, 61 s", Cluster{Verdict: Unsigned, Signers: 1, Err: errSeen}, true, 61*time.Second),
	token("a bad signature, 4 s", Cluster{Verdict: BadSignature, Pinned: true, Err: errSeen}, true, 4*time.Second),
	token("a bad signature, 6 s", Cluster{Verdict: BadSignature, Pinned: true, Err: errSeen}, true, 6*time.Second),
	token("a bad signature, 6 s, of a token that may change", Cluster{Verdict: BadSignature, Pinned: true, Err: errSeen}, false, 6*time.Second),
	token("a bad signature, 6 s, not pinned", Cluster{Verdict: BadSignature, Err: errSeen}, true, 6*time.Second),
	token("wrong CA", Cluster{Verdict: WrongCA, Err: errSeen}, true, 0),
	token("a CA of an unknown algorithm, 4 s", Cluster{Verdict: Unreachable, Answered: true, Algorithm: true, Err: errSeen}, true, 4*time.Second),
	token("a CA of an unknown algorithm, 6 s", Cluster{Verdict: Unreachable, Answered: true, Algorithm: true, Err: errSeen}, true, 6*time.Second),
	token("refused, 59 s", Cluster{Verdict: Rejected, CA: clusterPins, Err: errSeen}, true, 59*time.Second),
	token("refused, 61 s", Cluster{Verdict: Rejected, CA: clusterPins, Err: errSeen}, true, 61*time.Second),
	token("refused, 61 s, of a token that may change", Cluster{Verdict: Rejected, CA: clusterPins, Err: errSeen}, false, 61*time.Second),
	starting(proven("just started, 403", Sighting{Answer: Forbidden, Err: errSeen})),

	proven("403", Sighting{Answer: Forbidden, Err: errSeen}),
	proven("no Node", Sighting{Answer: Absent}),
	proven("our Node", seen(ourNode)),
	proven("our Node, not ready", seen(with(ourNode, "False"))),
	proven("our Node, dead", seen(with(ourNode, "Unknown"))),
	proven("our Node, leaving", seen(leaving(ourNode))),
	proven("another's", seen(otherNode)),
	proven("another's, dead", seen(with(otherNode, "Unknown"))),
	twin(proven("another's, alive", seen(otherNode))),
	bearerless(proven("our Node, dead, by credentials without a token", seen(with(ourNode, "Unknown")))),
}

func bearerless(v value) value {
	return val(v.name, func(r *row) {
		v.set(r)
		r.f.Cluster.Value.Bearer = false
	})
}

const firstProven, justStarted, noNode = 19, 18, 20

func token(name string, c Cluster, fixed bool, lasts time.Duration) value {
	c.Server, c.Bearer = "https://cluster", c.NoToken == nil
	return val(name, func(r *row) {
		c.NextAt = r.f.Cluster.Value.NextAt
		r.f.Cluster.Value, r.p.TokenFixed = c, fixed
		r.m.Twin, r.m.Starting = Heartbeat{}, false
		r.m.badSignSince, r.m.servesSince, r.m.refusedSince, r.m.strangeSince = ago(lasts), ago(lasts), ago(lasts), ago(lasts)
	})
}

func proven(name string, s Sighting) value {
	return token(name, Cluster{Verdict: Proven, CA: clusterPins, Pinned: true, Node: s}, true, 0)
}

func starting(v value) value {
	settled := v.set
	v.set = func(r *row) { settled(r); r.m.Starting = true }
	return v
}

func twin(v value) value {
	still := v.set
	v.set = func(r *row) { still(r); r.m.Twin = Heartbeat{UID: "uid", Moved: true} }
	return v
}

const holdFor = time.Minute
