package judge

import (
	"testing"
	"time"
)

// taken is a memory after some answers, one each second.
type taken struct {
	m  Memory
	f  Facts
	at time.Time
}

func takingFrom(m Memory) *taken {
	loaded := Credentials{State: Loaded, NodeName: "self", CA: clusterPins}
	return &taken{m: m, f: Facts{Credentials: Fact[Credentials]{Value: loaded}}, at: now}
}

func (k *taken) later() time.Time {
	k.at = k.at.Add(time.Second)
	return k.at
}

func (k *taken) node(s Sighting) *taken {
	k.f.Node = Fact[Sighting]{Value: s, Asked: k.later(), At: k.at}
	k.m = k.m.Take(testPolicy, &k.f, OwnNode)
	return k
}

func (k *taken) second(s Sighting) *taken {
	k.f.Second = Fact[Sighting]{Value: s, Asked: k.later(), At: k.at}
	k.m = k.m.Take(testPolicy, &k.f, TokensNode)
	return k
}

func (k *taken) cluster(c Cluster) *taken {
	k.f.Cluster = Fact[Cluster]{Value: c, Asked: k.later(), At: k.at}
	k.m = k.m.Take(testPolicy, &k.f, Token)
	return k
}

func (k *taken) kubelet(is Kubelet) *taken {
	k.f.Kubelet = Fact[Kubelet]{Value: is, Asked: k.later(), At: k.at}
	k.m = k.m.Take(testPolicy, &k.f, Unit)
	return k
}

func (k *taken) did(a Action) *taken {
	k.m = k.m.Did(a, &k.f, false, k.later())
	return k
}

func beating(n Node, at time.Time) Node {
	n.Heartbeat = at
	return n
}

func TestASilenceProvesNobodyAlive(t *testing.T) {
	sees := func(beat time.Time) Cluster {
		return Cluster{Verdict: Proven, CA: clusterPins, Node: seen(beating(otherNode, beat))}
	}
	if k := takingFrom(Memory{}).cluster(sees(now)).cluster(sees(now.Add(time.Minute))); !k.m.Twin.Moved {
		t.Error("a heartbeat that moves between two answers is not life")
	}
	if k := takingFrom(Memory{}).cluster(sees(now)).cluster(Cluster{Err: errSeen}).cluster(sees(now.Add(time.Minute))); k.m.Twin.Moved {
		t.Error("a heartbeat that moved in a silence is life")
	}
	if k := takingFrom(Memory{}).node(seen(beating(otherNode, now))).node(Sighting{Err: errSeen}).node(seen(beating(otherNode, now.Add(time.Minute)))); k.m.Heartbeat.Moved {
		t.Error("a heartbeat that moved in a silence is life, by the kubelet's credentials")
	}
}

// What moved while our kubelet ran may have been moved by it.
func TestAHeartbeatCountsFromWhenOurKubeletIsStopped(t *testing.T) {
	k := takingFrom(Memory{}).node(seen(beating(imageNode, now))).node(seen(beating(imageNode, now.Add(time.Minute))))
	if !k.m.Heartbeat.Moved {
		t.Fatal("it has not moved at all")
	}
	if k.did(Action{Kind: StopKubelet, Ground: Clone}); k.m.Heartbeat.Moved {
		t.Error("it moved before the kubelet was stopped, and counts")
	}
	if k.node(seen(beating(imageNode, now.Add(2*time.Minute)))); k.m.Heartbeat.Moved {
		t.Error("one look after it was stopped is no movement")
	}
	if k.node(seen(beating(imageNode, now.Add(3*time.Minute)))); !k.m.Heartbeat.Moved {
		t.Error("it moved while the kubelet was stopped")
	}
}

func TestALeaseIsComparedFromWhenOurKubeletIsStopped(t *testing.T) {
	k := takingFrom(Memory{}).did(Action{Kind: StopKubelet, Ground: Clone}).kubelet(Kubelet{})
	k.f.Lease = Fact[time.Time]{Value: now, At: k.later()}
	k.m = k.m.Take(testPolicy, &k.f, Renewal)
	if v := (view{m: k.m, f: &k.f}); v.otherLives() {
		t.Error("one look at a Lease is no renewal")
	}
	k.f.Lease = Fact[time.Time]{Value: now.Add(time.Second), At: k.later()}
	k.m = k.m.Take(testPolicy, &k.f, Renewal)
	if v := (view{m: k.m, f: &k.f}); !v.otherLives() {
		t.Error("a Lease that is renewed while our kubelet is stopped")
	}
	if k.kubelet(Kubelet{Running: true, PID: 7}); !k.m.Renewed.IsZero() {
		t.Error("who renews it may be ours, which runs again")
	}
}

