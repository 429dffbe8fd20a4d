package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Request is one line to process 1. "run" carries three files (standin, stdout, stderr) beside it; its connection stays
// open until the program ends and takes "signal" requests meanwhile.
type Request struct {
	Op      string
	Command *Command       `json:",omitempty"` // run
	Signal  syscall.Signal `json:",omitempty"` // signal, unit-signal
	Group   bool           `json:",omitempty"` // signal: the whole process group
	Args    []string       `json:",omitempty"` // systemctl, journalctl: their arguments; unit-*: [unit]
	Unit    *Unit          `json:",omitempty"` // unit-set
	Mount   *Mount         `json:",omitempty"` // mount, unmount
}

// Mount is one mount(2) in the machine.
type Mount struct {
	Source, Target, Type, Data string
	Flags                      uintptr
}

// Reply is one line from process 1.
type Reply struct {
	Error  string     `json:",omitempty"`
	PID    int        `json:",omitempty"` // run: as seen inside
	Exit   *Exit      `json:",omitempty"` // run: the last reply
	Stdout string     `json:",omitempty"` // systemctl, journalctl
	Stderr string     `json:",omitempty"`
	Code   int        `json:",omitempty"`
	Unit   *UnitState `json:",omitempty"` // unit-state
}

type server struct {
	listener *net.UnixListener
	children *children
	units    *units
}

func listen(children *children, units *units) (*server, error) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: Socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", Socket, err)
	}
	return &server{listener, children, units}, nil
}

func (s *server) serve() {
	s.units.boot()
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			s.handle(conn)
		}()
	}
}

func (s *server) handle(conn *net.UnixConn) {
	buf, oob := make([]byte, 64<<10), make([]byte, 256)
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		return
	}
	files := receivedFiles(oob[:oobn])
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	decoder := json.NewDecoder(io.MultiReader(&sliceReader{buf[:n]}, conn))
	encoder := json.NewEncoder(conn)
	var req Request
	if err := decoder.Decode(&req); err != nil {
		encoder.Encode(Reply{Error: err.Error()})
		return
	}
	if req.Op == "run" {
		s.run(req, files, decoder, encoder)
		return
	}
	reply, err := s.answer(req)
	if err != nil {
		reply.Error = err.Error()
	}
	encoder.Encode(reply)
}

func (s *server) answer(req Request) (Reply, error) {
	unit := ""
	if len(req.Args) > 0 {
		unit = req.Args[0]
	}
	switch req.Op {
	case "systemctl":
		return s.units.systemctl(req.Args), nil
	case "journalctl":
		return journalctl(req.Args), nil
	case "unit-set":
		return Reply{}, s.units.set(*req.Unit)
	case "unit-start":
		return Reply{}, s.units.start(unit)
	case "unit-stop":
		return Reply{}, s.units.stop(unit)
	case "unit-state":
		state, err := s.units.state(unit)
		return Reply{Unit: &state}, err
	case "unit-signal":
		return Reply{}, s.units.signal(unit, req.Signal)
	case "mount":
		m := req.Mount
		return Reply{}, unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data)
	case "unmount":
		return Reply{}, unix.Unmount(req.Mount.Target, int(req.Mount.Flags))
	}
	return Reply{}, fmt.Errorf("unknown request %q", req.Op)
}

func (s *server) run(req Request, files []int, decoder *json.Decoder, encoder *json.Encoder) {
	if len(files) != 3 || req.Command == nil {
		encoder.Encode(Reply{Error: "run wants a command and three files"})
		return
	}
	ended := make(chan Exit, 1)
	pid, err := s.children.start(*req.Command, uintptr(files[0]), uintptr(files[1]), uintptr(files[2]), func(e Exit) { ended <- e })
	// The program has its own copies; holding on to a pipe here would hide its end from the reader.
	for i, fd := range files {
		unix.Close(fd)
		files[i] = -1
	}
	if err != nil {
		encoder.Encode(Reply{Error: err.Error()})
		return
	}
	encoder.Encode(Reply{PID: pid})
	go func() {
		for {
			var more Request
			if err := decoder.Decode(&more); err != nil {
				return
			}
			target := pid
			if more.Group {
				target = -pid
			}
			// The pid may be gone by now: then there is nothing to signal, which its exit tells.
			_ = unix.Kill(target, more.Signal)
		}
	}()
	exit := <-ended
	encoder.Encode(Reply{PID: pid, Exit: &exit})
}

func receivedFiles(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var all []int
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			all = append(all, fds...)
		}
	}
	for _, fd := range all {
		unix.CloseOnExec(fd)
	}
	return all
}

type sliceReader struct{ rest []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Ask sends one request to process 1 at a socket and returns its only reply.
func Ask(socket string, req Request) (Reply, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return Reply{}, err
	}
	var reply Reply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return Reply{}, fmt.Errorf("reading the reply to %s: %w", req.Op, err)
	}
	if reply.Error != "" {
		return reply, errors.New(reply.Error)
	}
	return reply, nil
}

// Running is a program that process 1 runs for the host side.
type Running struct {
	PID     int // as seen inside
	conn    *net.UnixConn
	decoder *json.Decoder
}

// Run starts a program with the given files and returns once it runs.
func Run(socket string, cmd Command, stdin, stdout, stderr *os.File) (*Running, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(Request{Op: "run", Command: &cmd})
	if err != nil {
		conn.Close()
		return nil, err
	}
	rights := unix.UnixRights(int(stdin.Fd()), int(stdout.Fd()), int(stderr.Fd()))
	if _, _, err := conn.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		conn.Close()
		return nil, err
	}
	r := &Running{conn: conn, decoder: json.NewDecoder(conn)}
	var reply Reply
	if err := r.decoder.Decode(&reply); err != nil {
		conn.Close()
		return nil, fmt.Errorf("starting %q: %w", cmd.Args, err)
	}
	if reply.Error != "" {
		conn.Close()
		return nil, errors.New(reply.Error)
	}
	r.PID = reply.PID
	return r, nil
}

// Signal signals the program, or all of its process group. Only one goroutine may call it at a time.
func (r *Running) Signal(sig syscall.Signal, group bool) error {
	return json.NewEncoder(r.conn).Encode(Request{Op: "signal", Signal: sig, Group: group})
}

// Wait returns when the program has ended. A machine that goes down takes its programs with it by SIGKILL.
func (r *Running) Wait() Exit {
	defer r.conn.Close()
	var reply Reply
	if err := r.decoder.Decode(&reply); err != nil || reply.Exit == nil {
		return Exit{Code: -1, Signal: syscall.SIGKILL}
	}
	return *reply.Exit
}
