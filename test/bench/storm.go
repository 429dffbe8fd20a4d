package main

import (
	"context"
	"fmt"
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

// storm: many nodes wait for one API server that starts late, all on this host. The API server, etcd and the controllers
// are real, and so is every request; kubeadm and the kubelet are played by a program that does what they do over the
// network.
func (b *bench) storm() error {
	scripted, err := b.build(".", "./bench/kubeadm", "kubeadm")
	if err != nil {
		return err
	}
	for run := range 3 { // how fast the API server starts when nobody waits
		if err := b.crowd(ours, 0, run, scripted); err != nil {
			return err
		}
	}
	crowds := crowds[:1+slices.IndexFunc(crowds, func(n int) bool { return n >= b.crowdest })]
	most := crowds[len(crowds)-1] // the shell loop has to stand that one only
	for _, n := range crowds {
		if err := b.crowd(ours, n, 0, scripted); err != nil {
			return fmt.Errorf("%d nodes: %w", n, err)
		}
	}
	if err := b.crowd(ours, most, 1, scripted); err != nil {
		return err
	}
	return b.crowd(shellLoop, most, 0, scripted)
}

func (b *bench) crowd(who string, n, run int, scripted string) error {
	return b.onStage(audited(), testbed.NodeOptions{NoRuntime: true, Kubelet: []string{"sleep", "infinity"}}, func(s *stage) error {
		if err := s.audit(); err != nil {
			return err
		}
		what := func(text string) string { return fmt.Sprintf("%d: %s", n, text) }
		add := func(text string, value float64) {
			s.add(sample{Row: "storm", Contender: who, What: what(text), Run: run, Value: value})
		}
		token := testbed.NewToken()
		nodes, err := s.gather(n, scripted)
		if err != nil {
			return err
		}
		var procs []*testbed.Proc
		for _, node := range nodes {
			p, err := node.Start(s.ctx, testbed.Command{Args: s.command(who, token)})
			if err != nil {
				return err
			}
			procs = append(procs, p)
		}
		if err := s.sleep(5 * time.Second); err != nil { // they wait
			return err
		}
		ready, at, registered, err := s.appear(token, n)
		if err != nil {
			return err
		}
		add("API server's start to ready", ready)
		add("ready to signed", at.ready)
		if n == 0 {
			return nil
		}
		took, err := registered()
		if err != nil {
			return err
		}
		if err := s.ended(procs); err != nil {
			return err
		}
		add("joined", float64(len(took)))
		add("median s", median(took))
		add("99th percentile s", quantile(took, 0.99))
		s.traffic(who, n, at.signed, add)
		return nil
	})
}

// gather makes the nodes, several at a time.
func (s *stage) gather(n int, scripted string) ([]*testbed.Node, error) {
	nodes, errs := make([]*testbed.Node, n), make([]error, n)
	slots := make(chan struct{}, 4)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			name := fmt.Sprintf("storm-%03d", i)
			nodes[i], errs[i] = s.newNode(name, testbed.NodeOptions{NoRuntime: true, Kubelet: []string{"sleep", "infinity"}})
			if errs[i] == nil {
				errs[i] = nodes[i].Install(scripted, "kubeadm")
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// moments of a control plane's start.
type moments struct {
	ready  float64 // seconds from ready to signed
	signed time.Time
}

// appear starts the control plane and signs the token; registered waits for n Nodes and returns how long each took since.
func (s *stage) appear(token string, n int) (ready float64, at moments, registered func() ([]float64, error), err error) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Minute)
	began := time.Now()
	readyAt := make(chan time.Time, 1)
	go func() {
		for ctx.Err() == nil {
			quick, stop := context.WithTimeout(ctx, 2*time.Second)
			_, err := s.cp.Client().Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(quick)
			stop()
			if err == nil {
				readyAt <- time.Now()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	fail := func(err error) (float64, moments, func() ([]float64, error), error) {
		cancel()
		return 0, moments{}, nil, err
	}
	if err := s.cp.Start(ctx); err != nil {
		return fail(err)
	}
	w, err := watchNodes(ctx, s.cp, "")
	if err != nil {
		return fail(err)
	}
	if _, err := s.cp.Token(ctx, testbed.TokenOptions{Value: token}); err != nil {
		return fail(err)
	}
	signedAt, err := signed(ctx, s.cp, token)
	if err != nil {
		return fail(err)
	}
	first := <-readyAt
	registered = func() ([]float64, error) {
		defer cancel()
		seen := map[string]float64{}
		for len(seen) < n {
			e, ok := <-w.ResultChan()
			if !ok {
				return nil, fmt.Errorf("%d of %d Nodes, then the watch broke: %w", len(seen), n, context.Cause(ctx))
			}
			if node, is := e.Object.(*core.Node); is && e.Type == watch.Added && seen[node.Name] == 0 {
				seen[node.Name] = time.Since(signedAt).Seconds()
			}
		}
		var took []float64
		for _, t := range seen {
			took = append(took, t)
		}
		slices.Sort(took)
		return took, nil
	}
	if n == 0 {
		cancel()
	}
	return first.Sub(began).Seconds(), moments{signedAt.Sub(first).Seconds(), signedAt}, registered, nil
}

// ended waits for all contenders and complains of those that failed.
func (s *stage) ended(procs []*testbed.Proc) error {
	deadline := time.After(longest)
	failed := 0
	for _, p := range procs {
		select {
		case <-p.Done():
			if p.Wait().Code != 0 {
				failed++
				s.say("one failed: %s", strings.TrimSpace(p.Stderr.String()))
			}
		case <-deadline:
			return fmt.Errorf("a contender does not end: %s", p.Stderr)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d contenders failed", failed)
	}
	return nil
}

// traffic tells from the audit log what the nodes have asked the API server for.
func (s *stage) traffic(who string, n int, at time.Time, add func(string, float64)) {
	time.Sleep(time.Second) // for the audit log
	agents := map[string][]request{}
	var all []request
	for _, agent := range []string{"nodejoin", "kubeadm", "kubectl"} {
		for _, r := range s.requests(agent) {
			// the control plane's own kubeadm and kubectl come from its own address
			if len(r.Sources) > 0 && r.Sources[0] == s.cp.IP {
				continue
			}
			agents[agent] = append(agents[agent], r)
			all = append(all, r)
		}
	}
	if who == ours {
		probes := 0
		for _, r := range agents["nodejoin"] {
			if r.Received.Before(at) || r.ObjectName.Name == "cluster-info" {
				probes++
			}
		}
		add("nodejoin's requests a node", float64(len(agents["nodejoin"])-probes)/float64(n))
		add("nodejoin's probes a node", float64(probes)/float64(n))
	}
	add("all requests a node", float64(len(all))/float64(n))
	perSecond := map[int64]int{}
	first, last := time.Time{}, time.Time{}
	for _, r := range all {
		if r.Received.Before(at) {
			continue
		}
		perSecond[r.Received.Unix()]++
		if first.IsZero() || r.Received.Before(first) {
			first = r.Received
		}
		if r.Received.After(last) {
			last = r.Received
		}
	}
	busiest := 0
	for _, count := range perSecond {
		busiest = max(busiest, count)
	}
	if seconds := last.Sub(first).Seconds(); seconds > 0 {
		after := 0
		for _, count := range perSecond {
			after += count
		}
		add("busiest second / mean", float64(busiest)/(float64(after)/max(seconds, 1)))
	}
}
