//go:build !race

package judge

import "slices"

// each has every one of the values in a class of its own, same has them all in
// one, whose first stands for it; no value at all means all of them.
func each(a axis, names ...string) (classes [][]int) {
	for _, i := range valuesOf(a, names) {
		classes = append(classes, []int{i})
	}
	return classes
}

func same(a axis, names ...string) [][]int { return [][]int{valuesOf(a, names)} }

func led(a axis, first string) [][]int {
	i := valuesOf(a, []string{first})[0]
	return [][]int{append([]int{i}, but(a, first)...)}
}

// apart has some values in a class of their own.
func apart(classes [][]int, values ...int) [][]int {
	var rest [][]int
	for _, class := range classes {
		if class = slices.DeleteFunc(slices.Clone(class), func(i int) bool { return slices.Contains(values, i) }); len(class) > 0 {
			rest = append(rest, class)
		}
	}
	return append(rest, values)
}

func but(a axis, names ...string) (rest []int) {
	without := valuesOf(a, names)
	for i := range dimensions[a] {
		if !slices.Contains(without, i) {
			rest = append(rest, i)
		}
	}
	return rest
}

func join(parts ...[][]int) [][]int { return slices.Concat(parts...) }

// The rows of the judge, in their order.
const (
	controlPlaneRow = iota
	credentialsRow
	ownNodeRow
	kubeadmRow
	backOffRow
	companyRow
	programsRow
	nameRow
	clusterRow
	notUnderstoodRow
	requestRow
	lostCredentialsRow
	runningKubeletRow
	nodeOfOurNameRow
	resetRow
	joinRow
	firstBootLimit // what no row's action goes beyond
	leftLimit
)

// judged is a row with what the judge says of it, and which of its rows says so.
type judged struct {
	*row
	by int
	v  view
	a  Action
}

// judge is what Next does, keeping what it found out on the way.
func (j *judged) judge(r *row) {
	j.row, j.by, j.v = r, -1, view{p: r.p, m: r.m, f: &r.f, now: now}
	for i, decide := range rows {
		if a, decided := decide(&j.v); decided {
			if a.Kind == Wait {
				a.Ask |= j.v.beside
			}
			j.by, j.a = i, a
			for n, limit := range limits {
				if instead, over := limit(&j.v, j.a); over {
					j.by, j.a = firstBootLimit+n, instead
				}
			}
			return
		}
	}
}

func decidedBy(n int) func(*judged) bool { return func(j *judged) bool { return j.by == n } }

func grounded(n int) func(*judged) bool {
	return func(j *judged) bool { return j.by == n && j.v.ground != None }
}

func groundless(n int) func(*judged) bool {
	return func(j *judged) bool { return j.by == n && j.v.ground == None }
}

// condition: the Node decides, and nothing that comes before what it is like.
func condition(j *judged) bool { return j.byNode() && !j.misnamed() }

func (j *judged) byNode() bool { return j.heard() && !j.late() && !j.stoppedInVain() }

func (j *judged) heard() bool {
	return (j.by == ownNodeRow || j.by == notUnderstoodRow) && !j.guessed() && !j.unheard() && !j.over()
}

// guessed: that credentials which are not understood are those of our Node.
func (r *row) guessed() bool {
	c := r.f.Credentials.Value
	return c.State == NotUnderstood && c.NodeName != r.f.Name.Value.Name
}

// late: what is remembered of our Node is not what was last seen.
func (r *row) late() bool { return r.m.Is == Gone && r.sight().Answer == Present }

func (r *row) unheard() bool {
	return r.m.Is == Unheard || r.f.Credentials.Value.State == Loaded && r.f.Node.At.IsZero() || r.f.Credentials.Value.State != Loaded && r.f.Second.At.IsZero()
}

// over: what ends the run is decided.
func (r *row) over() bool {
	return r.f.Credentials.Value.State == Loaded && (r.m.Deletions > r.p.MaxDeletions || r.f.Join.End != nil && r.m.Is != Member)
}

