package e2e

import (
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// Every story has its canary; these are about each way in which a token may come.

func TestTokenFromAFileIsSeenNowhereElse(t *testing.T) {
	s := tellLive(t, external())
	s.source(s.node, "/root/token", s.token+"\n", 0o600)
	p := s.start(s.node, s.argsWithout("--token-file", "/root/token", "--hold", "10s", "--log-level", "debug", "--restore=never")...)
	_, err := s.cp.WaitNode(s.ctx, "w1", nil)
	s.must(err)
	s.must(s.cp.DeleteNode(s.ctx, "w1")) // the longer way, with a kubelet restart
	p.end().is(0, "Recovered")
	s.seenTheSecretFile()
}

// The environment is inherited by default: by kubeadm, systemctl, the token command and all that they start.
func TestTokenFromTheEnvironmentIsNotPassedOn(t *testing.T) {
	s := tellLive(t, ready())
	s.leftover() // so that reset runs as well
	s.startAs(s.node, testbed.Command{
		Args: s.argsWithout("--hold", "5s", "-o", "json"),
		Env:  []string{"NODEJOIN_TOKEN=" + s.token},
	}).end().is(0, "Joined").counts(1, 1, 0, 0)
	s.seenTheSecretFile()
}

func TestTokenFromACommandIsSeenNowhereElse(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/secret", s.token+"\n", 0o600)
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
	s.join(s.argsWithout("--token-command", "cat /root/secret", "--hold", "5s", "--log-level", "debug")...).is(0, "Joined").counts(2, anyNumber, 0, 0).
		says("could not parse the token")
	s.seenTheSecretFile()
}

// The canary itself: each leak of this kubeadm must be found, also those that are gone before nodejoin ends.
func TestCanaryFindsWhatAKubeadmThatLeaksLeavesBehind(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/token", s.token+"\n", 0o600)
	s.must(s.node.WrapKubeadm(`#!/bin/sh
if [ "$1" = join ]; then
	secret=$(sed -n 's/.*[a-z0-9]\{6\}\.\([a-z0-9]\{16\}\).*/\1/p' "$3" | head -n 1)
	cp "$3" /var/tmp/passing; mkdir -p /srv/deep/down; cp "$3" /srv/deep/down/staying; cp "$3" /dev/shm/shared
	sh -c 'sleep 1; :' "$secret" &
	LEAK=$secret sleep 1
	chmod 644 "$3"
	sleep 0.5
	rm /var/tmp/passing /dev/shm/shared
fi
exec ` + testbed.RealKubeadm + ` "$@"
`))
	p := s.start(s.node, s.argsWithout("--token-file", "/root/token", "--hold", "5s")...)
	p.Wait()
	leaks := s.canaryOf(s.node).leaks()
	p.end().is(0, "Joined")
	found := strings.Join(leaks, "\n")
	t.Logf("found:\n%s", found)
	for _, leak := range []string{
		"/var/tmp/passing", "/srv/deep/down/staying", "/dev/shm/shared", "argv of sh", "the environment of sleep (LEAK)", "-rw-r--r-- of user 0",
	} {
		if !strings.Contains(found, leak) {
			t.Errorf("not found: %s", leak)
		}
	}
	if len(leaks) > 8 {
		t.Errorf("%d leaks found, more than there are", len(leaks))
	}
	s.seenTheSecretFile()
}

// seenTheSecretFile checks that the canary was awake.
func (s *story) seenTheSecretFile() {
	s.Helper()
	c := s.canaryOf(s.node)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.secretFiles == 0 {
		s.Error("the canary has not seen the one file that kubeadm must get: does it see anything?")
	}
}
