package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ServiceArgs are the arguments with which the kubelet's service would start it; none where there is no such service, or
// nothing is known of its command line (OpenRC, whose services are scripts). An error means that they are not known.
func (h Host) ServiceArgs(ctx context.Context) (KubeletArgs, error) {
	if manager() != systemd {
		return KubeletArgs{}, nil
	}
	out, err := output(ctx, "systemctl", "show", "kubelet", "-p", "ExecStart,Environment,EnvironmentFiles")
	if err != nil {
		return KubeletArgs{}, err
	}
	args, err := h.serviceArgs(out)
	if err != nil {
		return KubeletArgs{}, fmt.Errorf("the kubelet does not run, and with which arguments its service starts it is not known: %w", err)
	}
	return args, nil
}

// execStart is how `systemctl show` tells of a command: its file, and its words as they are before variables are put in, one
// blank between.
var execStart = regexp.MustCompile(`^ExecStart=\{ path=(.*?) ; argv\[\]=(.*?) ; ignore_errors=.*\}$`)

func (h Host) serviceArgs(show []string) (KubeletArgs, error) {
	var commands [][]string
	var files []string
	env := map[string]string{}
	for _, line := range show {
		if match := execStart.FindStringSubmatch(line); match != nil {
			commands = append(commands, match[1:])
		} else if value, ok := strings.CutPrefix(line, "Environment="); ok {
			putEnvironment(env, value)
		} else if key, value, _ := strings.Cut(line, "="); key == "EnvironmentFiles" || key == "EnvironmentFile" { // the latter before systemd 230
			files = append(files, value)
		} else if key == "ExecStart" {
			return KubeletArgs{}, fmt.Errorf("%q is not understood", line)
		}
	}
	switch len(commands) {
	case 0:
		return KubeletArgs{}, nil
	case 1:
	default:
		return KubeletArgs{}, fmt.Errorf("it has %d commands", len(commands))
	}
	for _, file := range files { // they override Environment=, and the later the earlier
		if err := h.readEnvironment(env, file); err != nil {
			return KubeletArgs{}, err
		}
	}
	program, line := commands[0][0], expandCommand(strings.Fields(commands[0][1]), env)
	args, err := h.argsOf(line, func() (string, error) {
		return "", errors.New("it is relative to a working directory that nobody has yet")
	})
	switch {
	case err != nil:
		return KubeletArgs{}, err
	case !kubeletName.MatchString(filepath.Base(program)) && args.Kubeconfig == "":
		return KubeletArgs{}, fmt.Errorf("ExecStart runs %s, which may give the kubelet any; start the kubelet (`systemctl start kubelet`) so that they can be read, or name --kubeconfig in ExecStart", program)
	case strings.ContainsAny(args.Kubeconfig+args.RootDir+args.BootstrapKubeconfig, "$`'\""):
		return KubeletArgs{}, fmt.Errorf("ExecStart leaves some to a shell: %s", strings.Join(line, " "))
	}
	return args, nil
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// putEnvironment reads systemctl's list of assignments, each in quotes if it needs them. Systemd before 230 has no quotes: what
// is no assignment there belongs to the one before.
func putEnvironment(env map[string]string, list string) {
	last := ""
	for _, word := range splitWords(list) {
		key, value, ok := strings.Cut(word, "=")
		if ok && variable.MatchString(key) {
			env[key], last = value, key
		} else if last != "" {
			env[last] += " " + word
		}
	}
}

// readEnvironment reads what `systemctl show` calls "PATH (ignore_errors=yes)". A file that is not there gives nothing, even
// if the service needs it: kubeadm join is yet to write it.
func (h Host) readEnvironment(env map[string]string, file string) error {
	path, _, _ := strings.Cut(file, " (ignore_errors=")
	paths := []string{h.Path(path)}
	if strings.ContainsAny(path, "*?[") {
		paths, _ = filepath.Glob(h.Path(path)) // sorted, as systemd's
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("reading what EnvironmentFile= names: %w", err)
		}
		parseEnvironment(env, string(text))
	}
	return nil
}

// parseEnvironment reads an EnvironmentFile as systemd does (systemd.exec(5), basic/env-file.c): quotes count at the
// beginning of a value only, a backslash at a line's end continues it, blanks around a value go.
func parseEnvironment(env map[string]string, text string) {
	for text != "" {
		text = strings.TrimLeft(text, " \t\r\n")
		if strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
			_, text = environmentValue(text[1:])
			continue
		}
		end := strings.IndexAny(text, "=\n")
		if end < 0 {
			return
		} else if text[end] == '\n' {
			text = text[end:]
			continue
		}
		key, value := strings.TrimSpace(text[:end]), ""
		value, text = environmentValue(text[end+1:])
		if variable.MatchString(key) {
			env[key] = value
		}
	}
}

// environmentValue is what stands before the line's end, and what comes behind that.
func environmentValue(text string) (value, rest string) {
	var b strings.Builder
	quote, kept := byte(0), 0 // blanks at the end go, but for those within quotes
	begins := true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\n' && quote == 0:
			return b.String()[:kept], text[i+1:]
		case c == quote && quote != 0:
			quote, begins, kept = 0, true, b.Len()
			continue
		case begins && quote == 0 && (c == '"' || c == '\''):
			quote = c
			continue
		case begins && quote == 0 && (c == ' ' || c == '\t' || c == '\r'):
			continue
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			if text[i] == '\n' {
				continue
			}
			if quote == '"' && !strings.ContainsRune("\"\\`$", rune(text[i])) {
				b.WriteByte(c)
			}
			c = text[i]
		}
		begins = begins && quote != 0
		b.WriteByte(c)
		if quote != 0 || c != ' ' && c != '\t' && c != '\r' {
			kept = b.Len()
		}
	}
	return b.String()[:kept], ""
}

var braced = regexp.MustCompile(`\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// expandCommand puts variables into a command line as systemd does (systemd.service(5), COMMAND LINES): $NAME as a word of its
// own becomes the words of its value, ${NAME} its value wherever it stands, $$ a dollar.
func expandCommand(words []string, env map[string]string) []string {
	var line []string
	for _, word := range words {
		if name, ok := strings.CutPrefix(word, "$"); ok && variable.MatchString(name) {
			line = append(line, splitWords(env[name])...)
			continue
		}
		line = append(line, braced.ReplaceAllStringFunc(word, func(s string) string {
			if s == "$$" {
				return "$"
			}
			return env[s[2:len(s)-1]]
		}))
	}
	return line
}

// splitWords splits at blanks but for those in quotes, which go; a backslash keeps what follows it (systemd's
// basic/extract-word.c).
func splitWords(text string) []string {
	var words []string
	var b strings.Builder
	quote, word := rune(0), false
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
			b.WriteRune(c)
		case c == '\\':
			escaped, word = true, true
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, word = c, true
		case quote == 0 && slices.Contains([]rune(" \t\r\n"), c):
			if word {
				words = append(words, b.String())
			}
			b.Reset()
			word = false
		default:
			b.WriteRune(c)
			word = true
		}
	}
	if word {
		words = append(words, b.String())
	}
	return words
}
