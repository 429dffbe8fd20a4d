package main

// diagnosing is of rule 17: what time does not cure ends soon, with the remedy, and what it may cure is waited for.
var diagnosing = []mutant{
	{"17", "hearing the kubelet while kubeadm waits for it", inJudge, "; heard && v.m.Doomed {", "; heard && false {"},
	{"17", "asking for the kubelet beside a late join", inJudge, "if v.now.Sub(v.m.JoinedAt) >= kubeletLate {", "if false {"},
	{"17", "what is known of the kubelet, when the time is up", inJudge, "} else if heard {", "} else if false {"},
	{"17", "waiting for what lets a kubelet refuse for a time", inMemory, `k.Fatal == "" || k.Passes || !m.Started()`, `k.Fatal == "" || !m.Started()`},
	{"17", "once being enough where the machine shows it", inJudge, "k.Value.Shown && v.state() == Loaded && v.m.Is != Member:", "false:"},
	{"17", "the same refusal at the end of two joins", "pkg/join/act.go", "(words.Shown || again) {", "words.Shown {"},
	{"17", "one refusal being too few", "pkg/join/act.go", "(words.Shown || again) {", "(words.Shown || again || true) {"},
	{"17", "the kubelet's words in the failure of a join", "pkg/join/act.go", `} else if words.Fatal != "" {`, "} else if false {"},
	{"17", "giving a runtime that serves no kubelets a moment", "pkg/join/act.go", "time.Since(r.running.unserved) >= unservedPatience:", "true:"},
	{"17", "ending on a runtime that serves no kubelets", "pkg/join/act.go", "kind == kubeadm.Unserved && time.Since", "kind == kubeadm.Unserved && false && time.Since"},
	{"17", "a token that is not for signing", inCluster, "if passed := v.m.passedOver; !passed.IsZero() &&", "if passed := v.m.passedOver; false &&"},
	{"17", "a signer that signs for nobody being late", inHeard, "c.Verdict == Unsigned && c.Signers > 0 &&", "c.Verdict == Unsigned &&"},
	{"17", "no restart of a kubelet that would have another name", inGone, "other && how == RestartKubelet {", "other && false {"},
	{"17", "waiting for a name that is late", inIdentity, "if v.m.lasting(v.m.Since, v.now) < StatusPatience || v.f.Machine.Value.Naming {", "if v.f.Machine.Value.Naming {"},
	{"17", "waiting for the name that cloud-init gives", inIdentity, " || v.f.Machine.Value.Naming {", " {"},
	{"17", "a kubelet that is to start after this very run", inJudge, `case k.Value.Blocked != "" && !k.Value.Running:`, "case false:"},
	{"17", "what kubeadm warned of", "pkg/join/act.go", "for _, warning := range r.w.Warned() {", "for _, warning := range r.w.Warned()[:0] {"},

	{"17", "knowing of a runtime that is late", "internal/host/refusals.go", `{words: "validate service connection", passes: true,`, `{words: "validate service connection",`},
	{"17", "naming the file that holds the flag", "internal/host/refusals.go", "if files := h.namedIn(fatal); len(files) > 0 {", "if files := h.namedIn(fatal); false {"},
	{"17", "saying once what a log repeats", "internal/host/words.go", "if said[words] {", "if false {"},
	{"17", "the fatal line first", "internal/host/words.go", "first, found = []string{log[i]}, i", "found = i"},
	{"17", "units that wait for cloud-init's end", "internal/host/kubelet.go", "if cloudInits.Match(cgroup) {", "if false {"},

	{"17", "rungs that nobody can see", "pkg/join/ladder.go", "case d.LookUp != nil:\n\t\treturn notSeen(", "case false:\n\t\treturn notSeen("},
	{"17", "no token for another cluster, in a check", "pkg/join/ladder.go", "case p.Verdict == cluster.WrongCA:", "case false:"},
	{"8", "the pin before the token", "internal/cluster/discover.go", "if !whole {", "if false {"},
}
