//go:build !race

package judge

import (
	"maps"
	"slices"
)

// understoodWithToken are the same spaces where the credentials are not
// understood, so that the token is all that sees the Node.
func understoodWithToken() (found []*space) {
	for _, s := range nodeSpaces {
		if s.name == putBackSpace || s.name == expiredSpace || s.name == expiredGoneSpace {
			continue
		}
		of := maps.Clone(s.of)
		of[byCreds] = each(byCreds, "not understood")
		of[byCluster] = led(byCluster, "no Node")
		of[byPrograms] = led(byPrograms, "fit")
		of[byJoin] = led(byJoin, "none")
		of[byFailed] = each(byFailed)
		for a, classes := range map[axis][][]int{
			byName: same(byName, "self", "self, asked for"), byMachine: led(byMachine, "no pod"), byKubelet: led(byKubelet, "runs for an hour"),
			byReset: same(byReset, "auto", "never", "always, done"),
		} {
			if of[a] == nil {
				of[a] = classes
			}
		}
		switch {
		case of[byPause] != nil:
			of[byFresh] = coarse(append(here, TokensNode)...)
		case of[byFresh] != nil:
			of[byFresh] = apart(agesOf(Unit, TokensNode, Naming), dated(Renewal, never)...)
		default:
			of[byFresh] = led(byFresh, "all fresh")
		}
		only := s.only
		found = append(found, &space{s.name + ", as the token sees it", s.why, of, func(r *judged) bool { return r.by == notUnderstoodRow && only(r) }})
	}
	return append(found, &space{"credentials not understood, of another name", "whose they are is a guess", map[axis][][]int{
		byCreds: each(byCreds, "not understood"), byName: each(byName), bySight: each(bySight), byReset: each(byReset), byCluster: led(byCluster, "no Node"),
		byMachine: led(byMachine, "no pod"), byKubelet: led(byKubelet, "runs for an hour"), byPrograms: led(byPrograms, "fit"), byJoin: led(byJoin, "none"),
		byFailed: each(byFailed), byFresh: led(byFresh, "all fresh"),
	}, func(r *judged) bool { return r.by == notUnderstoodRow && r.guessed() }})
}

// entries to the rows that lead to a join: by --reset=always, without
// credentials that load, and with a ground for a reset.
func far(name, why string, n int, of map[axis][][]int) []*space {
	forced, bare, ground := maps.Clone(of), maps.Clone(of), maps.Clone(of)
	fill := func(of map[axis][][]int, a axis, classes [][]int) {
		if of[a] == nil {
			of[a] = classes
		}
	}
	for _, of := range []map[axis][][]int{forced, bare, ground} {
		fill(of, byDisk, led(byDisk, "leftovers"))
		fill(of, byMachine, led(byMachine, "no pod"))
		fill(of, byKubelet, led(byKubelet, "stopped"))
		fill(of, byPrograms, led(byPrograms, "fit"))
		fill(of, byName, led(byName, "self"))
		fill(of, byCluster, led(byCluster, "no Node"))
		fill(of, byRequest, led(byRequest, "none"))
	}
	forced[byReset] = each(byReset, "always, due")
	fill(forced, byCreds, join(same(byCreds, "not there", "not known", "lost on the cluster's machine"), same(byCreds, "unusable", "not understood", "torn on the cluster's machine"), same(byCreds, "loaded", "expired", "another cluster's"), each(byCreds, "of another CA")))
	fill(bare, byReset, each(byReset, "auto", "never", "always, done"))
	fill(bare, byCreds, join(same(byCreds, "not there", "lost on the cluster's machine"), same(byCreds, "unusable", "torn on the cluster's machine"), each(byCreds, "not understood")))
	fill(bare, byJoined, same(byJoined))
	ground[byReset] = each(byReset, "auto", "never", "always, done")
	ground[byCreds] = join(same(byCreds, "expired", "loaded", "another cluster's"), each(byCreds, "of another CA"))
	delete(ground, byRequest) // the kubelet has a certificate
	if n == resetRow {
		bare[byStopped], bare[byMachine] = each(byStopped), each(byMachine) // credentials that went meanwhile were in its memory
		ground[byKubelet] = kubeletsInTheWay
		ground[byDisk] = join(same(byDisk, "clean", "leftovers", "configured", "an unfinished join", "an unfinished join, configured", "an unfinished join beside somebody's CA", "the cluster's own CA", "another CA",
			"another CA of an unfinished join", "a bootstrap file"), same(byDisk, "admin.conf", "leftovers and admin.conf", "an unfinished join, admin.conf"), same(byDisk, "leftovers and losses", "an unfinished join, losses"))
	}
	ground[bySight] = join(each(bySight, "404"), same(bySight, "401"), each(bySight, "the image's"), each(bySight, "the image's, alive"),
		same(bySight, "the image's, dead", "of one kernel with ours"))
	ground[byStopped] = each(byStopped)
	ground[bySince], ground[byRestart], ground[byHeard] = led(bySince, "2 h"), led(byRestart, "5 min"), led(byHeard, "throughout")
	ground[byTaken], ground[byDoubt], ground[byDeletions] = led(byTaken, "91 s, silent for 16 s"), led(byDoubt, "none"), led(byDeletions, "none")
	renamed := maps.Clone(ground)
	renamed[byName] = each(byName, "another, asked for")
	renamed[bySight] = join(each(bySight, "another's", "another's, alive", "another's, dead", "without a boot ID"), same(bySight, "of an earlier boot", "of an earlier boot, dead"))
	if n != resetRow { // which ground it is does not matter yet, but whether its Node has our name
		ground[byStopped] = led(byStopped, "2 s for a clone")
		renamed[byStopped] = ground[byStopped]
		ground[bySight] = join(same(bySight, "404", "401"), same(bySight, "the image's", "the image's, alive", "the image's, dead", "of one kernel with ours"))
		renamed[bySight] = [][]int{slices.Concat(renamed[bySight]...)}
	}
	return []*space{
		{name + ", by the user's word", why, forced, func(r *judged) bool { return r.forcedReset() && groundless(n)(r) }},
		{name + ", without credentials", why, bare, groundless(n)},
		{name + ", with a ground", why, ground, grounded(n)},
		{name + ", with a ground, under a new name", why, renamed, grounded(n)},
	}
}

