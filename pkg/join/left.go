package join

import (
	"fmt"
	"time"

	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// seeLeft reads whether an earlier run of this boot has left our Node to its
// owner. The user's word goes above that.
func (r *run) seeLeft() {
	left, err := r.w.ReadLeft(r.policy.BootID)
	r.facts.Left = judge.Fact[judge.Left]{Value: judge.Left{Node: left.Name, Mark: left.Mark, At: left.At}, Err: err, At: time.Now()}
	switch {
	case !r.isLeft():
	case !r.BringBack && err != nil:
		r.tell.warn(err.Error())
	case r.BringBack && err != nil:
		r.forgetLeft("what it says is not known, and is not minded: --bring-back")
	case r.BringBack:
		r.forgetLeft(fmt.Sprintf("Node %q, which had the mark of its owner's will (%s), is brought back: --bring-back", left.Name, left.Mark))
	}
}

// isLeft: one was, or nobody can tell.
func (r *run) isLeft() bool { return r.facts.Left.Err != nil || r.facts.Left.Value.Mark != "" }

// thereAgain: somebody has brought it back.
func (r *run) thereAgain() {
	is := r.memory.Is == judge.Member || r.memory.Is == judge.Dead
	if name := r.credentialsNode(); is && r.isLeft() && (r.facts.Left.Err != nil || name == r.facts.Left.Value.Node) {
		r.forgetLeft(fmt.Sprintf("Node %q was left to its owner, and is there again", name))
	}
}

func (r *run) forgetLeft(why string) {
	r.facts.Left = judge.Fact[judge.Left]{At: time.Now()}
	if r.tell.say(Info, why, ""); r.DryRun {
		return
	}
	if err := r.w.RemoveLeft(); err != nil {
		r.tell.warn(fmt.Sprintf("the next run may refuse to bring this machine's Node back: %v", err))
	}
}

// leaveToOwner tells the next runs of this boot, which did not see what this one
// has seen. The service starts one 30 s later.
func (r *run) leaveToOwner(mark string) {
	if mark == "" || r.DryRun {
		return
	}
	err := r.w.WriteLeft(host.Left{Name: r.credentialsNode(), UID: r.memory.Deleted[0], BootID: r.policy.BootID, Mark: mark, At: r.memory.DeletedAt.UTC().Truncate(time.Second)})
	if err != nil {
		r.tell.warn(fmt.Sprintf("the next run of nodejoin brings the Node back, for it cannot be told of this (`systemctl stop nodejoin` keeps the service from it): %v", err))
	}
}

// checkLeft adds to a check what was left.
func (r *run) checkLeft() *Left {
	left, err := r.w.ReadLeft(r.policy.BootID)
	switch {
	case err != nil:
		r.unseen("whether this machine's Node was left to its owner", err)
	case left.Mark != "":
		return &Left{left.Name, left.UID, left.Mark, left.At}
	}
	return nil
}
