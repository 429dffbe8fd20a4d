package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestTokenFromAFileIsSeenNowhereElse(t *testing.T) {
	s := tellLive(t, external())
	s.must(s.node.WriteFile("/root/token", s.token+"\n", 0o600))
	c := s.canary(s.node, func(c *canary) { c.sources = []string{"/root/token"} })
	p := s.start(s.node, s.argsWithout("--token-file", "/root/token", "--hold", "10s", "--log-level", "debug")...)
	_, err := s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	s.must(s.cp.DeleteNode(s.ctx, "w1")) // the longer way, with a kubelet restart
	c.silent(p.end().is(0, "Recovered"))
}

// The environment is inherited by default: by kubeadm, systemctl, the token command and all that they start.
func TestTokenFromTheEnvironmentIsNotPassedOn(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/etc/kubernetes/pki/ca.crt", string(s.cp.CA()), 0o644)) // so that reset runs as well
	c := s.canary(s.node, func(c *canary) { c.exported = true })
	p, err := s.node.Start(s.ctx, testbed.Command{
		Args: s.argsWithout("--hold", "5s", "-o", "json"),
		Env:  []string{"NODEJOIN_TOKEN=" + s.token},
	})
	s.must(err)
	r := &running{s: s, node: s.node, Proc: p, began: time.Now()}
	c.silent(r.end().is(0, "Joined").counts(1, 1, 0, 0))
}

func TestTokenFromACommandIsSeenNowhereElse(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/root/secret", s.token+"\n", 0o600))
	// kubeadm fails at first, with the token in its output, so that the token is read twice and the log travels
	s.must(s.node.WrapKubeadm(`#!/bin/sh
if [ "$1" = join ] && [ ! -e /root/failed ]; then
	touch /root/failed
	shift; shift
	echo "could not parse the token in $1:" >&2
	cat "$1" >&2
	exit 1
fi
exec ` + testbed.RealKubeadm + ` "$@"
`))
	c := s.canary(s.node, func(c *canary) { c.sources = []string{"/root/secret"} })
	e := s.join(s.argsWithout("--token-command", "cat /root/secret", "--hold", "5s", "--log-level", "debug")...).is(0, "Joined").counts(2, -1, 0, 0)
	e.says("could not parse the token")
	c.silent(e)
}

func TestTokenTypedOnTheCommandLineIsSeenThereOnly(t *testing.T) {
	s := tellLive(t, ready())
	c := s.canary(s.node, func(c *canary) { c.typed = true })
	c.silent(s.join(s.args("--hold", "5s")...).is(0, "Joined"))
}

// The canary itself: each leak of this kubeadm must be found, also those that are gone before nodejoin ends.
func TestCanaryFindsWhatAKubeadmThatLeaksLeavesBehind(t *testing.T) {
	s := tellLive(t, ready())
	s.must(s.node.WriteFile("/root/token", s.token+"\n", 0o600))
	s.must(s.node.WrapKubeadm(`#!/bin/sh
if [ "$1" = join ]; then
	secret=$(sed -n 's/.*[a-z0-9]\{6\}\.\([a-z0-9]\{16\}\).*/\1/p' "$3" | head -n 1)
	cp "$3" /var/tmp/passing; mkdir -p /srv/deep/down; cp "$3" /srv/deep/down/staying; cp "$3" /dev/shm/shared
	sh -c 'sleep 1; :' "$secret" &
	LEAK=$secret sleep 1
	chmod 644 "$3"
	sleep 0.3
	rm /var/tmp/passing /dev/shm/shared
fi
exec ` + testbed.RealKubeadm + ` "$@"
`))
	c := s.canary(s.node, func(c *canary) { c.sources = []string{"/root/token"} })
	found := strings.Join(c.leaks(s.join(s.argsWithout("--token-file", "/root/token", "--hold", "5s")...).is(0, "Joined")), "\n")
	t.Logf("found:\n%s", found)
	for _, leak := range []string{
		"/var/tmp/passing", "/srv/deep/down/staying", "/dev/shm/shared", "argv of sh", "the environment of sleep (LEAK)", "-rw-r--r-- of user 0",
	} {
		if !strings.Contains(found, leak) {
			t.Errorf("not found: %s", leak)
		}
	}
	if n := strings.Count(found, "\n") + 1; n > 8 {
		t.Errorf("%d leaks found, more than there are", n)
	}
}
