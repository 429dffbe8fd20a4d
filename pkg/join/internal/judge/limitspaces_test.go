//go:build !race

package judge

// limitSpaces are those in which a row's action is not what is done.
var limitSpaces = []*space{
	{"a Node that was left to its owner", "whatever would bring it back is not done", map[axis][][]int{byLeft: each(byLeft), byCreds: each(byCreds), bySight: each(bySight),
		byReset: each(byReset), byName: each(byName), byRestart: each(byRestart)}, decidedBy(leftLimit)},
	{"an unfit machine that cloud-init may yet mend", "it is waited for", unfitFor, func(r *judged) bool { return decidedBy(firstBootLimit)(r) && r.a.Kind == Wait }},
	{"a machine that kubeadm found unfit, and cloud-init may yet mend", "it is tried again", unfitFor, func(r *judged) bool { return decidedBy(firstBootLimit)(r) && r.a.Kind == BackOff }},
}

var unfitFor = map[axis][][]int{byFirstBoot: each(byFirstBoot), byPrograms: each(byPrograms), byKubelet: each(byKubelet), byCreds: each(byCreds),
	byJoin: each(byJoin)}
