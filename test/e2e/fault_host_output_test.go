package e2e

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestOutputThatNobodyTakesStopsNothing(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(37)
	for _, c := range []struct {
		name string
		sink func(*story) *os.File // nil: the shell closes both
	}{
		{"reader gone", readerGone}, {"full pipe", fullPipe}, {"full disk", fullDevice}, {"closed", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			s.node = s.newNode("w-"+strings.ReplaceAll(c.name, " ", "-"), ready())
			defer s.node.PowerOff()
			cmd := testbed.Command{Args: s.args("--log-level", "debug", "-o", "json")}
			if c.sink == nil {
				cmd.Args = append([]string{"sh", "-c", `exec "$@" >&- 2>&-`, "sh"}, cmd.Args...)
			} else {
				sink := c.sink(s)
				cmd.StdoutFile, cmd.StderrFile = sink, sink
			}
			e := s.startAs(s.node, cmd).end().is(0, "Joined").counts(1, 0, 0, 0).within(30 * time.Second).says("is Ready and accepted")
			if !e.hasReport {
				t.Error("there is no status file")
			}
			s.member(e)
		})
	}
}

func readerGone(s *story) *os.File {
	r, w, err := os.Pipe()
	s.must(err)
	s.Cleanup(func() { w.Close() })
	s.must(r.Close())
	return w
}

// fullPipe takes no further byte, and whoever writes to it waits for ever.
func fullPipe(s *story) *os.File {
	r, w, err := os.Pipe()
	s.must(err)
	s.Cleanup(func() { r.Close(); w.Close() })
	s.must(w.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)))
	for {
		if _, err := w.Write(make([]byte, 4096)); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			s.Fatal(err)
		}
	}
	// It was this process that wanted to be told; the other one is to block.
	s.must(syscall.SetNonblock(int(w.Fd()), false))
	return w
}

func fullDevice(s *story) *os.File {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	s.must(err)
	s.Cleanup(func() { f.Close() })
	return f
}
