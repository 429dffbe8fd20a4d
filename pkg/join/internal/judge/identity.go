package judge

import (
	"fmt"
	"time"
)

// Heartbeat is what is known of the life of a Node that is not ours.
type Heartbeat struct {
	UID   string
	Since time.Time // seen without a silence
	First time.Time // heartbeat then
	Moved bool      // it was seen to move since
}

func (h Heartbeat) take(n Node, at time.Time) Heartbeat {
	if h.UID != n.UID || h.Since.IsZero() {
		return Heartbeat{UID: n.UID, Since: at, First: n.Heartbeat}
	}
	h.Moved = h.Moved || n.Heartbeat.After(h.First)
	return h
}

func conditionOf(p Policy, s Sighting) Condition {
	switch s.Answer {
	case Present:
		switch {
		case !p.Ours(s.Node):
			return Foreign
		case s.Node.Ready == "Unknown":
			return Dead
		}
		return Member
	case Absent:
		return Gone
	case Unauthorized:
		return Refused
	}
	return Mute
}

// Ours reports whether a Node is this machine's, of this boot: an empty value matches nothing. Containers of one host share its boot ID,
// and only their machine IDs tell them apart.
func (p Policy) Ours(n Node) bool {
	return p.BootID != "" && n.BootID == p.BootID && (n.MachineID == "" || p.MachineID == "" || sameID(n.MachineID, p.MachineID))
}

// ofMachine reports whether a Node is this machine's, of whichever boot: an empty
// value matches nothing, but for a firmware without a UUID.
func (p Policy) ofMachine(n Node) bool {
	return p.MachineID != "" && sameID(n.MachineID, p.MachineID) && (p.SystemUUID == "" || n.SystemUUID == "" || sameID(n.SystemUUID, p.SystemUUID))
}

// another reports whether a Node is another machine's for sure. The firmware's
// UUID tells machines apart, and the machine ID where there is none or where
// both run under one kernel.
func (p Policy) another(n Node) bool {
	switch {
	case p.BootID != "" && n.BootID == p.BootID:
		return !p.Ours(n)
	case p.SystemUUID != "" && n.SystemUUID != "":
		return !sameID(p.SystemUUID, n.SystemUUID)
	}
	return p.MachineID != "" && n.MachineID != "" && !sameID(p.MachineID, n.MachineID)
}

// renamed: a kubelet that is started goes by the host's name, and its credentials are for one that this machine had before. The
// name may be late, as at a boot; OpenRC does not tell with which arguments it would start one. Those of another machine came with an image, which is for other rows.
func (v *view) renamed() (Action, bool) {
	k, own := v.f.Kubelet.Value, v.f.Credentials.Value.NodeName
	name := k.Name
	if v.state() != Loaded || name == "" || name == own || !k.Running && k.Exits < 0 || v.m.Is == Foreign && v.p.another(v.sight().Node) {
		return pass()
	}
	message := fmt.Sprintf("the kubelet's credentials are those of Node %q, and started now it would be Node %q, as this machine is called: it could not register", own, name)
	hint := fmt.Sprintf("call this machine %q again (`hostnamectl set-hostname`), or drain it, delete that Node, and run nodejoin with --reset=always to join it under the new name", own)
	if v.m.lasting(v.m.Since, v.now) < StatusPatience || v.f.Machine.Value.Naming {
		return v.wait(Verify, JoinFailed, message, hint, nil).asking(v, Unit|Company, ProbeSilent), true
	}
	return end(HostUnfit, message, hint, nil)
}

// lacks says what the Node lacks for the wanted level.
func (p Policy) lacks(n Node) string {
	switch {
	case p.Until != Registered && n.Uninitialized:
		return "no cloud controller has accepted it yet (taint node.cloudprovider.kubernetes.io/uninitialized)"
	case p.Until == Ready && n.Ready != "True":
		return "not Ready: " + n.ReadyWords
	}
	return ""
}