// misnamed: our Node is there, or was, under another name than the one asked for.
func (r *row) misnamed() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	is := v.nodeName()
	if r.m.Is == Member {
		is = v.sight().Node.Name
	}
	wanted := r.f.Name.Value.Name
	return r.p.Named && wanted != "" && is != wanted && (r.m.Is == Gone || r.m.Is == Member && r.p.Reset != ResetAlways)
}

func (r *judged) stoppedInVain() bool {
	return r.f.Credentials.Value.State == Loaded && r.v.ground == None && !r.m.StoppedAt.IsZero() && !now.Before(r.m.BackOffUntil)
}

// ages of some topics, each in a class of its own; all others are one with fresh.
func agesOf(of ...Topic) [][]int {
	one, singles := []int{0}, [][]int{}
	special := len(freshness) - 4
	for i := 1; i < len(freshness); i++ {
		switch {
		case i < special && !slices.Contains(of, topics[(i-1)/int(ages-1)]),
			i == special && !slices.Contains(of, OwnNode) && !slices.Contains(of, TokensNode), i == special+1 && !slices.Contains(of, Token):
			one = append(one, i)
		default:
			singles = append(singles, []int{i})
		}
	}
	return append([][]int{one}, singles...)
}

// coarse has the ages of one topic that are too old for an act in one class.
func coarse(of ...Topic) [][]int {
	one, classes := []int{0}, [][]int{}
	special := len(freshness) - 4
	for i := 1; i < special; i++ {
		topic, a := topics[(i-1)/int(ages-1)], age((i-1)%int(ages-1))+never
		if !slices.Contains(of, topic) || a == slow && topic&local == 0 {
			one = append(one, i)
		} else if class := []int{i}; a == old {
			if topic&local != 0 {
				class = append(class, i+int(slow-old))
			}
			if topic != Unit && topic != Company && topic != Programs { // they are asked for before anything rests on them
				class = append(class, i+int(beforeAct-old))
			}
			classes = append(classes, class)
		} else if a == never || a == beforeAct && (topic == Unit || topic == Company || topic == Programs) {
			classes = append(classes, class)
		}
	}
	one = append(one, special)
	if slices.Contains(of, Token) {
		classes = append(classes, []int{special + 1})
	} else {
		one = append(one, special+1)
	}
	return append([][]int{one, {special + 2}, {special + 3}}, classes...)
}

var (
	here     = []Topic{Files, Company, Kubeconfig, Unit}
	loadedAs = [][]int{valuesOf(byCreds, []string{"loaded", "expired", "of another CA", "another cluster's"})}
	alone    = [][]int{{0, 1, 2}, {3, 4}}
	// kubelets that only differ in what a restart and its like do not look at
	kubelets = join(each(byKubelet, "not known", "no init system", "missing", "masked", "swap is on", "doomed", "starting", "runs astray", "cannot register", "runs under another name"),
		same(byKubelet, "stopped", "failed"), same(byKubelet, "runs for an hour", "runs and is healthy"),
		same(byKubelet, "runs for 59 s", "runs for 1 s", "in a crash loop", "steady after a crash loop", "is suspended"))
	named  = apart(kubelets, valuesOf(byKubelet, []string{"runs under another name"})...) // where its name matters
	others = []string{"another's", "another's, dead", "another's, alive", "the image's", "the image's, dead", "the image's, alive",
		"of one kernel with ours", "of an earlier boot", "of an earlier boot, dead", "without a boot ID"}
	provens = func() (values [][]int) {
		for i := firstProven; i < len(clusters); i++ {
			values = append(values, []int{i})
		}
		return values
	}()
	// whether a kubelet could be given a token is all that some rows ask of a proven cluster
	bearers = apart([][]int{append(slices.Concat(provens...), valuesOf(byCluster, []string{"just started, 403"})...)},
		valuesOf(byCluster, []string{"our Node, dead, by credentials without a token"})...)
	unfinished = []string{"an unfinished join", "an unfinished join, losses", "an unfinished join, admin.conf", "an unfinished join beside somebody's CA"}
	disks      = join(same(byDisk, "clean", "admin.conf"), same(byDisk, append(unfinished, "leftovers", "leftovers and admin.conf", "leftovers and losses")...),
		each(byDisk, "the cluster's own CA", "a bootstrap file"), same(byDisk, "another CA", "another CA of an unfinished join"), same(byDisk, "configured", "an unfinished join, configured"))
	spent = apart([][]int{valuesOf(byDoubt, nil)}, valuesOf(byDoubt, []string{"a bootstrap is spent"})...)
	told  = join(each(byRequest, "not known", "none", "none, and they are approved", "pending", "pending with the key in memory", "denied", "issued 14 s ago"),
		same(byRequest, "denied, told", "issued 16 s ago", "issued for an earlier key"))
)

