//go:build vm

package e2e

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// lazyDisk is a volume that is fetched from afar when it is first read: bytes per second.
const lazyDisk = 4 << 20

// soonest is what part of kubeadm's time nodejoin may take on such a disk, and on a fast one.
const soonest, noLoss = 0.7, 1.0

// Side by side, two machines wait for a control plane; one of them has nodejoin.
func TestRealMachineOnALazilyLoadedDiskIsInSooner(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	other, err := s.tb.NewBooted(s.ctx, "b2", testbed.BootedOptions{CNI: true})
	s.must(err)
	machines := []*testbed.Booted{s.node, other}
	for _, m := range machines {
		program, err := m.ReadFile(testbed.RealKubeadm) // no recorder between: what is read ahead is the program itself
		s.must(err)
		s.must(m.WriteFile("/usr/bin/kubeadm", string(program), 0o755))
		s.must(m.Boot(s.ctx))
	}
	s.token = testbed.NewToken()
	s.must(s.node.WriteFile(tokenFile, s.token, 0o600))
	took := func(bytesPerSecond int) (ours, theirs time.Duration) {
		for _, m := range machines {
			s.must(m.Throttle(s.ctx, bytesPerSecond))
			_, err := m.Run(s.ctx, "sh", "-c", "sync; echo 3 >/proc/sys/vm/drop_caches")
			s.must(err)
		}
		commands := [][]string{
			s.argsWithout("--token-file", tokenFile, "--hold", "0"),
			append([]string{"kubeadm"}, s.args()[1:]...),
		}
		for i, m := range machines {
			p, err := m.Start(s.ctx, testbed.Command{Args: commands[i]})
			s.must(err)
			t.Cleanup(func() { t.Logf("%s:\n%s%s", m.Name, p.Stdout, p.Stderr) })
		}
		s.sleep(3 * time.Minute) // for which the control plane is late
		s.must(s.cp.Start(s.ctx))
		_, err := s.cp.Token(s.ctx, testbed.TokenOptions{Value: s.token})
		s.must(err)
		s.must(s.cp.WaitSigned(s.ctx, s.token))
		signed := time.Now()
		var both sync.WaitGroup
		times := make([]time.Duration, len(machines))
		for i, m := range machines {
			both.Go(func() {
				if _, err := s.cp.WaitNode(s.ctx, m.Hostname, nil); err != nil {
					t.Error(err)
				}
				times[i] = time.Since(signed)
			})
		}
		both.Wait()
		return times[0], times[1]
	}
	var fresh []testbed.Snapshot
	for _, m := range machines {
		snapshot, err := m.Snapshot(s.ctx)
		s.must(err)
		fresh = append(fresh, snapshot)
	}
	ours, theirs := took(lazyDisk)
	t.Logf("measured: %d MiB/s: nodejoin %.1f s, kubeadm join %.1f s from the token's signature to the Node", lazyDisk>>20, ours.Seconds(), theirs.Seconds())
	if ratio := ours.Seconds() / theirs.Seconds(); ratio > soonest {
		t.Errorf("%.2f of kubeadm's time, wanted at most %.2f", ratio, soonest)
	}

	t.Log("on a fast disk nothing is lost")
	s.cp, err = s.tb.NewControlPlane(s.ctx, testbed.ControlPlaneOptions{Name: "other"})
	s.must(err)
	for i, m := range machines {
		s.must(m.Restore(s.ctx, fresh[i]))
		_, err := m.Run(s.ctx, "date", "--set", "@"+strconv.FormatInt(time.Now().Unix(), 10))
		s.must(err)
	}
	ours, theirs = took(0)
	t.Logf("measured: no limit: nodejoin %.1f s, kubeadm join %.1f s", ours.Seconds(), theirs.Seconds())
	if ratio := ours.Seconds() / theirs.Seconds(); ratio > noLoss {
		t.Errorf("%.2f of kubeadm's time, wanted at most %.2f", ratio, noLoss)
	}
}
