package cli

import (
	"io"
	"sync"
	"time"
)

// queueLength is the number of lines that may wait for a slow reader. kubeadm
// writes some dozen lines an attempt.
const queueLength = 1024

// queue carries lines to a writer that may be slow, blocked or gone. What does
// not fit is dropped and counted, and no error comes back: a run must not
// depend on who reads its log.
type queue struct {
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	dropped int
}

// newQueue starts the one writer; lost words the line that says how many were
// dropped.
func newQueue(w io.Writer, lost func(int) []byte) *queue {
	q := &queue{lines: make(chan []byte, queueLength), done: make(chan struct{})}
	go q.serve(w, lost)
	return q
}

// Write keeps a copy.
func (q *queue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(line), nil
	}
	select {
	case q.lines <- append([]byte{}, line...):
	default:
		q.dropped++
	}
	return len(line), nil
}

// Sync is for zap; the end waits with close.
func (q *queue) Sync() error { return nil }

func (q *queue) close(limit time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(limit):
	}
}

func (q *queue) serve(w io.Writer, lost func(int) []byte) {
	defer close(q.done)
	for line := range q.lines {
		_, _ = w.Write(line)
		if len(q.lines) > 0 {
			continue // what is dropped came after what waits
		}
		q.mu.Lock()
		dropped := q.dropped
		q.dropped = 0
		q.mu.Unlock()
		if dropped > 0 {
			_, _ = w.Write(lost(dropped))
		}
	}
}
