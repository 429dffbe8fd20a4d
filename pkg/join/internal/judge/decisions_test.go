package judge

import (
	"maps"
	"strings"
	"testing"
	"time"
)

// decision is a case, and what the judge has to say in it.
type decision struct {
	name   string
	at     map[axis]string
	change func(*row)
	kind   Kind
	reason Reason
	ground Ground
	ask    Topic // among what is asked for
	words  string
}

// basedOn is a case with what others have more, or otherwise.
func basedOn(base map[axis]string) func(more map[axis]string) map[axis]string {
	return func(more map[axis]string) map[axis]string {
		at := maps.Clone(base)
		maps.Copy(at, more)
		return at
	}
}

func decide(t *testing.T, decisions []decision) {
	t.Helper()
	for _, d := range decisions {
		r := rowOf(d.at)
		if d.change != nil {
			d.change(r)
		}
		a := Next(r.p, r.m, &r.f, now)
		if a.Kind != d.kind || a.Reason != d.reason || a.Ground != d.ground || a.Ask&d.ask != d.ask || !strings.Contains(a.Message, d.words) {
			t.Errorf("%s: %+v", d.name, a)
		}
	}
}

func TestAMemberIsHeldAndSeenToRun(t *testing.T) {
	decide(t, []decision{
		{name: "the hold is waited for, and nothing is asked meanwhile", at: map[axis]string{bySight: "ours, uninitialized", byKubelet: "runs for an hour"},
			kind: Wait, reason: JoinFailed, words: "holding it"},
		{name: "the hold is over", at: map[axis]string{bySight: "ours, uninitialized", byKubelet: "runs for an hour", byHold: "61 s"},
			kind: End, reason: Held},
		{name: "the hold is over, and the last look is from before its end", at: map[axis]string{bySight: "ours, uninitialized", byKubelet: "runs for an hour", byHold: "61 s"},
			change: func(r *row) { r.f.Node.Asked, r.f.Node.At = ago(1500*time.Millisecond), ago(1400*time.Millisecond) },
			kind:   Wait, ask: OwnNode},
		{name: "a kubelet that has ended twice within a minute fails, though it runs", at: map[axis]string{bySight: "ours", byKubelet: "in a crash loop", byRestart: "never"},
			change: func(r *row) { r.m.ranSince = ago(2 * steadyFor) },
			kind:   RestartKubelet},
		{name: "whether the kubelet runs is not known, and doubt is no success", at: map[axis]string{bySight: "ours", byKubelet: "not known"},
			kind: Wait, reason: JoinFailed, words: "not known"},
		{name: "a word that came by itself is not the last one", at: map[axis]string{bySight: "ours, uninitialized", byKubelet: "runs for an hour", byHold: "61 s", byFresh: "the Node was pushed"},
			kind: Wait, ask: OwnNode},
		{name: "a kubelet that is just being started is left alone", at: map[axis]string{bySight: "ours", byKubelet: "starting", byRestart: "never"},
			kind: Wait, reason: JoinFailed, words: "does not run yet"},
		{name: "a kubelet that does not run is restarted", at: map[axis]string{bySight: "ours", byKubelet: "stopped", byRestart: "never"},
			kind: RestartKubelet},
		{name: "a kubelet that was restarted just now has yet to report", at: map[axis]string{bySight: "ours", byKubelet: "runs for an hour", byRestart: "1 s and no report"},
			kind: Wait, reason: JoinFailed, words: "has not reported"},
		{name: "a kubelet that does not report a minute after its restart fails the attempt", at: map[axis]string{bySight: "ours", byKubelet: "runs for an hour", byRestart: "61 s and no report"},
			change: func(r *row) { r.f.Node.Value.Node.Heartbeat = r.m.Restarted.Add(-time.Minute) },
			kind:   BackOff, reason: JoinFailed, words: "does not report"},
	})
}

