package cluster

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

// What is posted is the Node as it was, but for what the API server gives and what a kubelet may not say.
func TestNodeIsPutBackAsItWas(t *testing.T) {
	g, client := newRegistry(t)
	was := fullNode()
	before := was.DeepCopy()
	returned, err := client.PutBack(t.Context(), Kept{Node: was, CSINode: []byte(someCSINode("uid-1", "ebs.csi.aws.com")), SeenAt: ago(time.Second), GoneAt: ago(time.Second)}, true)
	if err != nil || returned.Node.Node.UID != "new-1" || returned.CSINode != nil {
		t.Fatalf("%+v, %v", returned, err)
	}
	node := g.posted[0]
	want := metav1.ObjectMeta{Name: "w1", Annotations: before.Annotations, Labels: map[string]string{
		"kubernetes.io/hostname": "w1", "node.kubernetes.io/pool": "a", "team": "x", "example.com/x": "y", "kubelet.kubernetes.io/x": "y", "topology.k8s.aws/zone-id": "z1",
	}}
	if !alike(node.ObjectMeta, want) {
		t.Errorf("metadata %s", asJSON(node.ObjectMeta))
	}
	var taints []string
	for _, taint := range node.Spec.Taints {
		taints = append(taints, taint.Key)
	}
	if !slices.Equal(taints, []string{uninitialized, "node.kubernetes.io/unschedulable", "team", "DeletionCandidateOfClusterAutoscaler"}) {
		t.Errorf("taints %v", taints)
	}
	node.Spec.Taints, before.Spec.Taints = nil, nil
	before.Status.Conditions = slices.DeleteFunc(before.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodePIDPressure })
	if !alike(node.Spec, before.Spec) || !alike(node.Status, before.Status) {
		t.Errorf("spec %s\nstatus %s", asJSON(node.Spec), asJSON(node.Status))
	}
	if lost := []string{
		"kubectl label node w1 k8s.io/cloud=c", "kubectl label node w1 node-role.kubernetes.io/worker=",
		"kubectl label node w1 x.node-restriction.kubernetes.io/tenant=red",
	}; !slices.Equal(returned.Lost, lost) {
		t.Errorf("lost %q", returned.Lost)
	}
	if !alike(was, fullNode()) {
		t.Error("the Node that is kept was changed")
	}
	if got, want := g.csiNode, `{"apiVersion":"storage.k8s.io/v1","kind":"CSINode","metadata":{"name":"w1",`+
		`"annotations":{"storage.alpha.kubernetes.io/migrated-plugins":"kubernetes.io/aws-ebs"},`+
		`"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"w1","uid":"new-1"}]},`+
		`"spec":{"drivers":[{"name":"ebs.csi.aws.com","nodeID":"i-1","topologyKeys":["zone"],"allocatable":{"count":25}}]}}`; got != want {
		t.Errorf("CSINode %s", got)
	}
}

// Ready is a claim, and a podCIDR may be another Node's by now.
func TestNodeIsPutBackWithNoMoreThanIsKnown(t *testing.T) {
	patch := `kubectl patch node w1 --type merge -p '{"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24","fd00:1::/64"]}}'`
	for _, c := range []struct {
		about       string
		was         corev1.ConditionStatus
		goneAt      time.Time
		unanswered  bool
		unhealthy   bool
		ready       corev1.ConditionStatus
		withPodCIDR bool
	}{
		{about: "just now", was: "True", goneAt: ago(0), ready: "True", withPodCIDR: true},
		{about: "9 s ago", was: "True", goneAt: ago(9 * time.Second), ready: "True", withPodCIDR: true},
		{about: "11 s ago", was: "True", goneAt: ago(11 * time.Second), ready: "True"},
		{about: "31 s ago", was: "True", goneAt: ago(31 * time.Second), ready: "Unknown"},
		{about: "when the clock was another", was: "True", goneAt: ago(-time.Hour), ready: "Unknown"},
		{about: "not told", was: "True", ready: "Unknown"},
		{about: "an outage since", was: "True", goneAt: ago(time.Second), unanswered: true, ready: "True"},
		{about: "no healthy kubelet", was: "True", goneAt: ago(time.Second), unhealthy: true, ready: "Unknown", withPodCIDR: true},
		{about: "not ready", was: "False", goneAt: ago(time.Second), ready: "False", withPodCIDR: true},
		{about: "not ready, not told", was: "False", ready: "False"},
		{about: "silent", was: "Unknown", goneAt: ago(time.Second), ready: "Unknown", withPodCIDR: true},
	} {
		t.Run(c.about, func(t *testing.T) {
			g, client := newRegistry(t)
			was := fullNode()
			was.Status.Conditions[1].Status = c.was
			transition := was.Status.Conditions[1].LastTransitionTime
			returned, err := client.PutBack(t.Context(), Kept{Node: was, SeenAt: ago(time.Minute), GoneAt: c.goneAt, Unanswered: c.unanswered}, !c.unhealthy)
			if err != nil {
				t.Fatal(err)
			}
			node := g.posted[0]
			ready := node.Status.Conditions[1]
			if ready.Status != c.ready || (ready.Status != c.was) != (ready.Reason == "NodejoinPutBack") ||
				(ready.Status != c.was) == ready.LastTransitionTime.Equal(&transition) || !ready.LastHeartbeatTime.Equal(&transition) {
				t.Errorf("Ready %s", asJSON(ready))
			}
			if with := node.Spec.PodCIDR != "" && len(node.Spec.PodCIDRs) == 2; with != c.withPodCIDR || with == slices.Contains(returned.Lost, patch) || !with && len(node.Spec.PodCIDRs) > 0 {
				t.Errorf("podCIDR %q %q, lost %q", node.Spec.PodCIDR, node.Spec.PodCIDRs, returned.Lost)
			}
			if node.Spec.ProviderID == "" || !node.Spec.Unschedulable {
				t.Errorf("%s", asJSON(node.Spec))
			}
		})
	}
}

