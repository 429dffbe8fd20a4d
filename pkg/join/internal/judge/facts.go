// Package judge decides what a run does next. It is a function of a policy,
// of what is remembered, of what was observed, and of the time; it touches
// nothing and asks nobody, so that every combination of its facts can be tried.
//
// Each [Fact] is yes, no or not known, and not known is never taken for no.
// [Next] reads the facts in the order of its rows; what a row needs and does
// not have, or has from before the last act, it asks for.
package judge

import (
	"slices"
	"time"
)

// Fact is one observation. With Err it is not known; with a zero At nobody has
// asked yet.
type Fact[T any] struct {
	Value T
	Err   error     // why it is not known
	Acts  int       // how many acts the run had done when the question was put
	Asked time.Time // when that was
	At    time.Time // when the answer came
	News  bool      // it came by itself: nobody has just asked
}

// Known reports whether there is an answer, and no failure to get one.
func (f Fact[T]) Known() bool { return f.Err == nil && !f.At.IsZero() }

func (f *Fact[T]) stamp() stamp { return stamp{f.Acts, f.Asked, f.At} }

type stamp struct {
	acts      int
	asked, at time.Time
}

// Topic is what can be asked for; topics are added up in one question.
type Topic int

// The topics, each of one field of [Facts].
const (
	Files       Topic = 1 << iota // Facts.Disk
	Company                       // Facts.Machine
	Kubeconfig                    // Facts.Credentials
	Unit                          // Facts.Kubelet
	Programs                      // Facts.Programs
	Naming                        // Facts.Name
	Endpoint                      // Facts.Endpoint
	Token                         // Facts.Cluster
	Certificate                   // Facts.Request
	OwnNode                       // Facts.Node
	TokensNode                    // Facts.Second
	Renewal                       // Facts.Lease
	Takeup                        // Facts.Untaken
)

// topicNames are what the topics are for a person, in their order.
var topicNames = []string{
	"the files of earlier joins", "mounts, pods and other kubeadms here", "the kubelet's credentials", "the kubelet", "kubeadm and kubelet as programs",
	"our Node's name", "the endpoint's certificate", "the cluster as the token sees it", "our certificate request", "our Node as the kubelet's credentials see it",
	"the kubelet's Node as the token sees it", "that Node's Lease", "whether the kubelet has taken up the Node that was put back",
}