func TestARefusalCountsWhileTheTokenIsTakenAndOurNodeIsLost(t *testing.T) {
	proven := Cluster{Verdict: Proven, CA: clusterPins, Node: Sighting{Answer: Absent}}
	refused := func() *taken {
		return takingFrom(Memory{}).node(Sighting{Answer: Unauthorized, Err: errSeen}).cluster(proven).second(Sighting{Answer: Absent})
	}
	k := refused()
	since := k.m.takenSince
	if since.IsZero() {
		t.Fatal("it does not count at all")
	}
	if k.cluster(proven).second(seen(with(ourNode, "Unknown"))).node(Sighting{Answer: Unauthorized, Err: errSeen}); k.m.takenSince != since {
		t.Error("it counts anew, though nothing has changed")
	}
	for name, end := range map[string]func(*taken){
		"our Node lives":                     func(k *taken) { k.second(seen(ourNode)) },
		"the second opinion is silent":       func(k *taken) { k.second(Sighting{Err: errSeen}) },
		"the token is refused":               func(k *taken) { k.cluster(Cluster{Verdict: Rejected, Err: errSeen}) },
		"the server is silent for the token": func(k *taken) { k.cluster(Cluster{Err: errSeen}) },
		"there is no token":                  func(k *taken) { k.cluster(Cluster{NoToken: errSeen}) },
		"another cluster takes it":           func(k *taken) { k.cluster(Cluster{Verdict: Proven, CA: []string{"other"}}) },
		"the server is silent for the kubelet": func(k *taken) {
			k.node(Sighting{Err: errSeen})
		},
		"the kubelet is let in":   func(k *taken) { k.node(seen(ourNode)) },
		"it was good for a reset": func(k *taken) { k.did(Action{Kind: Reset, Ground: RefusesKubelet}) },
	} {
		k := refused()
		if end(k); !k.m.takenSince.IsZero() {
			t.Errorf("%s: it counts on", name)
		}
	}
}

func TestEvidenceIsGoodForOneReset(t *testing.T) {
	k := takingFrom(Memory{}).node(Sighting{Answer: Absent}).did(Action{Kind: StopKubelet, Ground: StaysAway}).did(Action{Kind: Reset, Ground: StaysAway})
	if k.m.Is != Unheard || !k.m.StoppedAt.IsZero() || k.m.StoppedFor != None || !k.m.GoneSpent {
		t.Errorf("after the reset: %q, stopped at %v for %d, spent %t", k.m.Is, k.m.StoppedAt, k.m.StoppedFor, k.m.GoneSpent)
	}
}

func TestWordsWithWhichTwoKubeletsInARowRefuseAreFinal(t *testing.T) {
	says := func(words string, exits int) Kubelet { return Kubelet{Fatal: words, Exits: exits} }
	after := func(m Memory, ks ...Kubelet) bool {
		k := takingFrom(m)
		for _, is := range ks {
			k.kubelet(is)
		}
		return k.m.Doomed
	}
	ours, untouched := Memory{Restarted: ago(time.Minute), Exits: -1}, Memory{Exits: -1}
	for name, c := range map[string]struct{ got, want bool }{
		"once":                            {after(ours, says("bad", 1)), false},
		"twice, of one process":           {after(ours, says("bad", 1), says("bad", 1)), false},
		"by the next process, too":        {after(ours, says("bad", 1), says("bad", 2)), true},
		"while the next one still runs":   {after(ours, says("bad", 1), Kubelet{Fatal: "bad", Exits: 2, Running: true}), false},
		"by the next, in other words":     {after(ours, says("bad", 1), says("worse", 2)), false},
		"and then nothing any more":       {after(ours, says("bad", 1), says("bad", 2), says("", 3)), false},
		"of a kubelet nobody has touched": {after(untouched, says("bad", 1), says("bad", 2)), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: final is %t", name, c.got)
		}
	}
	if k := takingFrom(ours).kubelet(says("bad", 1)).kubelet(says("bad", 2)).did(Action{Kind: RestartKubelet}); k.m.Doomed {
		t.Error("a restart gives it another try")
	}
}