// Whether to try again, to look, or to leave it.
func TestPutBackTellsHowItFailed(t *testing.T) {
	says := func(code int, reason metav1.StatusReason) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { status(w, code, reason, "w1", "nodes") }
	}
	for _, c := range []struct {
		about  string
		answer func(http.ResponseWriter)
		want   error
	}{
		{"there", says(409, metav1.StatusReasonAlreadyExists), ErrExists},
		{"conflict", says(409, metav1.StatusReasonConflict), ErrUnsettled},
		{"unauthorized", says(401, metav1.StatusReasonUnauthorized), ErrRefused},
		{"forbidden", says(403, metav1.StatusReasonForbidden), ErrRefused},
		{"invalid", says(422, metav1.StatusReasonInvalid), ErrRefused},
		{"bad request", says(400, metav1.StatusReasonBadRequest), ErrRefused},
		{"busy", says(429, metav1.StatusReasonTooManyRequests), ErrUnsettled},
		{"busy for a second", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1")
			status(w, 429, metav1.StatusReasonTooManyRequests, "w1", "nodes")
		}, ErrUnsettled},
		{"a webhook that fails", says(500, metav1.StatusReasonInternalError), ErrUnsettled},
		{"a timeout", says(504, metav1.StatusReasonTimeout), ErrUnsettled},
		{"no API server", func(w http.ResponseWriter) { http.Error(w, "no such page", http.StatusNotFound) }, ErrUnsettled},
		{"a page", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
		}, ErrUnsettled},
		{"a broken connection", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ErrUnsettled},
		{"another object", func(w http.ResponseWriter) { answer(w, 201, someNode("")) }, ErrUnsettled},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "https://127.0.0.1:1/"); w.WriteHeader(307) }, ErrUnsettled},
	} {
		t.Run(c.about, func(t *testing.T) {
			g, client := newRegistry(t)
			g.refuse = func(w http.ResponseWriter, _ *http.Request) bool { c.answer(w); return true }
			returned, err := client.PutBack(t.Context(), Kept{Node: fullNode(), CSINode: []byte(someCSINode("uid-1")), GoneAt: ago(0)}, true)
			for _, kind := range []error{ErrExists, ErrRefused, ErrUnsettled} {
				if errors.Is(err, kind) != errors.Is(c.want, kind) {
					t.Errorf("%v", err)
				}
			}
			if errors.Is(c.want, ErrUnsettled) && len(returned.Lost) != 3 {
				t.Errorf("if it is there it has lost %q", returned.Lost)
			}
			if returned.Node.Node.UID != "" || g.requests("POST /api/v1/nodes") != 1 || g.csiNode != "" {
				t.Errorf("%+v after %q", returned, g.asked)
			}
		})
	}
	_, client := newRegistry(t)
	if _, err := client.PutBack(t.Context(), Kept{}, true); !errors.Is(err, ErrRefused) {
		t.Errorf("without a Node: %v", err)
	}
}

