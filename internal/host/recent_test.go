package host

import (
	"slices"
	"testing"
)

// Questions that are asked at once share a look; what changes something has the next one look again.
func TestWhatWasSeenServesForAMomentAndNotAfterAnAct(t *testing.T) {
	sees := func(h Host, pid int) bool {
		t.Helper()
		all, err := h.processes()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(p process) bool { return p.pid == pid })
	}
	h := running(t, fake{pid: 10, comm: "kubelet", line: []string{"kubelet"}})
	h.Recent = &Recent{}
	if !sees(h, 10) {
		t.Fatal("the process is not seen")
	}
	h.Root = running(t, fake{pid: 11, comm: "kubelet", line: []string{"kubelet"}}).Root
	if sees(h, 11) {
		t.Error("a moment later all processes were looked at again")
	}
	h.Recent.Forget()
	if !sees(h, 11) {
		t.Error("after an act they were not")
	}
}