// Names are those of the topics, for a person.
func (t Topic) Names() (names []string) {
	for i, name := range topicNames {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// each of the topics by itself, in their order.
func (t Topic) each(yield func(Topic) bool) {
	for ; t != 0; t &= t - 1 {
		if !yield(t & -t) {
			return
		}
	}
}

// local topics are cheap to find out, and any act may change them.
const local = Files | Company | Kubeconfig | Unit

// Facts are all observations. The zero value knows nothing.
type Facts struct {
	Disk        Fact[Disk]
	Machine     Fact[Machine]
	Credentials Fact[Credentials]
	Kubelet     Fact[Kubelet]
	Programs    Fact[Fitness] // kubeadm and kubelet
	Name        Fact[Named]   // that a join would give our Node
	Endpoint    Fact[bool]    // a server answers there whose certificate is not of the credentials' CA
	Cluster     Fact[Cluster]
	Request     Fact[Request]
	Node        Fact[Sighting]  // of the credentials' Node, by the credentials
	Second      Fact[Sighting]  // of the kubelet's Node, by the token
	Lease       Fact[time.Time] // when the credentials' Node's Lease was last renewed, by the credentials
	Left        Fact[Left]      // read once: who has the lock alone writes it
	Untaken     Fact[Untaken]   // until the kubelet has taken up the Node that was put back

	Join Joining // kubeadm join, as far as it is under way
}

func (f *Facts) stamp(t Topic) stamp {
	switch t {
	case Files:
		return f.Disk.stamp()
	case Company:
		return f.Machine.stamp()
	case Kubeconfig:
		return f.Credentials.stamp()
	case Unit:
		return f.Kubelet.stamp()
	case Programs:
		return f.Programs.stamp()
	case Naming:
		return f.Name.stamp()
	case Endpoint:
		return f.Endpoint.stamp()
	case Token:
		return f.Cluster.stamp()
	case Certificate:
		return f.Request.stamp()
	case OwnNode:
		return f.Node.stamp()
	case TokensNode:
		return f.Second.stamp()
	case Renewal:
		return f.Lease.stamp()
	}
	return f.Untaken.stamp()
}

// Untaken is what a Node that was put back lacks.
type Untaken struct {
	Missing string // "": nothing
	Stays   bool   // only a kubelet that starts brings it
}

// Disk is what earlier joins and other people left.
type Disk struct {
	ControlPlane string   // the path that proves a control-plane host
	AdminConf    bool     // an administrator's kubeconfig is here, as on a control plane
	Leftovers    []string // files that hinder kubeadm join, but for these two:
	Bootstrap    string   // bootstrap-kubelet.conf, if it is there
	CA           []string // public-key pins of pki/ca.crt; empty: it is not there, or no certificate
	CAFile       string   // pki/ca.crt, if it is there and hinders kubeadm join
	Configured   bool     // a kubelet's configuration is here, as kubeadm writes it
	Written      []string // those of all these that a join which never got to a certificate has written here, by its journal
	Losses       []string // this machine's own files that kubeadm reset would delete
}

// Machine is what else is at work here.
type Machine struct {
	Mounts  []string // of fstab, at or around the kubelet's files, that are not there yet
	Kubeadm string   // somebody else's kubeadm that is at work
	Pods    int      // that live here
	Naming  bool     // cloud-init is at work, and may yet call it by another name

	CloudInit CloudInit // also where the rest is not known
}

// State of the kubelet's credentials.
type State int

// The states. Files that cannot be read make the whole fact not known.
const (
	NotThere      State = iota // no kubeconfig, or none of the certificate that it names
	Unusable                   // torn: no kubelet could use them
	NotUnderstood              // a kubelet may be able to use them, this program is not
	Loaded
)

// Credentials are the kubelet's own, as it reads them itself.
type Credentials struct {
	State    State
	Path     string // of the kubeconfig
	NodeName string // whose they are; "" if that cannot be told
	Server   string
	NotAfter time.Time
	CA       []string // public-key pins; of the CA by which the kubelet knows its API server, where they do not load
	OtherCA  string   // why they are another cluster's; "" if nothing says so
	Problem  error    // why they are not Loaded
}

// Kubelet is the kubelet as it runs, and its service.
type Kubelet struct {
	NoInit, Missing, Masked bool
	Running                 bool // a kubelet's process runs, whoever started it
	Stray                   bool // and it is not the service's
	Suspended               bool // by a signal or a freezer, so that it does nothing
	Failed                  bool // the service has failed, or its process ends again and again
	Starting                bool // the init system is about to start it
	PID                     int
	Since                   time.Time // its process runs
	Exits                   int       // how often the init system has started it again by itself; -1: not known
	State                   string    // the init system's own words
	Blocked                 string    // the unit after which it is to start, and which waits for this run to end
	NodeName                string    // by its arguments; "": they name none
	Name                    string    // under which it registers, or would; "": not known
	Arguments               string    // that tell whose it is, for a person
	Fatal                   string    // the words with which it last refused to run,
	Remedy                  string    // what to do about them,
	Passes                  bool      // that it is time that cures it,
	Shown                   bool      // that this machine is as they say, so that once is enough
	Unregistered            string    // why it cannot register, in its own words
	Unread                  bool      // its log, so that why it cannot register is not known
	Healthy                 bool      // it says so itself; asked only where its Node is gone
}

// Answer is what an API server said of a Node.
type Answer int

// The answers, from no evidence at all to the strongest.
const (
	Silent Answer = iota
	Unauthorized
	Forbidden
	Absent
	Present
)

// Sighting is one answer about one Node.
type Sighting struct {
	Answer     Answer
	Node       Node
	Err        error
	RetryAfter time.Duration // for which the server asks to be left alone
}

// Node is what counts of a Node object.
type Node struct {
	Name, UID                     string
	BootID, MachineID, SystemUUID string
	Ready                         string // status of the condition; "" while there is none
	ReadyWords                    string
	Heartbeat                     time.Time
	DeletedAt                     time.Time // its deletionTimestamp
	Finalizers                    []string
	Uninitialized                 bool
	Mark                          string // of its owner's will, for which it is not to come back once it is deleted
}

// Verdict is how far one look at the cluster with the token came.
type Verdict int

// The verdicts, in the order in which a starting control plane passes them.
const (
	Unreachable Verdict = iota
	NotServed
	Unsigned
	BadSignature
	WrongCA
	Rejected
	Proven
)

// Cluster is what a look at the cluster with the token found.
type Cluster struct {
	Verdict  Verdict
	Err      error
	Answered bool // though unreachable, something answered
	// Algorithm: the trusted CA is of an algorithm that this program does not know.
	Algorithm bool
	Hint      string // why it may be silent
	Server    string
	CA        []string // public-key pins, proven
	Node      Sighting // of the Node that we are to be
	Pinned    bool     // the CA matches a pin and the server's certificate chains to it
	Signers   int      // signatures of other tokens
	Old       bool     // Node was said some seconds ago
	Ahead     time.Duration
	Bearer    bool      // there is a token for a kubelet to bootstrap with
	NextAt    time.Time // not to be asked again before

	NoToken error // the source gave none; nothing was asked
	Usage   bool  // and it never will
	Lost    bool  // nor is there a cluster to ask: the file that names it is gone
}

// Request is our certificate request; the zero value means that there is none.
type Request struct {
	Name, NodeName  string
	Pending, Denied bool
	Own             bool   // made with the key that the kubelet has now
	Denial          string // the sentence about the newest denied one
	Approves        bool   // the cluster approves what our token asks for
}

// Joining is a kubeadm join of this run.
type Joining struct {
	Running bool
	Back    bool    // the last one has come back,
	Err     error   // and how
	Hint    string  // what a person can do about it
	End     *Action // the run's end, if that is what Err means
}

// Policy is what the user wants and what does not change during a run.
type Policy struct {
	Reset        ResetMode
	Until        Level
	Hold         time.Duration
	MaxDeletions int
	Restore      bool // a deleted Node is put back as it was
	Named        bool // the user gave our Node's name
	TokenFixed   bool // its source has no other one
	AsksEndpoint bool // nothing but the endpoint's own certificate tells whose the credentials are

	BootID, MachineID, SystemUUID string
	Endpoint                      string // as a person knows it
}

// ResetMode says when kubeadm reset may run.
type ResetMode string

// The modes.
const (
	ResetAuto   ResetMode = "auto"
	ResetNever  ResetMode = "never"
	ResetAlways ResetMode = "always"
)

// Level is how far a Node must be.
type Level string

// The levels.
const (
	Registered  Level = "registered"
	Initialized Level = "initialized"
	Ready       Level = "ready"
)

// SharesKey reports whether two lists of public-key pins have one in common.
func SharesKey(a, b []string) bool {
	return slices.ContainsFunc(a, func(pin string) bool { return slices.Contains(b, pin) })
}

// Fitness of the programs that a join needs.
type Fitness struct {
	End *Action // the run's end, if a person must mend them
}

// Named is the outcome of one try to find out our Node's name.
type Named struct {
	Name string
	Wait *Action // what has to come first
	End  *Action // the run's end: it cannot have one
}
