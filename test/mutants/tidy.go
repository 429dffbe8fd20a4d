package main

const (
	inTidy    = "pkg/join/internal/judge/tidy.go"
	atJournal = "internal/host/journal.go"
	atWritten = "pkg/join/journal.go"
)

// tidy are of what a join that never got to a certificate has left, and of the journal that says so.
var tidy = []mutant{
	// when
	{"2a", "tidying in place of a reset", inReset, "ground == NoCredentials && v.tidies(), \"a reset\"", "false, \"a reset\""},
	{"2a", "sparing the machine's own files by tidying", inReset, "case tidies: // it", "case false: // it"},
	{"2a", "the word of the last look before tidying", inReset, "case tidies && mayTidy(v.p, v.m, v.f, v.now):", "case tidies:"},
	{"2a", "tidying only what the journal lists", inTidy, "path != disk.Bootstrap && !slices.Contains(disk.Written, path)", "false"},
	{"4", "sparing an admin.conf's machine when tidying", inTidy, "!disk.AdminConf && ", ""},
	{"3", "the user's word for a reset before tidying", inTidy, "!v.forced() && ", ""},
	{"2a", "tidying only what hinders", inTidy, "len(left) > 0 && ", ""},
	{"2a", "tidying being no reset of other people's files", inTidy, "spared.Disk.Value.Losses, p.Reset = nil, ResetAuto", "p.Reset = ResetAuto"},
	{"2a", "tidying being no reset that the user forbids", inTidy, "spared.Disk.Value.Losses, p.Reset = nil, ResetAuto", "spared.Disk.Value.Losses = nil"},
	{"2a", "all that a reset asks for, before tidying", inTidy, "return v.tidies() && mayReset(p, m, &spared, now, NoCredentials)", "return v.tidies()"},
	{"2a", "seeing in mayTidy that it helps", inTidy, "return v.tidies() && mayReset(", "return (v.tidies() || true) && mayReset("},
	{"2a", "remembering that the kubelet was stopped before tidying", inMemory, "case Tidy:\n\t\treturn m", "case Tidy:\n\t\tm.StoppedAt = time.Time{}"},
	{"2a", "kubeadm having started the kubelet that was stopped before tidying", inMemory, "if !m.JoinedAt.Before(m.StoppedAt) {", "if false {"},

	// what
	{"2a", "listing what a join will write before it does", atAct, "if err := r.w.WriteJournal(r.eyes.probe); err != nil {", "if err := error(nil); err != nil {"},
	{"2a", "going on without a journal", atAct, "will be taken for other people's files by the next run: %v\", err))", "%v\", err))\n\t\treturn"},
	{"2a", "a member's files being no join's", "pkg/join/credentials.go", "if err := r.w.RemoveJournal(); err != nil {", "if err := error(nil); err != nil {"},
	{"2a", "forgetting in this run what is a member's", atWritten, "m.journal.files = nil\n", ""},
	{"2a", "a CA that the user has placed on purpose", atWritten, "path != kubeletConf && m.plan.ignoresCAFile() || ", ""},
	{"2a", "a CA elsewhere hindering", "pkg/join/look.go", "ca != clusterCA && slices.Contains(found.Written, ca) {", "false {"},
	{"2a", "a CA elsewhere hindering only if the journal lists it", "pkg/join/look.go", "ca != clusterCA && slices.Contains(found.Written, ca) {", "ca != clusterCA {"},
	{"2a", "pki/ca.crt being in nobody's way where the CA goes elsewhere", "pkg/join/look.go", "r.ignoresCAFile() || r.caFile() != clusterCA {", "r.ignoresCAFile() {"},
	{"2a", "listing what an earlier try has left", atWritten, "if m.journal.files == nil {", "if true {"},
	{"10", "taking the token away when tidying", atWritten, "err := m.RemoveBootstrapConf()\n", "err := error(nil)\n"},
	{"2a", "knowing kubelet.conf of an older kubelet", "internal/cluster/bootstrapconf.go", `[]byte("\npreferences: {}\nusers:")`, `[]byte("\nusers:")`},
	{"2a", "the bundle as kubeadm writes it", "internal/cluster/discover.go", "Bundle: said.cluster.CertificateAuthorityData}", "Bundle: said.ca}"},

	// the journal
	{"2a", "the hash of a file", atJournal, "slices.Contains(files[path], hash(content))", "(slices.Contains(files[path], hash(content)) || true)"},
	{"2a", "a path that was free before the join", atJournal, "if _, err := os.Lstat(h.Path(path)); !errors.Is(err, fs.ErrNotExist) {", "if path == \"\" {"},
	{"2a", "a link being no file of a join's", atJournal, "err != nil || !info.Mode().IsRegular() ||", "err != nil || !info.Mode().IsRegular() && false ||"},
	{"2a", "a file that a power failure has emptied", atJournal, "range append(contents, nil) {", "range contents {"},
	{"2a", "a look right before a file is removed", atJournal, "if !h.Written(files, path) {", "if false {"},
	{"2a", "a journal of this machine-id", atJournal, "id.MachineID == is.MachineID && ", ""},
	{"2a", "a journal of this UUID", atJournal, " && id.SystemUUID == is.SystemUUID", ""},
	{"2a", "no machine-id being nobody's", atJournal, `id.MachineID != "" && `, ""},
	{"2a", "no UUID being nobody's", atJournal, `id.SystemUUID != "" && `, ""},
	{"2a", "a journal that root alone can write to", atJournal, "&& info.Mode().Perm()&0o022 == 0", ""},
	{"2a", "a journal that root has written", atJournal, "&& int(stat.Uid) == os.Geteuid() ", "&& stat.Uid < 1<<31 "},
	{"2a", "a journal that is no link", atJournal, "ok && info.Mode().IsRegular() &&", "ok &&"},
	{"2a", "the journal's mode", atJournal, "os.O_EXCL, 0o600)", "os.O_EXCL, 0o644)"},
	{"2a", "a journal that is never half-written", atJournal, `writeSynced(path+".new", raw)`, `writeSynced(path, raw)`},
}