// acting are spaces that may end with an act, for which kubeadm and the kubelet
// must have been looked at since the last failure.
func acting(spaces []*space) []*space {
	for _, s := range slices.Clone(spaces) {
		of, only := maps.Clone(s.of), s.only
		of[byFresh], of[byFailed] = [][]int{dated(Programs, slow)}, each(byFailed, "one, and its pause is over")
		s.only = func(r *judged) bool { return !r.outdated() && only(r) }
		spaces = append(spaces, &space{s.name + ", after a failure", s.why, of, func(r *judged) bool { return r.outdated() && only(r) }})
	}
	return spaces
}

// outdated: kubeadm and the kubelet were looked at before the last failure.
func (r *row) outdated() bool {
	return !r.f.Programs.At.IsZero() && r.f.Programs.Asked.Before(r.m.FailedAt)
}

var farSpaces = func() (found []*space) {
	for _, s := range [][]*space{
		far("kubeadm at work", "it has the machine", kubeadmRow, map[axis][][]int{byJoin: each(byJoin), byFailed: each(byFailed), byKubelet: each(byKubelet), byFresh: agesOf(Unit)})[:2],
		far("a pause", "nothing is done in it", backOffRow, map[axis][][]int{byJoin: led(byJoin, "none"), byFailed: each(byFailed, "one just now")}),
		far("company", "nothing is done beside it", companyRow, map[axis][][]int{byMachine: each(byMachine), byFresh: agesOf(Company)}),
		far("programs", "without them no join is of use", programsRow, map[axis][][]int{byKubelet: each(byKubelet), byPrograms: each(byPrograms), byFresh: agesOf(Programs, Unit)}),
		far("a name", "without it nothing can be asked", nameRow, map[axis][][]int{byName: each(byName), byFresh: agesOf(Naming)})[:3],
		far("the cluster", "nothing is done before it is proven", clusterRow, map[axis][][]int{byCluster: each(byCluster), byNext: each(byNext), byPrograms: each(byPrograms),
			byFailed: each(byFailed), byFresh: agesOf(Token, Programs), byDisk: led(byDisk, "clean")}),
		far("a certificate request", "what follows would throw it away", requestRow, map[axis][][]int{byDisk: disks, byKubelet: each(byKubelet), byRequest: told,
			byFresh: agesOf(Certificate)})[1:2],
		far("lost credentials", "the kubelet may bootstrap again", lostCredentialsRow, map[axis][][]int{byDisk: same(byDisk, "configured", "an unfinished join, configured"), byKubelet: each(byKubelet), byRequest: told, byTaken: each(byTaken),
			byMachine: alone, byReturn: join([][]int{but(byReturn, "bootstraps for 59 s", "bootstraps for 60 s")}, each(byReturn, "bootstraps for 59 s", "bootstraps for 60 s")), byCluster: slices.DeleteFunc(slices.Clone(provens), func(class []int) bool { return class[0] == noNode }), byFresh: coarse(append(here, Token, Certificate)...)})[1:2],
		far("lost credentials and no Node", "the kubelet may bootstrap again, as a new one", lostCredentialsRow, map[axis][][]int{
			byCreds: join(each(byCreds, "lost on the cluster's machine", "torn on the cluster's machine"), same(byCreds, "not there", "unusable", "not understood")), byDisk: each(byDisk, "configured", "an unfinished join, configured"),
			byKubelet: named, byRequest: told, byName: join(same(byName, "self", "self, asked for"), same(byName, "another, asked for", "not known")), byDoubt: spent, byReset: same(byReset, "auto", "never", "always, done"),
			byReturn: join([][]int{but(byReturn, "bootstraps for 59 s", "bootstraps for 60 s")}, each(byReturn, "bootstraps for 59 s", "bootstraps for 60 s")), byCluster: {{noNode}}, byFresh: coarse(append(here, Token, Certificate)...)})[1:2],
		far("a kubelet that runs", "its Node is looked for", runningKubeletRow, map[axis][][]int{byDisk: disks, byKubelet: each(byKubelet), byJoined: each(byJoined), byMachine: each(byMachine, "no pod", "pods"),
			byCluster: provens, bySight: tokenSights, byFresh: coarse(append(here, Token, Certificate, TokensNode)...),
		})[1:2],
		far("a Node of our name", "it has to go first", nodeOfOurNameRow, map[axis][][]int{byDisk: disks, byCluster: provens, byNext: each(byNext), byFresh: agesOf(Token)}),
		acting(far("a reset", "all that it rests on is looked at", resetRow, map[axis][][]int{byDisk: disksToReset, byKubelet: kubeletsToReset, byRequest: told, byPrograms: join(each(byPrograms, "not known"), same(byPrograms, "fit", "unfit")),
			byLease: each(byLease), byJoined: same(byJoined), byFresh: coarse(append(here, Token, Certificate, OwnNode, TokensNode, Programs)...)})),
		acting(far("a join", "all that it rests on is looked at", joinRow, map[axis][][]int{byDisk: each(byDisk), byKubelet: each(byKubelet), byRequest: told, byPrograms: each(byPrograms),
			byCluster: provens, byFresh: coarse(append(here, Token, Programs)...)})[1:2]),
	} {
		found = append(found, s...)
	}
	for _, s := range found { // who is asked does not matter where nothing rests on it
		if s.of[byFresh] == nil {
			s.of[byFresh] = led(byFresh, "all fresh")
		}
	}
	return found
}()

