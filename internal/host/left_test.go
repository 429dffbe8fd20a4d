package host

import (
	"os"
	"testing"
	"time"
)

func TestLeftNodeIsReadInTheSameBootOnly(t *testing.T) {
	h := Host{Root: t.TempDir()}
	if l, err := h.ReadLeft("boot"); err != nil || l != (Left{}) {
		t.Errorf("without one: %+v, %v", l, err)
	}
	wrote := Left{Name: "w1", UID: "uid-1", BootID: "boot", Mark: "taint karpenter.sh/disrupted", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	if err := h.WriteLeft(wrote); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(h.Path(leftFile))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if l, err := h.ReadLeft("boot"); err != nil || l != wrote {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := h.ReadLeft("boot-2"); err != nil || l != (Left{}) {
		t.Errorf("of another boot: %+v, %v", l, err)
	}
	for range 2 {
		if err := h.RemoveLeft(); err != nil {
			t.Error(err)
		}
	}
	if l, err := h.ReadLeft("boot"); err != nil || l != (Left{}) {
		t.Errorf("removed: %+v, %v", l, err)
	}
}

// What cannot be read may say anything.
func TestLeftNodeThatCannotBeReadIsNotKnown(t *testing.T) {
	for name, content := range map[string]string{"cut short": `{"name":"w1","ma`, "empty": "", "another's": "{}", "no boot": `{"name":"w1","mark":"x"}`} {
		h := Host{Root: t.TempDir()}
		put(t, h, leftFile, content)
		if l, err := h.ReadLeft("boot"); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
	h := Host{Root: t.TempDir()}
	put(t, h, leftFile+"/a", "")
	if _, err := h.ReadLeft("boot"); err == nil {
		t.Error("a folder was read")
	}
	if err := h.WriteLeft(Left{Name: "w1"}); err == nil {
		t.Error("a folder was written")
	}
	if err := h.RemoveLeft(); err == nil {
		t.Error("a folder was removed")
	}
}
