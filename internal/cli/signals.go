package cli

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// haste bounds what is still done after a second signal.
const haste = 200 * time.Millisecond

// heed turns the first signal into a polite stop and the second into an end at
// once. Children need no word from here: the kernel sends them SIGKILL.
func (s *session) heed(signals <-chan os.Signal, cancel context.CancelCauseFunc, exit func(int), over <-chan struct{}) {
	var first stopped
	select {
	case <-over:
		return
	case got := <-signals:
		first.signal, _ = got.(syscall.Signal)
	}
	// said first, or a run that ends at once would be over before it; the log holds nobody up
	s.logs.say(fmt.Sprintf("%v: stopping", first), "a second one ends nodejoin at once")
	cancel(first)
	select {
	case <-over:
	case <-signals:
		exit(s.abandon(first))
	}
}

// abandon leaves a status file that is true, if that is quick, and returns the
// exit status.
func (s *session) abandon(by stopped) int {
	s.mu.Lock()
	final, last, kill := s.final, s.last, s.kill
	s.mu.Unlock()
	if kill != nil {
		kill()
	}
	if final != nil {
		return *final.ExitCode
	}
	if last == nil {
		return by.status()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(by)
	rep := s.blank()
	err := &join.Error{
		Reason: join.Interrupted, Message: fmt.Sprintf("%v twice: left at once in phase %s", by, last.Phase),
		Hint: "run nodejoin again to go on: it begins with what is on this machine now",
	}
	rep = conclude(ctx, rep, err, rep.StartedAt)
	s.mu.Lock()
	s.final = &rep // nothing may follow it
	s.mu.Unlock()
	s.logs.say(rep.Message, rep.Hint)
	s.status.put(encode(rep))
	s.unit.put(statusLine(rep))
	s.status.close(haste)
	s.unit.close(haste)
	s.logs.close(haste)
	return by.status()
}
