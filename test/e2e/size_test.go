package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	mostBinary = 18_000_000 // bytes, stripped
	mostMemory = 32_000_000 // bytes resident at the peak of a whole join, kubeadm not counted
)

func TestSizeOfTheBinaryAndOfAWholeJoin(t *testing.T) {
	info, err := os.Stat(nodejoin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("stripped binary: %.2f MB", float64(info.Size())/1e6)
	if info.Size() > mostBinary {
		t.Errorf("the stripped binary has %d bytes", info.Size())
	}

	s := tellLive(t, ready())
	p := s.start(s.node, s.args()...)
	var peak int64
	for running := true; running; {
		select {
		case <-p.Done():
			running = false
		case <-time.After(20 * time.Millisecond):
			peak = max(peak, s.peakMemory())
		}
	}
	p.end().is(0, "Joined")
	t.Logf("peak resident memory of a whole join: %.2f MB", float64(peak)/1e6)
	if peak == 0 || peak > mostMemory {
		t.Errorf("%d bytes resident at the peak", peak)
	}
}

// peakMemory is the kernel's own high-water mark, in bytes; 0 once the process is gone.
func (s *story) peakMemory() int64 {
	procs, err := s.node.Running("nodejoin")
	if err != nil || len(procs) == 0 {
		return 0
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", procs[0].PID))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(raw), "VmHWM:")
	kib, _ := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
	return kib * 1024
}
