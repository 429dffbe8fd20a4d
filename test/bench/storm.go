package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// crowds are the numbers of nodes that wait for one API server.
var crowds = []int{10, 30, 100, 300}

// crowd is one storm: many nodes wait for one API server that starts late, all on this host. The API server, etcd and the
// controllers are real, and so is every request; kubeadm and the kubelet are played by a program that does what they do
// over the network.
type crowd struct {
	contender string
	nodes     int
	run       int
	// defaults leaves the controller manager at its own rate of requests, 20 a second: it approves and signs certificates.
	defaults bool
}

func (c crowd) String() string { return fmt.Sprintf("%d x %s, run %d", c.nodes, c.contender, c.run) }

// what names a series of this crowd's samples.
func (c crowd) what(text string) string {
	if c.defaults {
		text += ", default rate"
	}
	return fmt.Sprintf("%d: %s", c.nodes, text)
}

// idle is a program that waits for nothing: what an API server's start costs beside as many machines that are merely there.
const idle = "idle"

// starts is how many starts of the API server are compared, each with the one of its round: one differs from the next by a
// tenth and more.
const starts = 5

// defaultCrowd are the nodes at the controller manager's own rate.
const defaultCrowd = 100

func (b *bench) storm() error {
	scripted, err := b.build(".", "./bench/kubeadm", "kubeadm")
	if err != nil {
		return err
	}
	if err := b.handshakes(); err != nil {
		return err
	}
	sizes := slices.DeleteFunc(slices.Clone(crowds), func(n int) bool { return n > b.crowdest })
	if len(sizes) == 0 {
		return fmt.Errorf("the smallest crowd has %d nodes", crowds[0])
	}
	most := sizes[len(sizes)-1]
	var all []crowd
	for _, n := range sizes[:len(sizes)-1] {
		all = append(all, crowd{ours, n, 0, false})
	}
	for run := range starts {
		round := []crowd{{idle, 0, run, false}, {idle, most, run, false}, {ours, most, run, false}}
		if b.before != "" {
			round = append(round, crowd{before, most, run, false})
		}
		first := run % len(round) // what goes before may leave something behind
		all = slices.Concat(all, round[first:], round[:first])
	}
	all = append(all, crowd{shellLoop, most, 0, false}, crowd{ours, min(defaultCrowd, most), 0, true})
	for _, c := range all {
		if err := b.gather(c, scripted); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
	}
	return nil
}

// gather makes a crowd, lets its API server appear, and measures until everybody is in.
func (b *bench) gather(c crowd, scripted string) error {
	options := audited()
	if c.defaults {
		options.ControllerArgs = []string{"--kube-api-qps=20", "--kube-api-burst=30"}
	}
	return b.onStage(options, stand, func(s *stage) error {
		if err := s.audit(); err != nil {
			return err
		}
		nodes, err := s.nodes(c.nodes, scripted)
		if err != nil {
			return err
		}
		token := testbed.NewToken()
		var procs []*testbed.Proc
		for _, node := range nodes {
			p, err := node.Start(s.ctx, testbed.Command{Args: slices.Concat(aside, s.command(c.contender, token))})
			if err != nil {
				return err
			}
			procs = append(procs, p)
		}
		// until all have started and nothing is left to do but wait
		if err := s.sleep(5*time.Second + time.Duration(c.nodes)*100*time.Millisecond); err != nil {
			return err
		}
		return s.outlast(c, token, procs)
	})
}

// aside gives way to the control plane, whose processor a node does not share in the field: lowest in its own session, and
// its session lowest of all.
var aside = []string{"sh", "-c", `echo 19 > /proc/self/autogroup; exec nice -n 19 "$@"`, "sh"}

// stand is a node for the scripted kubeadm: nothing runs on it but the contender.
var stand = testbed.NodeOptions{NoRuntime: true, Kubelet: []string{"sleep", "infinity"}}

// What such a node has of kubeadm and systemctl: programs as slow to start as the testbed's own would cost it more CPU time
// than nodejoin.
const (
	kubeadmScripted = `#!/bin/sh
[ "$1" = version ] && exec echo v1.37.2
exec kubeadm-scripted "$@"
`
	kubeletRuns = `#!/bin/sh
state='ActiveState=activating SubState=auto-restart Result=exit-code'
[ -e /etc/kubernetes/kubelet.conf ] && state='ActiveState=active SubState=running'
printf '%s\n' LoadState=loaded UnitFileState=enabled $state
`
)

