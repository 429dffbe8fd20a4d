package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// console is a terminal at which a person runs nodejoin on the node.
type console struct {
	*running
	*testbed.Terminal
	before int // the process that the status file told of
}

// at runs a command line at a terminal of its own: what is typed there reaches it, and so does a hangup.
func (s *story) at(width, height int, args ...string) *console {
	s.Helper()
	before := s.reported()
	c := s.terminal(width, height, func(cmd testbed.Command) *running { return s.startAs(s.node, cmd) }, args...)
	c.before = before
	return c
}

// terminal runs a command line at a terminal of its own, wherever start starts it.
func (s *story) terminal(width, height int, start func(testbed.Command) *running, args ...string) *console {
	s.Helper()
	t, farEnd, err := testbed.OpenTerminal(width, height)
	s.must(err)
	s.Cleanup(t.Close)
	defer farEnd.Close()
	return &console{running: start(testbed.OnTerminal(farEnd, args...)), Terminal: t}
}

// reported is the process that the status file tells of.
func (s *story) reported() int {
	var rep report
	if raw, err := s.node.ReadFile("/run/nodejoin/status.json"); err == nil {
		s.must(json.Unmarshal(raw, &rep))
	}
	return rep.PID
}

// shows waits until all these words can be read at once.
func (c *console) shows(words ...string) {
	c.s.Helper()
	lacks := func(w string) bool { return !strings.Contains(c.Text(), w) }
	for end := time.Now().Add(90 * time.Second); slices.ContainsFunc(words, lacks); c.s.sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			c.s.Fatalf("the screen never shows %q:\n%s", words, c.Text())
		}
	}
}

// hides checks that none of these words is left.
func (c *console) hides(words ...string) {
	c.s.Helper()
	for _, w := range words {
		if text := c.Text(); strings.Contains(text, w) {
			c.s.Errorf("the screen shows %q:\n%s", w, text)
		}
	}
}

func (c *console) types(keys string) {
	c.s.Helper()
	c.s.must(c.Type(keys))
}

const ctrlC = "\x03"

// end waits for the end of nodejoin, and sees that the terminal is as it was.
func (c *console) end() ended {
	c.s.Helper()
	c.Wait()
	if pid := c.s.reported(); pid != c.before {
		c.PID = pid // nodejoin's own: what was started is setsid, which waits for it
	}
	e := c.running.end()
	time.Sleep(200 * time.Millisecond) // for the last words to be read
	c.s.Logf("the screen at the end:\n%s", c.Text())
	if !c.AtRest() {
		c.s.Error("the cursor is hidden, or left within a line")
	}
	if _, secret, _ := strings.Cut(c.s.token, "."); strings.Contains(c.Written(), secret) {
		c.s.Error("the token was on the screen")
	}
	return e
}

func TestAPersonAtATerminalSeesWhatIsWaitedForAndHowItEnds(t *testing.T) {
	s := tell(t, testbed.NodeOptions{})
	s.token = testbed.NewToken()

	t.Log("Ctrl-C while the API server is waited for")
	c := s.at(140, 30, s.args()...)
	c.shows("…  discover  waiting: the API server does not answer", "more at most", "is it up, and is")
	if n := strings.Count(c.Text(), "\n"); n > 2 {
		t.Errorf("the view is not small:\n%s", c.Text())
	}
	c.types(ctrlC)
	c.end().is(130, "Interrupted")
	c.shows("SIGINT received: stopping", "Interrupted: stopped in phase discover; not joined: nothing is left to clean up", "do next:     run nodejoin again")
	c.hides("…")

	t.Log("a narrow terminal, which is made wider; and the cluster comes")
	c = s.at(50, 12, s.args("--hold", "8s")...)
	c.shows("…  discover  waiting: the API server doe", "more at")
	s.must(c.Resize(120, 30))
	s.must(s.cp.Start(s.ctx))
	_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
	s.must(err)
	c.shows("discover  the API server at ", "join      running kubeadm join", "…  hold", "more at most")
	e := c.end().is(0, "Joined")
	s.member(e)
	c.shows(`Joined: Node "w1" is registered and has stayed for `, "  node:        w1 (UID "+e.report.Node.UID+") at ", "  took: ", "verify    Node \"w1\" is there and is this machine's")
	c.hides("…", "(exit status 0)")

	t.Log("what a person asks then")
	c = s.at(120, 30, "nodejoin", "check")
	if got := c.Wait().Code; got != 0 {
		t.Errorf("exit status %d", got)
	}
	c.shows("member: Node \"w1\" is this machine's", "level:       initialized", "since: ", "credentials: valid until", "kubelet:     active/", "last run:    Joined, ")
	c.hides("not seen")

	t.Log("check without root")
	c = s.at(120, 30, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "nodejoin", "check")
	if got := c.Wait().Code; got != 21 {
		t.Errorf("exit status %d", got)
	}
	c.shows("Unknown: the kubelet's credentials cannot be read", "run it with sudo", "last run:    Joined, ", "not seen:    the API server")
}