func TestWhatIsRememberedOfAReturn(t *testing.T) {
	gone := Sighting{Answer: Absent}
	back := func() *taken { return takingFrom(Memory{}).node(seen(ourNode)).node(gone).did(Action{Kind: PutBack}) }
	k := back()
	if k.m.PutBackUID != ourNode.UID || !k.m.PutBackAt.Equal(k.at) || !k.m.Lost {
		t.Fatalf("after the return: %+v", k.m)
	}
	is := k.m.Is
	k.f.Node = Fact[Sighting]{Value: gone, Asked: k.m.PutBackAt.Add(-time.Millisecond), At: k.later()}
	again := ourNode
	again.UID = "uid-of-the-return"
	if k.m.Is = Member; k.m.Take(testPolicy, &k.f, OwnNode).Is != Member {
		t.Error("a 404 from before the return is news of after it")
	}
	if k.m.Is = is; k.node(seen(again)).node(gone).m.Deletions != 2 {
		t.Errorf("%d deletions, after one more", k.m.Deletions)
	}

	for name, c := range map[string]struct {
		untaken Fact[Untaken]
		taken   bool
	}{
		"nothing is missing":                          {Fact[Untaken]{Acts: 1}, true},
		"nothing is missing, before the return":       {Fact[Untaken]{Acts: 0}, false},
		"its Lease is missing":                        {Fact[Untaken]{Acts: 1, Value: Untaken{Missing: "its Lease"}}, false},
		"whether something is missing cannot be said": {Fact[Untaken]{Acts: 1, Err: errSeen}, false},
	} {
		k := back()
		c.untaken.At = k.later()
		k.f.Untaken = c.untaken
		if m := k.m.Take(testPolicy, &k.f, Takeup); m.PutBackAt.IsZero() != c.taken {
			t.Errorf("%s: taken up is %t", name, !c.taken)
		}
	}
	if k := back().did(Action{Kind: RestartKubelet}); !k.m.PutBackAt.IsZero() {
		t.Error("a kubelet that was restarted for it registers, and need not take up what was put back")
	}
	if k := takingFrom(Memory{PutBackAt: now}); !k.m.Did(Action{Kind: RestartKubelet}, &k.f, true, now).PutBackAt.Equal(now) {
		t.Error("a restart that failed is none")
	}
}

func TestWhatARunThatWasKilledHasSeenIsOursForAMoment(t *testing.T) {
	marked, other := ourNode, otherNode
	marked.Mark = "its owner's"
	for name, c := range map[string]struct {
		s    Sighting
		ago  time.Duration
		uid  string
		mark string
	}{
		"40 s ago":          {seen(ourNode), podPatience, ourNode.UID, ""},
		"longer ago":        {seen(ourNode), podPatience + 1, "", ""},
		"with a mark":       {seen(marked), time.Second, ourNode.UID, marked.Mark},
		"another machine's": {seen(other), time.Second, "", ""},
		"it has seen none":  {Sighting{}, time.Second, "", ""},
	} {
		m := Memory{}.Inherit(testPolicy, c.s, now.Add(-c.ago), now)
		if m.OwnUID != c.uid || m.Mark != c.mark || c.uid != "" && !m.OwnSeen.Equal(now.Add(-c.ago)) {
			t.Errorf("%s: %q, marked %q, seen at %v", name, m.OwnUID, m.Mark, m.OwnSeen)
		}
	}
}

// Credentials that were read before the old ones were moved aside are no certificate.
func TestABootstrapLastsUntilThereIsACertificate(t *testing.T) {
	for name, c := range map[string]struct {
		creds Fact[Credentials]
		lasts bool
	}{
		"a new one":       {Fact[Credentials]{Acts: 1, Value: Credentials{State: Loaded}}, false},
		"none":            {Fact[Credentials]{Acts: 1}, true},
		"one from before": {Fact[Credentials]{Acts: 0, Value: Credentials{State: Loaded}}, true},
	} {
		m := Memory{}.Did(Action{Kind: Bootstrap}, &Facts{}, false, now)
		if m = m.Take(testPolicy, &Facts{Credentials: c.creds}, Kubeconfig); m.BootstrapAt.IsZero() == c.lasts {
			t.Errorf("%s: it lasts: %t", name, !c.lasts)
		}
	}
	if m := (Memory{}).Did(Action{Kind: Bootstrap}, &Facts{}, true, now); !m.BootstrapAt.IsZero() {
		t.Error("one that failed has not begun")
	}
}

func TestSinceWhenNobodyReportsForOurNode(t *testing.T) {
	silent := Cluster{Verdict: Proven, CA: clusterPins, Node: seen(with(ourNode, "Unknown"))}
	k := takingFrom(Memory{}).cluster(silent)
	if since := k.m.silentSince; !since.Equal(k.at) || !k.cluster(silent).m.silentSince.Equal(since) {
		t.Errorf("since %v, then %v", since, k.m.silentSince)
	}
	for name, c := range map[string]Cluster{
		"it reports":        {Verdict: Proven, CA: clusterPins, Node: seen(ourNode)},
		"no answer":         {Err: errSeen},
		"not proven":        {Verdict: Rejected, Node: seen(with(ourNode, "Unknown"))},
		"another machine's": {Verdict: Proven, CA: clusterPins, Node: seen(with(otherNode, "Unknown"))},
		"it is gone":        {Verdict: Proven, CA: clusterPins, Node: Sighting{Answer: Absent}},
	} {
		if k := takingFrom(Memory{}).cluster(silent).cluster(c); !k.m.silentSince.IsZero() {
			t.Errorf("%s: it counts on", name)
		}
	}
}
