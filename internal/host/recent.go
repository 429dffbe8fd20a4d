package host

import (
	"sync"
	"time"
)

// Recent is what the last look through all processes saw. Who asks for several facts at once looks once: on a machine with
// hundreds of processes that costs more than all the rest.
type Recent struct {
	mu       sync.Mutex
	began    time.Time
	all      []process
	programs map[int]program // by process
}

// program is what a process runs.
type program struct {
	line  []string // its command line
	names []string
}

// aMoment is for how long what was seen serves.
const aMoment = 100 * time.Millisecond

// Forget is for whoever has changed something: what was seen was before that.
func (r *Recent) Forget() {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.began = time.Time{}
	}
}

// processes are the living processes that /proc shows, or showed a moment ago.
func (h Host) processes() ([]process, error) {
	r := h.Recent
	if r == nil {
		return h.readProcesses()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.began) < aMoment {
		return r.all, nil
	}
	began := time.Now()
	all, err := h.readProcesses()
	if err != nil {
		return nil, err
	}
	r.began, r.all, r.programs = began, all, map[int]program{}
	return all, nil
}

// program of one of the processes; its line is nil as commandLine's is.
func (h Host) program(p process) (program, error) {
	r := h.Recent
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if known, ok := r.programs[p.pid]; ok {
			return known, nil
		}
	}
	line, err := h.commandLine(p.pid)
	if err != nil {
		return program{}, err
	}
	is := program{line: line}
	if len(line) > 0 {
		is.names = h.programNames(p, line)
	}
	if r != nil && r.programs != nil {
		r.programs[p.pid] = is
	}
	return is, nil
}
