package judge

import (
	"testing"
	"time"
)

// (a) of rule 2: without credentials that load.
func TestAKubeletWithoutCredentialsIsStoppedOnlyIfItIsNoMembers(t *testing.T) {
	without := basedOn(map[axis]string{byCreds: "not there", byDisk: "leftovers", byKubelet: "runs for an hour"})
	decide(t, []decision{
		{name: "it waits for its first certificate", at: without(nil), kind: StopKubelet, ground: NoCredentials},
		{name: "torn credentials may be in its memory", at: without(map[axis]string{byCreds: "unusable"}), kind: End, reason: Refusal},
		{name: "it has pods", at: without(map[axis]string{byMachine: "pods"}), kind: End, reason: Refusal},
		{name: "its Node lives", at: without(map[axis]string{byCluster: "our Node"}), kind: End, reason: Refusal},
		{name: "its Node is dead", at: without(map[axis]string{byCluster: "our Node, dead"}), kind: StopKubelet, ground: NoCredentials},
		{name: "the Node that its arguments name lives", at: without(map[axis]string{byKubelet: "runs under another name", bySight: "ours"}), kind: End, reason: Refusal},
		{name: "the Node that its arguments name is not there", at: without(map[axis]string{byKubelet: "runs under another name", bySight: "404"}),
			kind: StopKubelet, ground: NoCredentials},
		{name: "nobody says whether that Node is there", at: without(map[axis]string{byKubelet: "runs under another name"}), kind: BackOff, reason: JoinFailed},
		{name: "the token may not ask for its Node", at: without(map[axis]string{byCluster: "403"}), kind: BackOff, reason: JoinFailed, words: "may not ask"},
		{name: "it has only just been started", at: without(map[axis]string{byKubelet: "runs for 1 s"}), kind: Wait, reason: JoinFailed, words: "not clear yet"},
		{name: "it is about to be started", at: without(map[axis]string{byKubelet: "starting"}), kind: Wait, reason: JoinFailed, words: "not clear yet"},
		{name: "whether it runs is not known", at: without(map[axis]string{byKubelet: "not known"}), kind: Wait, reason: JoinFailed},
		{name: "it is in a crash loop", at: without(map[axis]string{byKubelet: "in a crash loop"}), kind: Reset, ground: NoCredentials},
		{name: "it was in one, and runs", at: without(map[axis]string{byKubelet: "steady after a crash loop"}), kind: StopKubelet, ground: NoCredentials},
		{name: "it does not run", at: without(map[axis]string{byKubelet: "stopped"}), kind: Reset, ground: NoCredentials},
		{name: "it does not run, and its Node was alive a moment ago and has pods",
			at: without(map[axis]string{byKubelet: "stopped", byMachine: "pods", byCluster: "our Node"}), kind: End, reason: Refusal, words: "3 pods live here"},
		{name: "its credentials went while it was stopped, and it has pods",
			at: without(map[axis]string{byKubelet: "stopped", byMachine: "pods", byStopped: "2 s"}), kind: End, reason: Refusal, words: "while it was stopped"},
	})
}

func TestACertificateRequestThatLivesIsWaitedFor(t *testing.T) {
	without := func(request, kubelet string) map[axis]string {
		return map[axis]string{byCreds: "not there", byDisk: "leftovers", byRequest: request, byKubelet: kubelet}
	}
	decide(t, []decision{
		{name: "pending", at: without("pending", "stopped"), kind: Wait, reason: JoinFailed, words: "is pending"},
		{name: "pending, its key in a running kubelet's memory", at: without("pending with the key in memory", "runs for an hour"), kind: Wait, reason: JoinFailed, words: "is pending"},
		{name: "pending, its key gone", at: without("pending with the key in memory", "stopped"), kind: Reset, ground: NoCredentials},
		{name: "issued just now", at: without("issued 14 s ago", "stopped"), kind: Wait, reason: JoinFailed, words: "is approved"},
		{name: "issued long ago", at: without("issued 16 s ago", "stopped"), kind: Reset, ground: NoCredentials},
		{name: "issued for an earlier key", at: without("issued for an earlier key", "stopped"), kind: Reset, ground: NoCredentials},
		{name: "a silence is no word about one", at: without("not known", "stopped"), kind: Wait, reason: JoinFailed},
		{name: "denied fails an attempt once", at: without("denied", "stopped"), kind: BackOff, reason: JoinFailed},
		{name: "denied, and told", at: without("denied, told", "stopped"), kind: Reset, ground: NoCredentials},
	})
}

