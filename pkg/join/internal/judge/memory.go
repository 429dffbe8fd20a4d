package judge

import (
	"slices"
	"time"
)

// Condition is what the last answer about the kubelet's Node amounts to.
type Condition string

// The conditions.
const (
	Unheard Condition = ""        // no answer yet
	Member  Condition = "member"  // ours, and its kubelet reports
	Gone    Condition = "gone"    // the API server says that it is not there
	Dead    Condition = "dead"    // ours, but Ready is Unknown
	Foreign Condition = "foreign" // of another boot or machine, or of none
	Refused Condition = "refused" // 401 to the kubelet's credentials
	Mute    Condition = "mute"    // no useful answer
)

// Memory is what is remembered of facts and acts. It is a value: to take
// something in gives a new one. It does not grow.
type Memory struct {
	// the kubelet's Node
	Is         Condition
	Since      time.Time // since when Is holds, but for silences
	Heard      time.Time // end of the last silence in between
	Before     Condition // the silence
	OwnUID     string    // of our Node that was there at the last answer
	OwnSince   time.Time
	OwnSeen    time.Time // last seen,
	Mark       string    // and the mark of its owner's will that it had then
	Lost       bool      // a Node of ours was deleted since the last join
	Deletions  int
	Deleted    [8]string // UIDs of the last ones: late news of them is none,
	DeletedAt  time.Time // when the last of them was missed
	Restored   string    // the one of them that is there again all the same
	LastsFor   time.Duration
	LevelUID   string // of the Node that is at the wanted level,
	LevelSince time.Time
	Heartbeat  Heartbeat // of another machine's or boot's Node, by the credentials,
	Twin       Heartbeat // and of the one that has the name that we are to have
	Renewed    time.Time // first answer about its Lease since our kubelet has not run

	// the kubelet
	PID      int
	Exits    int
	ranSince time.Time    // since when it was seen to run
	exits    [2]time.Time // the last ones that nobody ordered
	fatal    string       // its last words when it first refused to run after an act of ours,
	fatalPID int          // and of which process
	Doomed   bool         // and a later process had the same

	// cloud-init, as it was seen last
	cloudInit     CloudInit
	cloudInitOver time.Time // when it was first seen to be done, or to wait for us, after it was at work
	unclearSince  time.Time // since when it may wait for us

	// acts of this run
	Acts            int       // done so far, to tell what was asked before the last one
	Restarted       time.Time // last kubelet restart that succeeded
	RestartedBeside time.Time // the Node's heartbeat then
	Newborn         time.Time // when the kubelet last got a new certificate: it may not have registered yet
	JoinedAt        time.Time // last kubeadm join began
	StoppedAt       time.Time // the kubelet, by us, and not started since,
	StoppedFor      Ground    // and before which reset
	Joins           int
	PutBackUID      string    // of the deleted Node that was put back last, well or not,
	PutBackAt       time.Time // and when; zero once the kubelet has taken it up, or was restarted for it
	BootstrapAt     time.Time // the kubelet bootstraps again since; zero once it has its certificate, or that has failed
	Barred          string    // the denial of its request: with this token no kubelet asks again
	BootstrapSpent  bool      // one has been done, and no member has come of it
	GoneSpent       bool      // a reset because the Node stayed away has been done
	CloneDoubted    bool      // nobody but our kubelet reported for a Node that seemed another machine's
	ForcedDone      bool      // so has the one of --reset=always
	FailedAt        time.Time
	BackOffUntil    time.Time
	RestartPause    time.Duration // before the Node is brought back again

	// the cluster, as the token sees it
	answersSince time.Time
	silentSince  time.Time // nobody reports for this machine's Node
	servesSince  time.Time
	refusedSince time.Time // the token is
	badSignSince time.Time
	strangeSince time.Time // the cluster's CA is of an algorithm that is not known
	passedOver   time.Time // since when cluster-info is signed for others, and not for our token, which is taken
	takenSince   time.Time // the token is taken throughout, and the kubelet's Node gone or dead
	issuedSince  time.Time // our certificate request was first seen to be approved
	Denial       string    // what was said of the denied certificate request that was seen last
	DenialTold   string    // and whether an attempt has failed for it
	Answered     bool      // an API server has answered usefully in this run
	Starting     bool      // it has not answered for long
}

// Take folds the newest answer to one topic into the memory.
func (m Memory) Take(p Policy, f *Facts, t Topic) Memory {
	unheard := t == Token && f.Cluster.Value.Verdict != Proven || t == Certificate && f.Request.Err != nil
	if unheard && !m.BootstrapAt.IsZero() { // nor is the kubelet in a silence
		m.BootstrapAt = f.stamp(t).at
	}
	switch t {
	case OwnNode:
		return m.takeNode(p, f.Node)
	case TokensNode:
		return m.takeSecond(p, f)
	case Unit:
		if f.Kubelet.Known() {
			return m.takeKubelet(f.Kubelet.Value, f.Kubelet.At)
		}
	case Token:
		return m.takeCluster(p, f)
	case Company:
		return m.takeCompany(f.Machine.Value.CloudInit, f.Machine.At)
	case Renewal:
		if f.Lease.Known() && m.Renewed.IsZero() {
			m.Renewed = f.Lease.Value
		}
	case Kubeconfig:
		if f.Credentials.Value.State == Loaded && f.Credentials.Acts == m.Acts {
			m.BootstrapAt = time.Time{}
		}
	case Takeup:
		if f.Untaken.Known() && f.Untaken.Value.Missing == "" && f.Untaken.Acts == m.Acts {
			m.PutBackAt = time.Time{}
		}
	case Certificate:
		if f.Request.Known() && f.Credentials.Value.State != Loaded { // who has a certificate asks for none
			return m.takeRequest(f.Request.Value, f.Request.At)
		}
	}
	return m
}

