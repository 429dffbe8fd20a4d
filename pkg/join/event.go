package join

import "time"

// Phase is where a run is.
type Phase string

// The phases, in the order of an attempt.
const (
	Look     Phase = "look"     // asking with the kubelet's credentials
	Discover Phase = "discover" // finding and proving the cluster
	Reset    Phase = "reset"    // kubeadm reset
	Join     Phase = "join"     // kubeadm join
	Verify   Phase = "verify"   // waiting for our own Node
	Hold     Phase = "hold"     // seeing that it stays
	Backoff  Phase = "backoff"  // between attempts
	Done     Phase = "done"
)

// Severity of an event.
type Severity int

// The severities. Detail is for kubeadm's own output and the like.
const (
	Detail Severity = iota
	Info
	Warning
)

// Event is one transition. A wait that goes on sends its event again, ever
// more seldom, with Repeat set.
type Event struct {
	Time     time.Time
	Phase    Phase
	Since    time.Time // when the phase began
	Until    time.Time // when what goes on now is over at the latest; zero: there is no limit
	Wait     bool      // something is waited for
	Severity Severity
	Message  string // one line, free of secrets
	Hint     string // what a person can do about it; often empty
	Repeat   bool
	Report   Report // as of now; a copy, the receiver's to keep. Empty for Detail
}
