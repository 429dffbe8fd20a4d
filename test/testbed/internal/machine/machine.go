// Package machine is the inside of a testbed machine.
//
// A machine is this very executable, started again as process 1 of its own PID, mount, network, UTS and IPC namespaces. It
// builds its root from an own folder and the host's /usr (read-only), then serves requests on a socket: run a program,
// start a unit, mount something. When process 1 dies the kernel ends every process in the machine, its mounts and its
// network, so there is nothing to tear down.
//
// The same executable stands in for systemctl and journalctl there. All of these lives begin in this package's init
// function. It imports next to nothing, so it is initialized, and never returns, long before the heavy packages of a test
// binary are: a stand-in answers in milliseconds, and importing the testbed is all that a test or a command has to do.
package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Names under which this executable is started again.
const (
	InitName  = "testbed-machine"
	GuardName = "testbed-guard"
)

// Socket is where process 1 listens, as seen inside the machine.
const Socket = "/run/testbed.sock"

// BinDir is first in PATH inside the machine, PartsDir holds the compiled components, ImageDir a booted node's image.
const (
	BinDir   = "/opt/testbed/bin"
	PartsDir = "/opt/testbed/parts"
	ImageDir = "/opt/testbed/image"
	DataDir  = "/var/lib/testbed"
)

// Path is the search path of everything that runs in a machine.
const Path = BinDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Spec is what process 1 has to know before it can serve.
type Spec struct {
	Hostname string
	Root     string            // the host's folder that becomes the machine's /
	Parts    string            // the host's folder with the compiled components
	Image    string            // the host's folder with a booted node's image; may be empty
	Over     map[string]string // path inside (in /proc or /sys) -> the host's file to show there
}

// Files that the host side passes to process 1.
const (
	specFD  = 3 // the Spec, as JSON
	readyFD = 4 // "ok", or why not
)

func init() {
	switch filepath.Base(os.Args[0]) {
	case InitName:
		runInit()
	case GuardName:
		runGuard(os.Args[1:])
	case "systemctl", "journalctl":
		runStandIn()
	}
}

func runInit() {
	ready := os.NewFile(readyFD, "ready")
	server, err := boot()
	if err != nil {
		fmt.Fprint(ready, err.Error())
		os.Exit(1)
	}
	fmt.Fprint(ready, "ok")
	ready.Close()
	server.serve()
	os.Exit(0)
}

func boot() (*server, error) {
	// Process 1 ends by SIGKILL alone. It catches the other signals and does nothing: were they ignored, every program in
	// the machine would start with them ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	file := os.NewFile(specFD, "spec")
	var spec Spec
	if err := json.NewDecoder(file).Decode(&spec); err != nil {
		return nil, fmt.Errorf("reading the machine's spec: %w", err)
	}
	file.Close()
	if err := buildRoot(spec); err != nil {
		return nil, fmt.Errorf("building the root of %s: %w", spec.Hostname, err)
	}
	children := newChildren()
	units, err := loadUnits(children)
	if err != nil {
		return nil, fmt.Errorf("loading units: %w", err)
	}
	server, err := listen(children, units)
	if err != nil {
		return nil, err
	}
	return server, nil
}