// tending is what a kubelet's restart, and what comes before it, looks at.
func tending(kubelet [][]int, more map[axis][][]int) map[axis][][]int {
	of := map[axis][][]int{
		byCreds: loadedAs, byKubelet: kubelet, byMachine: alone, bySince: each(bySince), byRestart: each(byRestart), byHeard: each(byHeard),
		byFailed: each(byFailed), byPause: each(byPause), byFresh: coarse(append(here, OwnNode)...),
	}
	for a, classes := range more {
		of[a] = classes
	}
	return of
}

var spaces = slices.Concat(firstSpaces, nodeSpaces, understoodWithToken(), farSpaces, limitSpaces)

// firstSpaces are decided before it is known what the Node is like, or only where
// the kubelet's credentials see it.
var firstSpaces = []*space{
	{"the disk", "nothing else is looked at before it", map[axis][][]int{byDisk: each(byDisk), byFresh: agesOf(Files)}, decidedBy(controlPlaneRow)},
	{"credentials", "they are read before anything is asked of anybody but their server",
		map[axis][][]int{byCreds: each(byCreds), byReset: each(byReset), byEndpoint: each(byEndpoint), byFresh: agesOf(Kubeconfig)},
		func(r *judged) bool { return decidedBy(credentialsRow)(r) && !r.ofOtherCA() }},
	{"credentials of another CA", "another cluster's, or those of ours as it was", map[axis][][]int{byCreds: each(byCreds, "another cluster's"), byReset: same(byReset, "auto", "never"),
		bySight: join(each(bySight, "not heard", "silence"), [][]int{but(bySight, "not heard", "silence")}), byCluster: each(byCluster), byNext: each(byNext), byFresh: agesOf(OwnNode, Token)},
		func(r *judged) bool { return decidedBy(credentialsRow)(r) && r.ofOtherCA() && !r.unseen() }},
	{"credentials of another CA that the cluster has given up", "the kubelet may bootstrap again", map[axis][][]int{byCreds: each(byCreds, "another cluster's"), byReset: same(byReset, "auto", "never"),
		bySight: each(bySight, "silence"), byCluster: bearers, bySecond: each(bySecond), byDisk: join(same(byDisk, "configured", "an unfinished join, configured"), [][]int{but(byDisk, "configured", "an unfinished join, configured", "not known", "control plane")}),
		byKubelet: named, byMachine: alone, byFailed: each(byFailed), byPause: same(byPause), byFresh: coarse(append(here, Token, TokensNode, Certificate)...)},
		func(r *judged) bool { return decidedBy(credentialsRow)(r) && r.ofOtherCA() && r.unseen() }},
	{"an end by kubeadm's word or by deletions", "what ends the run is decided", map[axis][][]int{byCreds: loadedAs, byJoin: each(byJoin), bySight: each(bySight), byDeletions: each(byDeletions)},
		func(r *judged) bool { return decidedBy(ownNodeRow)(r) && !r.unheard() && r.over() }},
	{"a kubelet stopped in vain", "it is started whatever its Node is", map[axis][][]int{byCreds: loadedAs, byStopped: each(byStopped), byFailed: each(byFailed),
		bySight: each(bySight), byFresh: agesOf(OwnNode)}, func(r *judged) bool {
		return r.heard() && !r.late() && r.stoppedInVain()
	}},
	{"a Node under another name", "it is kept, whatever it is like",
		map[axis][][]int{byCreds: loadedAs, bySight: each(bySight, "ours", "ours, not ready", "ours, uninitialized", "ours, leaving", "404"),
			byName: each(byName, "another, asked for"), byReset: each(byReset)}, func(r *judged) bool {
			return r.byNode() && r.misnamed()
		}},
}

