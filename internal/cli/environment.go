package cli

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const variablePrefix = "NODEJOIN_"

// secretVariables are taken out of the process's environment.
var secretVariables = []string{"NODEJOIN_TOKEN", "NODEJOIN_DISCOVERY_TOKEN", "NODEJOIN_TLS_BOOTSTRAP_TOKEN"}

// tokenSources are one group: a flag of it silences the variables of all of
// it, or a token left in an environment file would stand in a flag's way.
var tokenSources = []string{"token", "discovery-token", "token-file", "token-command"}

// environment holds the variables that are for nodejoin and are not empty. An
// empty one counts as not set: unit files and CI have no other way to say that.
type environment map[string]string

func readEnvironment(env []string) environment {
	own := environment{}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, variablePrefix) && value != "" {
			own[name] = value
		}
	}
	return own
}

// readTerminal picks the variables by which a user says what a terminal is to
// show (no-color.org; CI is set by about every CI system).
func readTerminal(env []string) map[string]string {
	words := map[string]string{}
	for _, pair := range env {
		switch name, value, _ := strings.Cut(pair, "="); name {
		case "TERM", "CI", "NO_COLOR":
			words[name] = value
		}
	}
	return words
}

// variable is the name of a flag's variable: --node-name, NODEJOIN_NODE_NAME.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// names tells how the user gave a flag if not as itself: by a variable, or by
// another flag. Errors then speak of that.
type names map[string]string

// apply sets the flags that the command line left alone, but for those whose
// variable means another command's flag.
func (e environment) apply(flags *pflag.FlagSet, except ...string) (names, error) {
	given := names{}
	if slices.ContainsFunc(tokenSources, flags.Changed) {
		except = append(except, tokenSources...)
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := e[variable(f.Name)]
		if !ok || f.Changed || f.Name == "help" || slices.Contains(except, f.Name) || failed != nil {
			return
		}
		given["--"+f.Name] = variable(f.Name)
		values := []string{value}
		if f.Value.Type() == "stringArray" { // its values may have commas, but no white space
			values = strings.Fields(value)
		}
		for _, value := range values {
			if err := f.Value.Set(value); err != nil {
				failed = badValue(f, variable(f.Name), value, err)
				return
			}
		}
		f.Changed = true
	})
	return given, failed
}

// unknown are warnings about variables that are none of these flags': a typo
// would else be silent. The values stay out of it.
func (e environment) unknown(flags *pflag.FlagSet) []string {
	known := map[string]bool{endpointVariable: true}
	flags.VisitAll(func(f *pflag.Flag) { known[variable(f.Name)] = true })
	var warnings []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if !known[name] {
			warnings = append(warnings, fmt.Sprintf("the environment variable %s is no setting of nodejoin's and is ignored", name))
		}
	}
	return warnings
}

const (
	endpointName     = "ENDPOINT"
	endpointVariable = variablePrefix + endpointName
)

var flagName = regexp.MustCompile(`--[a-z][a-z-]*[a-z]|\bENDPOINT\b`)

// rename makes a message speak of what the user wrote.
func (n names) rename(message string) string {
	return flagName.ReplaceAllStringFunc(message, func(flag string) string {
		if given, ok := n[flag]; ok {
			return given
		}
		return flag
	})
}

// speak does the same for an error.
func (n names) speak(err error) error {
	var u *usageError
	if errors.As(err, &u) {
		return &usageError{message: n.rename(u.message), hint: u.hint}
	}
	return err
}