func TestOnlySomeFilesHinder(t *testing.T) {
	decide(t, []decision{
		{name: "the proven cluster's own", at: map[axis]string{byCreds: "not there", byDisk: "the cluster's own CA"}, kind: Join},
		{name: "another's", at: map[axis]string{byCreds: "not there", byDisk: "another CA"}, kind: Reset, ground: NoCredentials},
		{name: "a bootstrap file that nobody uses is no hindrance", at: map[axis]string{byCreds: "not there", byDisk: "a bootstrap file"}, kind: Join},
		{name: "one that a kubelet uses is", at: map[axis]string{byCreds: "not there", byDisk: "a bootstrap file", byKubelet: "runs for an hour"}, kind: StopKubelet, ground: NoCredentials},
	})
}

// (b) of rule 2.
func TestAKubeletIsStoppedForANodeThatStaysAwayOnlyAfterAMinuteOfBoth(t *testing.T) {
	away := basedOn(map[axis]string{bySight: "404", byKubelet: "runs for an hour"})
	decide(t, []decision{
		{name: "404 for minutes after a restart, and it runs", at: away(nil), kind: StopKubelet, ground: StaysAway},
		{name: "restarted 59 s ago", at: away(map[axis]string{byRestart: "59 s"}), kind: Wait, reason: JoinFailed},
		{name: "it runs for 59 s", at: away(map[axis]string{byKubelet: "runs for 59 s"}), kind: Wait, reason: JoinFailed},
		{name: "it does not run", at: away(map[axis]string{byKubelet: "stopped"}), kind: BackOff, reason: JoinFailed},
		{name: "it fails", at: away(map[axis]string{byKubelet: "in a crash loop"}), change: func(r *row) { r.m.ranSince = ago(time.Hour) }, kind: BackOff, reason: JoinFailed},
		{name: "the Node has gone once more since the restart", at: away(map[axis]string{bySince: "90 s"}), kind: RestartKubelet},
		{name: "there was a silence since the restart", at: away(map[axis]string{byHeard: "again for 80 s"}), kind: RestartKubelet},
		{name: "it says why it cannot register", at: away(map[axis]string{byKubelet: "cannot register"}), kind: Wait, reason: JoinFailed, words: "denied the request"},
		{name: "its log cannot be read", at: away(nil), change: func(r *row) { r.f.Kubelet.Value.Unread = true }, kind: BackOff, reason: JoinFailed},
		{name: "a person must mend it", at: away(map[axis]string{byKubelet: "doomed"}), kind: End, reason: HostUnfit},
		{name: "once a run", at: away(map[axis]string{byDoubt: "a reset is spent"}), kind: BackOff, reason: JoinFailed},
		{name: "the token sees that it is back", at: away(map[axis]string{byCluster: "our Node"}), kind: Wait, reason: JoinFailed, words: "has come back"},
		{name: "our own kubeadm is at work", at: away(map[axis]string{byJoin: "runs"}), kind: Wait, reason: JoinFailed, words: "yet"},
		{name: "stopped, and still away", at: away(map[axis]string{byKubelet: "stopped", byStopped: "2 s"}), kind: Reset, ground: StaysAway},
		{name: "stopped, and heard of after a silence", at: away(map[axis]string{byKubelet: "stopped", byStopped: "2 s", byHeard: "again for 30 s"}), kind: StartKubelet},
		{name: "stopped, and somebody has started it", at: away(map[axis]string{byStopped: "2 s"}), kind: Wait, reason: JoinFailed, words: "a reset must wait"},
		{name: "stopped, and back", at: map[axis]string{bySight: "ours", byKubelet: "stopped", byStopped: "2 s"}, kind: StartKubelet},
	})
}