// takeNode keeps book of what the kubelet's Node is since when, and of our Nodes
// by UID: one that was ours and is not there any more was deleted, whether it
// was seen gone or only another in its place.
func (m Memory) takeNode(p Policy, f Fact[Sighting]) Memory {
	s, at := f.Value, f.At
	if s.Answer == Present && s.Node.UID != m.Restored && slices.Contains(m.Deleted[:], s.Node.UID) {
		if f.News || f.Asked.Before(m.DeletedAt) {
			return m // late news; whoever asks is told whether etcd was restored, and the UID is back
		}
		m.Restored = s.Node.UID
	}
	is := conditionOf(p, s)
	if is == Gone && !m.PutBackAt.IsZero() && !f.Asked.After(m.PutBackAt) {
		return m // late news of the one before
	}
	m.Answered = m.Answered || s.Answer == Present || s.Answer == Absent
	switch {
	case is == m.Is:
	case is == Mute: // evidence of nothing: neither of a change nor of its contrary
		m.Is, m.Before, m.Heartbeat, m.takenSince = Mute, m.Is, Heartbeat{}, time.Time{}
	case m.Is == Mute && is == m.Before:
		m.Is, m.Heard = is, at
	default:
		if m.Is == Mute {
			m.Heard = at
		}
		m.Is, m.Since, m.Heartbeat, m.takenSince = is, at, Heartbeat{}, time.Time{}
	}
	uid := s.Node.UID
	if m.OwnUID != "" && (is == Gone || s.Answer == Present && uid != m.OwnUID) {
		if m.OwnUID != m.Restored {
			copy(m.Deleted[1:], m.Deleted[:])
			m.Deleted[0], m.LastsFor = m.OwnUID, at.Sub(m.OwnSince)
			m.Deletions++
		}
		m.Lost, m.DeletedAt, m.OwnUID, m.LevelUID = true, at, "", ""
	}
	if is == Member || is == Dead {
		if m.OwnUID != uid {
			m.OwnUID, m.OwnSince = uid, at
		}
		m.OwnSeen, m.Mark, m.BootstrapSpent = at, s.Node.Mark, false
	}
	if is == Foreign {
		m.Heartbeat = m.Heartbeat.take(s.Node, at)
	}
	switch {
	case is == Mute:
	case is != Member || p.lacks(s.Node) != "":
		m.LevelUID = ""
	case m.LevelUID != uid:
		m.LevelUID, m.LevelSince = uid, at
	}
	return m
}

// takeSecond: asked with the token, the kubelet's Node is gone or dead, or it is
// not; with credentials that are not understood it is the only sight of it.
func (m Memory) takeSecond(p Policy, f *Facts) Memory {
	s, at := f.Second.Value, f.Second.At
	if f.Credentials.Value.State != Loaded {
		return m.takeNode(p, f.Second)
	}
	switch lost := s.Answer == Absent || s.Answer == Present && s.Node.Ready == "Unknown"; {
	case !lost:
		m.takenSince = time.Time{}
	case m.takenSince.IsZero():
		m.takenSince = at
	}
	return m
}

func (m Memory) takeKubelet(k Kubelet, at time.Time) Memory {
	switch {
	case !k.Running && m.PID != 0, k.Running && m.PID != 0 && k.PID != m.PID:
		m = m.exit(at)
	}
	if m.Exits >= 0 && k.Exits > m.Exits+1 { // some between two looks
		m = m.exit(at).exit(at)
	}
	m.Exits = k.Exits
	if k.Running {
		m.Renewed = time.Time{} // who renews the Lease may be ours
	}
	switch {
	case !k.Running:
		m.PID, m.ranSince = 0, time.Time{}
	case k.Suspended:
		m.PID, m.ranSince = k.PID, at
	case k.PID != m.PID || m.ranSince.IsZero():
		m.PID, m.ranSince = k.PID, at
		if !k.Since.IsZero() && k.Since.Before(at) {
			m.ranSince = k.Since
		}
	}
	switch {
	case k.Fatal == "" || k.Passes || !m.Started():
		m.fatal, m.Doomed = "", false
	case m.fatal != k.Fatal:
		m.fatal, m.fatalPID, m.Doomed = k.Fatal, k.Exits, false
	case k.Exits > m.fatalPID && !k.Running: // the next one, too, is over
		m.Doomed = true
	}
	return m
}

