package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// keptName is the file with what a run leaves to the next one, should it be killed.
const keptName = "node.json"

// Keep writes what the next run is to find should this one be killed, for root alone and in memory, in place of what was
// there; whoever reads finds the old or the new, and nothing half-written. An error means that nothing is kept.
func (h Host) Keep(content []byte) error {
	path, removeSecret, err := h.SecretFile(content)
	switch {
	case err != nil:
		return err
	case filepath.Dir(path) != h.Path(runtimeDir): // the runtime folder is on a disk
		return errors.Join(fmt.Errorf("keeping it for a next run: %q is not in memory", h.Path(runtimeDir)), removeSecret())
	}
	if err := os.Rename(path, filepath.Join(filepath.Dir(path), keptName)); err != nil {
		return errors.Join(fmt.Errorf("keeping it for a next run: %w", err), removeSecret())
	}
	return nil
}

// Kept is what an earlier run has left; nil without one. It is in the runtime folder, or not there at all: /dev/shm is open
// to everyone.
func (h Host) Kept() []byte {
	raw, err := os.ReadFile(filepath.Join(h.Path(runtimeDir), keptName))
	if err != nil {
		return nil
	}
	return raw
}

// Forget removes it, at a regular end.
func (h Host) Forget() error {
	if err := removeFile(filepath.Join(h.Path(runtimeDir), keptName)); err != nil {
		return fmt.Errorf("removing what was kept for a next run: %w", err)
	}
	return nil
}
