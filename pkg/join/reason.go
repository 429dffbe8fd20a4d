package join

import "fmt"

// Reason says in one word how a run ended.
type Reason string

// The reasons. Each has one exit status in the command.
const (
	Joined        Reason = "Joined"        // a member now, by kubeadm join
	Recovered     Reason = "Recovered"     // a member, after a deletion or a kubelet restart
	AlreadyJoined Reason = "AlreadyJoined" // was a member; nothing was touched
	WouldJoin     Reason = "WouldJoin"     // Config.DryRun: nothing stands in the way

	Internal          Reason = "Internal"          // a bug or an unforeseen error
	Usage             Reason = "Usage"             // flags, config file or token are malformed
	HostUnfit         Reason = "HostUnfit"         // a person must mend this host
	WrongCluster      Reason = "WrongCluster"      // CA pin or signature does not match
	TokenRejected     Reason = "TokenRejected"     // the API server refuses the token, or its source has none
	Unreachable       Reason = "Unreachable"       // no useful answer by the deadline
	JoinFailed        Reason = "JoinFailed"        // the server answered, the join never held
	KeepsBeingDeleted Reason = "KeepsBeingDeleted" // the cluster deletes this Node again and again
	NameTaken         Reason = "NameTaken"         // another live machine holds the name
	Refused           Reason = "Refused"           // it would destroy something, or bring back what its owner wants gone
	Locked            Reason = "Locked"            // another nodejoin is at work
	Interrupted       Reason = "Interrupted"       // the context was cancelled: a signal

	NotMember Reason = "NotMember" // Check: proven not to be a member
	Unknown   Reason = "Unknown"   // Check: no evidence either way
)

// Error ends a run. Retrying without a change by a person, or by time, would
// not help; everything else is retried inside and never leaves the package.
type Error struct {
	Reason  Reason
	Message string // what happened and what it means, in one line
	Hint    string // what to do next, in one line; may be empty
	Err     error  // the cause; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return fmt.Sprintf("%s: %v", e.Message, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }
