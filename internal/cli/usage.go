package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// usageError is a mistake of the one who typed: what is wrong, and the remedy.
type usageError struct{ message, hint string }

func (u *usageError) Error() string { return u.message }

// misuse reports a usage error that was found before anything ran, and returns
// its exit status.
func (p *program) misuse(command *cobra.Command, err error) int {
	u := &usageError{message: err.Error()}
	errors.As(err, &u)
	if u.hint == "" {
		u.hint = "`" + command.CommandPath() + " --help` lists what it takes"
		if command == command.Root() {
			u.hint += "; kubeadm's flags go with `nodejoin join`"
		}
	}
	s := &session{
		logs: openLogs(p.err, "console", "info"), out: p.out, mask: masked(p.args, p.env), patience: p.patience,
		json: p.wantsJSON() && slices.Contains(reporting, command.Name()), unit: openUnitStatus(),
	}
	return s.close(conclude(context.Background(), s.blank(), &join.Error{Reason: join.Usage, Message: u.message, Hint: u.hint}, time.Now()))
}

// reporting are the commands with a report to print.
var reporting = []string{"join", "check"}

// wantsJSON reads -o itself: pflag may have stopped before it.
func (p *program) wantsJSON() bool {
	format := p.env[variable("output")]
	for i, arg := range p.args {
		switch {
		case (arg == "-o" || arg == "--output") && i+1 < len(p.args):
			format = p.args[i+1]
		case strings.HasPrefix(arg, "--output="):
			format = strings.TrimPrefix(arg, "--output=")
		case strings.HasPrefix(arg, "-o") && arg != "-o":
			format = strings.TrimPrefix(strings.TrimPrefix(arg, "-o"), "=")
		}
	}
	return format == "json"
}

// badFlag words pflag's errors as the rest of nodejoin does, and keeps the
// values of secret flags out of them.
func badFlag(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		u := &usageError{message: fmt.Sprintf("-%s: no such flag", unknown.GetSpecifiedName())}
		if word, _, _ := strings.Cut(unknown.GetSpecifiedShortnames(), "="); len(word) > 2 {
			u.hint = nearFlag(c, word)
		}
		return u
	case errors.As(err, &unknown):
		return &usageError{message: fmt.Sprintf("--%s: no such flag", unknown.GetSpecifiedName()), hint: nearFlag(c, unknown.GetSpecifiedName())}
	case errors.As(err, &missing):
		return &usageError{message: fmt.Sprintf("--%s: needs a value", missing.GetFlag().Name)}
	case errors.As(err, &invalid):
		return badValue(invalid.GetFlag(), "--"+invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	return &usageError{message: err.Error()}
}

// badValue names the flag as the user gave it.
func badValue(f *pflag.Flag, given, value string, cause error) error {
	want := map[string]string{
		"duration": "a duration such as 30s or 5m",
		"int":      "a whole number",
		"bool":     "true or false",
	}[f.Value.Type()]
	switch {
	case slices.Contains(secretFlags, f.Name):
		return &usageError{message: given + ": is malformed"}
	case want == "":
		return &usageError{message: fmt.Sprintf("%s: %q: %v", given, value, cause)}
	}
	u := &usageError{message: fmt.Sprintf("%s: %q is not %s", given, value, want)}
	if f.Value.Type() == "duration" && number.MatchString(value) {
		u.hint = fmt.Sprintf("the unit is missing: %s=%ss, or %s=%sm", given, value, given, value)
	}
	return u
}

var number = regexp.MustCompile(`^[0-9]{1,6}$`)

// foreign are flags of kubeadm that one may well type, with what there is in
// nodejoin instead.
var foreign = map[string]string{
	"rootfs":             "nodejoin works on this machine's own root directory",
	"kubeconfig":         "nodejoin asks with the kubelet's own kubeconfig, and before that with the token",
	"log-file":           "the log goes to standard error: redirect it",
	"skip-headers":       "--log-format chooses what a line of the log looks like",
	"skip-log-headers":   "--log-format chooses what a line of the log looks like",
	"add-dir-header":     "--log-format chooses what a line of the log looks like",
	"print-join-command": "that is a flag of `kubeadm token create`; its line works with nodejoin in kubeadm's place",
	"ca-cert-hash":       "did you mean --discovery-token-ca-cert-hash?",
}

// nearFlag is the remedy for a flag that the command does not have; "" if none
// is known.
func nearFlag(c *cobra.Command, name string) string {
	if hint, known := foreign[name]; known && c.Name() == "join" {
		return hint
	}
	best, least := "", 3 // two slips in a word may be; three make another word
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if d := slips(name, f.Name); !f.Hidden && d < least && d < len(name)/2 {
			best, least = f.Name, d
		}
	})
	if best != "" {
		return fmt.Sprintf("did you mean --%s?", best)
	}
	for _, other := range c.Root().Commands() {
		if f := other.Flags().Lookup(name); f != nil && !f.Hidden && c != c.Root() {
			return fmt.Sprintf("it is a flag of `%s`", other.CommandPath())
		}
	}
	return ""
}

// slips counts the letters to insert, leave out or change to make b of a
// (Levenshtein's distance).
func slips(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// secretFlags are those whose values nobody may read in an output.
var secretFlags = []string{"token", "discovery-token", "tls-bootstrap-token", "certificate-key"}

// bootstrapToken finds a token that was typed in the wrong place.
var bootstrapToken = regexp.MustCompile(`(?i)\b([a-z0-9]{6})\.[a-z0-9]{16}\b`)

// mask hides secrets in the words of a usage error, which quote what was
// typed; the library redacts all that comes after.
type mask struct{ known []string }

// masked looks at the words themselves: when a flag is refused, none have been
// parsed.
func masked(args []string, env environment) mask {
	var m mask
	add := func(value string) {
		if len(value) >= 8 { // a shorter one is no secret, but may be part of any word
			m.known = append(m.known, value)
		}
	}
	for _, flag := range secretFlags {
		add(env[variable(flag)])
		for i, arg := range args {
			if value, ok := strings.CutPrefix(arg, "--"+flag+"="); ok {
				add(value)
			} else if arg == "--"+flag && i+1 < len(args) {
				add(args[i+1])
			}
		}
	}
	return m
}

func (m mask) Replace(s string) string {
	for _, value := range m.known {
		s = strings.ReplaceAll(s, value, "<redacted>")
	}
	return bootstrapToken.ReplaceAllString(s, "$1.<redacted>")
}
