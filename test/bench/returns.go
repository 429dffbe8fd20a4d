package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What an administrator has put on a Node that is deleted.
const (
	ownLabel = "example.com/rack"
	ownTaint = "example.com/team"
)

// settled is for how long a Node that is back is watched: a restarted kubelet is NotReady for 10 s at times, and a Node that
// nobody takes up would be said to be Unknown later still.
const settled = 15 * time.Second

// returned: a Node of an instance that EC2 does not list yet is deleted by the Amazon controller while it is not Ready; and
// one that is Ready is deleted by hand. Is it as before, how long is it away, and how long is it not Ready then?
func (b *bench) returned() error {
	for run := range b.runs {
		for _, who := range b.with(restart, ours) {
			for _, ready := range []bool{false, true} {
				if !ready && run >= max(b.runs/2, 1) {
					continue // its share is all or nothing; what the other is judged by is the worst
				}
				cluster := testbed.ControlPlaneOptions{ControllerArgs: []string{"--allocate-node-cidrs=true", "--cluster-cidr=10.200.0.0/16"}}
				err := b.onStage(cluster, testbed.NodeOptions{CNI: ready, KubeletArgs: []string{"--cloud-provider=external"}}, func(s *stage) error { return s.returns(who, run, ready) })
				if err != nil {
					return fmt.Errorf("%s: %w", who, err)
				}
			}
		}
	}
	return nil
}

func (s *stage) returns(who string, run int, ready bool) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	if err := s.cp.Start(ctx); err != nil {
		return err
	}
	token, err := s.cp.ReadyToken(ctx)
	if err != nil {
		return err
	}
	cloud, err := s.cp.NewCloud()
	if err != nil {
		return err
	}
	in, err := nodeNews(ctx, s.cp, s.node.Hostname)
	if err != nil {
		return err
	}
	command := s.command(who, token)
	if who != restart {
		command = append(command, "--hold", "2m") // in which it watches, for no cloud accepts the Node before
	}
	if _, err := s.node.Start(ctx, testbed.Command{Args: command}); err != nil {
		return err
	}
	settledNode := func(n *core.Node) bool { return n.Spec.PodCIDR != "" && (!ready || testbed.Ready(n)) }
	if _, err := s.cp.WaitNode(ctx, s.node.Hostname, settledNode); err != nil {
		return err
	}
	before, err := s.mark(ctx)
	if err != nil {
		return err
	}
	if err := s.sleep(2 * time.Second); err != nil { // a sight of the marks
		return err
	}
	if ready {
		err = s.cp.DeleteNode(ctx, s.node.Hostname)
	} else {
		cloud, err = s.cp.Cloud(ctx)
	}
	if err != nil {
		return err
	}
	gone, late, err := await(ctx, in, longest, deleted)
	if late {
		err = errors.New("the Node was not deleted")
	}
	if err != nil {
		return err
	}
	cloud.Know(s.node)
	back, never, err := s.bringsBack(ctx, who, in)
	if err != nil || never {
		return errors.Join(err, fmt.Errorf("the Node came back: %t", !never))
	}
	after, notReady, err := follow(ctx, in, back)
	if err != nil {
		return err
	}
	how, whole := "not Ready", 0.0
	if ready {
		how = "Ready"
		s.add(sample{Row: "returned", Contender: who, What: "ms not Ready", Run: run, Value: notReady.Seconds() * 1000})
	}
	if asBefore(before, after) {
		whole = 100
	}
	s.add(sample{Row: "returned", Contender: who, What: how + ": deleted to there again", Run: run, Value: back.at.Sub(gone.at).Seconds()})
	s.add(sample{Row: "returned", Contender: who, What: how + ": % as before", Run: run, Value: whole})
	return nil
}

// mark puts on the Node what others may.
func (s *stage) mark(ctx context.Context) (*core.Node, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]string{ownLabel: "r7"}},
		"spec":     map[string]any{"unschedulable": true},
	})
	if err != nil {
		return nil, err
	}
	nodes := s.cp.Client().CoreV1().Nodes()
	if _, err := nodes.Patch(ctx, s.node.Hostname, types.StrategicMergePatchType, patch, meta.PatchOptions{}); err != nil {
		return nil, err
	}
	if _, err := s.cp.Kubectl(ctx, "taint", "node", s.node.Hostname, ownTaint+"=blue:NoSchedule"); err != nil {
		return nil, err
	}
	return nodes.Get(ctx, s.node.Hostname, meta.GetOptions{})
}

// follow is how long a Node that is back was seen to be not Ready, and what it is like in the end.
func follow(ctx context.Context, in <-chan news, back news) (last *core.Node, notReady time.Duration, err error) {
	now := back
	for {
		next, late, err := await(ctx, in, time.Until(back.at.Add(settled)), func(news) bool { return true })
		if err != nil {
			return nil, 0, err
		}
		if !testbed.Ready(now.node) {
			end := next.at
			if late {
				end = back.at.Add(settled)
			}
			notReady += end.Sub(now.at)
		}
		if late {
			return now.node, notReady, nil
		}
		now = next
	}
}

func asBefore(before, after *core.Node) bool {
	has := func(n *core.Node) bool {
		return n.Labels[ownLabel] == "r7" && n.Spec.Unschedulable && slices.ContainsFunc(n.Spec.Taints, func(t core.Taint) bool { return t.Key == ownTaint })
	}
	return has(before) && has(after) && before.Spec.PodCIDR != "" && before.Spec.PodCIDR == after.Spec.PodCIDR
}
