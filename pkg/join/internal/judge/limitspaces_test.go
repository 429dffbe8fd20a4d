//go:build !race

package judge

// limitSpaces are those in which a row's action is not what is done.
var limitSpaces = []*space{
	{"a Node that was left to its owner", "whatever would bring it back is not done", map[axis][][]int{byLeft: each(byLeft), byCreds: each(byCreds), bySight: each(bySight),
		byReset: each(byReset), byName: each(byName), byRestart: each(byRestart)}, decidedBy(leftLimit)},
}
