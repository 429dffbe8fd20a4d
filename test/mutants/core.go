package main

// The judge's files.
const (
	inAgain    = judge + "/again.go"
	inCluster  = judge + "/cluster.go"
	inFirst    = judge + "/firstboot.go"
	inGone     = judge + "/gone.go"
	inIdentity = judge + "/identity.go"
	inJudge    = judge + "/judge.go"
	inMemory   = judge + "/memory.go"
	inHeard    = judge + "/memory_cluster.go"
	inNode     = judge + "/node.go"
	inReset    = judge + "/reset.go"
)

// core are of the rules that the judge keeps, but for those of a reset.
var core = []mutant{
	{"3", "reading programs ahead once", "pkg/join/discover.go", "case r.pace.readEnd == nil && ", "case "},
	{"3", "reading programs ahead while an API server is waited for", "pkg/join/discover.go", " && c.Value.Verdict == judge.Unreachable:", ":"},
	{"3", "not reading ahead beside a join", "pkg/join/discover.go", "\t\tr.pace.readEnd()\n", ""},
	{"9", "a service's supervisor that outlives who has started it", "internal/child/group.go", "members(group); supervised {", "members(group); supervised && false {"},
	{"3", "idle priority for what is read ahead", "internal/host/programs.go", "ioprioIdle   = 3 << 13", "ioprioIdle   = 2 << 13"},
	{"1", "the API server's word: kubeadm's exit 0 counts", "pkg/join/act.go",
		"if err == nil {\n\t\treturn\n\t}\n",
		"if err == nil {\n\t\tr.facts.Join.End = &judge.Action{Kind: judge.End, Reason: judge.Held}\n\t\treturn\n\t}\n"},
	{"1", "a fresh answer before success", inNode, "if old != 0 { // the last word is a fresh one", "if old != 0 && false {"},
	{"1", "a last look that is asked for, not pushed", inNode, "last.News || !over", "!over"},
	{"1", "a last look after the hold's end", inNode, "last.News || !over && last.Asked.Before(holdEnds)", "last.News"},
	{"1", "Ready=Unknown being no member", inIdentity, `case s.Node.Ready == "Unknown":`, `case s.Node.Ready == "never":`},
	{"1", "a kubelet that runs", inNode, "case runs && reported:", "case reported:"},
	{"1", "a kubelet that runs and does not fail", inNode, "switch runs := k.Value.Running && !k.Value.Suspended && !v.m.fails(k.Value, v.now); {", "switch runs := k.Value.Running && !k.Value.Suspended; {"},
	{"1", "a kubelet that is not suspended", inNode, "!k.Value.Suspended && ", ""},
	{"1", "a member's kubelet that is suspended, found without its service", "pkg/join/look.go", `processes[0].Suspended != "" || `, ""},
	{"1", "the service's word once something was done", "pkg/join/look.go", "r.memory.Is == judge.Member && r.memory.Acts == 0", "r.memory.Acts >= 0"},
	{"1", "knowing that the kubelet runs", inNode, "case k.Err != nil:\n\t\treturn v.wait(Verify", "case k.Err != nil:\n\t\treturn pass()\n\tcase v.forced():\n\t\treturn v.wait(Verify"},
	{"1", "looking at the kubelet again before success", inNode, "old := v.stale(v.eyes() | Unit)", "old := v.stale(v.eyes())"},
	{"1", "the kubelet's report after a start", inNode, "reported := v.m.RestartedBeside", "reported := true || v.m.RestartedBeside"},
	{"1", "an end of waiting for that report", inNode, "case runs && reported:", "case runs && (reported || true):"},
	{"1", "the boot ID", inIdentity, `return p.BootID != "" && n.BootID == p.BootID && (`, `return p.BootID != "" && (`},
	{"1", "an empty boot ID matching nothing", inIdentity, `return p.BootID != "" && n.BootID == p.BootID && (`, `return n.BootID == p.BootID && (`},
	{"1", "the machine ID", inIdentity, " && (n.MachineID == \"\" || p.MachineID == \"\" || sameID(n.MachineID, p.MachineID))", ""},
	{"1", "a Node that is not being deleted", inNode, "if !node.DeletedAt.IsZero() {\n\t\treturn v.leaving(node, \"its Node is gone for good", "if false {\n\t\treturn v.leaving(node, \"its Node is gone for good"},
	{"1", "the hold", inNode, "holdEnds := v.m.LevelSince.Add(v.p.Hold)", "holdEnds := v.m.LevelSince"},
	{"1", "a hold that is waited for, not asked for", inNode, "!over && v.now.Before(holdEnds) {", "false {"},
	{"1", "a hold that begins again with a new Node", inMemory, "case m.LevelUID != uid:", "case m.LevelSince.IsZero():"},
	{"1", "a silence being no news of the Node", inMemory, "case is == Mute: // evidence of nothing", "case is == \"never\": // evidence of nothing"},

	{"1", "a kubelet that runs, for check", "pkg/join/check.go", "case !runs:", "case !runs && false:"},
	{"1", "knowing that the kubelet runs, for check", "pkg/join/check.go", "case !known:", "case !known && false:"},
	{"1", "a Node that is not being deleted, for check", "pkg/join/check.go", "case !node.DeletedAt.IsZero():", "case false:"},
	{"1", "Ready=Unknown being no member, for check", "pkg/join/check.go", `case node.Ready == "Unknown":`, `case false:`},
	{"1", "the machine's own Node, for check", "pkg/join/check.go", "case !r.policy.Ours(sightingOf(sighting).Node):", "case false:"},

	{"3", "leaving a kubelet alone that is just being started", inNode, "case k.Value.Starting && !v.m.fails(k.Value, v.now) && !v.m.Doomed:", "case false:"},
	{"3", "looking first whether this is a member", inNode, "case v.forced() || v.state() != Loaded:\n\t\treturn pass()", "case true:\n\t\treturn pass()"},
	{"3", "keeping a member whose credentials are not understood", inJudge, "if v.state() != NotUnderstood || v.forced() {", "if true {"},

	{"4", "refusing control-plane hosts", inJudge, `if proof := v.f.Disk.Value.ControlPlane; proof != "" {`, `if proof := v.f.Disk.Value.ControlPlane; false {`},
	{"4", "refusing credentials of another cluster by what is known beforehand", inJudge, `case c.Value.OtherCA != "":`, `case false:`},
	{"4", "refusing credentials of another cluster by its endpoint", inJudge, "case v.f.Endpoint.Known() && v.f.Endpoint.Value:", "case false:"},
	{"4", "refusing credentials of another cluster by its proven CA", inCluster, "case !stands && v.state() == Loaded &&", "case false && !stands && v.state() == Loaded &&"},
	{"4", "refusing a healthy member under another name", inNode, "v.p.Named && wanted != \"\" && node.Name != wanted && v.p.Reset", "false && node.Name != wanted && v.p.Reset"},
	{"4", "refusing to delete static pods", inReset, "case len(disk.Losses) > 0 && v.p.Reset != ResetAlways:\n", "case false:\n"},
	{"4", "refusing a reset beside admin.conf", inReset, "case disk.AdminConf && v.p.Reset != ResetAlways:\n", "case false:\n"},
	{"4", "refusing against --reset=never", inReset, "case v.p.Reset == ResetNever:\n\t\treturn end(", "case false:\n\t\treturn end("},

	{"5", "waiting out our own stale Node", inCluster, `if v.ground != None || hinders || node.Ready != "True" {`, `if true || hinders {`},

	{"6", "sparing another machine's live Node", inCluster, "return again(v.notKnownDead(node, v.m.Twin))", "return pass()"},
	{"6", "ending on a name that is taken", inCluster, "case v.m.Twin.Moved:", "case false:"},
	{"6", "ending on a clone's name that is taken", inNode, "if v.otherLives() && node.Name == v.f.Name.Value.Name {", "if false {"},
	{"6", "a heartbeat that moves: Ready for a minute is life", inIdentity, "h.Moved = h.Moved || n.Heartbeat.After(h.First)", "h.Moved = h.Moved || at.Sub(h.Since) > GracePeriod"},
	{"6", "silence proving nobody alive", inHeard, "m.Twin = Heartbeat{} // silence proves nobody alive", "_ = m.Twin"},
	{"6", "a fresh look before kubeadm join", inJudge, "if old := v.staleAfter(needed, justNow); old != 0 {", "if old := v.staleAfter(needed, justNow); old != 0 && false {"},
	{"6", "a look of this very moment before kubeadm join", inJudge, "if old := v.staleAfter(needed, justNow); old != 0 {", "if old := v.stale(needed); old != 0 {"},
	{"6", "the 60 s for the kubelet's next status", inNode, "patient := v.m.lasting(v.m.Since, v.now) < StatusPatience &&", "patient := false &&"},

	{"7", "counting a deletion", inMemory, "m.Deletions++", ""},
	{"7", "gone and back being a deletion", inMemory, "(is == Gone || s.Answer == Present && uid != m.OwnUID)", "is == Gone"},
	{"7", "late news of a deleted Node being none", inMemory, "if f.News || f.Asked.Before(m.DeletedAt) {", "if false {"},
	{"7", "the budget of deletions", inNode, "case v.p.MaxDeletions > 0 && v.m.Deletions > v.p.MaxDeletions:", "case false:"},
	{"7", "a restart for a Node that is gone", inGone, "case v.restartWanted(v.m.Since):\n\t\tif v.m.Lost", "case false:\n\t\tif v.m.Lost"},
	{"7", "a restart for each deletion", inNode, " || v.m.Restarted.Before(later(since, v.m.FailedAt))", ""},
	{"7", "a back-off between restarts", inGone, "if due := wanted.Add(pause); v.now.Before(due) {", "if due := wanted.Add(pause); false {"},
	{"7", "joining into no Node that is being deleted", inCluster, "case !node.DeletedAt.IsZero():", "case false:"},
	{"7", "waiting for a dead Node that is being deleted", inNode, "if node := v.sight().Node; !node.DeletedAt.IsZero() {", "if node := v.sight().Node; false {"},
	{"7", "waiting for another boot's Node that is being deleted", inNode, "node := v.sight().Node\n\tif !node.DeletedAt.IsZero() {\n\t\treturn v.leaving(node, \"the kubelet", "node := v.sight().Node\n\tif false {\n\t\treturn v.leaving(node, \"the kubelet"},

	{"8", "ending at once on a wrong CA", inCluster, "case WrongCA:", "case -1:"},
	{"8", "looking at a bad signature again", inCluster, "case v.now.Sub(v.m.badSignSince) < SignatureAgain || v.f.Cluster.At.Sub(v.m.badSignSince) < SignatureAgain:", "case false:"},
	{"8", "telling a mistyped secret from another cluster", inCluster, "case !c.Pinned:\n\t\trejected, _ = end(", "case true:\n\t\trejected, _ = end("},
	{"§2", "the 60 s of a token that is refused", inCluster, "rejected := v.tokenRejected(c.Err)\n\tif v.p.TokenFixed &&", "rejected := v.tokenRejected(c.Err)\n\tif at.IsZero() && v.p.TokenFixed &&"},
	{"§2", "a fresh answer before the token is rejected", inCluster, "if v.p.TokenFixed && !c.Old &&", "if v.p.TokenFixed &&"},
	{"§2", "two lone 401 being no refusal", inHeard, "if c.Verdict <= NotServed { // a 401 before", "if false { // a 401 before"},
	{"§2", "saying why a server that is proven must be waited for", inCluster, "but a reset must wait\", \"\", s.Err), true", "but a reset must wait\", \"\", nil), true"},

	{"9", "letting kubeadm end before success", inNode, "if v.f.Join.Running || !over &&", "if !over &&"},
	{"9", "the end of a wait for the kubelet that was stopped", inReset, "if v.now.Sub(v.m.StoppedAt) > heartbeatPatience {", "if false {"},
	{"10", "the proven CA being the kubelet's, before the token is shown to its server", inNode, "&& !SharesKey(cluster.Value.CA, c.CA):", "&& false:"},
	{"10", "a proven cluster before the token is shown to the kubelet's server", inNode, "cluster.Value.Verdict == Proven && v.f.Second.At", "v.f.Second.At"},

	{"16", "a failed restart being no step to a reset", inMemory, "if failed {\n\t\t\treturn m\n\t\t}\n\t\tif a.Kind == Bootstrap {", "if a.Kind == Bootstrap {"},
	{"16", "no second kubelet beside one that somebody started", inGone, "k.Stray && how != PutBack {", "k.Stray && false {"},
	{"16", "ending on a service that is masked", inJudge, "case k.Value.Masked:", "case false:"},

	{"17", "ending on a kubelet that never starts", inJudge, "case v.m.Doomed && v.state() >= NotUnderstood && v.m.Is != Refused,", "case false,"},
	{"17", "hearing its last words twice", inMemory, "k.Fatal, k.Exits, false\n", "k.Fatal, k.Exits, true\n"},
	{"17", "hearing them from a later process", inMemory, "case k.Exits > m.fatalPID:", "case true:"},
	{"17", "an act of ours before them", inMemory, `k.Passes || !m.Started():`, `k.Passes || !m.Started() && false:`},
	{"17", "ending on what kubeadm finds unfit", inJudge, "case j.End != nil:", "case false:"},
	{"17", "ending on programs that a person must mend", inJudge, "if v.f.Programs.Known() && v.f.Programs.Value.End != nil {", "if false {"},

	{"§2", "facts that are fresh", inJudge, "> limit ||", "> time.Hour ||"},
	{"§2", "a slow answer serving the decision that follows it", inJudge, "limit = max(limit, 2*s.at.Sub(s.asked))", ""},
	{"§2", "an answer serving the decision after a slow look at this machine", inJudge, "limit += 2 * looking", ""},
	{"§2", "two answers not making each other old", inJudge, "limit += 2 * looking", "limit += looking"},
	{"§2", "asking nobody twice at the start", inJudge, "v.ask(v.unasked(Files|Kubeconfig), Look)", "v.ask(Files|Kubeconfig, Look)"},
	{"§2", "asking the cluster beside a slow init system", inJudge, "v.ask(Unit|v.ahead(), Discover)", "v.ask(Unit, Discover)"},
	{"§2", "asking it so on an empty machine only", inJudge, "v.state() != NotThere || len(v.leftovers()) > 0", "false"},
	{"§2", "asking again an init system that was silent", inJudge, "k.Err).asking(v, Unit, ProbeSilent), true\n\tcase k.Value.NoInit", "k.Err), true\n\tcase k.Value.NoInit"},
	{"2b", "the words of a kubelet that was only started again", "pkg/join/look.go", "r.memory.Started()", "r.memory.Joins > 0"},
	{"§2", "facts from after the last act", inJudge, "s.at.IsZero() || s.acts != v.m.Acts || v.now", "s.at.IsZero() || v.now"},
	{"§2", "looking at this machine last", inJudge, "|| local&t != 0 && s.asked.Before(heard) {", "{"},
	{"§2", "looking at this machine again after an act", inJudge, "s.at.IsZero() || local&t != 0 && s.acts != v.m.Acts {", "s.at.IsZero() {"},
	{"§2", "touching nothing beside a mount that is yet to come", inJudge, "case len(here.Value.Mounts) > 0:", "case false:"},
	{"§2", "touching nothing beside somebody else's kubeadm", inJudge, `case here.Value.Kubeadm != "":`, `case false:`},
	{"§2", "touching nothing while that cannot be seen", inJudge, "case here.Err != nil:", "case false:"},
}
