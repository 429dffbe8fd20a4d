package join

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// reach waits for as long as a request to a frozen API server does.
func (s *sim) reach(ctx context.Context) error {
	s.mu.Lock()
	s.requests++
	frozen, answers := s.frozen, s.answers
	s.mu.Unlock()
	if answers > 0 {
		_ = wait(ctx, answers)
	}
	if frozen {
		_ = wait(ctx, 8*time.Second)
		return errors.New("timeout")
	}
	return nil
}

func (s *sim) Probe(ctx context.Context, token, bearer string) cluster.Probe {
	if err := s.reach(ctx); err != nil {
		return cluster.Probe{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Probe{Err: errors.New("connection refused")}
	case s.verdict.Err != nil:
		return s.verdict
	case !s.takes(token):
		return cluster.Probe{Verdict: cluster.Rejected, Err: errors.New("401")}
	}
	node := s.see(s.name())
	if s.hideFromToken || s.elsewhere() {
		node = cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	return cluster.Probe{Verdict: cluster.Proven, Server: "https://cp:6443", CA: s.ca(), Bundle: s.ca(), Pinned: !s.unnamed, Node: node}
}

func (s *sim) see(name string) cluster.Sighting {
	if s.node == nil || s.alive && s.node.Name != name {
		return cluster.Sighting{Answer: cluster.Absent, Err: errors.New("not found")}
	}
	node := *s.node
	if s.judge != nil && s.judge(node) {
		node.MachineID = "machine-of-another"
	}
	return cluster.Sighting{Answer: cluster.Present, Node: node}
}

func (s *sim) Request(ctx context.Context, _ []string) (*cluster.Request, error) {
	if err := s.reach(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	if s.request == nil {
		return nil, nil
	}
	request := *s.request
	return &request, nil
}

func (s *sim) Ask(ctx context.Context, c *cluster.Credentials) cluster.Sighting {
	if err := s.reach(ctx); err != nil {
		return cluster.Sighting{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Sighting{Err: errors.New("connection refused")}
	case s.refuses || s.alive && !c.NotAfter.IsZero() && time.Now().After(c.NotAfter):
		return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
	}
	return s.show(s.see(c.NodeName))
}

func (s *sim) AskWithToken(ctx context.Context, c *cluster.Credentials, token string) cluster.Sighting {
	if err := s.reach(ctx); err != nil {
		return cluster.Sighting{Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return cluster.Sighting{Err: errors.New("connection refused")}
	case !s.takes(token):
		return cluster.Sighting{Answer: cluster.Unauthorized, Err: errors.New("401")}
	}
	if s.ours() {
		s.seen[s.node.UID] = true
	}
	return s.see(c.NodeName)
}

// LastSeen is what the kubelet's credentials were shown last.
func (s *sim) LastSeen() cluster.Sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastSeen.Answer != cluster.Present {
		return s.predecessor
	}
	return s.lastSeen
}

func (s *sim) KubeletName() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kubeletName()
}

func (s *sim) KubeletHealthy(context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running && !s.dying && !s.unwell
}

// PutBack: a creation of what the kubelet's credentials name, over nothing.
func (s *sim) PutBack(ctx context.Context, c *cluster.Credentials, uid string, ready bool) (cluster.Sighting, []string, error) {
	last := s.LastSeen()
	if last.Node.UID != uid {
		return last, nil, cluster.ErrRefused
	}
	if err := s.reach(ctx); err != nil {
		return cluster.Sighting{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slowPutBack != nil {
		s.slowPutBack()
	}
	s.do("put the Node back")
	s.mayPutBack(ctx, last, ready)
	switch {
	case s.down, s.unheard && s.node != nil:
		return cluster.Sighting{}, s.ungiven, cluster.ErrUnsettled
	case s.refuses || s.expired():
		return cluster.Sighting{}, nil, errors.New("401")
	case s.policy, s.unwritable:
		return cluster.Sighting{}, nil, errors.New(refusedByPolicy)
	case s.node != nil:
		return cluster.Sighting{}, nil, cluster.ErrExists
	}
	s.uids++
	node := last.Node
	s.putBacks = append(s.putBacks, time.Now())
	node.Uninitialized = node.Uninitialized && s.tainted // a cloud controller that knows it by now sees it at once
	node.UID, node.DeletedAt, node.Finalizers, node.PutBack = fmt.Sprintf("uid-%d", s.uids), time.Time{}, nil, true
	if node.Ready == "True" && !ready {
		node.Ready = "Unknown"
	}
	s.node, s.putBack = &node, time.Now()
	s.noticed = s.putBack
	s.book()
	s.nudge()
	if s.unheard {
		return cluster.Sighting{}, s.ungiven, cluster.ErrUnsettled
	}
	back := s.show(cluster.Sighting{Answer: cluster.Present, Node: node, At: time.Now()})
	return back, s.ungiven, nil
}

func (s *sim) SayStopped(ctx context.Context, c *cluster.Credentials) error {
	if err := s.reach(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down || s.refuses || s.expired() || s.node == nil || s.node.Name != c.NodeName || !s.ours() {
		return errors.New("refused")
	}
	if s.running {
		s.breaks("saying that a kubelet has stopped that runs")
	}
	s.node.Ready = "False"
	return nil
}

func (s *sim) TakenUp(ctx context.Context, c *cluster.Credentials, uid string, since time.Time) (string, bool, error) {
	if err := s.reach(ctx); err != nil {
		return "", false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		return "", false, errors.New("connection refused")
	case s.node == nil || s.node.UID != uid:
		return "there is no such Node", false, nil
	case s.alive && !s.renewed.After(since), s.aloofKubelet, !s.running, time.Since(s.putBack) < leaseEvery && !s.alive:
		return "the Lease was not renewed", false, nil
	}
	return "", false, nil
}

// LeaseRenewed: the kubelet of a living Node that is not ours renews it every 10 s.
func (s *sim) LeaseRenewed(ctx context.Context, _ *cluster.Credentials) (time.Time, error) {
	if err := s.reach(ctx); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down || s.node == nil || s.leaseless:
		return time.Time{}, errors.New("no Lease")
	case s.alive:
		return s.renewed, nil
	case s.ours() || s.node.Ready == "Unknown" || s.node.Ready == "":
		return s.node.Heartbeat, nil
	}
	return time.Now().Truncate(leaseEvery), nil
}

func (s *sim) StrangerAt(_ context.Context, c *cluster.Credentials) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.down && !s.frozen && !cluster.SameCA(c.CA, s.ca())
}

func (s *sim) Watch(ctx context.Context, c *cluster.Credentials) <-chan cluster.Sighting {
	out, nudge := make(chan cluster.Sighting), make(chan struct{}, 1)
	s.change(func() { s.watchers = append(s.watchers, nudge) })
	go func() {
		defer close(out)
		for {
			sighting := s.Ask(ctx, c)
			sighting.At = time.Now()
			select {
			case out <- sighting:
			case <-ctx.Done():
				return
			}
			select {
			case <-nudge:
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
