package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// journal lists what an unfinished `kubeadm join` has written, for the next run, which may be after a power failure.
const journal = "/var/lib/nodejoin/journal"

// Journal is what a join writes to paths that were free before it: the hashes of what each of them may hold then. A path
// proves nothing by itself, for somebody may have placed a file there since.
type Journal map[string][]string

// journalFile binds a journal to the machine whose paths it lists: a copy of the disk is another machine.
type journalFile struct {
	MachineID  string  `json:"machineID"`
	SystemUUID string  `json:"systemUUID"`
	Files      Journal `json:"files"`
}

// ReadJournal reads the journal of an earlier run; nil without one. An error means that it proves nothing.
func (h Host) ReadJournal(id Identity) (Journal, error) {
	var is journalFile
	info, err := os.Lstat(h.Path(journal))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil && !ownFile(info):
		err = fmt.Errorf("%q is not a file that this user alone can write to (%s)", journal, info.Mode())
	case err == nil:
		var raw []byte
		if raw, err = os.ReadFile(h.Path(journal)); err == nil {
			err = json.Unmarshal(raw, &is)
		}
	}
	if err == nil && !id.sameMachine(is) {
		err = fmt.Errorf("%q is of another machine (machine-id %q, UUID %q)", journal, is.MachineID, is.SystemUUID)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal of an earlier run: %w", err)
	}
	return is.Files, nil
}

// sameMachine: an empty value is nobody's.
func (id Identity) sameMachine(is journalFile) bool {
	return id.MachineID != "" && id.SystemUUID != "" && id.MachineID == is.MachineID && id.SystemUUID == is.SystemUUID
}

func ownFile(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && int(stat.Uid) == os.Geteuid() && info.Mode().Perm()&0o022 == 0
}

// WriteJournal replaces the journal, and returns when it is on the disk: whoever writes what it lists may be killed at once.
func (h Host) WriteJournal(id Identity, files Journal) error {
	path := h.Path(journal)
	raw, err := json.Marshal(journalFile{id.MachineID, id.SystemUUID, files})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = writeSynced(path+".new", raw)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(filepath.Dir(path))} { // the second, for the first may be new
		if err == nil {
			err = syncDir(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	if err := removeFile(path); err != nil { // of a run that was killed
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// RemoveJournal: there is no unfinished join any more.
func (h Host) RemoveJournal() error {
	if err := removeFile(h.Path(journal)); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return nil
}

// Expect adds what a join will write to a path, in any of several renderings, if nothing is there. One of them is nothing at
// all: a power failure empties what was written just before.
func (h Host) Expect(files Journal, path string, contents ...[]byte) {
	if _, err := os.Lstat(h.Path(path)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, content := range append(contents, nil) {
		files[path] = append(files[path], hash(content))
	}
}

// Written tells whether a file is what the journal says: nobody has changed it, or placed it there, since.
func (h Host) Written(files Journal, path string) bool {
	info, err := os.Lstat(h.Path(path))
	if err != nil || !info.Mode().IsRegular() || len(files[path]) == 0 {
		return false
	}
	content, err := os.ReadFile(h.Path(path))
	return err == nil && slices.Contains(files[path], hash(content))
}

// RemoveWritten removes a file that is what the journal says.
func (h Host) RemoveWritten(files Journal, path string) error {
	if !h.Written(files, path) {
		return fmt.Errorf("%q has changed meanwhile", path)
	}
	return removeFile(h.Path(path))
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
