//go:build vm

package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// cutsVariable is how often the power is cut; seedVariable repeats a story.
const (
	cutsVariable = "POWER_CUTS"
	seedVariable = "POWER_SEED"
)

func numberFrom(t *testing.T, variable string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// Every round begins with the same machine, with its memory, just before its join; QEMU is killed at a random moment of that, and
// booted again from the disk as it then is. What the guest had written and not yet flushed is lost, as with a real cut;
// what it had given to the disk is not, which real disks that lie may lose too.
func TestRealMachineWhosePowerIsCutDuringAJoinIsAMemberInTheEnd(t *testing.T) {
	cuts, seed := numberFrom(t, cutsVariable, 20), numberFrom(t, seedVariable, time.Now().UnixNano())
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("%s=%d", seedVariable, seed)
	s := tellReal(t)
	s.do("sync")
	fresh, err := s.node.Snapshot(s.ctx)
	s.must(err)

	t.Log("one that is left alone says how long a join takes")
	began := time.Now()
	p, _ := s.begin("--hold", "0")
	s.over(p, 0, "Joined")
	took := time.Since(began)
	ends := map[string]int{}
	for cut := range cuts {
		s.must(s.forget())
		s.must(s.node.Restore(s.ctx, fresh))
		s.do("date", "--set", "@"+strconv.FormatInt(time.Now().Unix(), 10))
		at := time.Duration(random.Int64N(int64(took)))
		p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout("--token-file", tokenFile, "--hold", "0")})
		s.must(err)
		s.sleep(at)
		said := p.Stderr.String()
		s.node.PowerOff()
		s.must(s.node.Boot(s.ctx))
		e := s.again().is(0, "Joined", "Recovered", "AlreadyJoined")
		s.member(e)
		if c := e.report.Counts; c.Resets > 0 {
			s.Errorf("it was reset %d times after %s:\n%s", c.Resets, at, said)
		}
		ends[e.report.Reason]++
		t.Logf("cut %d after %s of %s: %s, %+v", cut+1, at.Round(time.Millisecond), took.Round(time.Second), e.report.Reason, e.report.Counts)
	}
	t.Logf("measured: %d cuts, seed %d: %v", cuts, seed, ends)
}

// forget takes the machine's Node and requests away, for the next round to be the first.
func (s *bootedStory) forget() error {
	s.node.PowerOff()
	if err := s.cp.DeleteNode(s.ctx, s.node.Hostname); err != nil {
		return err
	}
	return s.cp.WaitNoNode(s.ctx, s.node.Hostname)
}
