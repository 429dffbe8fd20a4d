package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Unit is a service as a unit file would describe it, and the faults that a test wants of it.
type Unit struct {
	Name        string // "kubelet.service"
	Description string
	Command     []string // a word $NAME becomes the words of that variable
	EnvFiles    []string // read before every start, in order; a missing one is no error
	Env         []string
	UID         uint32 // User=
	Restart     bool   // Restart=always
	RestartSec  time.Duration
	StopTimeout time.Duration // from SIGTERM to SIGKILL; systemd's default if zero
	Enabled     bool          // started at boot
	Missing     bool          // there is no such unit
	Masked      bool
	// Fail makes a verb of systemctl ("start", "restart", "stop") fail with the given words.
	Fail map[string]string `json:",omitempty"`
}

// UnitState is what `systemctl show` tells.
type UnitState struct {
	ActiveState, SubState string
	MainPID, Restarts     int
	Since                 time.Time
	MainStart, MainExit   time.Time // of the last main process; the latter zero while it runs
}

// stopTimeout is systemd's DefaultTimeoutStopSec.
const stopTimeout = 90 * time.Second

type service struct {
	Unit
	UnitState
	stopping bool
	restart  *time.Timer
	ended    chan struct{} // closed when the main process has ended
}

// units is the service manager of a machine: the part of systemd that kubeadm, kubelet and their keepers rely on.
type units struct {
	children *children
	mu       sync.Mutex
	byName   map[string]*service
}

var unitsFile = filepath.Join(DataDir, "units.json")

func loadUnits(children *children) (*units, error) {
	u := &units{children: children, byName: map[string]*service{}}
	data, err := os.ReadFile(unitsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return nil, err
	}
	var saved []Unit
	if err := json.Unmarshal(data, &saved); err != nil {
		return nil, err
	}
	for _, unit := range saved {
		u.byName[unit.Name] = &service{Unit: unit, UnitState: idle("inactive")}
	}
	return u, u.link()
}

// wanted is where systemd has a link to each unit that is started at boot.
const wanted = "/etc/systemd/system/multi-user.target.wants/"

