package judge

import (
	"fmt"
	"time"
)

// Left is our Node that was deleted in this boot and had the mark of its owner's
// will: an earlier run has seen that. The zero value means that there is none.
type Left struct {
	Node string
	Mark string
	At   time.Time
}

// leaves: unless somebody has brought that Node back since, nothing is done that
// would. Who cannot tell whether there is one is as gentle.
func (v *view) leaves(next Action) (Action, bool) {
	l, name := v.f.Left, v.nodeName()
	named := l.Value.Mark != "" && (name == "" || name == l.Value.Node)
	looked := v.unasked(Kubeconfig) == 0 && v.f.Credentials.Err == nil
	switch {
	case l.Err == nil && !named, next.Kind == End, v.m.Is == Member, v.m.Is == Dead:
		return pass()
	case !next.Kind.Acts() && v.m.Is != Gone && (!looked || v.state() >= NotUnderstood && !v.forced()): // it may be there again
		return pass()
	case l.Err != nil:
		return end(Refusal, "whether this machine's Node was deleted by its owner's will is not known, so it is not brought back",
			"if it shall be, run nodejoin with --bring-back, which takes that file away", l.Err)
	}
	return end(Refusal, fmt.Sprintf("Node %q was missed at %s, and had the mark of its owner's will: %s. It is not brought back before the next boot",
		l.Value.Node, l.Value.At.UTC().Format(time.RFC3339), l.Value.Mark), "if it shall be, run nodejoin with --bring-back", nil)
}