var (
	alive       = []string{"ours", "ours, not ready", "ours, uninitialized", "ours, leaving", "404, and late news of the one before"}
	tokenSights = join(same(bySight, "silence", "not heard", "403", "401"), same(bySight, "404"), same(bySight, alive...),
		each(bySight, "without a boot ID"), [][]int{but(bySight, append(alive, "without a boot ID", "silence", "not heard", "403", "401", "404")...)})
	disksToReset = join(each(byDisk, "not known", "control plane", "clean", "admin.conf", "leftovers and losses", "the cluster's own CA", "a bootstrap file"),
		same(byDisk, "leftovers", "configured", "another CA", "an unfinished join beside somebody's CA"), same(byDisk, "leftovers and admin.conf", "an unfinished join, admin.conf"),
		same(byDisk, "an unfinished join", "an unfinished join, configured", "an unfinished join, losses", "another CA of an unfinished join"))
	kubeletsToReset = join(same(byKubelet, "failed", "doomed"), each(byKubelet, "stopped", "starting", "in a crash loop", "steady after a crash loop", "runs for 1 s", "runs astray"), same(byKubelet, "runs for an hour", "runs and is healthy"),
		each(byKubelet, "runs for 59 s", "runs under another name"), each(byKubelet, "swap is on", "cannot register", "is suspended"))
	kubeletsInTheWay = join(each(byKubelet, "stopped", "starting", "failed", "doomed", "in a crash loop", "swap is on", "cannot register", "runs astray"),
		same(byKubelet, "runs for an hour", "runs and is healthy", "runs under another name", "runs for 59 s", "runs for 1 s", "steady after a crash loop", "is suspended"))
)
