package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
)

// ErrNoInitSystem: neither systemd's nor OpenRC's programs are in PATH. kubeadm then goes on without starting the kubelet.
var ErrNoInitSystem = errors.New("no init system that kubeadm supports (systemd or OpenRC)")

// Unit is the kubelet as a service.
type Unit struct {
	Missing  bool      // no such unit
	Masked   bool      // a person forbade starting it
	Disabled bool      // works now, but will not come back after a reboot
	Active   bool      // running or starting; like kubeadm, a unit that waits for its next restart counts
	Running  bool      // its main process runs now: one that waits for its next restart does not
	Failing  bool      // failed, or in a crash loop
	State    string    // the init system's own word, e.g. "active/running"
	MainPID  int       // of its main process; 0: none, or not known
	Since    time.Time // when that process was started; zero: not known
	Exits    int       // how often the init system has started it again by itself since somebody started it; -1: not known
	Blocked  string    // the unit after which it is to start, and which waits for this process to end; "": none
	Looping  bool      // it waits for its next restart, and its process has ended twice within a minute
}

// Kubelet asks the init system about the kubelet. The error is ErrNoInitSystem, or the command's.
func (h Host) Kubelet(ctx context.Context) (Unit, error) {
	switch manager() {
	case systemd:
		out, err := output(ctx, "systemctl", "show", "kubelet", "-p", "LoadState,UnitFileState,ActiveState,SubState,MainPID,NRestarts,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,After")
		if err != nil {
			return Unit{}, err
		}
		u, err := systemdUnit(out)
		if err != nil {
			return u, err
		}
		if !u.Active {
			u.Blocked = h.blocker(ctx, out)
		}
		if u.MainPID == 0 {
			return u, nil
		}
		if p, err := h.process(u.MainPID); err == nil {
			u.Since = h.started(p)
		}
		return u, nil
	case openrc:
		// Exit status 3 is "stopped", 32 "crashed": only the words count.
		status, err := output(ctx, "rc-service", "kubelet", "status")
		if err != nil && len(status) == 0 {
			return Unit{}, err
		}
		boot, err := output(ctx, "rc-update", "show", "default")
		if err != nil {
			return Unit{}, err
		}
		return openrcUnit(status, boot), nil
	}
	return Unit{}, ErrNoInitSystem
}

// cloudInitEnds are what begins, or is over, when cloud-init has run what users gave it.
var cloudInitEnds = []string{"cloud-final.service", "cloud-init.target"}

var ownUnit = regexp.MustCompile(`(?m)^(?:0:|1:name=systemd):.*/([^/\n]+\.service)`)

// blocker is that one of the units after which the kubelet is to start, by `systemctl show`, which is not done before this process
// is: systemd would let the kubelet's start wait for it, and whoever starts it with it.
func (h Host) blocker(ctx context.Context, show []string) string {
	var after []string
	for _, line := range show {
		if list, ok := strings.CutPrefix(line, "After="); ok {
			after = strings.Fields(list)
		}
	}
	cgroup, _ := os.ReadFile(h.Path("/proc/self/cgroup"))
	own := ownUnit.FindSubmatch(cgroup)
	if len(after) == 0 || own == nil {
		return ""
	}
	if cloudInits.Match(cgroup) {
		for _, end := range cloudInitEnds {
			if slices.Contains(after, end) {
				return end
			}
		}
	}
	name := string(own[1])
	if !slices.Contains(after, name) {
		return ""
	}
	state, err := output(ctx, "systemctl", "show", name, "-p", "ActiveState")
	if err != nil || !slices.Contains(state, "ActiveState=activating") {
		return ""
	}
	return name
}

// atBoot is where systemd keeps what kubeadm's unit file asks for once it is enabled.
const atBoot = "/etc/systemd/system/multi-user.target.wants/kubelet.service"

// StartsAtBoot tells without asking the init system that the kubelet's service is enabled. False means nothing.
func (h Host) StartsAtBoot() bool {
	_, err := os.Lstat(h.Path(atBoot))
	return err == nil && manager() == systemd
}

