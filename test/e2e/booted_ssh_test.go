package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A person who starts a join by hand and loses the connection must not end up with half a join.
func TestDroppedSSHConnectionDoesNotStopAJoin(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.token = testbed.NewToken()
	clients := []*testbed.Proc{
		s.ssh("-tt", strings.Join(s.args("--until", "ready"), " ")),
		s.ssh("-tt", "sleep 1234"), // what becomes of any other program
	}
	s.must(clients[0].Stdout.WaitFor(s.ctx, s.cp.Endpoint()))
	s.running("nodejoin", 1)
	s.running("sleep", 1)
	for _, client := range clients {
		s.must(client.Signal(syscall.SIGKILL))
	}
	s.running("sleep", 0)
	s.running("nodejoin", 1)
	s.run("nodejoin", "check").is(20, "")
	if r, there := s.status(); !there || r.Result != nil || r.Message == "" {
		t.Errorf("the status file does not tell what the join is doing: %+v", r)
	}

	s.must(s.cp.Start(s.ctx))
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	s.member(s.ended(0, "Joined").counts(1, 0, 0, 0))
	s.running("nodejoin", 0)
	check := s.ssh("nodejoin", "check")
	if exit := check.Wait(); exit.Code != 0 {
		t.Errorf("nodejoin check over SSH: %d\n%s%s", exit.Code, check.Stdout, check.Stderr)
	}
}

// running waits until so many processes of a name run on the node.
func (s *bootedStory) running(name string, want int) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; s.sleep(100 * time.Millisecond) {
		found, err := s.node.Running(name)
		if err == nil && len(found) == want {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("%d processes %s run on the node, wanted %d: %v %v", len(found), name, want, found, err)
		}
	}
}
