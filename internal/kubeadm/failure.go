package kubeadm

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// Check is a preflight check that kubeadm names.
type Check struct {
	Name    string // a stable word, e.g. "FileAvailable--etc-kubernetes-kubelet.conf"
	Message string // kubeadm's text
}

// Failure is a kubeadm that did not exit with 0. All its words are redacted.
type Failure struct {
	Command  string   // "kubeadm join"
	ExitCode int      // -1: it was killed, or never ran. kubeadm's own tells nothing: testdata/*/record.json
	Phase    string   // the phase that failed, as kubeadm names it; "" if none had begun
	Checks   []Check  // preflight checks that failed
	Warnings []Check  // preflight checks that failed and were ignored, or that only warn
	Said     string   // its own last word
	Tail     []string // the end of the output
	Err      error    // what child.Run returned: wraps context.Cause if the deadline or a signal ended it
}

// tailLines is how much of kubeadm's output travels with a failure: a whole join prints less.
const tailLines = 40

// maxReason bounds the part of kubeadm's text that stands in an error of one line.
const maxReason = 600

// Error is one line: the command and its most telling words.
func (f *Failure) Error() string {
	var (
		said string
		exit *exec.ExitError
	)
	switch {
	case f.Err != nil && !errors.As(f.Err, &exit): // cut short, or never started
		said = f.Err.Error()
		if f.Said != "" {
			said += ", last word: " + f.Said
		}
	case len(f.Checks) > 0:
		var first, then []string // those that decide come first: there may be no room for all
		for _, c := range f.Checks {
			if c.kind() == f.Kind() {
				first = append(first, c.Name+": "+c.Message)
			} else {
				then = append(then, c.Name+": "+c.Message)
			}
		}
		said = strings.Join(append(first, then...), "; ")
	case f.Said != "":
		said = f.Said
	case f.Err != nil:
		said = f.Err.Error()
	}
	if len(said) > maxReason {
		said = strings.ToValidUTF8(said[:maxReason], "") + " ..."
	}
	if f.Phase != "" {
		return fmt.Sprintf("running %s: phase %s: %s", f.Command, f.Phase, said)
	}
	return fmt.Sprintf("running %s: %s", f.Command, said)
}

func (f *Failure) Unwrap() error { return f.Err }

// NotRun reports whether kubeadm was spared a run that was sure to fail: Version.NoRuntime.
func (f *Failure) NotRun() bool { return f.ExitCode == -1 && f.Err == nil }

// transcript takes kubeadm's output apart as it comes.
type transcript struct {
	checks, warnings []Check
	phase, reason    string
	certain          bool // reason is kubeadm's own error line, not just the last one
	awaits           string
	tail             []string
}

var (
	// cmd/kubeadm/app/preflight/checks.go RunChecks.
	checkWords = regexp.MustCompile(`^\s*\[(ERROR|WARNING) ([^\]\s]+)\]: ?(.*)$`)
	// cmd/kubeadm/app/cmd/phases/workflow/runner.go; 1.37 puts "error: " in front, older ones do not.
	phaseWords = regexp.MustCompile(`^(?:error: )?error execution phase ([^\s:]+):? ?(.*)$`)
	// klog's header, e.g. "W1123 12:04:41.977908   19148 cleanupnode.go:74] ".
	klogHeader = regexp.MustCompile(`^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [^\]]+\] `)
)

var (
	colour = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	// The report of the system verification is a key in white and a value in green, in yellow (an option that is not there) or
	// in red (k8s.io/system-validators report.go).
	verified = regexp.MustCompile(`^\x1b\[0;37m[^\x1b]*\x1b\[0m: \x1b\[0;3[23]m`)
)

// withoutColour makes plain text of a line, for people and, before that, for the redactor. listing tells a line of the system
// verification that finds nothing wrong: forty of them would leave no room for what did go wrong.
func withoutColour(line string) (plain string, listing bool) {
	return colour.ReplaceAllString(line, ""), verified.MatchString(line)
}

// waits are kubeadm's for the kubelet: what it prints as one begins, and what 1.33 and later ones put before the error of one
// that was in vain. 1.31 and 1.32 say no more than nothingCame (cmd/phases/join/kubelet.go of each).
var (
	waits = []struct{ begins, vain string }{
		{"[kubelet-check] Waiting for a healthy kubelet", kubeletInVain},
		{"Waiting for the kubelet to perform the TLS Bootstrap", bootstrapInVain},
	}
	nothingCame = []string{"The HTTP call equal to 'curl -sSL ", "context deadline exceeded"}
)

// afterError is what kubeadm prints after its last word.
const afterError = "To see the stack trace of this error"

func (t *transcript) add(line string) {
	t.tail = append(t.tail, line)
	if len(t.tail) > tailLines {
		t.tail = t.tail[1:]
	}
	if m := checkWords.FindStringSubmatch(line); m != nil {
		c := Check{Name: m[2], Message: strings.TrimSpace(m[3])}
		if m[1] == "ERROR" {
			t.checks = append(t.checks, c)
		} else {
			t.warnings = append(t.warnings, c)
		}
		return
	}
	if m := phaseWords.FindStringSubmatch(line); m != nil {
		t.phase, t.reason, t.certain = m[1], strings.TrimSpace(m[2]), true
		if t.awaits != "" && slices.ContainsFunc(nothingCame, func(words string) bool { return strings.HasPrefix(t.reason, words) }) {
			t.reason = t.awaits + ": " + t.reason
		}
		return
	}
	for _, w := range waits {
		if strings.Contains(line, w.begins) {
			t.awaits = w.vain
		}
	}
	if said, ok := strings.CutPrefix(line, "error: "); ok {
		t.reason, t.certain = strings.TrimSpace(said), true
		return
	}
	line = strings.TrimSpace(klogHeader.ReplaceAllString(line, ""))
	if line != "" && !t.certain && !strings.HasPrefix(line, afterError) {
		t.reason = line
	}
}

func (t *transcript) failure(command string, code int, err error) *Failure {
	return &Failure{
		Command:  command,
		ExitCode: code,
		Phase:    t.phase,
		Checks:   t.checks,
		Warnings: t.warnings,
		Said:     t.reason,
		Tail:     t.tail,
		Err:      err,
	}
}