func (s *stage) outlast(c crowd, token string, procs []*testbed.Proc) error {
	add := func(text string, value float64) {
		s.add(sample{Row: "storm", Contender: c.contender, What: c.what(text), Run: c.run, Value: value})
	}
	opened, err := s.connections()
	if err != nil {
		return err
	}
	in, at, err := s.appear(token)
	if err != nil {
		return err
	}
	add("s from the API server's start to ready", at.ready.Sub(at.began).Seconds())
	add("s from ready to signed", at.signed.Sub(at.ready).Seconds())
	before, err := s.apiServerCPU()
	if err != nil {
		return err
	}
	add("API server's CPU s until signed", before)
	if c.contender == idle {
		in.Stop()
		for _, p := range procs {
			select {
			case <-p.Done():
				return fmt.Errorf("an idle program has ended: %s", p.Stderr.String())
			default:
			}
		}
		return nil
	}
	took := registered(s.ctx, in, c.nodes, at.signed)
	failed, err := s.ended(procs)
	if err != nil {
		return err
	}
	after, err := s.apiServerCPU()
	if err != nil {
		return err
	}
	connections, err := s.connections()
	if err != nil {
		return err
	}
	add("joined", float64(slices.IndexFunc(append(took, math.Inf(1)), func(t float64) bool { return math.IsInf(t, 1) })))
	add("failed", float64(failed))
	start, mid, last := at.signed.Sub(at.began).Seconds(), median(took), quantile(took, 0.99)
	add("s from signature to Node, median", mid)
	add("s from signature to Node, 99th percentile", last)
	add("s from the API server's start to Node, median", start+mid)
	add("s from the API server's start to Node, 99th percentile", start+last)
	add("API server's CPU ms a node", (after-before)*1000/float64(c.nodes))
	add("connections a node", (connections-opened)/float64(c.nodes))
	return s.traffic(c, at, add)
}

// nodes makes the nodes, several at a time.
func (s *stage) nodes(n int, scripted string) ([]*testbed.Node, error) {
	nodes, errs := make([]*testbed.Node, n), make([]error, n)
	slots := make(chan struct{}, 4)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if nodes[i], errs[i] = s.newNode(fmt.Sprintf("storm-%03d", i), stand); errs[i] == nil {
				errs[i] = errors.Join(nodes[i].Install(scripted, "kubeadm-scripted"), nodes[i].SetProgram("kubeadm", kubeadmScripted),
					nodes[i].SetProgram("systemctl", kubeletRuns))
			}
		})
	}
	all.Wait()
	return nodes, errors.Join(errs...)
}

// moments of a control plane's start.
type moments struct{ began, ready, signed time.Time }

// appear starts the control plane and has the token signed; in are the Nodes that register from then on.
func (s *stage) appear(token string) (in watch.Interface, at moments, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Minute)
	defer cancel()
	ready := make(chan time.Time, 1)
	go func() {
		for ctx.Err() == nil {
			quick, stop := context.WithTimeout(ctx, 2*time.Second)
			_, err := s.cp.Client().Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(quick)
			stop()
			if err == nil {
				ready <- time.Now()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if err := s.cp.Start(ctx); err != nil {
		return nil, at, err
	}
	if in, err = watchNodes(s.ctx, s.cp, ""); err != nil {
		return nil, at, err
	}
	if _, err := s.cp.Token(ctx, testbed.TokenOptions{Value: token}); err != nil {
		return nil, at, err
	}
	if at.signed, err = signed(ctx, s.cp, token); err != nil {
		return nil, at, err
	}
	select {
	case at.ready = <-ready:
	case <-ctx.Done():
		return nil, at, context.Cause(ctx)
	}
	state, err := s.cp.UnitState(testbed.APIServer)
	at.began = state.Since
	return in, at, err
}

// stormTime is for how long a crowd is given to register.
const stormTime = 5 * time.Minute

// registered returns how many seconds each Node took, sorted; for ever, if it is not there in time.
func registered(ctx context.Context, in watch.Interface, n int, since time.Time) []float64 {
	defer in.Stop()
	deadline := time.After(stormTime)
	seen := map[string]float64{}
	for open := true; open && len(seen) < n; {
		select {
		case e, ok := <-in.ResultChan():
			node, is := e.Object.(*core.Node)
			open = ok // a watch that breaks is told by who is missing
			if is && e.Type == watch.Added && seen[node.Name] == 0 {
				seen[node.Name] = time.Since(since).Seconds()
			}
		case <-deadline:
			open = false
		case <-ctx.Done():
			open = false
		}
	}
	took := slices.Sorted(maps.Values(seen))
	for len(took) < n {
		took = append(took, math.Inf(1))
	}
	return took
}

// ended waits for all contenders and counts those that failed, or do not end.
func (s *stage) ended(procs []*testbed.Proc) (failed int, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, longest)
	defer cancel()
	for _, p := range procs {
		select {
		case <-p.Done():
		case <-ctx.Done():
		}
		select {
		case <-p.Done():
			if p.Wait().Code == 0 {
				continue
			}
		default:
		}
		failed++
		s.say("one failed: %s", strings.TrimSpace(p.Stderr.String()))
	}
	return failed, context.Cause(s.ctx)
}
