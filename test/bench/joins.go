package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// longest is for how long any contender is waited for.
const longest = 2 * time.Minute

// late: a fresh control plane 5 to 15 s after the contender's start; seconds from the token's signature to the Node.
func (b *bench) late() error {
	const what = "signed to Node"
	for run, part := range rand.Perm(b.runs) {
		// The same lateness for all contenders of a round, and each part of the ten seconds once: what who polls every 5 s
		// gets is luck, and its median would be, too.
		lateness := 5*time.Second + 10*time.Second*time.Duration(part)/time.Duration(b.runs) + rand.N(10*time.Second/time.Duration(b.runs))
		for _, who := range b.with(limit, ours, bare, shellLoop, installer) {
			err := b.onStage(testbed.ControlPlaneOptions{}, testbed.NodeOptions{}, func(s *stage) error {
				took, never, err := s.lateJoin(who, lateness)
				if err != nil {
					return err
				}
				b.add(sample{Row: "late", Contender: who, What: what, Run: run, Value: took, Never: never})
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
	}
	return nil
}

func (s *stage) lateJoin(who string, lateness time.Duration) (took float64, never bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	token := testbed.NewToken()
	start := func() error {
		_, err := s.node.Start(ctx, testbed.Command{Args: s.command(who, token)})
		return err
	}
	if who != limit { // which waits for nothing
		if err := start(); err != nil {
			return 0, false, err
		}
		if err := s.sleep(lateness); err != nil {
			return 0, false, err
		}
	}
	if err := s.cp.Start(ctx); err != nil {
		return 0, false, err
	}
	in, err := nodeNews(ctx, s.cp, s.node.Hostname)
	if err != nil {
		return 0, false, err
	}
	if _, err := s.cp.Token(ctx, testbed.TokenOptions{Value: token}); err != nil {
		return 0, false, err
	}
	at, err := signed(ctx, s.cp, token)
	if err != nil {
		return 0, false, err
	}
	if who == limit {
		if err := start(); err != nil {
			return 0, false, err
		}
	}
	n, never, err := await(ctx, in, longest, added)
	return n.at.Sub(at).Seconds(), never, err
}

// live: the control plane has been there for long; seconds from the contender's start to the Node.
func (b *bench) live() error {
	return b.onStage(testbed.ControlPlaneOptions{}, testbed.NodeOptions{}, func(s *stage) error {
		if err := s.cp.Start(b.ctx); err != nil {
			return err
		}
		token, err := s.cp.ReadyToken(b.ctx)
		if err != nil {
			return err
		}
		for run := range b.runs {
			for i, who := range b.with(bare, ours) {
				took, err := s.liveJoin(who, fmt.Sprintf("n%d-%d", run, i), token)
				if err != nil {
					return fmt.Errorf("%s: %w", who, err)
				}
				b.add(sample{Row: "live", Contender: who, What: "start to Node", Run: run, Value: took})
			}
		}
		return nil
	})
}

func (s *stage) liveJoin(who, name, token string) (took float64, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	node, err := s.newNode(name, testbed.NodeOptions{})
	if err != nil {
		return 0, err
	}
	defer node.PowerOff()
	in, err := nodeNews(ctx, s.cp, name)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := node.Start(ctx, testbed.Command{Args: s.command(who, token)}); err != nil {
		return 0, err
	}
	n, never, err := await(ctx, in, longest, added)
	if never {
		err = fmt.Errorf("no Node after %s", longest)
	}
	return n.at.Sub(began).Seconds(), err
}

// neverAfter is for how long a Node that nobody brings back is waited for.
const neverAfter = time.Minute

// deleted: the Amazon controller deletes the Node of an instance that EC2 does not list yet; seconds until it is
// registered again.
func (b *bench) deleted() error {
	for run := range max(b.runs/3, 1) {
		for _, who := range b.with(restart, ours, bare, shellLoop, installer) {
			if run >= max(b.runs/20, 1) && who != restart && who != ours && who != before {
				continue // never is never
			}
			node := testbed.NodeOptions{KubeletArgs: []string{"--cloud-provider=external"}}
			err := b.onStage(testbed.ControlPlaneOptions{}, node, func(s *stage) error {
				took, never, err := s.comeBack(who)
				if err != nil {
					return err
				}
				b.add(sample{Row: "deleted", Contender: who, What: "deleted to registered", Run: run, Value: took, Never: never})
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
	}
	return nil
}

func (s *stage) comeBack(who string) (took float64, never bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if err := s.cp.Start(ctx); err != nil {
		return 0, false, err
	}
	token, err := s.cp.ReadyToken(ctx)
	if err != nil {
		return 0, false, err
	}
	cloud, err := s.cp.Cloud(ctx)
	if err != nil {
		return 0, false, err
	}
	in, err := nodeNews(ctx, s.cp, s.node.Hostname)
	if err != nil {
		return 0, false, err
	}
	if _, err := s.node.Start(ctx, testbed.Command{Args: s.command(who, token)}); err != nil {
		return 0, false, err
	}
	gone, late, err := await(ctx, in, longest, deleted)
	if late {
		err = fmt.Errorf("the controller did not delete the Node within %s", longest)
	}
	if err != nil {
		return 0, false, err
	}
	cloud.Know(s.node) // from now on it may stay
	back, never, err := s.bringsBack(ctx, who, in)
	return back.at.Sub(gone.at).Seconds(), never, err
}

// bringsBack waits until a Node that was deleted is there again; one contender is the hand that restarts its kubelet.
func (s *stage) bringsBack(ctx context.Context, who string, in <-chan news) (back news, never bool, err error) {
	if who == restart {
		if _, err := s.node.Start(ctx, testbed.Command{Args: []string{"systemctl", "restart", "kubelet"}}); err != nil {
			return back, false, err
		}
	}
	return await(ctx, in, neverAfter, added)
}

// reset: a Node that is Ready is to be reset and joined again; failed joins, and seconds until it is Ready. What the others do
// is to wait for the old Node to be taken for dead: they run side by side, after nodejoin, which is alone.
func (b *bench) reset() error {
	for run := range max(b.runs/2, 1) {
		if err := b.resets(ours, run); err != nil {
			return fmt.Errorf("%s: %w", ours, err)
		}
		if err := sideBySide(b.with(shellLoop, installer), func(who string) error { return b.resets(who, run) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) resets(who string, run int) error {
	return b.onStage(testbed.ControlPlaneOptions{}, testbed.NodeOptions{CNI: true}, func(s *stage) error {
		took, failed, never, err := s.resetReady(who)
		if err != nil {
			return err
		}
		b.add(sample{Row: "reset", Contender: who, What: "seconds", Run: run, Value: took, Never: never})
		b.add(sample{Row: "reset", Contender: who, What: "failed joins", Run: run, Value: float64(failed)})
		return nil
	})
}

// sideBySide runs contenders at the same time, where waiting is most of what they do.
func sideBySide[T any](all []T, run func(T) error) error {
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, one := range all {
		running.Go(func() {
			if err := run(one); err != nil {
				errs[i] = fmt.Errorf("%v: %w", one, err)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func (s *stage) resetReady(who string) (took float64, failed int, never bool, err error) {
	if err := s.cp.Start(s.ctx); err != nil {
		return 0, 0, false, err
	}
	token, err := s.cp.ReadyToken(s.ctx)
	if err != nil {
		return 0, 0, false, err
	}
	if _, err := s.node.Run(s.ctx, s.command(bare, token)...); err != nil {
		return 0, 0, false, err
	}
	if _, err := s.cp.WaitNode(s.ctx, s.node.Hostname, testbed.Ready); err != nil {
		return 0, 0, false, err
	}
	before := s.node.KubeadmCount("join")
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, 2*longest)
	defer cancel()
	p, err := s.node.Start(ctx, testbed.Command{Args: s.resetBy(who, token)})
	if err != nil {
		return 0, 0, false, err
	}
	exit := p.Wait()
	if s.ctx.Err() != nil {
		return 0, 0, false, context.Cause(s.ctx)
	}
	failed = s.node.KubeadmCount("join") - before
	if exit.Code == 0 { // who says that it is done may be early
		if _, err := s.cp.WaitNode(ctx, s.node.Hostname, testbed.Ready); err != nil {
			return 0, 0, false, err
		}
	}
	if exit.Code == 0 {
		failed--
	}
	return time.Since(began).Seconds(), failed, exit.Code != 0, nil
}
