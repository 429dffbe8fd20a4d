package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Kept is a Node and its CSINode as last seen: whole objects, which whoever is
// given them does not change. It can be written as JSON and read again.
type Kept struct {
	Node    *corev1.Node    `json:"node"`
	CSINode json.RawMessage `json:"csiNode,omitempty"` // nil: it had none, or none was seen
	SeenAt  time.Time       `json:"seenAt"`            // when the API server last confirmed the Node

	// GoneAt is when an event of an unbroken watch told the Node's deletion;
	// zero: it was not told so.
	GoneAt time.Time `json:"goneAt,omitzero"`
	// Unanswered: since GoneAt a question got no useful answer. Whoever was not
	// told how [Client.PutBack] ended sets it, too.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Last is what nodejoin wants to know of the Node, as it was last.
func (k Kept) Last() Node {
	if k.Node == nil {
		return Node{}
	}
	return nodeOf(k.Node)
}

// within reports whether the deletion was told at most d ago. A clock that was
// set back meanwhile proves nothing.
func (k Kept) within(d time.Duration) bool {
	age := time.Since(k.GoneAt)
	return age >= 0 && age <= d
}

// keeper remembers what one watch saw.
type keeper struct {
	mu   sync.Mutex
	kept Kept
	into func(Kept)
	news chan struct{}

	csiOwner string    // UID of the Node for which the CSINode was read last
	noneAt   time.Time // when a CSINode that is known was found missing
}

func newKeeper() *keeper { return &keeper{news: make(chan struct{}, 1)} }

// Kept returns the Node as [Client.Watch] saw it last, and its CSINode; before
// that the zero value. It is safe for concurrent use.
func (c *Client) Kept() Kept {
	c.keeper.mu.Lock()
	defer c.keeper.mu.Unlock()
	return c.keeper.kept
}

// KeepInto has into called with what is kept whenever [Client.Watch] has renewed
// it, at least every 10 s while the Node is there, one call at a time and none
// after the watch's channel is closed. It is to be set before Watch is called.
func (c *Client) KeepInto(into func(Kept)) {
	c.keeper.mu.Lock()
	defer c.keeper.mu.Unlock()
	c.keeper.into = into
}

// tell calls into, apart from the watch: a file that is slow does not delay a sighting.
func (k *keeper) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.news:
		}
		k.mu.Lock()
		kept, into := k.kept, k.into
		k.mu.Unlock()
		if into != nil {
			into(kept)
		}
	}
}

func (k *keeper) renew(change func(*Kept)) {
	k.mu.Lock()
	change(&k.kept)
	k.mu.Unlock()
	select {
	case k.news <- struct{}{}:
	default: // it will be called with this, too
	}
}

func (k *keeper) present(node *corev1.Node, at time.Time) {
	k.renew(func(kept *Kept) {
		if kept.Node != nil && kept.Node.Status.NodeInfo.BootID != node.Status.NodeInfo.BootID {
			kept.CSINode = nil // another machine's, or from before a boot
		}
		kept.Node, kept.GoneAt, kept.Unanswered = node, time.Time{}, false
		if at.After(kept.SeenAt) {
			kept.SeenAt = at
		}
	})
}

// deleted is for the object of a deletion's event, which is the Node's last state.
func (k *keeper) deleted(node *corev1.Node, at time.Time) {
	k.renew(func(kept *Kept) {
		if kept.Node == nil || kept.Node.UID != node.UID || !kept.GoneAt.IsZero() {
			return // late news of a Node before this one
		}
		kept.Node, kept.GoneAt = node, at
	})
}

func (k *keeper) unanswered() {
	if gone := !k.current().GoneAt.IsZero(); gone {
		k.renew(func(kept *Kept) { kept.Unanswered = true })
	}
}

func (k *keeper) current() Kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept
}