// A CSINode of before is in the way until the garbage collector has it.
func TestCSINodeIsPutBackWhenTheOldOneIsGone(t *testing.T) {
	for about, c := range map[string]struct {
		there  string
		goes   bool
		failed bool
	}{
		"there, and ours":    {there: someCSINode("new-1")},
		"goes":               {there: someCSINode("uid-1"), goes: true},
		"stays":              {there: someCSINode("uid-1")},
		"another's stays":    {there: someCSINode("uid-7"), failed: true},
		"none, and none was": {},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			g, client := newRegistry(t)
			g.csiNode = c.there
			if c.goes {
				time.AfterFunc(120*time.Millisecond, func() { g.change("", func() { g.csiNode = "" }) })
			}
			kept := Kept{Node: fullNode(), GoneAt: ago(0)}
			if c.there != "" {
				kept.CSINode = []byte(someCSINode("uid-1", "d"))
			}
			began := time.Now()
			returned, err := client.PutBack(t.Context(), kept, true)
			if err != nil || (returned.CSINode != nil) != c.failed {
				t.Errorf("%+v, %v", returned, err)
			}
			if c.goes && !strings.Contains(g.csiNode, `"new-1"`) {
				t.Errorf("%s", g.csiNode)
			}
			if took := time.Since(began); took > 3*time.Second || c.failed && took < csiNodeCollected {
				t.Errorf("took %s", took)
			}
		})
	}
}

// The kubelet has taken its Node up when it has said so itself in every place.
func TestTakenUp(t *testing.T) {
	g, client := newRegistry(t)
	since := time.Now()
	look := func(want string) {
		t.Helper()
		missing, err := client.TakenUp(t.Context(), "w1", "new-1", since)
		if err != nil || missing != want {
			t.Errorf("missing %q, %v, wanted %q", missing, err, want)
		}
	}
	look("the Node")
	if _, err := client.PutBack(t.Context(), Kept{Node: fullNode(), GoneAt: ago(0)}, true); err != nil {
		t.Fatal(err)
	}
	look(NoCSINode)
	g.csiNode = someCSINode("uid-1")
	look("the CSINode, whose owner is another Node")
	g.csiNode = someCSINode("new-1")
	look("the kubelet's status")
	entry := metav1.NewTime(since.Add(-time.Minute).Truncate(time.Second)) // the API server's clock
	g.node.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "nodejoin", Time: &entry}, {Manager: "kubelet", Time: &entry}, {Manager: "nodejoin", Subresource: "status"}}
	look("the kubelet's status")
	g.node.ManagedFields = append(g.node.ManagedFields, metav1.ManagedFieldsEntry{Manager: "kubelet", Subresource: "status", Time: &entry})
	look("the kubelet's Lease")
	g.lease = since
	look("the kubelet's Lease, which was not renewed")
	g.lease = since.Add(time.Millisecond)
	look("")
	g.node.UID = "new-2"
	look("the Node, which is another one now")
	for _, of := range []string{"/nodes/", "/leases/", "/csinodes/"} {
		g.node.UID = "new-1"
		g.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			hit := strings.Contains(r.URL.Path, of)
			if hit {
				status(w, 500, metav1.StatusReasonInternalError, "w1", "")
			}
			return hit
		}
		if missing, err := client.TakenUp(t.Context(), "w1", "new-1", since); err == nil || missing != "" {
			t.Errorf("no answer for %s: %q, %v", of, missing, err)
		}
	}
}

// A Node that its owner wants gone is not brought back.
func TestMarksOfTheOwnersWill(t *testing.T) {
	for key, want := range map[string]string{
		"karpenter.sh/disrupted": "taint karpenter.sh/disrupted", "karpenter.sh/disruption": "taint karpenter.sh/disruption",
		"ToBeDeletedByClusterAutoscaler":    "taint ToBeDeletedByClusterAutoscaler",
		"node.kubernetes.io/out-of-service": "taint node.kubernetes.io/out-of-service",
		"nodejoin.io/leave":                 "", "DeletionCandidateOfClusterAutoscaler": "", "karpenter.sh/unregistered": "", "node.kubernetes.io/unschedulable": "",
	} {
		node := someNode("uid-1")
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: key, Effect: "NoSchedule"})
		if got := nodeOf(&node).Mark; got != want {
			t.Errorf("taint %s: %q", key, got)
		}
	}
	node := someNode("uid-1")
	for key := range maps.Keys(map[string]string{"nodejoin.io/stay": "", "karpenter.sh/disrupted": ""}) {
		node.Annotations = map[string]string{key: ""}
		if got := nodeOf(&node).Mark; got != "" {
			t.Errorf("annotation %s: %q", key, got)
		}
	}
	node.Annotations["nodejoin.io/leave"] = ""
	node.Spec.PodCIDRs = []string{"10.0.0.0/24", "fd00::/64"}
	if got := (Kept{Node: &node}).Last(); got.Mark != "annotation nodejoin.io/leave" || got.PodCIDR != "10.0.0.0/24,fd00::/64" {
		t.Errorf("%+v", got)
	}
	if got := (Kept{}).Last(); got.UID != "" {
		t.Errorf("%+v", got)
	}
}