// RestartKubelet restarts the kubelet as kubeadm does, on systemd after reading the unit files again. The error carries the
// command and the end of its output, and wraps context.Cause(ctx) if ctx ended first.
func (h Host) RestartKubelet(ctx context.Context) error { return changeKubelet(ctx, "restart") }

// StartKubelet starts the kubelet, as RestartKubelet does; one that runs is left alone.
func (h Host) StartKubelet(ctx context.Context) error { return changeKubelet(ctx, "start") }

// StopKubelet returns when the kubelet has stopped. Its pods go on.
func (h Host) StopKubelet(ctx context.Context) error { return changeKubelet(ctx, "stop") }

func changeKubelet(ctx context.Context, verb string) error {
	switch manager() {
	case systemd:
		if verb != "stop" {
			if _, err := output(ctx, "systemctl", "daemon-reload"); err != nil {
				return err
			}
		}
		_, err := output(ctx, "systemctl", verb, "kubelet")
		return err
	case openrc:
		_, err := output(ctx, "rc-service", "kubelet", verb)
		return err
	}
	return ErrNoInitSystem
}

const (
	systemd = "systemd"
	openrc  = "openrc"
)

// manager chooses as kubeadm does (util/initsystem GetInitSystem): by programs in PATH, systemd first.
func manager() string {
	if _, err := exec.LookPath("systemctl"); err == nil {
		return systemd
	}
	for _, program := range []string{"openrc", "rc-service", "rc-update"} {
		if _, err := exec.LookPath(program); err != nil {
			return ""
		}
	}
	return openrc
}

// loopingRun is how long a process may have run that was started after another one had ended, and has ended too, for both
// ends to lie within a minute: the kubelet's unit waits 10 s before it starts it again.
const loopingRun = 45 * time.Second

// systemdUnit reads `systemctl show`.
func systemdUnit(out []string) (Unit, error) {
	p := map[string]string{}
	for _, line := range out {
		if key, value, ok := strings.Cut(line, "="); ok {
			p[key] = value
		}
	}
	load, file, active, sub := p["LoadState"], p["UnitFileState"], p["ActiveState"], p["SubState"]
	if load == "" || active == "" {
		return Unit{}, fmt.Errorf("reading the kubelet's state from systemctl: got %q", strings.Join(out, "; "))
	}
	// Four that not every systemd knows.
	mainPID, err := strconv.Atoi(p["MainPID"])
	if err != nil || mainPID < 0 {
		mainPID = 0
	}
	exits, err := strconv.Atoi(p["NRestarts"])
	if err != nil || exits < 0 {
		exits = -1
	}
	started, startErr := strconv.ParseInt(p["ExecMainStartTimestampMonotonic"], 10, 64)
	ended, endErr := strconv.ParseInt(p["ExecMainExitTimestampMonotonic"], 10, 64)
	lasted := time.Duration(ended-started) * time.Microsecond
	waits := active == "activating" && strings.HasPrefix(sub, "auto-restart")
	return Unit{
		Looping: waits && exits > 0 && startErr == nil && endErr == nil && ended > started && lasted < loopingRun,
		Missing: load == "not-found",
		Masked:  load == "masked" || strings.HasPrefix(file, "masked"),
		// Linked units and those enabled in /run start on request, not at boot.
		Disabled: slices.Contains([]string{"disabled", "linked", "linked-runtime", "enabled-runtime"}, file),
		Active:   slices.Contains([]string{"active", "activating", "reloading"}, active),
		Running:  active == "active" && sub == "running" || active == "reloading",
		Failing:  active == "failed" || waits,
		State:    active + "/" + sub,
		MainPID:  mainPID,
		Exits:    exits,
	}, nil
}

