package testbed

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// Path is where the host finds a path of the machine. While it runs this reaches everything, /run and /proc included;
// else only its disk. An absolute symlink on the way leads to the host's file: ReadFile follows those rightly. In a real machine
// that runs it reaches nothing.
func (m *Machine) Path(path string) string {
	if m.remote() {
		return filepath.Join("/proc/0/root", path)
	}
	if pid := m.pid(); pid != 0 {
		return fmt.Sprintf("/proc/%d/root%s", pid, filepath.Join("/", path))
	}
	if pid := m.outer(); pid != 0 {
		return fmt.Sprintf("/proc/%d/root%s", pid, filepath.Join(m.inner, "/", path))
	}
	return m.disk(path)
}

// Root is the machine's disk as a folder of the host. It lacks what is mounted: /run, /proc, /sys, /dev, /usr.
func (m *Machine) Root() string { return m.disk("/") }

// ReadFile reads a file as the machine sees it.
func (m *Machine) ReadFile(path string) ([]byte, error) {
	if m.remote() {
		return m.readComputer(path)
	}
	root, err := unix.Open(m.Path("/"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the root of %s: %w", m.Name, err)
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return nil, &os.PathError{Op: "reading on " + m.Name, Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	return io.ReadAll(f)
}

// WriteFile writes a file of the machine, with its folders.
func (m *Machine) WriteFile(path, text string, mode os.FileMode) error {
	if m.remote() {
		return m.writeComputer(path, text, mode)
	}
	path = m.Path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// Exists tells whether there is something at a path, a broken symlink included.
func (m *Machine) Exists(path string) bool {
	if m.remote() {
		return m.existsInComputer(path)
	}
	_, err := os.Lstat(m.Path(path))
	return err == nil
}

// Install puts a program of the host into the machine's search path. Where the file system lets them, machines share it, and
// nothing may write into it: hundreds of copies would not fit into memory.
func (m *Machine) Install(program, name string) error {
	path := m.disk(filepath.Join(machine.BinDir, name))
	_ = os.Remove(path + ".new") // of a rename to itself, which does nothing
	if err := os.Link(program, path+".new"); err == nil {
		return os.Rename(path+".new", path)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("installing %s on %s: %w", name, m.Name, err)
	}
	return m.SetProgram(name, string(data))
}

// SetProgram puts a program, as a rule a script, first in the machine's search path.
func (m *Machine) SetProgram(name, content string) error {
	path := m.disk(filepath.Join(machine.BinDir, name))
	_ = os.Remove(path + ".new") // it may be shared
	// Renamed into place: the old one may be running, or be a symlink that must not be followed.
	if err := os.WriteFile(path+".new", []byte(content), 0o755); err != nil {
		return fmt.Errorf("installing %s on %s: %w", name, m.Name, err)
	}
	return os.Rename(path+".new", path)
}

// RemoveProgram takes a program of the testbed out of the machine's search path.
func (m *Machine) RemoveProgram(name string) error {
	return os.Remove(m.disk(filepath.Join(machine.BinDir, name)))
}
