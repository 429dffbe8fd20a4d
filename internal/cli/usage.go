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
func badFlag(_ *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return &usageError{message: fmt.Sprintf("-%s: no such flag", unknown.GetSpecifiedName())}
	case errors.As(err, &unknown):
		return &usageError{message: fmt.Sprintf("--%s: no such flag", unknown.GetSpecifiedName())}
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
	return &usageError{message: fmt.Sprintf("%s: %q is not %s", given, value, want)}
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
