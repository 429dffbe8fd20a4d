package judge

import (
	"testing"
	"time"
)

// A kubelet bootstraps again where the proven cluster has this machine's Node, and nobody reports for it.
func TestAKubeletBootstrapsAgain(t *testing.T) {
	lost := basedOn(map[axis]string{byCreds: "not there", byDisk: "configured", byKubelet: "stopped", byCluster: "our Node, dead"})
	expired := basedOn(map[axis]string{bySight: "401", byCreds: "expired", byDisk: "configured", byKubelet: "runs for an hour", bySecond: "dead", byTaken: "not"})
	other := basedOn(map[axis]string{byCreds: "another cluster's", bySight: "silence", byDisk: "configured", byKubelet: "runs for an hour", bySecond: "dead"})
	decide(t, []decision{
		{name: "credentials are gone", at: lost(nil), kind: Bootstrap},
		{name: "they are torn, and there are pods", at: lost(map[axis]string{byCreds: "unusable", byMachine: "pods"}), kind: Bootstrap},
		{name: "with --reset=never, for it is none", at: lost(map[axis]string{byReset: "never"}), kind: Bootstrap},
		{name: "the Node was alive a moment ago", at: lost(map[axis]string{byCluster: "our Node"}), kind: Wait, reason: JoinFailed, words: "not known yet"},
		{name: "the Node is another machine's", at: lost(map[axis]string{byCluster: "another's, dead"}), kind: Reset, ground: NoCredentials},
		{name: "there is no Node", at: lost(map[axis]string{byCluster: "no Node"}), kind: Reset, ground: NoCredentials},
		{name: "its Node is being deleted", at: lost(nil), kind: Wait, reason: JoinFailed, words: "being deleted",
			change: func(r *row) { r.f.Cluster.Value.Node.Node.DeletedAt = ago(time.Second) }},
		{name: "there is nothing to run a kubelet with", at: lost(map[axis]string{byDisk: "leftovers"}), kind: Reset, ground: NoCredentials},
		{name: "a kubelet runs and reports", at: lost(map[axis]string{byKubelet: "runs for an hour", byMachine: "pods", byCluster: "our Node"}), kind: End, reason: Refusal},
		{name: "a kubelet runs and does not report, and requests are approved",
			at: lost(map[axis]string{byKubelet: "runs for an hour", byMachine: "pods", byRequest: "none, and they are approved"}), kind: Bootstrap},
		{name: "the same for too short", at: lost(map[axis]string{byKubelet: "runs for an hour", byRequest: "none, and they are approved", byTaken: "89 s, silent for 14 s"}),
			kind: Wait, reason: JoinFailed, words: "not known yet"},
		{name: "the same, and it was started a moment ago", at: lost(map[axis]string{byKubelet: "runs for 59 s", byRequest: "none, and they are approved"}),
			kind: Wait, reason: JoinFailed, words: "not known yet"},
		{name: "the same, and a person approves requests", at: lost(map[axis]string{byKubelet: "runs for an hour", byMachine: "pods"}), kind: End, reason: Refusal},
		{name: "it does so", at: lost(map[axis]string{byReturn: "bootstraps for 59 s", byKubelet: "runs for 59 s"}), kind: Wait, reason: JoinFailed, words: "asks for another certificate"},
		{name: "it has done so for too long", at: lost(map[axis]string{byReturn: "bootstraps for 60 s", byKubelet: "runs for 59 s"}), kind: BackOff, reason: JoinFailed},
		{name: "its request was denied", at: lost(nil), kind: Wait, reason: JoinFailed, words: "csr-1 was denied",
			change: func(r *row) { r.m.Barred = "csr-1 was denied" }},
		{name: "its request was denied, and the Node is gone by now", at: lost(map[axis]string{byCluster: "no Node"}), kind: Reset, ground: NoCredentials,
			change: func(r *row) { r.m.Barred = "csr-1 was denied" }},
		{name: "its request was denied, by the certificate's end", at: expired(nil), kind: Wait, reason: JoinFailed, words: "csr-1 was denied",
			change: func(r *row) { r.m.Barred = "csr-1 was denied" }},
		{name: "the kubelet goes by another name", at: lost(map[axis]string{byKubelet: "runs under another name", byMachine: "pods", bySight: "404"}), kind: End, reason: Refusal},
		{name: "there is no token for it", at: lost(map[axis]string{byCluster: "our Node, dead, by credentials without a token"}), kind: Reset, ground: NoCredentials},
		{name: "somebody else's kubeadm is at work", at: lost(map[axis]string{byMachine: "a kubeadm"}), kind: Wait, reason: JoinFailed, words: "kubeadm"},
		{name: "the user wants a reset", at: lost(map[axis]string{byReset: "always, due"}), kind: Reset, ground: Asked},

		{name: "the certificate has expired, which needs no 90 s", at: expired(nil), kind: Bootstrap},
		{name: "nor is the machine reset after 90 s", at: expired(map[axis]string{byTaken: "91 s, silent for 16 s"}), kind: Bootstrap},
		{name: "it has not", at: expired(map[axis]string{byCreds: "loaded"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "its Node has not turned Unknown", at: expired(map[axis]string{bySecond: "ours"}), kind: Wait, reason: JoinFailed, words: "yet to notice"},
		{name: "its Node is another machine's", at: expired(map[axis]string{bySecond: "another's, dead"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "the kubelet goes by another name by now", at: expired(map[axis]string{byKubelet: "runs under another name"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "its Node is being deleted, by the certificate's end", at: expired(nil), kind: Wait, reason: JoinFailed, words: "401",
			change: func(r *row) { r.f.Second.Value.Node.DeletedAt = ago(time.Second) }},
		{name: "there is nothing to run a kubelet with, by the certificate's end", at: expired(map[axis]string{byDisk: "clean"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "the cluster is not proven", at: expired(map[axis]string{byCluster: "silence"}), kind: Wait, reason: JoinFailed, words: "401"},

		{name: "the cluster has another CA, and the credentials' server shows it", at: other(nil), kind: Bootstrap},
		{name: "their server does not answer the token", at: other(map[axis]string{bySecond: "silent"}), kind: End, reason: Refusal},
		{name: "their server answers them", at: other(map[axis]string{bySight: "ours"}), kind: End, reason: Refusal},
		{name: "their server answers them with 403", at: other(map[axis]string{bySight: "403"}), kind: End, reason: Refusal},
		{name: "the cluster is silent", at: other(map[axis]string{byCluster: "silence"}), kind: Wait, reason: Refusal, words: "of another cluster"},
	})
}

// The cluster to which this machine belonged has no Node of it any more: the kubelet makes a new one, as after a restart.
func TestAKubeletWhoseNodeIsGoneBootstrapsAgain(t *testing.T) {
	torn := basedOn(map[axis]string{byCreds: "torn on the cluster's machine", byDisk: "configured", byKubelet: "stopped", byCluster: "no Node", byMachine: "pods"})
	lost := basedOn(map[axis]string{byCreds: "lost on the cluster's machine", byDisk: "configured", byKubelet: "stopped", byCluster: "no Node", byMachine: "pods"})
	expired := basedOn(map[axis]string{bySight: "401", byCreds: "expired", byDisk: "configured", byKubelet: "runs for an hour", bySecond: "absent", byTaken: "not"})
	late := map[axis]string{byTaken: "91 s, silent for 16 s"}
	decide(t, []decision{
		{name: "credentials are torn", at: torn(nil), kind: Bootstrap},
		{name: "they are gone", at: lost(nil), kind: Bootstrap},
		{name: "and the kubelet ends again and again", at: lost(map[axis]string{byKubelet: "in a crash loop"}), kind: Bootstrap},
		{name: "with static pods of its own, which stay", at: lost(nil), kind: Bootstrap, change: func(r *row) { r.f.Disk.Value.Losses = []string{"static.yaml"} }},
		{name: "with --reset=never, for it is none", at: lost(map[axis]string{byReset: "never"}), kind: Bootstrap},
		{name: "and nothing tells which cluster was its own", at: lost(map[axis]string{byCreds: "not there"}), kind: Reset, ground: NoCredentials},
		{name: "and another was", at: lost(nil), kind: Reset, ground: NoCredentials, change: func(r *row) { r.f.Credentials.Value.CA = []string{"other"} }},
		{name: "there is nothing to run a kubelet with", at: lost(map[axis]string{byDisk: "leftovers"}), kind: Reset, ground: NoCredentials},
		{name: "all that hinders a join was left by one", at: lost(map[axis]string{byDisk: "an unfinished join, configured"}), kind: Tidy},
		{name: "another machine has the name", at: lost(map[axis]string{byCluster: "another's, dead"}), kind: Reset, ground: NoCredentials},
		{name: "another machine that lives has it", at: lost(map[axis]string{byCluster: "another's, alive"}), kind: End, reason: NameTaken},
		{name: "the token may not ask for Nodes", at: lost(map[axis]string{byCluster: "403"}), kind: Reset, ground: NoCredentials},
		{name: "a kubelet runs, which may have its credentials in memory", at: lost(map[axis]string{byKubelet: "runs for an hour"}), kind: End, reason: Refusal},
		{name: "it is to have another name", at: lost(map[axis]string{byName: "another, asked for"}), kind: Reset, ground: NoCredentials},
		{name: "a request is pending", at: torn(map[axis]string{byRequest: "pending"}), kind: Wait, reason: JoinFailed, words: "is pending"},
		{name: "no file hinders a join, which disturbs nobody", at: lost(nil), kind: Join, change: func(r *row) { r.f.Disk.Value.Leftovers = nil }},
		{name: "it does so", at: lost(map[axis]string{byReturn: "bootstraps for 59 s", byDoubt: "a bootstrap is spent"}), kind: Wait, reason: JoinFailed, words: "asks for another certificate"},
		{name: "no member has come of it", at: lost(map[axis]string{byDoubt: "a bootstrap is spent"}), kind: Reset, ground: NoCredentials},
		{name: "its request was denied", at: lost(map[axis]string{byDoubt: "a bootstrap is spent"}), kind: Wait, reason: JoinFailed, words: "csr-1 was denied",
			change: func(r *row) { r.m.Barred = "csr-1 was denied" }},

		{name: "the certificate has expired, which needs no 90 s", at: expired(nil), kind: Bootstrap},
		{name: "nor is the machine reset after 90 s", at: expired(late), kind: Bootstrap},
		{name: "no member has come of it, by the certificate's end", at: expired(map[axis]string{byTaken: "91 s, silent for 16 s", byDoubt: "a bootstrap is spent"}), kind: StopKubelet, ground: RefusesKubelet},
		{name: "its request was denied, by the certificate's end", at: expired(map[axis]string{byTaken: "91 s, silent for 16 s", byDoubt: "a bootstrap is spent"}), kind: Wait, reason: JoinFailed,
			words: "csr-1 was denied", change: func(r *row) { r.m.Barred = "csr-1 was denied" }},
		{name: "it has not expired", at: expired(map[axis]string{byCreds: "loaded"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "its CA is not the cluster's", at: expired(nil), kind: End, reason: Refusal, change: func(r *row) { r.f.Credentials.Value.CA = []string{"other"} }},
		{name: "a request is pending, by the certificate's end", at: expired(map[axis]string{byRequest: "pending"}), kind: Wait, reason: JoinFailed, words: "is pending"},
		{name: "the kubelet goes by another name by now", at: expired(map[axis]string{byKubelet: "runs under another name", byTaken: "91 s, silent for 16 s"}), kind: StopKubelet, ground: RefusesKubelet},
		{name: "it is to have another name, by the certificate's end", at: expired(map[axis]string{byName: "another, asked for", byTaken: "91 s, silent for 16 s"}), kind: StopKubelet, ground: RefusesKubelet},
		{name: "there is no token for it, by the certificate's end", at: expired(late), kind: StopKubelet, ground: RefusesKubelet, change: func(r *row) { r.f.Cluster.Value.Bearer = false }},
		{name: "its server does not say that there is no Node", at: expired(map[axis]string{bySecond: "silent"}), kind: Wait, reason: JoinFailed, words: "401"},
	})
}

// Another cluster may have a Node with the same machine ID, of a machine that was cloned.
func TestANodeIsOfThisMachineByWhatIsKnown(t *testing.T) {
	us := Policy{BootID: "boot", MachineID: "machine", SystemUUID: "uuid"}
	for name, c := range map[string]struct {
		p  Policy
		n  Node
		is bool
	}{
		"of another boot":                     {us, Node{BootID: "boot-2", MachineID: "machine", SystemUUID: "uuid"}, true},
		"the same, written otherwise":         {us, Node{MachineID: "MACHINE", SystemUUID: "UUID"}, true},
		"a firmware without a UUID":           {us, Node{MachineID: "machine"}, true},
		"here, a firmware without a UUID":     {Policy{MachineID: "machine"}, Node{MachineID: "machine", SystemUUID: "uuid"}, true},
		"another machine's":                   {us, Node{BootID: "boot", MachineID: "machine-2", SystemUUID: "uuid"}, false},
		"a clone's, on other hardware":        {us, Node{MachineID: "machine", SystemUUID: "uuid-2"}, false},
		"a Node that names no machine":        {us, Node{BootID: "boot", SystemUUID: "uuid"}, false},
		"a machine that does not know its ID": {Policy{BootID: "boot", SystemUUID: "uuid"}, Node{BootID: "boot", SystemUUID: "uuid"}, false},
	} {
		if is := c.p.ofMachine(c.n); is != c.is {
			t.Errorf("%s: of this machine is %t", name, is)
		}
	}
}

// A Node that this run has seen deleted is put back as it was.
func TestANodeIsPutBack(t *testing.T) {
	gone := basedOn(map[axis]string{bySight: "404", byKubelet: "runs and is healthy", byDeletions: "one", byReturn: "seen 40 s ago", byRestart: "never", bySince: "1 s"})
	back := basedOn(map[axis]string{bySight: "ours", byKubelet: "runs for an hour", byDeletions: "one", byReturn: "put back 29 s ago", byRestart: "never", byHold: "61 s"})
	decide(t, []decision{
		{name: "seen to be deleted", at: gone(nil), kind: PutBack},
		{name: "too long ago", at: gone(map[axis]string{byReturn: "seen 41 s ago"}), kind: RestartKubelet},
		{name: "tried already", at: gone(map[axis]string{byReturn: "tried"}), kind: RestartKubelet},
		{name: "not wanted", at: gone(map[axis]string{byReturn: "as a new one only"}), kind: RestartKubelet},
		{name: "not seen by this run", at: gone(map[axis]string{byDeletions: "none"}), kind: RestartKubelet},
		{name: "its kubelet does not run", at: gone(map[axis]string{byKubelet: "stopped"}), kind: RestartKubelet},
		{name: "its kubelet is suspended", at: gone(map[axis]string{byKubelet: "is suspended"}), kind: RestartKubelet},
		{name: "its kubelet fails", at: gone(map[axis]string{byKubelet: "in a crash loop"}), kind: RestartKubelet,
			change: func(r *row) { r.m.ranSince = r.m.DeletedAt.Add(-time.Second) }},
		{name: "its kubelet was started since, and one that starts registers by itself", at: gone(nil), kind: RestartKubelet,
			change: func(r *row) { r.m.ranSince = r.m.DeletedAt.Add(time.Second) }},
		{name: "after a pause in which its pods live, whatever the back-off", at: gone(nil), kind: PutBack,
			change: func(r *row) { r.m.RestartPause, r.m.Since = time.Minute, ago(returnPause+time.Second) }},
		{name: "not before that pause is over", at: gone(nil), kind: Wait, reason: JoinFailed, words: "backing off",
			change: func(r *row) { r.m.RestartPause, r.m.Since = time.Minute, ago(returnPause-time.Second) }},
		{name: "under a kubelet that is not the service's, which no restart would help", at: gone(map[axis]string{byKubelet: "runs astray"}), kind: PutBack},
		{name: "its owner wants it gone", at: gone(map[axis]string{byReturn: "marked"}), kind: End, reason: KeepsBeingDeleted, words: "karpenter.sh/disrupted"},
		{name: "somebody else's kubeadm is at work", at: gone(map[axis]string{byMachine: "a kubeadm"}), kind: Wait, reason: JoinFailed, words: "kubeadm"},

		{name: "it is back, and not taken up yet", at: back(nil), kind: Wait, reason: JoinFailed, words: "take it up"},
		{name: "it is not taken up in time", at: back(map[axis]string{byReturn: "put back 30 s ago", byUntaken: "not taken up"}), kind: RestartKubelet},
		{name: "it lacks what only a kubelet that starts makes", at: back(map[axis]string{byUntaken: "never to be"}), kind: RestartKubelet},
		{name: "the same a moment after the return, when that kubelet may still be starting", at: back(map[axis]string{byUntaken: "never to be"}), kind: Wait, reason: JoinFailed, words: "take it up",
			change: func(r *row) { r.m.PutBackAt = ago(time.Second) }},
		{name: "whether it is cannot be found out", at: back(map[axis]string{byReturn: "put back 30 s ago"}), kind: Wait, reason: JoinFailed, words: "take it up"},
		{name: "its kubelet has ended meanwhile", at: back(map[axis]string{byKubelet: "stopped"}), kind: RestartKubelet},
		{name: "it is back as Unknown, and its kubelet has ended", at: back(map[axis]string{bySight: "dead", byKubelet: "stopped"}), kind: RestartKubelet},
		{name: "its credentials cannot be used any more, so that nobody can ask whether it is taken up", at: back(map[axis]string{byCreds: "not understood"}),
			kind: Wait, reason: JoinFailed, words: "take it up"},
		{name: "the same for too long: a restarted kubelet has to report, which can be seen",
			at: back(map[axis]string{byReturn: "put back 30 s ago", byCreds: "not understood"}), kind: RestartKubelet},
		{name: "it is back as Unknown", at: back(map[axis]string{bySight: "dead"}), kind: Wait, reason: JoinFailed, words: "take it up"},
	})
	for kubelet, ready := range map[string]bool{"runs and is healthy": true, "runs for an hour": false} {
		r := rowOf(gone(map[axis]string{byKubelet: kubelet}))
		if a := Next(r.p, r.m, &r.f, now); a.Kind != PutBack || a.Ready != ready {
			t.Errorf("%s: %+v", kubelet, a)
		}
	}
}