// What only the kubelet's own credentials can see.
const (
	putBackSpace     = "a Node that may be put back"
	takeupSpace      = "a Node that was put back"
	expiredSpace     = "401 to a kubelet whose certificate has expired"
	expiredGoneSpace = "401 to one whose Node is gone, too"
)

// nodeSpaces end with the Node, whoever sees it.
var nodeSpaces = []*space{
	{"a Node not heard of", "nothing is known", map[axis][][]int{byCreds: loadedAs, bySight: each(bySight), byFresh: agesOf(OwnNode)}, func(r *judged) bool {
		return (r.by == ownNodeRow || r.by == notUnderstoodRow) && !r.guessed() && r.unheard()
	}},
	{"a Node that is gone and seen", "it is looked at again", map[axis][][]int{byCreds: loadedAs, bySight: each(bySight, "404, and late news of the one before"),
		byStopped: each(byStopped)}, func(r *judged) bool { return r.heard() && r.late() }},
	{"no useful answer", "nothing is done", map[axis][][]int{byCreds: loadedAs, bySight: each(bySight, "silence", "403")}, condition},
	{"a Node that is leaving", "it is waited out", map[axis][][]int{byCreds: loadedAs, byStopped: each(byStopped),
		bySight: each(bySight, "ours, leaving", "dead, leaving", "the image's, leaving")}, condition},
	{"a member with a kubelet that runs", "only a restart looks at what else is at work", map[axis][][]int{byCreds: loadedAs, byLevel: each(byLevel),
		bySight: each(bySight, "ours", "ours, not ready", "ours, uninitialized"), byKubelet: each(byKubelet), byRestart: each(byRestart), byHold: each(byHold),
		byJoin: each(byJoin), byFresh: agesOf(Unit, OwnNode), byReset: each(byReset)}, func(r *judged) bool {
		return condition(r) && !r.waitsForTakeup() && (r.kubeletWorks() && r.reports() && r.f.Kubelet.Err == nil || r.f.Join.Running || r.asksAgain())
	}},
	{takeupSpace, "its kubelet is to take it up", tending(kubelets, map[axis][][]int{bySight: join(same(bySight, "ours", "ours, not ready", "ours, uninitialized"), each(bySight, "dead")),
		byReturn: each(byReturn), byUntaken: each(byUntaken), bySince: join(same(bySince, "1 s", "59 s"), same(bySince, "90 s", "2 h")), byRestart: same(byRestart), byHeard: join(same(byHeard, "throughout", "again for 80 s"), each(byHeard, "again for 30 s")),
		byFresh: coarse(append(here, OwnNode, Takeup)...)}), func(r *judged) bool { return condition(r) && r.waitsForTakeup() }},
	{"a member with a kubelet that does not run or report", "the level matters to one that does",
		tending(join(kubelets[:len(kubelets)-1], same(byKubelet, "runs for 59 s", "runs for 1 s", "steady after a crash loop"), each(byKubelet, "in a crash loop", "is suspended")),
			map[axis][][]int{bySight: same(bySight, "ours", "ours, not ready", "ours, uninitialized"), bySince: {valuesOf(bySince, nil)}, byHold: each(byHold),
				byJoin: {but(byJoin, "runs")}}), func(r *judged) bool {
			return condition(r) && !r.waitsForTakeup() && !r.asksAgain() && (!r.kubeletWorks() || !r.reports() || r.f.Kubelet.Err != nil)
		}},
	{"a Node yet to be registered", "a kubelet just started is given time", map[axis][][]int{byCreds: loadedAs,
		bySight: each(bySight, "404", "dead"), byJoin: each(byJoin), byJoined: each(byJoined), byDeletions: each(byDeletions), byHeard: each(byHeard)},
		func(r *judged) bool { return condition(r) && r.early() && !r.unwanted() && !r.waitsForTakeup() }},
	{"a Node whose owner wants it gone", "it is left", map[axis][][]int{byCreds: loadedAs, bySight: each(bySight, "404"), byReturn: each(byReturn, "marked"), byDeletions: each(byDeletions)},
		func(r *judged) bool { return condition(r) && r.unwanted() }},
	{putBackSpace, "its kubelet runs", tending(each(byKubelet, "runs for 1 s", "runs for 59 s", "runs for an hour", "runs and is healthy", "runs under another name", "runs astray", "swap is on", "doomed", "cannot register", "steady after a crash loop"),
		map[axis][][]int{bySight: each(bySight, "404"), byReturn: each(byReturn), byDeletions: each(byDeletions), byReset: same(byReset), byJoined: same(byJoined), byRestart: same(byRestart),
			byHeard: same(byHeard)}), func(r *judged) bool { return condition(r) && !r.early() && !r.unwanted() && r.mayPutBack() }},
	{"a Node that is gone", "a restart, or time, may bring it back", tending(kubelets, map[axis][][]int{bySight: each(bySight, "404"),
		byReset: same(byReset), byJoined: same(byJoined), byDeletions: same(byDeletions)}), func(r *judged) bool { return condition(r) && !r.early() && !r.unwanted() && !r.mayPutBack() }},
	{"a dead Node", "a restart, or time, may bring it back", tending(kubelets, map[axis][][]int{bySight: each(bySight, "dead"), byJoined: same(byJoined)}),
		func(r *judged) bool { return condition(r) && !r.early() && !r.waitsForTakeup() }},
	{"another's Node by its name", "a name that is taken is no matter of our kubelet", map[axis][][]int{byCreds: loadedAs, bySight: each(bySight, others...),
		bySince: each(bySince), byHeard: each(byHeard), byJoined: each(byJoined), byName: each(byName), byLease: each(byLease), byJoin: each(byJoin), byFresh: apart(agesOf(Naming), dated(Renewal, never)...)},
		func(r *judged) bool { return condition(r) && r.named() }},
	{"another's Node", "what its name is does not matter", tending(kubelets, map[axis][][]int{byJoined: {{0, 1}, {3, 2}}, bySight: join(same(bySight, "another's, dead", "the image's, dead"),
		same(bySight, "another's", "another's, alive", "the image's", "the image's, alive", "of one kernel with ours"), same(bySight, "of an earlier boot", "without a boot ID"),
		each(bySight, "of an earlier boot, dead")), byName: led(byName, "self")}), func(r *judged) bool { return condition(r) && !r.named() && !r.f.Join.Running }},
	{"401 to the kubelet", "the token is tried meanwhile", map[axis][][]int{byCreds: each(byCreds, "loaded", "expired", "of another CA", "another cluster's"), bySight: each(bySight, "401"),
		byReset: each(byReset), byJoin: each(byJoin), bySecond: each(bySecond), byTaken: each(byTaken), byCluster: each(byCluster), byNext: each(byNext), byStopped: each(byStopped),
		byFresh: agesOf(Token, TokensNode)}, func(r *judged) bool { return condition(r) && !r.useless() }},
	{expiredSpace, "it may bootstrap again", map[axis][][]int{byCreds: each(byCreds, "expired"), bySight: each(bySight, "401"), byDisk: same(byDisk, "configured", "an unfinished join, configured"),
		byReset: each(byReset, "auto", "never", "always, done"), byJoin: led(byJoin, "none"), bySecond: each(bySecond, "silent", "forbidden", "ours", "dead", "another's, dead"), byCluster: bearers, byKubelet: named, byMachine: alone, byFailed: each(byFailed),
		byPause: same(byPause), byFresh: coarse(append(here, Token, TokensNode, Certificate)...)}, func(r *judged) bool { return condition(r) && r.useless() }},
	{expiredGoneSpace, "it may bootstrap again, as a new Node", map[axis][][]int{byCreds: each(byCreds, "expired"), bySight: each(bySight, "401"), byDisk: same(byDisk, "configured", "an unfinished join, configured"),
		byReset: same(byReset, "auto", "never", "always, done"), byJoin: led(byJoin, "none"), bySecond: each(bySecond, "absent"), byCluster: bearers, byKubelet: named, byMachine: alone, byFailed: each(byFailed),
		byName: apart([][]int{valuesOf(byName, nil)}, valuesOf(byName, []string{"another, asked for"})...), byDoubt: spent, byTaken: same(byTaken),
		byRequest: told, byPause: same(byPause), byFresh: coarse(append(here, Token, TokensNode, Certificate)...)}, func(r *judged) bool { return condition(r) && r.useless() }},
}