func TestCredentialsOfAnotherClusterAreRefused(t *testing.T) {
	decide(t, []decision{
		{name: "by the pin", at: map[axis]string{byCreds: "another cluster's", bySight: "ours"}, kind: End, reason: Refusal, words: "another cluster"},
		{name: "by the CA of the cluster that is proven, once it comes to that", at: map[axis]string{byCreds: "of another CA", bySight: "the image's, alive"},
			kind: End, reason: Refusal, words: "another cluster"},
	})
}

func TestANameThatIsTakenEndsTheRun(t *testing.T) {
	clean := func(cluster string) map[axis]string { return map[axis]string{byCreds: "not there", byCluster: cluster} }
	decide(t, []decision{
		{name: "a heartbeat that moves", at: clean("another's, alive"), kind: End, reason: NameTaken},
		{name: "Ready that merely stays", at: clean("another's"), kind: Wait, reason: JoinFailed, words: "not known to be dead"},
		{name: "a dead one", at: clean("another's, dead"), kind: Join},
	})
}

func TestANodeThatIsBeingDeletedIsWaitedFor(t *testing.T) {
	for _, sight := range []string{"ours, leaving", "dead, leaving", "the image's, leaving"} {
		decide(t, []decision{{name: sight, at: map[axis]string{bySight: sight, byKubelet: "runs for an hour"}, kind: Wait, reason: JoinFailed, words: "is being deleted"}})
	}
}

// Such a cluster is not down, and waiting does not teach a program an algorithm.
func TestACAOfAnUnknownAlgorithmIsAPersonsJobOnceItIsSeenTwice(t *testing.T) {
	for _, creds := range []string{"not there", "not understood"} {
		decide(t, []decision{
			{name: creds + ", once", at: map[axis]string{byCreds: creds, byCluster: "a CA of an unknown algorithm, 4 s"}, kind: Wait, reason: NoAnswer, words: "not usefully"},
		})
	}
	decide(t, []decision{
		{name: "twice", at: map[axis]string{byCreds: "not there", byCluster: "a CA of an unknown algorithm, 6 s"}, kind: End, reason: HostUnfit, words: "prove itself"},
		{name: "twice, beside a kubelet's credentials of one", at: map[axis]string{byCreds: "not understood", byCluster: "a CA of an unknown algorithm, 6 s"}, kind: End, reason: Refusal},
	})
	strange := Cluster{Verdict: Unreachable, Algorithm: true}
	k := takingFrom(Memory{}).cluster(strange)
	if since := k.m.strangeSince; !since.Equal(k.at) || !k.cluster(strange).m.strangeSince.Equal(since) || !k.cluster(strange).cluster(Cluster{}).m.strangeSince.IsZero() {
		t.Errorf("since %v", since)
	}
}

func TestWhatIsFresh(t *testing.T) {
	heard := func(acts int, took, age time.Duration) stamp { return stamp{acts, ago(age + took), ago(age)} }
	for name, c := range map[string]struct {
		node, unit stamp
		old        Topic
	}{
		"both just now":                          {node: heard(1, 0, time.Second), unit: heard(1, 0, 0)},
		"at the limit":                           {node: heard(1, 0, FreshFor), unit: heard(1, 0, FreshFor)},
		"past it":                                {node: heard(1, 0, FreshFor+1), unit: heard(1, 0, 0), old: OwnNode},
		"one that took 5 s, 5 s ago":             {node: heard(1, 5*time.Second, 5*time.Second), unit: heard(1, 0, 0)},
		"one that took 5 s, longer ago":          {node: heard(1, 5*time.Second, 10*time.Second+1), unit: heard(1, 0, 0), old: OwnNode},
		"from before the last act":               {node: heard(0, 0, 0), unit: heard(1, 0, 0), old: OwnNode},
		"never":                                  {unit: heard(1, 0, 0), old: OwnNode},
		"this machine, before the server's word": {node: heard(1, 0, 0), unit: heard(1, 0, time.Second), old: Unit},
	} {
		f := Facts{}
		setStamp(&f.Node, c.node)
		setStamp(&f.Kubelet, c.unit)
		v := view{m: Memory{Acts: 1}, f: &f, now: now}
		if old := v.stale(OwnNode | Unit); old != c.old {
			t.Errorf("%s: old are %v", name, old.Names())
		}
	}
}

