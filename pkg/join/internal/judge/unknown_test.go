//go:build !race

package judge

// What is not known must not lead to anything harsher than the gentlest that its
// known values would lead to.

// exception: an act for which what is not known makes no difference.
type exception struct {
	why string
	is  func(r *row, a Action, unknown axis) bool
}

var exceptions = []exception{
	{"who stops a kubelet for a reset, and then does not know whether that is due any more, starts it again", func(r *row, a Action, _ axis) bool {
		return a.Kind == StartKubelet
	}},
	{"what kubeadm and the kubelet are like is asked for after each act and failure, and holds until then", func(r *row, _ Action, unknown axis) bool {
		return unknown == byPrograms && r.f.Programs.Known() && r.f.Programs.Acts == acts
	}},
	{"a silent endpoint does not make credentials another cluster's; before a reset the proven cluster's CA is compared with theirs", func(r *row, a Action, unknown axis) bool {
		return unknown == byEndpoint && (a.Kind == RestartKubelet || SharesKey(r.f.Cluster.Value.CA, r.f.Credentials.Value.CA))
	}},
	{"a kubelet keeps the name that it has, where nobody has asked for another", func(r *row, a Action, unknown axis) bool {
		return a.Kind == Bootstrap && unknown == byName && !r.p.Named && r.f.Credentials.Value.State == Loaded
	}},
	{"the server of credentials of another CA does not answer them, and the proven cluster's token", func(r *row, a Action, unknown axis) bool {
		return a.Kind == Bootstrap && unknown == bySight && r.f.Credentials.Value.OtherCA != "" && r.f.Second.Value.Answer == Present
	}},
}

// topicAxis is the dimension of a topic's values.
var topicAxis = map[Topic]axis{
	Files: byDisk, Company: byMachine, Kubeconfig: byCreds, Unit: byKubelet, Programs: byPrograms, Naming: byName, Token: byCluster,
	Certificate: byRequest, OwnNode: bySight, TokensNode: bySecond, Renewal: byLease, Takeup: byUntaken,
}

// compare an act with what the known values of each unknown fact lead to.
func (c *census) compare(r *row, at *point, a Action) {
	if !a.Kind.Acts() {
		return
	}
	for x := range byFresh {
		if dimensions[x][at[x]].unknown {
			c.compareAlong(r, at, a, x, *at)
		}
	}
	if i := int(at[byFresh]); i > 0 && i < len(freshness)-4 {
		known := *at
		known[byFresh] = 0
		c.compareAlong(r, at, a, topicAxis[topics[(i-1)/int(ages-1)]], known)
	}
}

func (c *census) compareAlong(r *row, at *point, a Action, x axis, known point) {
	for _, e := range exceptions {
		if e.is(r, a, x) {
			return
		}
	}
	w := c.known
	for i, v := range dimensions[x] {
		if v.unknown {
			continue
		}
		known[x] = uint8(i)
		other := w.row(&known)
		if other.p.BootID != r.p.BootID { // another machine, not another answer
			continue
		}
		if b := Next(other.p, other.m, &other.f, now); harshness(b) < harshness(a) {
			c.fail("what is not known makes harsher than \""+v.name+"\"", at, a)
		}
	}
}
