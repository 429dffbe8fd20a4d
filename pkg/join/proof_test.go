package join

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

func TestUnknownTokenIsRejectedAfterAMinute(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.verdict = cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
		r, err := start()
		wanted{reason: TokenRejected}.check(t, r, err)
		took(t, r, judge.TokenPatience, 90*time.Second)
	})
}

func TestTokenFileIsReadAgainAfterARefusal(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{File: "/token"} }, func(s *sim, start func() (Report, error)) {
		born := time.Now()
		s.token = func() (string, error) {
			if time.Since(born) > 2*time.Minute {
				return simToken, nil
			}
			return "abcdef.ffffffffffffffff", nil
		}
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestWrongCAStopsAtOnce(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.verdict = cluster.Probe{Verdict: cluster.WrongCA, Err: errors.New("another CA")}
		r, err := start()
		wanted{reason: WrongCluster}.check(t, r, err)
		took(t, r, 0, time.Second)
	})
}

func TestBadSignatureIsLookedAtTwice(t *testing.T) {
	for pinned, reason := range map[bool]Reason{true: TokenRejected, false: WrongCluster} {
		simulate(t, nil, func(s *sim, start func() (Report, error)) {
			s.verdict = cluster.Probe{Verdict: cluster.BadSignature, Pinned: pinned, Err: errors.New("bad signature")}
			r, err := start()
			wanted{reason: reason}.check(t, r, err)
			took(t, r, judge.SignatureAgain, 10*time.Second)
		})
	}
}

// A newer build is a person's to bring; a handshake that fails may have other causes, and is waited for.
func TestCAOfAnUnknownAlgorithmIsAPersonsJob(t *testing.T) {
	for ca, reason := range map[bool]Reason{true: HostUnfit, false: Unreachable} {
		simulate(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim, start func() (Report, error)) {
			s.verdict = cluster.Probe{Verdict: cluster.Unreachable, Err: &cluster.AlgorithmError{What: "the cluster's CA is of an algorithm", CA: ca}}
			r, err := start()
			wanted{reason: reason}.check(t, r, err)
			if !strings.Contains(r.Hint, "built with a newer Go") || !strings.Contains(r.Message, "is of an algorithm") {
				t.Errorf("message %q, hint %q", r.Message, r.Hint)
			}
			if ca {
				took(t, r, judge.SignatureAgain, 10*time.Second)
			}
		})
	}
}

func TestBadSignatureThatIsMendedIsForgotten(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.verdict = cluster.Probe{Verdict: cluster.BadSignature, Err: errors.New("bad signature")}
		s.after(3*time.Second, func() { s.verdict = cluster.Probe{} })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestTokenCommandThatFailsOnceIsRunAgain(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{Command: "x"} }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		reads := 0
		s.token = func() (string, error) {
			reads++
			if reads == 1 {
				return "", errors.New("--token-command: exit status 1")
			}
			return simToken, nil
		}
		r, err := start()
		t.Logf("reads %d", reads)
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestTwoLone401AreNotARefusal(t *testing.T) {
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		rejected := cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
		s.verdict = rejected
		s.after(2*time.Second, func() { s.down = true })                        // crashes in its first seconds
		s.after(70*time.Second, func() { s.down = false })                      // back: 401 for 2.3 s as measured
		s.after(72300*time.Millisecond, func() { s.verdict = cluster.Probe{} }) // then fine
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

// The token is deleted while our stale Node is waited out; the source has a new one.
func TestTokenThatDiesDuringTheWaitForAName(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{Command: "x"}; c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.addNode(simBoot) // stale, the disk is empty
		s.stopKubelet()
		reads, dead := 0, false
		s.token = func() (string, error) {
			reads++
			if dead {
				s.change(func() { s.verdict = cluster.Probe{} }) // the new one is signed
			}
			return simToken, nil
		}
		// awaitName before the reset is left at once for an own Node; kubelet down. Expires at 20 s.
		s.after(20*time.Second, func() {
			dead = true
			s.verdict = cluster.Probe{Verdict: cluster.Unsigned, Pinned: true, Err: errors.New("not signed"), Node: cluster.Sighting{Answer: cluster.Unauthorized}}
		})
		r, err := start()
		t.Logf("reads %d", reads)
		wanted{reason: Joined, joins: 1}.check(t, r, err)
	})
}

func TestTokenIsNotShownToAServerThatNothingHasProven(t *testing.T) {
	var w *askedWorld
	simulateWorld(t, func(c *Config) { c.Timeout, c.Hold = time.Minute, 0 }, func(s *sim) world { w = &askedWorld{sim: s}; return w },
		func(s *sim) {
			s.joined()
			s.creds.CA, s.creds.Server = otherCA(), "https://old-cluster:6443"
			s.refuses = true
		}, func(r Report, err error) {
			if w.shown > 0 {
				t.Errorf("the token went %d times to a server proven by kubelet.conf alone, which is not the token's cluster", w.shown)
			}
		})
}

func TestMemberIsNotBlockedByItsTokenSource(t *testing.T) {
	simulate(t, func(c *Config) { c.Token = Token{File: "-"}; c.Timeout = 10 * time.Minute }, func(s *sim, start func() (Report, error)) {
		s.ready = true
		s.joined()
		s.refuses = true
		s.after(17*time.Second, func() { s.refuses = false })
		born := time.Now()
		s.token = func() (string, error) { // nobody types
			time.Sleep(9*time.Minute - time.Since(born))
			return "", errors.New("nothing came from standard input")
		}
		r, err := start()
		wanted{reason: AlreadyJoined}.check(t, r, err)
		took(t, r, 17*time.Second, 40*time.Second)
		time.Sleep(10 * time.Minute) // the reader gives up, too
	})
}

// kubernetes/kubeadm 3128: kubeadm fails there, and says so after its patience is over.
func TestEndpointThatItsCertificateDoesNotNameIsSaid(t *testing.T) {
	for _, unnamed := range []bool{false, true} {
		pin := func(c *Config) { c.CACertHashes, _ = cluster.CAHashes(simCA) }
		live(t, pin, func(s *sim, start func() (Report, error)) {
			s.unnamed = unnamed
			r, err := start()
			wanted{reason: Joined, joins: 1}.check(t, r, err)
			if said := strings.Contains(strings.Join(r.Warnings, "\n"), "nodejoin goes by https://cp:6443"); said != unnamed {
				t.Errorf("not named: %t, warnings %q", unnamed, r.Warnings)
			}
		})
	}
}