func TestADeletedNodeIsBroughtBackByRestarts(t *testing.T) {
	gone := basedOn(map[axis]string{bySight: "404", byKubelet: "runs for an hour", byRestart: "never", bySince: "1 s"})
	decide(t, []decision{
		{name: "the first at once", at: gone(nil), kind: RestartKubelet},
		{name: "one more for a deletion after it", at: gone(map[axis]string{byRestart: "5 min", bySince: "90 s", byPause: "30 s"}), kind: RestartKubelet},
		{name: "which waits for its pause", at: gone(map[axis]string{byRestart: "5 min", byPause: "30 s"}), kind: Wait, reason: JoinFailed, words: "backing off"},
		{name: "none for the same deletion", at: gone(map[axis]string{byRestart: "1 s", bySince: "90 s"}), kind: Wait, reason: JoinFailed, words: "yet"},
		{name: "none just after the kubelet has got its certificate", at: gone(map[axis]string{byJoined: "2 h, with a certificate for 1 s"}), kind: Wait, reason: JoinFailed, words: "yet"},
		{name: "one, although it has just got it, for a Node that was there", at: gone(map[axis]string{byJoined: "2 h, with a certificate for 1 s", byDeletions: "one"}),
			kind: RestartKubelet},
		{name: "none while kubeadm is at work", at: gone(map[axis]string{byJoin: "runs"}), kind: Wait, reason: JoinFailed, words: "yet"},
		{name: "none beside a kubelet that is not the service's", at: gone(map[axis]string{byKubelet: "runs astray"}), kind: Wait, reason: JoinFailed, words: "not the service's"},
		{name: "none beside somebody else's kubeadm", at: gone(map[axis]string{byMachine: "a kubeadm"}), kind: Wait, reason: JoinFailed, words: "kubeadm upgrade"},
		{name: "an end after too many", at: gone(map[axis]string{byDeletions: "too many"}), kind: End, reason: KeepsBeingDeleted},
		{name: "none for another name than the one that is wanted", at: gone(map[axis]string{byName: "another, asked for"}), kind: End, reason: Refusal},
	})
}

func TestANodeIsOursByWhatIsKnown(t *testing.T) {
	us := Policy{BootID: "boot", MachineID: "machine"}
	for name, c := range map[string]struct {
		p    Policy
		n    Node
		ours bool
	}{
		"the same boot and machine":            {us, Node{BootID: "boot", MachineID: "machine"}, true},
		"the same, written otherwise":          {us, Node{BootID: "boot", MachineID: "MACHINE"}, true},
		"a Node that names no machine":         {us, Node{BootID: "boot"}, true},
		"another boot":                         {us, Node{BootID: "boot-2", MachineID: "machine"}, false},
		"another container of the same kernel": {us, Node{BootID: "boot", MachineID: "machine-2"}, false},
		"a Node that names no boot":            {us, Node{MachineID: "machine"}, false},
		"a machine that does not know its own": {Policy{}, Node{}, false},
	} {
		if ours := c.p.Ours(c.n); ours != c.ours {
			t.Errorf("%s: ours is %t", name, ours)
		}
	}
}

func TestNothingIsDoneBesideOthers(t *testing.T) {
	for name, at := range map[string]map[axis]string{
		"a join":            {byCreds: "not there"},
		"a reset":           {byCreds: "not there", byDisk: "leftovers"},
		"a kubelet restart": {bySight: "404", byRestart: "never"},
		"a kubelet stop":    {bySight: "404", byKubelet: "runs for an hour"},
	} {
		for machine, words := range map[string]string{"mounts missing": "/var/lib/kubelet", "a kubeadm": "kubeadm upgrade", "not known": "cannot be seen"} {
			at[byMachine] = machine
			decide(t, []decision{{name: name + ", " + machine, at: at, kind: Wait, reason: JoinFailed, words: words}})
		}
		at[byMachine] = "no pod"
		if r := rowOf(at); !Next(r.p, r.m, &r.f, now).Kind.Acts() {
			t.Errorf("%s: it is not done at all", name)
		}
	}
}
