package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// leftFile says that this machine's Node was deleted and had the mark of its owner's will. It lies in the runtime folder, so
// the next boot finds none.
const leftFile = runtimeDir + "/left.json"

// Left is that Node. The zero value stands for none.
type Left struct {
	Name   string    `json:"name"`
	UID    string    `json:"uid"`
	BootID string    `json:"bootID"`
	Mark   string    `json:"mark"` // of its owner's will
	At     time.Time `json:"at"`   // when it was missed
}

// WriteLeft writes it for the next runs, and for whoever asks: there is no secret in it. Who reads meanwhile finds all of it,
// or what was there before.
func (h Host) WriteLeft(l Left) error {
	path := h.Path(leftFile)
	raw, err := json.Marshal(l)
	if err == nil {
		_, err = h.makeRuntimeDir()
	}
	if err == nil {
		err = writeSynced(path+".new", raw)
	}
	if err == nil {
		err = os.Chmod(path+".new", 0o644) // whatever the umask, as the status file
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", leftFile, err)
	}
	return nil
}

// ReadLeft reads what an earlier run of this boot has written. An error means that it is not known whether one has.
func (h Host) ReadLeft(bootID string) (Left, error) {
	raw, err := os.ReadFile(h.Path(leftFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Left{}, nil
	}
	var l Left
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	switch {
	case err != nil:
		return Left{}, fmt.Errorf("reading %q: %w", leftFile, err)
	case l.Name == "" || l.Mark == "" || l.BootID == "":
		return Left{}, fmt.Errorf("reading %q: it names no Node, no mark or no boot", leftFile)
	case l.BootID != bootID: // where /run is on a disk
		return Left{}, nil
	}
	return l, nil
}

// RemoveLeft: the Node is there again, or is to be.
func (h Host) RemoveLeft() error {
	if err := removeFile(h.Path(leftFile)); err != nil {
		return fmt.Errorf("removing what says that our Node was left: %w", err)
	}
	return nil
}
