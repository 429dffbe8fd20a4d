package cli

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// serviceManager listens where systemd would.
func serviceManager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// heard is the next thing that nodejoin said; systemd reads no more than 4096 bytes.
func heard(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buffer := make([]byte, 4096)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, flags, _, err := conn.ReadMsgUnix(buffer, nil)
	if err != nil {
		t.Fatalf("nothing was said: %v", err)
	}
	if flags&syscall.MSG_TRUNC != 0 {
		t.Fatal("more than 4096 bytes were said: systemd throws that away")
	}
	return string(buffer[:n])
}

func TestSystemdIsToldInOneLineHowTheRunGoes(t *testing.T) {
	systemd := serviceManager(t)
	c := calling(t, nil)
	c.run = func(_ context.Context, config join.Config) (join.Report, error) {
		e := transition("waiting for\nthe server")
		e.Report.Hint = "is it up?"
		config.Observe(e)
		if got := heard(t, systemd); got != "STATUS=join: waiting for the server; is it up?" {
			t.Errorf("while it runs: %q", got)
		}
		config.Observe(join.Event{Severity: join.Detail, Message: "kubeadm's words"})
		return report(join.NameTaken), failure(join.NameTaken)
	}
	c.do("join")
	if got := heard(t, systemd); got != "STATUS=NameTaken (exit status 9): the message of NameTaken; the hint" {
		t.Errorf("at the end: %q", got)
	}
}

func TestSystemdIsToldOfAMistake(t *testing.T) {
	for _, args := range [][]string{{"join", "--hold=x"}, {"join", "--output=yaml"}} {
		systemd := serviceManager(t)
		calling(t, nil).do(args...)
		if got := heard(t, systemd); !strings.HasPrefix(got, "STATUS=Usage (exit status 2): --") {
			t.Errorf("%v: %q", args, got)
		}
	}
}

func TestALongStatusIsCutAndStaysText(t *testing.T) {
	for n := range 3 {
		systemd := serviceManager(t)
		long := report(join.JoinFailed)
		long.Message = strings.Repeat("x", n) + strings.Repeat("€", 5000)
		calling(t, func(context.Context, join.Config) (join.Report, error) { return long, failure(join.JoinFailed) }).do("join")
		got := heard(t, systemd)
		if !utf8.ValidString(got) || !strings.HasSuffix(got, "€...") {
			t.Errorf("%q", got)
		}
	}
}

func TestASystemdThatDoesNotListenHoldsNothingUp(t *testing.T) {
	serviceManager(t) // its queue takes a handful of messages, and nobody reads them
	c := calling(t, func(_ context.Context, config join.Config) (join.Report, error) {
		for range 3000 {
			config.Observe(transition(strings.Repeat("x", 500)))
			time.Sleep(10 * time.Microsecond)
		}
		return report(join.Joined), nil
	})
	c.patience = 100 * time.Millisecond
	began := time.Now()
	if got := c.do("join"); got != 0 {
		t.Errorf("exit status %d", got)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if got := calling(t, nil).do("join"); got != 0 {
		t.Errorf("without a listener: exit status %d", got)
	}
}
