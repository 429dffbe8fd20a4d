package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// Every byte goes through the real ssh, sshd and bash, as when a person works on a server.
func TestAPersonOverSSHTypesTheLineReadsTheViewAndGetsThePromptBack(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{})
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.token = testbed.NewToken()
	client, err := s.node.SSH(s.cp.Machine, "-tt")
	s.must(err)
	c := s.terminal(140, 40, func(cmd testbed.Command) *running {
		p, err := s.cp.Machine.Start(s.ctx, cmd)
		s.must(err)
		return &running{Proc: p, s: s.story}
	}, client...)
	c.shows("root@b1:~#")
	c.types("unset HISTFILE\r") // the token is in what is typed
	// prompt checks that the shell takes a line, shows it as it is typed, and knows nodejoin's exit status.
	prompt := func(code int) {
		t.Helper()
		c.types("echo status=$?\r")
		c.shows("root@b1:~# echo status=$?", fmt.Sprintf("status=%d\n", code))
		t.Logf("the screen:\n%s", c.Text())
		c.hides("…")
		c.types("clear\r")
		for strings.Contains(c.Text(), "status=") { // the story's own limit ends this
			s.sleep(20 * time.Millisecond)
		}
	}

	t.Log("Ctrl-C, once, while the API server is waited for")
	c.types(strings.Join(s.args("--hold", "8s"), " ") + "\r")
	c.shows("…  discover  waiting: the API server does not answer", "more at most", "is it up, and is")
	c.types(ctrlC)
	c.shows("SIGINT received: stopping", "Interrupted: stopped in phase discover; not joined: nothing is left to clean up", "do next:     run nodejoin again")
	prompt(130)
	s.ended(130, "Interrupted").counts(0, 0, 0, 0)

	t.Log("a failure: what, why, next")
	s.must(s.cp.Start(s.ctx))
	_, err = s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	args := s.args()
	args[slices.Index(args, "--discovery-token-ca-cert-hash")+1] = "sha256:" + strings.Repeat("1", 64)
	c.types(strings.Join(args, " ") + "\r")
	c.shows("WrongCluster: this is not the cluster that was pinned", "this means:  the cluster is not the one", "do next:     take a fresh line")
	prompt(4)

	t.Log("the same line again, to the end")
	c.types(strings.Join(s.args("--hold", "8s"), " ") + "\r")
	c.shows("…  hold ", "more at most")
	c.shows(`Joined: Node "b1" is registered and has stayed for `, "  node:        b1 (UID ", "  took: ")
	e := s.ended(0, "Joined").counts(1, 0, 0, 0)
	c.shows("(UID " + e.report.Node.UID + ")")
	prompt(0)
	s.member(e)

	c.types("exit\r")
	if exit := c.Wait(); exit.Code != 0 {
		t.Errorf("ssh ended with %d", exit.Code)
	}
}
