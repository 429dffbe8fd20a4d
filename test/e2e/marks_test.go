package e2e

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	event "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// withPodCIDRs is a cluster whose controllers give each new Node addresses for its pods.
func withPodCIDRs() testbed.ControlPlaneOptions {
	return testbed.ControlPlaneOptions{ControllerArgs: []string{"--allocate-node-cidrs=true", "--cluster-cidr=10.244.0.0/24", "--node-cidr-mask-size=28"}}
}

// readyExternal is a machine whose Node is Ready and waits for a cloud controller, so that it is held for all of --hold.
func readyExternal() testbed.NodeOptions {
	opts := external()
	opts.CNI = true
	return opts
}

// roleLabel is for administrators alone to set.
const roleLabel = "node-role.kubernetes.io/worker"

// mark puts on a Node what others put on Nodes.
func (s *story) mark(name string) *core.Node {
	s.Helper()
	s.eventually(20*time.Second, func() bool { return s.nodeNamed(name).Spec.PodCIDR != "" }, "the Node gets no podCIDR")
	return s.change(name, func(n *core.Node) {
		n.Spec.Unschedulable = true
		n.Spec.Taints = append(n.Spec.Taints, core.Taint{Key: "dedicated", Value: "web", Effect: core.TaintEffectNoExecute})
		n.Labels["tier"], n.Annotations["example.com/note"] = "web", "kept"
	})
}

// change changes a Node as an administrator, or a controller, does.
func (s *story) change(name string, change func(*core.Node)) *core.Node {
	s.Helper()
	for {
		n := s.nodeNamed(name)
		change(n)
		changed, err := s.cp.Client().CoreV1().Nodes().Update(s.ctx, n, meta.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			s.must(err)
			return changed
		}
	}
}

// lost is what a Node had and has no more, or has another. Taints of node.kubernetes.io come and go with its conditions, and
// controllers add labels and annotations at any time.
func lost(was, is *core.Node) (lost []string) {
	taints := func(n *core.Node) (taints []string) {
		for _, t := range n.Spec.Taints {
			if !strings.HasPrefix(t.Key, "node.kubernetes.io/") {
				taints = append(taints, t.ToString())
			}
		}
		slices.Sort(taints)
		return taints
	}
	kept := func(was, is map[string]string) map[string]string {
		kept := map[string]string{}
		for key := range was {
			if value, has := is[key]; has {
				kept[key] = value
			}
		}
		return kept
	}
	for what, pair := range map[string][2]any{
		"cordon": {was.Spec.Unschedulable, is.Spec.Unschedulable}, "taints": {taints(was), taints(is)}, "labels": {was.Labels, kept(was.Labels, is.Labels)},
		"annotations": {was.Annotations, kept(was.Annotations, is.Annotations)}, "podCIDR": {was.Spec.PodCIDRs, is.Spec.PodCIDRs}, "provider ID": {was.Spec.ProviderID, is.Spec.ProviderID},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			lost = append(lost, fmt.Sprintf("%s: %v, before %v", what, pair[1], pair[0]))
		}
	}
	slices.Sort(lost)
	return lost
}

// asItWas sees that a Node is another one with nothing lost.
func (s *story) asItWas(was, is *core.Node) {
	s.Helper()
	if is.UID == was.UID {
		s.Errorf("it was not deleted: UID %s", is.UID)
	}
	for _, what := range lost(was, is) {
		s.Errorf("Node %q has lost something: %s", is.Name, what)
	}
}

// back waits for a Node in the place of another.
func (s *story) back(was *core.Node) *core.Node {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	n, err := s.cp.WaitNode(ctx, was.Name, func(n *core.Node) bool { return n.UID != was.UID })
	s.must(err)
	return n
}

// viewer is a client that watches a Node.
type viewer struct {
	mu  sync.Mutex
	all []sighting
}

type sighting struct {
	at   time.Time
	kind event.EventType
	node *core.Node
}

// views watches a Node for the rest of the story, and calls at each sighting.
func (s *story) views(name string, call func(event.EventType, *core.Node)) *viewer {
	s.Helper()
	config := s.cp.RESTConfig()
	config.Timeout = 0 // it would end the watch
	client, err := kubernetes.NewForConfig(config)
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	s.Cleanup(cancel)
	stream, err := client.CoreV1().Nodes().Watch(ctx, meta.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()})
	s.must(err)
	v := &viewer{}
	go func() {
		for e := range stream.ResultChan() {
			n, isNode := e.Object.(*core.Node)
			if !isNode {
				continue
			}
			v.mu.Lock()
			v.all = append(v.all, sighting{time.Now(), e.Type, n})
			v.mu.Unlock()
			if call != nil {
				call(e.Type, n)
			}
		}
	}()
	return v
}

// after is what was seen of Nodes other than this one, but for their ends.
func (v *viewer) after(was *core.Node) (seen []sighting) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, x := range v.all {
		if x.node.UID != was.UID && x.kind != event.Deleted {
			seen = append(seen, x)
		}
	}
	return seen
}

func (x sighting) String() string {
	for _, c := range x.node.Status.Conditions {
		if c.Type == core.NodeReady {
			return fmt.Sprintf("%s %s Ready=%s (%s)", x.at.Format("05.000"), x.kind, c.Status, c.Reason)
		}
	}
	return fmt.Sprintf("%s %s without a condition", x.at.Format("05.000"), x.kind)
}

// renewed sees that somebody has renewed a Node's Lease since then.
func (s *story) renewed(name string, since time.Time) {
	s.Helper()
	s.eventually(30*time.Second, func() bool {
		lease, err := s.cp.Client().CoordinationV1().Leases("kube-node-lease").Get(s.ctx, name, meta.GetOptions{})
		return err == nil && lease.Spec.RenewTime != nil && lease.Spec.RenewTime.After(since)
	}, "nobody renews the Lease")
}

// does what a warning says, from where it begins so, word for word, in an administrator's shell.
func (e ended) does(start string) {
	s := e.s
	s.Helper()
	i := slices.IndexFunc(e.report.Warnings, func(w string) bool { return strings.Contains(w, start) })
	if i < 0 {
		s.Fatalf("no warning says %q: %q", start, e.report.Warnings)
	}
	_, rest, _ := strings.Cut(e.report.Warnings[i], start)
	_, err := s.cp.Run(s.ctx, "sh", "-c", "KUBECONFIG=/etc/kubernetes/super-admin.conf "+start+rest)
	s.must(err)
}

func without(m map[string]string, key string) map[string]string {
	m = maps.Clone(m)
	delete(m, key)
	return m
}
