package join

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Where firmware and image give both machines the same IDs: the original's heartbeat proves that it lives, and
// one machine has one boot.
func TestClonedImageWithTheOriginalsIDsIsKnownByTheOriginalsHeartbeat(t *testing.T) {
	t.Attr("fault", "4")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.cloneOf("golden")
		s.roomForOurs()
		s.judge, s.running = nil, true
		s.after(4*time.Minute, func() { s.node.Heartbeat = time.Now() }) // a healthy kubelet reports every 5 minutes
		r, err := start()
		wanted{reason: Joined, joins: 1, resets: 1}.check(t, r, err)
		took(t, r, 4*time.Minute, 4*time.Minute+20*time.Second)
	})
}

// A source that goes on for ever must not fill the memory.
func TestTokenSourceThatNeverEndsIsCutOff(t *testing.T) {
	for name, source := range map[string]Token{
		"command": {Command: "head -c 20000000 /dev/zero"}, "file": {File: "/dev/zero"},
	} {
		began := time.Now()
		reader := tokenReader{plan: &plan{Config: Config{Token: source}}}
		if _, err := reader.read(t.Context()); err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(began))
		}
	}
	var kept head
	for range 100 {
		if n, err := kept.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if kept.Len() != tokenMost {
		t.Errorf("kept %d bytes", kept.Len())
	}
}

// Rule 9: a pipe without a writer is one more thing that has a deadline.
func TestTokenFileThatIsAPipeIsGivenUp(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	reader := tokenReader{plan: &plan{Config: Config{Token: Token{File: pipe}}}}
	if _, err := reader.read(ctx); err == nil || isTerminal(err) || !strings.Contains(err.Error(), "nothing came") {
		t.Errorf("got %v", err)
	}
	w, err := os.OpenFile(pipe, os.O_RDWR, 0) // let the reader go
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
}

// One attempt has taken what the pipe had; the next goes on with that, and what comes later is not lost.
func TestTokenFileThatIsAPipeGivesItsTokenOnce(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(token string) {
		if err := os.WriteFile(pipe, []byte(token+"\r\n"), 0); err != nil {
			t.Error(err)
		}
	}
	r := &tokenReader{plan: &plan{Config: Config{Token: Token{File: pipe}}}}
	go write(simToken)
	for _, want := range []string{simToken, "", "fedcba.0123456789abcdef"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if want == "" {
			ctx, cancel = context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errSilent)
		}
		token, err := r.read(ctx)
		cancel()
		if token != want || (err == nil) != (want != "") {
			t.Errorf("%q, %v, wanted %q", token, err, want)
		}
		if want == "" {
			go write("fedcba.0123456789abcdef")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		silent := make(chan input)
		r := &tokenReader{plan: &plan{Config: Config{Token: Token{File: pipe}}}, given: silent}
		began := time.Now()
		if _, err := r.read(t.Context()); !errors.Is(err, errSilent) || isTerminal(err) || time.Since(began) != tokenTimeout {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestDeadlineWhileTheTokensSourceIsSilentSaysSo(t *testing.T) {
	simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
		forever := make(chan struct{})
		s.token = func() (string, error) { <-forever; return "", nil }
		s.after(2*time.Minute, func() { close(forever) })
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		if !strings.Contains(r.Message, "the token's source had not answered") {
			t.Errorf("message %q", r.Message)
		}
		time.Sleep(2 * time.Minute)
	})
}
