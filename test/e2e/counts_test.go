package e2e

import "fmt"

// What counts takes in the place of a number.
const (
	anyNumber = -1
	some      = -2 // one or more
	atMostOne = -3
)

// returned states, before counts checks it, how often the Node was put back as it was; without it, never.
func (e ended) returned(times int) ended {
	e.back = times
	return e
}

// bootstrapped states, before counts checks it, how often the kubelet was had bootstrap again in place; without it, never.
func (e ended) bootstrapped(times int) ended {
	e.anew = times
	return e
}

// counts checks what was done.
func (e ended) counts(joins, resets, restarts, deletions int) ended {
	e.s.Helper()
	c := e.report.Counts
	for what, n := range map[string][2]int{
		"joins": {c.Joins, joins}, "resets": {c.Resets, resets}, "kubelet restarts": {c.KubeletRestarts, restarts}, "deletions": {c.Deletions, deletions},
		"returns": {c.NodesPutBack, e.back}, "new certificates": {c.Bootstraps, e.anew},
	} {
		if !isCount(n[0], n[1]) {
			e.s.Errorf("%d %s, wanted %s", n[0], what, countWords(n[1]))
		}
	}
	e.counted = true
	if e.wanted != "" {
		e.s.Attr("outcome", fmt.Sprintf("%s %d %d %d %d %d %d", e.wanted, joins, resets, restarts, deletions, e.back, e.anew))
	}
	return e.isStated()
}

func isCount(is, wanted int) bool {
	switch wanted {
	case anyNumber:
		return true
	case some:
		return is > 0
	case atMostOne:
		return is <= 1
	}
	return is == wanted
}

func countWords(wanted int) string {
	switch wanted {
	case some:
		return "some"
	case atMostOne:
		return "at most 1"
	}
	return fmt.Sprint(wanted)
}