// (c) of rule 2.
func TestAKubeletIsStoppedForARefusalOnlyWithProof(t *testing.T) {
	refused := basedOn(map[axis]string{bySight: "401", byKubelet: "runs for an hour", byCreds: "expired", bySecond: "absent"})
	decide(t, []decision{
		{name: "for 91 s, and it has expired", at: refused(nil), kind: StopKubelet, ground: RefusesKubelet},
		{name: "for 89 s", at: refused(map[axis]string{byTaken: "89 s, silent for 14 s"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "it is valid", at: refused(map[axis]string{byCreds: "loaded"}), kind: Wait, reason: JoinFailed, words: "401"},
		{name: "it is valid by this machine's clock, which is behind the server's", at: refused(map[axis]string{byCreds: "loaded"}),
			change: func(r *row) { r.f.Cluster.Value.Ahead = 2 * time.Hour }, kind: StopKubelet, ground: RefusesKubelet},
		{name: "it has expired by this machine's clock, which is ahead of the server's", at: refused(nil),
			change: func(r *row) { r.f.Cluster.Value.Ahead = -2 * time.Hour }, kind: Wait, reason: JoinFailed, words: "401"},
		{name: "our Node lives", at: refused(map[axis]string{bySecond: "ours"}), kind: Wait, reason: JoinFailed, words: "401"},
	})
}

// (d) of rule 2.
func TestAKubeletIsStoppedForACloneAndTheOthersHeartbeatWaitedFor(t *testing.T) {
	decide(t, []decision{
		{name: "credentials of another machine's Node", at: map[axis]string{bySight: "the image's", byKubelet: "runs for an hour"}, kind: StopKubelet, ground: Clone},
		{name: "of our own name", at: map[axis]string{bySight: "another's, alive", byKubelet: "runs for an hour"}, kind: End, reason: NameTaken},
		{name: "that may be this machine's, of an earlier boot", at: map[axis]string{bySight: "the image's", byKubelet: "runs for an hour", byRestart: "never", bySince: "1 s"},
			change: func(r *row) { r.f.Node.Value.Node.SystemUUID = "uuid" }, kind: Wait, reason: JoinFailed},
		{name: "of a Node that is being deleted", at: map[axis]string{bySight: "the image's, leaving", byKubelet: "runs for an hour"}, kind: Wait, reason: JoinFailed, words: "being deleted"},
		{name: "nobody but our kubelet reported for it before", at: map[axis]string{bySight: "the image's", byKubelet: "runs for an hour", byDoubt: "no clone"},
			kind: Wait, reason: JoinFailed, words: "not known to be dead"},
		{name: "this run has joined as that Node itself", at: map[axis]string{bySight: "the image's", byKubelet: "runs for an hour", byJoined: "2 h"},
			kind: Wait, reason: JoinFailed, words: "not known to be dead"},
		{name: "stopped, and the Node may be this machine's", at: map[axis]string{bySight: "the image's", byStopped: "2 s for a clone", byLease: "as it was"},
			change: func(r *row) { r.f.Node.Value.Node.SystemUUID = "uuid" }, kind: Wait, reason: JoinFailed, words: "to see whether that machine lives"},
		{name: "stopped, and it may be, and it is another Node since", at: map[axis]string{bySight: "the image's", byStopped: "2 s for a clone", byLease: "as it was", bySince: "1 s"},
			change: func(r *row) { r.f.Node.Value.Node.SystemUUID = "uuid" }, kind: StartKubelet},
		{name: "stopped, and nothing moves yet", at: map[axis]string{bySight: "the image's", byStopped: "2 s for a clone", byLease: "as it was"},
			kind: Wait, reason: JoinFailed, words: "to see whether that machine lives"},
		{name: "stopped, and its Lease is renewed", at: map[axis]string{bySight: "the image's", byStopped: "2 s for a clone", byLease: "renewed"}, kind: Reset, ground: Clone},
		{name: "stopped, and its heartbeat moves", at: map[axis]string{bySight: "the image's, alive", byStopped: "2 s for a clone"}, kind: Reset, ground: Clone},
		{name: "stopped, and nothing has moved for 7 minutes", at: map[axis]string{bySight: "the image's", byStopped: "7 min for a clone", byLease: "as it was"},
			kind: StartKubelet, ground: Clone},
	})
}

func TestAResetThatIsNotOursToDoIsRefused(t *testing.T) {
	leftovers := func(disk, reset string) map[axis]string {
		return map[axis]string{byCreds: "not there", byDisk: disk, byReset: reset}
	}
	decide(t, []decision{
		{name: "against the user's word", at: leftovers("leftovers", "never"), kind: End, reason: Refusal, words: "--reset=never"},
		{name: "of this machine's own files", at: leftovers("leftovers and losses", "auto"), kind: End, reason: Refusal, words: "static.yaml"},
		{name: "beside admin.conf", at: leftovers("leftovers and admin.conf", "auto"), kind: End, reason: Refusal, words: "admin.conf"},
		{name: "of this machine's own files, with the user's word", at: leftovers("leftovers and losses", "always, due"), kind: Reset, ground: Asked},
		{name: "admin.conf alone hinders no join", at: leftovers("admin.conf", "auto"), kind: Join},
	})
}
