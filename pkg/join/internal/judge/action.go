package judge

import "time"

// Kind of an action.
type Kind int

// The kinds. Only those from PutBack to Join change something.
const (
	Wait           Kind = iota // for news, while Ask is asked
	PutBack                    // our deleted Node, as it was
	Bootstrap                  // the kubelet gets another certificate, in place
	RestartKubelet             // a kubelet registers once in its life
	StopKubelet                // so that what is found out before a reset stays so
	StartKubelet               // for the reset that it was stopped for is not due any more
	Tidy                       // what a join that never got to a certificate has left
	Reset                      // kubeadm reset
	Join                       // kubeadm join
	BackOff                    // the attempt has failed
	End                        // the run is over
)

// Acts reports whether actions of this kind change the machine, or its Node.
func (k Kind) Acts() bool { return k >= PutBack && k <= Join }

// Phase is where a run is.
type Phase string

// The phases, in the order of an attempt.
const (
	Look     Phase = "look"
	Discover Phase = "discover"
	Resets   Phase = "reset"
	Joins    Phase = "join"
	Verify   Phase = "verify"
	Hold     Phase = "hold"
	Backs    Phase = "backoff"
)

// Reason says in one word how a run ends, or would end if time were up.
type Reason string

// The reasons that the judge gives.
const (
	Held              Reason = "Held" // a success
	Usage             Reason = "Usage"
	HostUnfit         Reason = "HostUnfit"
	WrongCluster      Reason = "WrongCluster"
	TokenRejected     Reason = "TokenRejected"
	NoAnswer          Reason = "Unreachable"
	JoinFailed        Reason = "JoinFailed"
	KeepsBeingDeleted Reason = "KeepsBeingDeleted"
	NameTaken         Reason = "NameTaken"
	Refusal           Reason = "Refused"
)

// Action is the one next thing to do.
type Action struct {
	Kind  Kind
	Phase Phase // "": the run stays where it is

	Ask   Topic     // of a Wait: what to find out
	Until time.Time // when to judge again at the latest; zero: with the next tick
	Quiet bool      // there is nothing to tell

	// What is in the way, why the run ends or the attempt failed, why it is done.
	Reason  Reason
	Message string
	Hint    string
	Err     error

	Mark    string    // of an end: of its owner's will, for which our Node is left
	Ready   bool      // of a PutBack: the kubelet runs and is healthy, so that the Node may be as Ready as it was
	Ground  Ground    // of a reset and of what leads to it
	Limit   time.Time // when the phase is over at the latest; zero: it has no limit of its own
	Because Topic     // the facts on which an act rests
}

// Ground is what allows a reset of a machine whose kubelet has credentials.
type Ground int

// The grounds.
const (
	None           Ground = iota
	NoCredentials         // nothing here could be a member's
	StaysAway             // the Node stays away from a kubelet that was restarted and runs
	RefusesKubelet        // the API server refuses the kubelet, whose certificate is useless
	Clone                 // the credentials came with an image of another machine
	Asked                 // --reset=always
)
