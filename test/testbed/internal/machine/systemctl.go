package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is one call of systemctl or kubeadm in a machine.
type Call struct {
	At   time.Time
	Args []string // without the program's name
	Code int      // systemctl's exit status
}

// CallsFile keeps systemctl's calls over reboots, one JSON object on each line.
var CallsFile = filepath.Join(DataDir, "systemctl.calls")

// systemctl answers with systemd's words and exit statuses (those of systemd 252).
func (u *units) systemctl(args []string) Reply {
	at := time.Now()
	reply := u.verb(args)
	if line, err := json.Marshal(Call{At: at, Args: args, Code: reply.Code}); err == nil {
		if f, err := os.OpenFile(CallsFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err == nil {
			f.Write(append(line, '\n'))
			f.Close()
		}
	}
	return reply
}

type options struct {
	words      []string
	properties []string
	value      bool
	quiet      bool
	now        bool
}

func parseOptions(args []string) options {
	var o options
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-p" || arg == "--property":
			if i++; i < len(args) {
				o.properties = append(o.properties, strings.Split(args[i], ",")...)
			}
		case strings.HasPrefix(arg, "--property="):
			o.properties = append(o.properties, strings.Split(strings.TrimPrefix(arg, "--property="), ",")...)
		case arg == "--value":
			o.value = true
		case arg == "-q" || arg == "--quiet":
			o.quiet = true
		case arg == "--now":
			o.now = true
		case strings.HasPrefix(arg, "-p") && !strings.HasPrefix(arg, "--"):
			o.properties = append(o.properties, strings.Split(arg[2:], ",")...)
		case strings.HasPrefix(arg, "-"): // --no-pager, --no-block, --no-ask-password, --system, ...
		default:
			o.words = append(o.words, arg)
		}
	}
	return o
}

func (u *units) verb(args []string) Reply {
	if slices.Contains(args, "--version") {
		return Reply{Stdout: "systemd 252 (252.1-testbed)\n"}
	}
	o := parseOptions(args)
	if len(o.words) == 0 {
		return Reply{}
	}
	verb, names := o.words[0], o.words[1:]
	switch verb {
	case "daemon-reload", "daemon-reexec", "reset-failed":
		return Reply{}
	case "is-system-running":
		return Reply{Stdout: "running\n"}
	}
	handlers := map[string]func(string, options) Reply{
		"start": u.change("start"), "restart": u.change("restart"), "stop": u.change("stop"), "try-restart": u.change("restart"),
		"enable": u.enable(true), "disable": u.enable(false), "mask": u.mask(true), "unmask": u.mask(false),
		"is-active": u.isActive, "is-enabled": u.isEnabled, "is-failed": u.isFailed, "status": u.status, "show": u.show, "cat": u.cat,
	}
	handler, ok := handlers[verb]
	if !ok {
		return Reply{Stderr: fmt.Sprintf("Unknown command verb %s.\n", verb), Code: 1}
	}
	if len(names) == 0 {
		return Reply{Stderr: "Too few arguments.\n", Code: 1}
	}
	var all Reply
	for _, name := range names {
		if !strings.Contains(name, ".") {
			name += ".service"
		}
		one := handler(name, o)
		all.Stdout += one.Stdout
		all.Stderr += one.Stderr
		all.Code = max(all.Code, one.Code)
	}
	if o.quiet {
		all.Stdout = ""
	}
	return all
}

// look copies a unit under the lock; nil means that systemd would not find it.
func (u *units) look(name string) *service {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.find(name)
	if s == nil || s.Missing {
		return nil
	}
	copied := *s
	return &copied
}

func (u *units) change(verb string) func(string, options) Reply {
	return func(name string, _ options) Reply {
		s := u.look(name)
		switch {
		case s == nil && verb == "stop":
			return Reply{Stderr: fmt.Sprintf("Failed to stop %s: Unit %s not loaded.\n", name, name), Code: 5}
		case s == nil:
			return Reply{Stderr: fmt.Sprintf("Failed to %s %s: Unit %s not found.\n", verb, name, name), Code: 5}
		case s.Masked && verb != "stop":
			return Reply{Stderr: fmt.Sprintf("Failed to %s %s: Unit %s is masked.\n", verb, name, name), Code: 1}
		case s.Fail[verb] != "":
			return Reply{Stderr: s.Fail[verb] + "\n", Code: 1}
		}
		if verb != "start" {
			u.stop(name)
		}
		if verb != "stop" {
			u.start(name)
		}
		return Reply{}
	}
}

func (u *units) enable(on bool) func(string, options) Reply {
	return func(name string, o options) Reply {
		verb := map[bool]string{true: "enable", false: "disable"}[on]
		s := u.look(name)
		switch {
		case s == nil:
			return Reply{Stderr: fmt.Sprintf("Failed to %s unit: Unit file %s does not exist.\n", verb, name), Code: 1}
		case s.Masked && on:
			return Reply{Stderr: fmt.Sprintf("Failed to enable unit: Unit file /etc/systemd/system/%s is masked.\n", name), Code: 1}
		case s.Fail[verb] != "":
			return Reply{Stderr: s.Fail[verb] + "\n", Code: 1}
		}
		reply := Reply{}
		link := wanted + name
		if on && !s.Enabled {
			reply.Stderr = fmt.Sprintf("Created symlink %s → /lib/systemd/system/%s.\n", link, name)
		} else if !on && s.Enabled {
			reply.Stderr = fmt.Sprintf("Removed %q.\n", link)
		}
		u.mu.Lock()
		u.find(name).Enabled = on
		u.save()
		u.mu.Unlock()
		if o.now && on {
			u.start(name)
		} else if o.now {
			u.stop(name)
		}
		return reply
	}
}

