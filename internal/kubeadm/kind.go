package kubeadm

import (
	"slices"
	"strings"
)

// Kind sorts failures by what can be done about them.
type Kind int

const (
	Retry     Kind = iota // time may cure it, or nothing is known about it
	Unfit                 // a person must mend this host
	Usage                 // the configuration is wrong, or does not say enough
	Unserved              // the container runtime answers, and serves no kubelets: if it stays so, a person must mend it
	Runtime               // the container runtime does not answer
	Leftovers             // files of an earlier join, or a kubelet at work, are in the way
	NodeReady             // the cluster has a Ready Node of this name: our own stale one, or another machine's
	Pin                   // the cluster's CA is not the pinned one
	Signature             // cluster-info is not signed with this token's secret
	Unsigned              // cluster-info has no signature for this token ID: not yet, or the token has expired
	Kubelet               // the kubelet does not become healthy
	Bootstrap             // the kubelet is healthy but gets no certificate
)

func (k Kind) String() string {
	return [...]string{"Retry", "Unfit", "Usage", "Unserved", "Runtime", "Leftovers", "NodeReady", "Pin", "Signature", "Unsigned",
		"Kubelet", "Bootstrap"}[k]
}

// byChecks are the kinds that failed checks can be of, the one that time cures least first; and the runtime before leftovers: a
// reset without it leaves pods running.
var byChecks = []Kind{Unfit, Unserved, Runtime, Leftovers}

// Kind tells what the failure looks like.
func (f *Failure) Kind() Kind { return f.diagnosis().kind }

// Hint is one line that tells a person what to do, or "" if there is nothing to say.
func (f *Failure) Hint() string { return f.diagnosis().hint }

// diagnosis is the row that decides. Of several failed checks it is one that time cures least, with a remedy if there is one.
func (f *Failure) diagnosis() diagnosis {
	for _, kind := range byChecks {
		var of []diagnosis
		for _, c := range f.Checks {
			if d := c.diagnosis(); d.kind == kind {
				of = append(of, d)
			}
		}
		if i := slices.IndexFunc(of, func(d diagnosis) bool { return d.hint != "" }); len(of) > 0 {
			return of[max(i, 0)]
		}
	}
	for _, d := range diagnoses {
		if d.check == "" && strings.Contains(f.Said, d.text) && (!d.early || f.Phase == "") &&
			(d.warned == "" || slices.ContainsFunc(f.Warnings, func(c Check) bool { return c.Name == d.warned })) {
			return d
		}
	}
	return diagnosis{}
}

func (c Check) diagnosis() diagnosis {
	for _, d := range diagnoses {
		if d.check != "" && d.of(c.Name) && strings.Contains(c.Message, d.text) {
			d.hint = strings.ReplaceAll(d.hint, subject, c.subject(d.check))
			return d
		}
	}
	return diagnosis{}
}

// of reports whether the row is of a check of this name.
func (d diagnosis) of(name string) bool {
	return name == d.check || strings.HasSuffix(d.check, "-") && strings.HasPrefix(name, d.check)
}

// subject is what a check is about: the kernel's setting, the program.
func (c Check) subject(row string) string {
	if path, _, ok := strings.Cut(strings.TrimPrefix(c.Message, "/proc/sys/"), " "); ok && strings.HasPrefix(c.Message, "/proc/sys/") {
		return strings.ReplaceAll(path, "/", ".")
	}
	return strings.TrimPrefix(c.Name, row)
}

func (c Check) kind() Kind { return c.diagnosis().kind }