// Started reports whether this run has started a kubelet, so that its words since then are this run's to read.
func (m Memory) Started() bool { return m.Joins > 0 || !m.Restarted.IsZero() }

func (m Memory) exit(at time.Time) Memory {
	m.exits = [2]time.Time{at, m.exits[0]}
	return m
}

// fails reports whether the kubelet's service has failed, or its process has
// ended twice within a minute.
func (m Memory) fails(k Kubelet, now time.Time) bool {
	return k.Failed || !m.exits[1].IsZero() && now.Sub(m.exits[1]) < failingWithin
}

// Did folds in an act of this run that has just ended, well or not.
func (m Memory) Did(a Action, f *Facts, failed bool, now time.Time) Memory {
	m.Acts++
	switch a.Kind {
	case Tidy:
		return m // the kubelet is as it was
	case PutBack:
		m.PutBackUID, m.PutBackAt = m.Deleted[0], now
		return m
	case RestartKubelet, StartKubelet, Bootstrap:
		if failed {
			return m
		}
		if a.Kind == Bootstrap {
			m.BootstrapSpent = true
			m.BootstrapAt, m.Denial, m.DenialTold = now, f.Request.Value.Denial, f.Request.Value.Denial // a request of before
		}
		m.CloneDoubted = m.CloneDoubted || a.Kind == StartKubelet && m.Is == Foreign
		m.PutBackAt = time.Time{}
		m.Restarted, m.StoppedAt, m.RestartedBeside = now, time.Time{}, time.Time{}
		for _, s := range []Sighting{f.Node.Value, f.Second.Value} {
			if s.Answer == Present && s.Node.UID == m.OwnUID {
				m.RestartedBeside = s.Node.Heartbeat
			}
		}
	case StopKubelet:
		if failed {
			return m
		}
		m.StoppedAt, m.StoppedFor, m.Renewed, m.Heartbeat = now, a.Ground, time.Time{}, Heartbeat{}
	case Reset:
		m.GoneSpent = m.GoneSpent || a.Ground == StaysAway
		m = m.Blind(now)
		if !failed { // else whoever was stopped for it is still to be started
			m.StoppedAt, m.StoppedFor = time.Time{}, None
			m.ForcedDone, m.OwnUID, m.LevelUID = true, "", ""
		}
	case Join:
		m.JoinedAt, m.Lost, m.OwnUID, m.LevelUID = now, false, "", "" // what was before is over
		m.Joins++
	}
	m.PID, m.Exits, m.ranSince, m.exits = 0, -1, time.Time{}, [2]time.Time{}
	m.fatal, m.Doomed = "", false
	return m
}

// Inherit takes over our Node as a run that was killed has seen it last, if that
// was a moment ago.
func (m Memory) Inherit(p Policy, s Sighting, at, now time.Time) Memory {
	if s.Answer == Present && p.Ours(s.Node) && !at.After(now) && now.Sub(at) <= podPatience {
		m.OwnUID, m.OwnSince, m.OwnSeen, m.Mark = s.Node.UID, at, at, s.Node.Mark
	}
	return m
}

// Blind forgets what the kubelet's Node is: it is to be looked at with other
// credentials.
func (m Memory) Blind(now time.Time) Memory {
	m.Is, m.Before, m.Since, m.Heard, m.Heartbeat, m.takenSince = Unheard, Unheard, now, time.Time{}, Heartbeat{}, time.Time{}
	return m
}

// Returned notes that our Node was brought back, and for how long the next time
// waits. Where that is not certain it is tried again, if the Node is not there.
func (m Memory) Returned(pause time.Duration, certain bool) Memory {
	m.RestartPause = pause
	if !certain {
		m.PutBackUID = ""
	}
	return m
}

// Certified notes that the kubelet has a certificate, which it may just have got.
func (m Memory) Certified(isNew bool, now time.Time) Memory {
	if isNew {
		m.Newborn, m.exits = now, [2]time.Time{} // those before it are another life's
		if !m.JoinedAt.Before(m.StoppedAt) {     // kubeadm has started the kubelet again
			m.StoppedAt = time.Time{}
		}
	}
	m.Denial, m.DenialTold = "", ""
	return m
}

// JoinEnded notes that kubeadm join has come back.
func (m Memory) JoinEnded(now time.Time) Memory {
	m.Acts++
	m.Newborn = now
	return m
}

// Failed notes that an attempt failed, and until when the next one waits.
func (m Memory) Failed(now, until time.Time) Memory {
	if !m.BootstrapAt.IsZero() && m.Denial != m.DenialTold {
		m.Barred = m.Denial
	}
	m.FailedAt, m.BackOffUntil, m.DenialTold, m.BootstrapAt = now, until, m.Denial, time.Time{}
	return m
}

// NewToken notes that there is another one, whose request may be approved.
func (m Memory) NewToken() Memory {
	m.BootstrapSpent = m.BootstrapSpent && m.Barred == ""
	m.Barred = ""
	return m
}

// lasting is for how long t has passed without a silence.
func (m Memory) lasting(t, now time.Time) time.Duration {
	if m.Heard.After(t) {
		t = m.Heard
	}
	return now.Sub(t)
}