func (u *units) link() error {
	if err := os.MkdirAll(wanted, 0o755); err != nil {
		return err
	}
	for name, s := range u.byName {
		if err := os.Remove(wanted + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if s.Enabled && !s.Missing {
			if err := os.Symlink("/lib/systemd/system/"+name, wanted+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func idle(state string) UnitState {
	sub := map[string]string{"inactive": "dead", "failed": "failed"}[state]
	return UnitState{ActiveState: state, SubState: sub, Since: time.Now()}
}

// save is called with mu held: what was enabled or masked stays so after a reboot.
func (u *units) save() error {
	var all []Unit
	for _, s := range u.byName {
		all = append(all, s.Unit)
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return errors.Join(u.link(), os.WriteFile(unitsFile, data, 0o644))
}

func (u *units) boot() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.byName {
		if s.Enabled && !s.Missing && !s.Masked {
			u.spawn(s)
		}
	}
}

func (u *units) set(unit Unit) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.byName[unit.Name]; s != nil {
		s.Unit = unit
	} else {
		u.byName[unit.Name] = &service{Unit: unit, UnitState: idle("inactive")}
	}
	return u.save()
}

func (u *units) find(name string) *service {
	if !strings.Contains(name, ".") {
		name += ".service"
	}
	return u.byName[name]
}

func (u *units) state(name string) (UnitState, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.find(name)
	if s == nil {
		return UnitState{}, fmt.Errorf("no unit %q", name)
	}
	return s.UnitState, nil
}

func (u *units) signal(name string, sig syscall.Signal) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.find(name)
	if s == nil || s.MainPID == 0 {
		return fmt.Errorf("unit %q does not run", name)
	}
	return syscall.Kill(s.MainPID, sig)
}

func (u *units) start(name string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.find(name)
	if s == nil {
		return fmt.Errorf("no unit %q", name)
	}
	if s.MainPID == 0 {
		u.spawn(s)
	}
	return nil
}

// spawn is called with mu held.
func (u *units) spawn(s *service) {
	if s.restart != nil {
		s.restart.Stop()
		s.restart = nil
	}
	s.stopping = false
	ended := make(chan struct{})
	s.ended = ended
	pid, err := u.exec(s, func(exit Exit) { u.ended(s, exit, ended) })
	if err != nil {
		// systemd has forked by now and its child fails with 203.
		s.log("%s: Failed to execute %s: %v", s.Name, s.Command[0], err)
		go u.ended(s, Exit{Code: 203}, ended)
		pid = 0
	} else {
		s.log("Started %s - %s.", s.Name, s.Description)
	}
	s.UnitState = UnitState{ActiveState: "active", SubState: "running", MainPID: pid, Restarts: s.Restarts, Since: time.Now(), MainStart: time.Now()}
}

func (u *units) exec(s *service, done func(Exit)) (int, error) {
	env := append([]string(nil), s.Env...)
	for _, file := range s.EnvFiles {
		env = append(env, readEnvFile(file)...)
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	defer null.Close()
	cmd := Command{Args: expand(s.Command, env), Env: env, Dir: "/", UID: s.UID}
	return u.children.start(cmd, null.Fd(), log.Fd(), log.Fd(), done)
}

// ended is called once for every spawn, from a goroutine without locks.
func (u *units) ended(s *service, exit Exit, ended chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer close(ended)
	clean := exit.Code == 0
	switch {
	case exit.Signal != 0:
		s.log("%s: Main process exited, code=killed, status=%d/%s", s.Name, int(exit.Signal), exit.Signal)
	case !clean:
		s.log("%s: Main process exited, code=exited, status=%d/FAILURE", s.Name, exit.Code)
	}
	restarts := s.Restarts
	switch {
	case s.stopping:
		s.UnitState = idle("inactive")
		s.log("Stopped %s - %s.", s.Name, s.Description)
	case s.Restart:
		s.UnitState = UnitState{ActiveState: "activating", SubState: "auto-restart", Restarts: restarts, Since: time.Now(), MainStart: s.MainStart, MainExit: time.Now()}
		s.restart = time.AfterFunc(s.RestartSec, func() { u.again(s) })
	case clean:
		s.UnitState = idle("inactive")
	default:
		s.UnitState = idle("failed")
	}
}

// again starts a service after its RestartSec, unless somebody was faster.
func (u *units) again(s *service) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s.restart == nil || s.SubState != "auto-restart" {
		return
	}
	s.Restarts++
	s.log("%s: Scheduled restart job, restart counter is at %d.", s.Name, s.Restarts)
	u.spawn(s)
}

// stop asks by SIGTERM, waits as systemd does, then kills.
func (u *units) stop(name string) error {
	u.mu.Lock()
	s := u.find(name)
	if s == nil {
		u.mu.Unlock()
		return fmt.Errorf("no unit %q", name)
	}
	if s.restart != nil {
		s.restart.Stop()
		s.restart = nil
	}
	pid, ended := s.MainPID, s.ended
	if pid == 0 {
		s.UnitState = idle("inactive")
		u.mu.Unlock()
		return nil
	}
	s.stopping = true
	s.ActiveState, s.SubState = "deactivating", "stop-sigterm"
	s.log("Stopping %s - %s...", s.Name, s.Description)
	syscall.Kill(pid, syscall.SIGTERM)
	syscall.Kill(pid, syscall.SIGCONT) // a stopped process could not obey
	patience := s.StopTimeout
	if patience == 0 {
		patience = stopTimeout
	}
	u.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(patience):
		syscall.Kill(-pid, syscall.SIGKILL)
		<-ended
	}
	return nil
}

func (s *service) logPath() string { return LogPath(s.Name) }

// LogPath is where a unit's output goes: what journalctl reads.
func LogPath(unit string) string {
	return "/var/log/" + strings.TrimSuffix(unit, ".service") + ".log"
}

// log adds systemd's own lines to the unit's journal.
func (s *service) log(format string, args ...any) {
	f, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return // a full disk is one of the faults
	}
	defer f.Close()
	fmt.Fprintf(f, format+"\n", args...)
}

// expand replaces the words $NAME of a command by the words of the variable, as systemd does.
func expand(command, env []string) []string {
	var args []string
	for _, word := range command {
		name, ok := strings.CutPrefix(word, "$")
		if !ok {
			args = append(args, word)
			continue
		}
		for i := len(env) - 1; i >= 0; i-- {
			if value, ok := strings.CutPrefix(env[i], name+"="); ok {
				args = append(args, strings.Fields(value)...)
				break
			}
		}
	}
	return args
}

// readEnvFile reads KEY=value lines; a value may be quoted.
func readEnvFile(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var env []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		env = append(env, key+"="+value)
	}
	return env
}