func (r *row) ofOtherCA() bool {
	c := r.f.Credentials
	return c.Known() && c.Value.State == Loaded && c.Value.OtherCA != "" && c.Acts == acts && r.p.Reset != ResetAlways
}

// unseen: their own server does not answer them, and the cluster is proven.
func (r *row) unseen() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	return r.m.Is == Mute && r.f.Node.Value.Answer == Silent && v.unasked(OwnNode) == 0 && r.f.Cluster.Known() && r.f.Cluster.Value.Verdict == Proven && r.f.Cluster.Value.NoToken == nil
}

// useless: the API server refuses what has expired by its clock, and a kubelet could get others.
func (r *row) useless() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	return r.m.Is == Refused && r.f.Credentials.Value.State == Loaded && v.expired() && r.f.Disk.Value.Configured && !r.f.Join.Running &&
		r.f.Cluster.Known() && r.f.Cluster.Value.Verdict == Proven
}

func (r *row) mayPutBack() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	return r.m.Is == Gone && v.mayPutBack()
}

func (r *row) unwanted() bool { return r.m.Is == Gone && r.m.Lost && r.m.Mark != "" }

// waitsForTakeup: of a Node that was put back and is there.
func (r *row) waitsForTakeup() bool {
	return r.takingUp() && !r.f.Join.Running && (r.m.Is == Dead && (r.kubeletRuns() || !r.f.Kubelet.Known()) || r.m.Is == Member && r.kubeletWorks() && r.f.Kubelet.Err == nil &&
		!r.asksAgain() && !r.unitUnasked())
}

// asksAgain: a Node that was pushed as Ready is looked at once more.
func (r *row) asksAgain() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	return r.m.Is == Member && r.sight().Node.Ready == "True" && !r.sight().Node.Uninitialized && v.lastLook().News && !r.f.Join.Running
}

func (r *row) unitUnasked() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	return v.unasked(Unit) != 0
}

func (r *row) early() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	born := r.m.lasting(r.m.Newborn, now) < registerPatience
	return r.f.Join.Running || born && (r.m.Is == Dead || v.m.Is == Gone && !v.m.Lost)
}

// named: the name decides, or that a Node lives.
func (r *row) named() bool {
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	node := v.sight().Node
	another, alive := r.p.another(node), node.Ready == "True" || node.Ready == "False"
	patient := r.m.lasting(r.m.Since, now) < StatusPatience && (!another || !alive || now.Sub(r.m.Newborn) < StatusPatience)
	n := r.f.Name.Value
	return r.f.Join.Running || alive && !patient || another && (n.Wait != nil || n.End != nil || n.Name == "" && v.unasked(Naming) != 0)
}