func (u *units) mask(on bool) func(string, options) Reply {
	return func(name string, _ options) Reply {
		u.mu.Lock()
		defer u.mu.Unlock()
		if s := u.find(name); s != nil {
			s.Masked = on
			u.save()
		}
		return Reply{}
	}
}

func (u *units) isActive(name string, _ options) Reply {
	s := u.look(name)
	if s == nil {
		return Reply{Stdout: "inactive\n", Code: 4}
	}
	reply := Reply{Stdout: s.ActiveState + "\n"}
	if s.ActiveState != "active" {
		reply.Code = 3
	}
	return reply
}

func (u *units) isFailed(name string, o options) Reply {
	reply := u.isActive(name, o)
	reply.Code = 1
	if reply.Stdout == "failed\n" {
		reply.Code = 0
	}
	return reply
}

func (u *units) isEnabled(name string, _ options) Reply {
	s := u.look(name)
	if s == nil {
		return Reply{Stderr: fmt.Sprintf("Failed to get unit file state for %s: No such file or directory\n", name), Code: 1}
	}
	reply := Reply{Stdout: s.fileState() + "\n"}
	if s.fileState() != "enabled" {
		reply.Code = 1
	}
	return reply
}

func (s *service) fileState() string {
	switch {
	case s.Masked:
		return "masked"
	case s.Enabled:
		return "enabled"
	}
	return "disabled"
}

func (s *service) loaded() (state, fragment string) {
	if s.Masked {
		return "masked", "/dev/null"
	}
	return "loaded", "/lib/systemd/system/" + s.Name
}

func (u *units) status(name string, _ options) Reply {
	s := u.look(name)
	if s == nil {
		return Reply{Stderr: fmt.Sprintf("Unit %s could not be found.\n", name), Code: 4}
	}
	load, fragment := s.loaded()
	var b strings.Builder
	fmt.Fprintf(&b, "● %s - %s\n", s.Name, s.Description)
	fmt.Fprintf(&b, "     Loaded: %s (%s; %s; preset: enabled)\n", load, fragment, s.fileState())
	fmt.Fprintf(&b, "     Active: %s (%s) since %s\n", s.ActiveState, s.SubState, s.Since.Format("Mon 2006-01-02 15:04:05 MST"))
	if s.MainPID != 0 {
		fmt.Fprintf(&b, "   Main PID: %d (%s)\n", s.MainPID, filepath.Base(s.Command[0]))
	}
	reply := Reply{Stdout: b.String()}
	if s.ActiveState != "active" {
		reply.Code = 3
	}
	return reply
}

func (u *units) show(name string, o options) Reply {
	values := map[string]string{
		"Id": name, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": "", "MainPID": "0",
		"NRestarts": "0", "FragmentPath": "", "Description": name, "Result": "success",
	}
	if s := u.look(name); s != nil {
		values["LoadState"], values["FragmentPath"] = s.loaded()
		values["ActiveState"], values["SubState"] = s.ActiveState, s.SubState
		values["UnitFileState"] = s.fileState()
		values["MainPID"], values["NRestarts"] = strconv.Itoa(s.MainPID), strconv.Itoa(s.Restarts)
		values["ExecMainStartTimestampMonotonic"], values["ExecMainExitTimestampMonotonic"] = microseconds(s.MainStart), microseconds(s.MainExit)
		values["ExecStart"] = fmt.Sprintf("{ path=%s ; argv[]=%s ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }",
			s.Command[0], strings.Join(s.Command, " "))
		values["Environment"] = quoted(s.Env)
		values["EnvironmentFiles"] = strings.Join(s.EnvFiles, " (ignore_errors=yes)\nEnvironmentFiles=") + " (ignore_errors=yes)"
		if len(s.EnvFiles) == 0 {
			delete(values, "EnvironmentFiles")
		}
		values["Description"] = s.Description
		if s.SubState == "auto-restart" || s.ActiveState == "failed" {
			values["Result"] = "exit-code"
		}
		values["ActiveEnterTimestamp"] = s.Since.Format("Mon 2006-01-02 15:04:05 MST")
	}
	names := o.properties
	if len(names) == 0 {
		for key := range values {
			names = append(names, key)
		}
		slices.Sort(names)
	}
	var b strings.Builder
	for _, key := range names {
		value, known := values[key]
		switch {
		case !known: // systemd leaves out what it does not know
		case o.value:
			fmt.Fprintln(&b, value)
		default:
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
	}
	return Reply{Stdout: b.String()}
}

func (u *units) cat(name string, _ options) Reply {
	s := u.look(name)
	if s == nil {
		return Reply{Stderr: fmt.Sprintf("No files found for %s.\n", name), Code: 1}
	}
	return Reply{Stdout: fmt.Sprintf("# /lib/systemd/system/%s\n[Unit]\nDescription=%s\n\n[Service]\nExecStart=%s\n",
		s.Name, s.Description, strings.Join(s.Command, " "))}
}

// quoted is a list as systemd 252 prints it.
func quoted(list []string) string {
	var words []string
	for _, word := range list {
		if strings.ContainsAny(word, " \t\n\"'\\$`*?[#~()<>|&;!{}") {
			word = `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "`", "\\`", "$", `\$`).Replace(word) + `"`
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// microseconds are counted from another beginning than systemd's: only differences mean anything.
func microseconds(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}
