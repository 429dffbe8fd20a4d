package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var thisMachine = Identity{BootID: "boot", MachineID: "machine", SystemUUID: "uuid"}

const placed = "/etc/kubernetes/pki/ca.crt"

func put(t *testing.T, h Host, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.Path(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Path(path), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestJournalIsReadBackByTheSameMachineAlone(t *testing.T) {
	h := Host{Root: t.TempDir()}
	if files, err := h.ReadJournal(thisMachine); files != nil || err != nil {
		t.Errorf("without one: %v, %v", files, err)
	}
	for _, content := range []string{"one", "two"} { // the second in place of the first, and of what a kill has left
		files := Journal{}
		h.Expect(files, placed, []byte(content), []byte("older "+content))
		if err := h.WriteJournal(thisMachine, files); err != nil {
			t.Fatal(err)
		}
		got, err := h.ReadJournal(thisMachine)
		if err != nil || len(got) != 1 || len(got[placed]) != 3 || got[placed][0] != files[placed][0] {
			t.Errorf("%v, %v", got, err)
		}
		put(t, h, journal+".new", "half")
	}
	later := thisMachine
	later.BootID = "another boot"
	if _, err := h.ReadJournal(later); err != nil {
		t.Errorf("after a reboot: %v", err)
	}
	info, err := os.Stat(h.Path(journal))
	dir, dirErr := os.Stat(filepath.Dir(h.Path(journal)))
	if err != nil || dirErr != nil || info.Mode().Perm() != 0o600 || dir.Mode().Perm() != 0o700 {
		t.Errorf("%v %v, %v %v", info.Mode(), err, dir.Mode(), dirErr)
	}
	for name, id := range map[string]Identity{
		"another machine-id": {MachineID: "clone", SystemUUID: "uuid"},
		"another UUID":       {MachineID: "machine", SystemUUID: "clone"},
		"no machine-id":      {SystemUUID: "uuid"},
		"no UUID":            {MachineID: "machine"},
	} {
		if files, err := h.ReadJournal(id); files != nil || err == nil || !strings.Contains(err.Error(), "another machine") {
			t.Errorf("%s: %v, %v", name, files, err)
		}
		if id.MachineID == "" || id.SystemUUID == "" { // one that was written so proves nothing to its own writer
			if err := h.WriteJournal(id, Journal{placed: {"x"}}); err != nil {
				t.Fatal(err)
			}
			if files, err := h.ReadJournal(id); files != nil || err == nil {
				t.Errorf("%s on both sides: %v, %v", name, files, err)
			}
		}
	}
	if err := h.RemoveJournal(); err != nil {
		t.Error(err)
	}
	if files, err := h.ReadJournal(thisMachine); files != nil || err != nil {
		t.Errorf("removed: %v, %v", files, err)
	}
	if err := h.RemoveJournal(); err != nil {
		t.Errorf("removing none: %v", err)
	}
}

func TestJournalThatProvesNothing(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"malformed":           func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) },
		"empty":               func(path string) error { return os.Truncate(path, 0) },
		"writable by others":  func(path string) error { return os.Chmod(path, 0o602) },
		"writable by a group": func(path string) error { return os.Chmod(path, 0o620) },
		"somebody's":          func(path string) error { return os.Lchown(path, 65534, 65534) },
		"a link": func(path string) error {
			if err := os.Rename(path, path+".target"); err != nil {
				return err
			}
			return os.Symlink(path+".target", path)
		},
		"a directory": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := Host{Root: t.TempDir()}
			if err := h.WriteJournal(thisMachine, Journal{placed: {hash([]byte("x"))}}); err != nil {
				t.Fatal(err)
			}
			if err := spoil(h.Path(journal)); err != nil {
				t.Skip(err)
			}
			files, err := h.ReadJournal(thisMachine)
			if files != nil || err == nil || name == "a directory" && !strings.Contains(err.Error(), "is not a file") {
				t.Errorf("%v, %v", files, err)
			}
		})
	}
}

func TestJournalThatCannotBeWrittenIsAnErrorAndLeavesTheOldOne(t *testing.T) {
	h := Host{Root: t.TempDir()}
	if err := h.WriteJournal(thisMachine, Journal{placed: {"old"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(h.Path(journal)+".new/in-the-way", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteJournal(thisMachine, Journal{}); err == nil {
		t.Error("no error")
	}
	if files, err := h.ReadJournal(thisMachine); err != nil || len(files[placed]) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestOnlyWhatTheJournalSaysIsAJoins(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string // "-": not there
		written       bool
	}{
		"what it said":                      {"-", "expected", true},
		"in the other rendering":            {"-", "expected too", true},
		"emptied by a power failure":        {"-", "", true},
		"something else was placed there":   {"-", "somebody's", false},
		"it was changed":                    {"-", "expected\n", false},
		"nothing":                           {"-", "-", false},
		"it was there before":               {"expected", "expected", false},
		"it was there before, and is empty": {"", "", false},
	} {
		h, files := Host{Root: t.TempDir()}, Journal{}
		if c.before != "-" {
			put(t, h, placed, c.before)
		}
		h.Expect(files, placed, []byte("expected"), []byte("expected too"))
		if c.after != "-" {
			put(t, h, placed, c.after)
		}
		if got := h.Written(files, placed); got != c.written {
			t.Errorf("%s: a join's %t", name, got)
		}
		err := h.RemoveWritten(files, placed)
		_, gone := os.Lstat(h.Path(placed))
		if (err == nil) != c.written || (gone == nil) == (c.written || c.after == "-") {
			t.Errorf("%s: %v, %v", name, err, gone)
		}
	}
}

func TestALinkIsNoFileOfAJoins(t *testing.T) {
	h, files := Host{Root: t.TempDir()}, Journal{}
	h.Expect(files, placed, []byte("expected"))
	put(t, h, "/srv/ca.crt", "expected")
	put(t, h, placed+".beside", "")
	if err := os.Symlink(h.Path("/srv/ca.crt"), h.Path(placed)); err != nil {
		t.Fatal(err)
	}
	if h.Written(files, placed) {
		t.Error("it is taken for one")
	}
	again := Journal{}
	if h.Expect(again, placed, []byte("expected")); len(again) > 0 {
		t.Error("and a path with a link in it for a free one")
	}
}
