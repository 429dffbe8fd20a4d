package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// member: the whole of a nodejoin on a machine that is a member already.
func (b *bench) member() error {
	return b.onStage(audited(), testbed.NodeOptions{CNI: true}, func(s *stage) error {
		if err := s.audit(); err != nil {
			return err
		}
		if err := s.cp.Start(b.ctx); err != nil {
			return err
		}
		token, err := s.cp.ReadyToken(b.ctx)
		if err != nil {
			return err
		}
		if _, err := s.node.Run(b.ctx, s.command(ours, token)...); err != nil {
			return err
		}
		if _, err := s.cp.WaitNode(b.ctx, s.node.Hostname, testbed.Ready); err != nil {
			return err
		}
		for run := range b.runs {
			for _, who := range b.with(ours) {
				if err := s.again(who, token, run); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// again is one run of a contender on a member.
func (s *stage) again(who, token string, run int) error {
	asked := s.asked()
	p, err := s.node.Start(s.ctx, testbed.Command{Args: s.command(who, token)})
	if err != nil {
		return err
	}
	exit := p.Wait()
	if exit.Code != 0 {
		return fmt.Errorf("exit status %d: %s", exit.Code, p.Stderr)
	}
	if err := s.sleep(500 * time.Millisecond); err != nil { // for the audit log
		return err
	}
	if asked = s.asked() - asked; asked == 0 {
		return errors.New("the audit log has no request of nodejoin")
	}
	s.add(sample{Row: "member", Contender: who, What: "CPU ms", Run: run, Value: float64(exit.CPU.Milliseconds())})
	s.add(sample{Row: "member", Contender: who, What: "requests", Run: run, Value: float64(asked)})
	return nil
}

// waitingTime is for how long the API server of the row "waiting" is away.
const waitingTime = 10 * time.Minute

// waiting: ten minutes of an API server that is not there: its host is up and refuses, or nothing answers at all. The
// contenders wait side by side, each on a node of its own: none of them is busy, and CPU time is a process's own.
func (b *bench) waiting() error {
	return b.onStage(testbed.ControlPlaneOptions{}, testbed.NodeOptions{}, func(s *stage) error {
		var all []waiter
		for _, who := range b.with(ours, bare, shellLoop, installer) {
			all = append(all, waiter{who, refusing, s.cp.Endpoint()}, waiter{who, silent, net.JoinHostPort(s.tb.BlackholeIP(), "6443")})
		}
		return sideBySide(all, s.wait)
	})
}

// How an API server may not be there.
const (
	refusing = "refused"
	silent   = "no answer"
)

// waiter is a contender that waits for an endpoint where nobody is.
type waiter struct{ contender, how, endpoint string }

func (s *stage) wait(w waiter) error {
	name := strings.NewReplacer(" ", "-", "'", "").Replace(w.contender + " " + w.how)
	node, err := s.newNode(name, testbed.NodeOptions{Kubelet: []string{"sleep", "infinity"}})
	if err != nil {
		return err
	}
	elsewhere := strings.ReplaceAll(string(s.cp.Kubeconfig()), s.cp.Endpoint(), w.endpoint)
	if err := node.WriteFile("/root/.kube/config", elsewhere, 0o600); err != nil {
		return err
	}
	before, err := s.sent(node)
	if err != nil {
		return err
	}
	args := s.commandTo(w.endpoint, w.contender, testbed.NewToken())
	began := time.Now()
	p, err := node.Start(s.ctx, testbed.Command{Args: args})
	if err != nil {
		return err
	}
	resident := 0.0
	for wait := true; wait && time.Since(began) < waitingTime; {
		select {
		case <-p.Done(): // it gave up
			wait = false
		case <-time.After(time.Second):
			resident = max(resident, largest(node, p.PID, isNodejoin(w.contender)))
		}
	}
	waited := time.Since(began).Seconds()
	after, err := s.sent(node)
	if err != nil {
		return err
	}
	if err := p.SignalGroup(syscall.SIGTERM); err != nil && s.ctx.Err() == nil {
		s.say("%s had ended: %v", w.contender, err)
	}
	exit := p.Wait()
	if least := map[bool]time.Duration{true: waitingTime, false: time.Minute}[isNodejoin(w.contender)]; waited < least.Seconds() || resident == 0 {
		return fmt.Errorf("it waited for %.1f s only:\n%s", waited, p.Stderr)
	}
	add := func(what string, value float64) {
		s.add(sample{Row: "waiting", Contender: w.contender, What: w.how + ": " + what, Value: value})
	}
	add("seconds waited", waited)
	add("CPU s", exit.CPU.Seconds())
	add("resident MB", resident)
	add("packets/s", (after-before)/waited)
	return nil
}

// largest is the most memory that any process of a session, or its leader alone, has had in its time, in MB. (What the
// kernel tells of a process that has ended includes whoever it was before it became this program.)
func largest(node *testbed.Node, session int, alone bool) float64 {
	most := 0.0
	stats, _ := filepath.Glob(node.Path("/proc/[0-9]*/stat"))
	for _, path := range stats {
		stat, _ := os.ReadFile(path) // gone by now, most likely
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) < 4 || fields[3] != strconv.Itoa(session) || alone && filepath.Base(filepath.Dir(path)) != strconv.Itoa(session) {
			continue
		}
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		var kB float64
		fmt.Sscan(peak, &kB)
		most = max(most, kB*1024/1e6)
	}
	return most
}

// sent counts the packets that a node has sent to the network.
func (s *stage) sent(node *testbed.Node) (float64, error) {
	text, err := node.Run(s.ctx, "cat", "/proc/net/dev")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for line := range strings.Lines(text) {
		name, counts, ok := strings.Cut(line, ":")
		fields := strings.Fields(counts)
		if !ok || strings.TrimSpace(name) == "lo" || len(fields) < 10 {
			continue
		}
		n, err := strconv.ParseFloat(fields[9], 64)
		if err != nil {
			return 0, fmt.Errorf("reading /proc/net/dev: %w", err)
		}
		total += n
	}
	return total, nil
}