func TestATerminalThatIsLostStopsNothingAndCheckTellsHowItWent(t *testing.T) {
	s := tellLive(t, testbed.NodeOptions{})

	t.Log("a failure: what, why, next")
	args := s.args()
	args[slices.Index(args, "--discovery-token-ca-cert-hash")+1] = "sha256:" + strings.Repeat("1", 64)
	c := s.at(140, 30, args...)
	c.end().is(4, "WrongCluster")
	c.shows("WrongCluster: this is not the cluster that was pinned", "this means:  the cluster is not the one", "do next:     take a fresh line")

	t.Log("Ctrl-C while kubeadm is at work")
	s.must(s.node.WrapKubeadm("#!/bin/sh\n[ \"$1\" = version ] || sleep 600\nexec " + testbed.RealKubeadm + " \"$@\"\n"))
	c = s.at(140, 30, s.args()...)
	c.shows("…  join      running kubeadm join", "more at most")
	c.types(ctrlC)
	c.end().is(130, "Interrupted")
	c.shows("stopped in phase join; not joined: kubeadm was ended and nothing is left to clean up")
	s.nothingRuns("kubeadm", "kubeadm-script", "sleep")

	t.Log("Ctrl-C twice: at once")
	s.must(s.node.WrapKubeadm("#!/bin/sh\ntrap '' TERM\n[ \"$1\" = version ] || { while sleep 1; do :; done; }\nexec " + testbed.RealKubeadm + " \"$@\"\n"))
	c = s.at(140, 30, s.args()...)
	c.shows("…  join      running kubeadm join")
	s.eventually(30*time.Second, func() bool { return len(s.alive("sleep")) > 0 }, "kubeadm does not run") // and is deaf by then
	c.types(ctrlC)
	c.shows("SIGINT received: stopping", "a second one ends nodejoin at once")
	asked := time.Now()
	c.types(ctrlC)
	c.end().is(130, "Interrupted")
	if d := time.Since(asked); d > 4*time.Second { // kubeadm would have been given 5 s
		t.Errorf("took %s", d)
	}
	c.shows("SIGINT received twice: left at once in phase join")
	s.must(s.node.WrapKubeadm(""))

	t.Log("the connection drops during the hold")
	c = s.at(140, 30, s.args("--hold", "25s")...)
	c.shows("…  hold ", "more at most")
	c.Close()
	s.sleep(2 * time.Second)
	out, err := s.node.Run(s.ctx, "nodejoin", "check")
	if err != nil || !strings.Contains(out, "last run:    at work since ") || !strings.Contains(out, "in phase hold: waiting: ") {
		t.Errorf("check says %v\n%s", err, out)
	}
	s.member(c.end().is(0, "Joined"))
	out, err = s.node.Run(s.ctx, "nodejoin", "check")
	if err != nil || !strings.Contains(out, "last run:    Joined, ") {
		t.Errorf("check says %v\n%s", err, out)
	}
}