// openrcUnit reads `rc-service kubelet status` and `rc-update show default`, with kubeadm's tests on the words.
func openrcUnit(status, boot []string) Unit {
	words := strings.Join(status, "\n")
	u := Unit{Missing: strings.Contains(words, "does not exist"), State: "unknown", Disabled: true, Exits: -1}
	for _, state := range []string{"started", "starting", "stopping", "stopped", "inactive", "crashed", "unsupervised"} {
		if strings.Contains(words, state) {
			u.State = state
		}
	}
	u.Active = !u.Missing && (u.State == "started" || u.State == "starting" || u.State == "inactive")
	u.Running = !u.Missing && u.State == "started"
	u.Failing = u.State == "crashed"
	for _, line := range boot {
		if service, _, _ := strings.Cut(strings.TrimSpace(line), " "); service == "kubelet" {
			u.Disabled = false
		}
	}
	u.Disabled = u.Disabled && !u.Missing
	return u
}

// output runs a program of the init system and returns its lines, also with an error.
func output(ctx context.Context, program string, args ...string) ([]string, error) {
	var lines []string
	_, err := child.Run(ctx, child.Cmd{
		Path: program,
		Args: args,
		Env:  append(child.Environ(), "LC_ALL=C"), // words are compared
		Line: func(l string) { lines = append(lines, l) },
	})
	if err != nil {
		err = fmt.Errorf("running %s %s: %w%s", program, strings.Join(args, " "), err, said(lines))
	}
	return lines, err
}

// said is the end of a program's output, for an error of one line.
func said(lines []string) string {
	lines = slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.TrimSpace(l) == "" })
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines[max(0, len(lines)-3):], "; ")
}

// logWait bounds the reading of a log that is only shown to a person.
const logWait = 5 * time.Second

// openrcLog is where the kubelet's service script on Alpine Linux, the distribution with OpenRC, sends its output.
const openrcLog = "/var/log/kubelet/kubelet.log"

// openrcCommands are OpenRC's for what a person is told to do with systemd's.
var openrcCommands = strings.NewReplacer(
	"`journalctl -u kubelet`", "`tail "+openrcLog+"`",
	"`systemctl status kubelet`", "`rc-service kubelet status`",
	"`systemctl start kubelet`", "`rc-service kubelet start`",
	"`systemctl restart kubelet`", "`rc-service kubelet restart`",
	"`systemctl enable kubelet`", "`rc-update add kubelet default`",
)

// Commands is a text for a person with the commands of this machine's init system in the place of systemd's.
func Commands(text string) string {
	if manager() == openrc {
		return openrcCommands.Replace(text)
	}
	return text
}

// KubeletLog is the end of the kubelet's log, at most so many lines, within 5 s; nil if it cannot be read. The lines are
// the kubelet's own, not redacted.
func (h Host) KubeletLog(ctx context.Context, lines int) []string {
	ctx, cancel := context.WithTimeout(ctx, logWait)
	defer cancel()
	var log []string
	switch manager() {
	case systemd:
		log, _ = output(ctx, "journalctl", "-u", "kubelet", "-n", fmt.Sprint(lines), "--no-pager", "-o", "cat")
		log = slices.DeleteFunc(log, func(l string) bool { return l == "-- No entries --" })
	case openrc:
		log = tail(h.Path(openrcLog))
	}
	return log[max(0, len(log)-lines):]
}

// tail is the last 64 KiB of a file, in lines.
func tail(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const span = 64 << 10
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	b := make([]byte, min(span, info.Size()))
	n, _ := f.ReadAt(b, info.Size()-int64(len(b)))
	text := string(b[:n])
	if info.Size() > span {
		_, text, _ = strings.Cut(text, "\n") // a line cut in its middle misleads
	}
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// SwapOn tells whether the kernel swaps, as the kubelet finds it out (pkg/kubelet/util/swap): /proc/swaps has
// more than its title.
func (h Host) SwapOn() bool {
	swaps, _ := os.ReadFile(h.Path("/proc/swaps"))
	return strings.Count(strings.TrimSpace(string(swaps)), "\n") > 0
}
