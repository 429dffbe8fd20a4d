package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What the row "expired" tells.
const (
	reportsAgain = "expired to reporting"
	podsAlive    = "% of pods alive"
	resetsDone   = "resets"
)

// lapsed is a member whose certificate has expired while nothing reported for it. Its pods run.
type lapsed struct {
	node *testbed.Node
	uid  types.UID
	pods []int // its processes
}

// expired: a machine was off for a year, so to say. Seconds until its Node, the same, is reported for again; the pods that have
// outlived it, and resets. The build before waits for minutes, so it has fewer runs.
func (b *bench) expired() error {
	for run := range max(b.runs/2, 1) {
		contenders := []string{ours, shellLoop}
		if run < max(b.runs/5, 1) {
			contenders = b.with(contenders...)
		}
		// what notices sooner that nobody reports changes nothing from then on
		impatient := testbed.ControlPlaneOptions{ControllerArgs: []string{"--node-monitor-grace-period=20s"}}
		err := b.onStage(impatient, stand, func(s *stage) error { return s.expires(run, contenders) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) expires(run int, contenders []string) error {
	if err := s.cp.Start(s.ctx); err != nil {
		return err
	}
	token, err := s.cp.ReadyToken(s.ctx)
	if err != nil {
		return err
	}
	members := map[string]lapsed{}
	for i, who := range contenders {
		if members[who], err = s.lapse(fmt.Sprintf("m%d", i), token); err != nil {
			return err
		}
	}
	for _, m := range members {
		if _, err := s.cp.WaitNode(s.ctx, m.node.Hostname, testbed.Unknown); err != nil {
			return err
		}
	}
	for _, who := range contenders {
		if err := s.revive(who, token, run, members[who]); err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
	}
	return nil
}

// lapse makes a member with a pod, and stops its kubelet for so long that its certificate expires.
func (s *stage) lapse(name, token string) (m lapsed, err error) {
	if m.node, err = s.newNode(name, testbed.NodeOptions{CNI: true}); err != nil {
		return m, err
	}
	if _, err := m.node.Run(s.ctx, s.command(bare, token)...); err != nil {
		return m, err
	}
	was, err := s.cp.WaitNode(s.ctx, name, testbed.Ready)
	if err != nil {
		return m, err
	}
	m.uid = was.UID
	if err := m.node.ImportPause(s.ctx); err != nil {
		return m, err
	}
	if err := s.cp.RunPod(s.ctx, name); err != nil {
		return m, err
	}
	if m.pods, err = podsOn(m.node); err != nil {
		return m, err
	}
	return m, s.cp.Outdate(m.node, false)
}

func podsOn(node *testbed.Node) (pids []int, err error) {
	all, err := node.Running("pause")
	for _, p := range all {
		pids = append(pids, p.PID)
	}
	return pids, err
}

func (s *stage) revive(who, token string, run int, m lapsed) error {
	const most = 2 * longest // the build before has 90 s of patience, and more
	ctx, cancel := context.WithTimeout(s.ctx, most)
	defer cancel()
	in, err := nodeNews(ctx, s.cp, m.node.Hostname)
	if err != nil {
		return err
	}
	if err := m.node.StartUnit("kubelet"); err != nil { // as at a boot; it fails again and again
		return err
	}
	args := s.command(who, token)
	if who == shellLoop {
		args = s.resetBy(who, token)
	}
	began := time.Now()
	p, err := m.node.Start(ctx, testbed.Command{Args: args})
	if err != nil {
		return err
	}
	// only a kubelet that reports ends Unknown
	again, never, err := await(ctx, in, most, func(n news) bool { return n.node.UID == m.uid && !testbed.Unknown(n.node) })
	if err != nil {
		return err
	}
	exit := p.Wait() // what it does after that counts, too
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	left, err := podsOn(m.node)
	if err != nil {
		return err
	}
	alive := 0
	for _, pid := range m.pods {
		if slices.Contains(left, pid) {
			alive++
		}
	}
	add := func(what string, value float64, never bool) {
		s.add(sample{Row: "expired", Contender: who, What: what, Run: run, Value: value, Never: never})
	}
	add(reportsAgain, again.at.Sub(began).Seconds(), never || exit.Code != 0)
	add(podsAlive, 100*float64(alive)/float64(len(m.pods)), false)
	add(resetsDone, float64(m.node.KubeadmCount("reset")), false)
	return nil
}
