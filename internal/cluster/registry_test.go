package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// registry is what an API server keeps for one Node: it, its CSINode, its Lease.
type registry struct {
	mu      sync.Mutex
	node    *corev1.Node
	csiNode string
	lease   time.Time
	uids    int
	posted  []corev1.Node
	asked   []string // method, path, "watch"
	refuse  func(w http.ResponseWriter, r *http.Request) bool
	events  chan string
	silent  bool // about watches
}

func newRegistry(t *testing.T) (*registry, *Client) {
	t.Helper()
	s, r := newAPIServer(t), &registry{events: make(chan string, 16)}
	s.node = r.serve
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return r, client
}

func (g *registry) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	watching := r.URL.Query().Get("watch") != ""
	g.asked = append(g.asked, strings.TrimSpace(fmt.Sprint(r.Method, " ", r.URL.Path, " ", map[bool]string{true: "watch"}[watching])))
	if watching && g.silent {
		g.mu.Unlock()
		status(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "", "")
		return
	}
	if watching {
		g.mu.Unlock()
		g.watch(w, r)
		return
	}
	defer g.mu.Unlock()
	kind := "nodes"
	if strings.Contains(r.URL.Path, "csinodes") {
		kind = "csinodes"
	}
	switch {
	case g.refuse != nil && g.refuse(w, r):
	case strings.Contains(r.URL.Path, "/leases/"):
		if g.lease.IsZero() {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w1", "leases")
			return
		}
		answer(w, http.StatusOK, map[string]any{"spec": map[string]any{"renewTime": g.lease}})
	case r.Method == http.MethodPost && kind == "nodes":
		if g.node != nil {
			status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, "w1", kind)
			return
		}
		var node corev1.Node
		_ = json.NewDecoder(r.Body).Decode(&node)
		g.posted = append(g.posted, node)
		g.uids++
		node.UID = types.UID(fmt.Sprintf("new-%d", g.uids))
		g.node = &node
		answer(w, http.StatusCreated, node)
	case r.Method == http.MethodPost:
		if g.csiNode != "" {
			status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, "w1", kind)
			return
		}
		body, _ := io.ReadAll(r.Body)
		g.csiNode = string(body)
		answer(w, http.StatusCreated, json.RawMessage(body))
	case kind == "csinodes" && g.csiNode != "":
		answer(w, http.StatusOK, json.RawMessage(g.csiNode))
	case kind == "nodes" && g.node != nil:
		answer(w, http.StatusOK, g.node)
	default:
		status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w1", kind)
	}
}

func (g *registry) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	for {
		select {
		case event := <-g.events:
			fmt.Fprintln(w, event)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// change changes what is there, and tells watchers of it.
func (g *registry) change(event string, how func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.node
	how()
	node := g.node
	if node == nil {
		node = before
	}
	if event != "" {
		object, _ := json.Marshal(node)
		g.events <- fmt.Sprintf(`{"type":%q,"object":%s}`, event, object)
	}
}

func (g *registry) all() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

func (g *registry) requests(of string) (n int) {
	for _, asked := range g.all() {
		if asked == of {
			n++
		}
	}
	return n
}

const getCSINode = "GET " + csiNodes + "/w1"

func someCSINode(owner string, drivers ...string) string {
	var list []string
	for _, d := range drivers {
		list = append(list, fmt.Sprintf(`{"name":%q,"nodeID":"i-1","topologyKeys":["zone"],"allocatable":{"count":25}}`, d))
	}
	return fmt.Sprintf(`{"apiVersion":"storage.k8s.io/v1","kind":"CSINode","metadata":{"name":"w1","uid":"c-1","resourceVersion":"5",`+
		`"creationTimestamp":"2026-01-01T00:00:00Z","annotations":{"storage.alpha.kubernetes.io/migrated-plugins":"kubernetes.io/aws-ebs"},`+
		`"managedFields":[{"manager":"kubelet"}],"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"w1","uid":%q}]},`+
		`"spec":{"drivers":[%s]}}`, owner, strings.Join(list, ","))
}

// fullNode has all that a Node may have when it is deleted.
func fullNode() *corev1.Node {
	then := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	grace := int64(0)
	return &corev1.Node{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "w1", UID: "uid-1", ResourceVersion: "7", Generation: 3, CreationTimestamp: then,
			DeletionTimestamp: &then, DeletionGracePeriodSeconds: &grace, Finalizers: []string{"example.com/f"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Machine", Name: "m", UID: "m-1"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubelet", Subresource: "status"}},
			Annotations:     map[string]string{nodeIDs: `{"ebs.csi.aws.com":"i-1"}`, "example.com/a": "b"},
			Labels: map[string]string{
				"kubernetes.io/hostname": "w1", "node.kubernetes.io/pool": "a", "team": "x", "example.com/x": "y", "kubelet.kubernetes.io/x": "y",
				"node-role.kubernetes.io/worker": "", "x.node-restriction.kubernetes.io/tenant": "red", "topology.k8s.aws/zone-id": "z1", "k8s.io/cloud": "c",
			},
		},
		Spec: corev1.NodeSpec{
			ProviderID: "aws:///z/i-1", Unschedulable: true, PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24", "fd00:1::/64"},
			Taints: []corev1.Taint{
				{Key: uninitialized, Value: "true", Effect: "NoSchedule"}, {Key: "node.kubernetes.io/unschedulable", Effect: "NoSchedule"},
				{Key: "team", Value: "x", Effect: "NoExecute"}, {Key: "DeletionCandidateOfClusterAutoscaler", Effect: "PreferNoSchedule"},
				{Key: "node.kubernetes.io/not-ready", Effect: "NoSchedule"}, {Key: "node.kubernetes.io/unreachable", Effect: "NoExecute"},
				{Key: "node.kubernetes.io/out-of-service", Effect: "NoExecute"}, {Key: "node.kubernetes.io/memory-pressure", Effect: "NoSchedule"},
				{Key: "node.kubernetes.io/disk-pressure", Effect: "NoSchedule"}, {Key: "node.kubernetes.io/pid-pressure", Effect: "NoSchedule"},
				{Key: "node.kubernetes.io/network-unavailable", Effect: "NoSchedule"}, {Key: "node.cloudprovider.kubernetes.io/shutdown", Effect: "NoSchedule"},
				{Key: "ToBeDeletedByClusterAutoscaler", Effect: "NoSchedule"},
			},
		},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{BootID: "boot", MachineID: "machine"},
			Images:   []corev1.ContainerImage{{Names: []string{"pause"}}},
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeMemoryPressure, Status: "False", LastHeartbeatTime: then, LastTransitionTime: then},
				{Type: corev1.NodeReady, Status: "True", Reason: "KubeletReady", LastHeartbeatTime: then, LastTransitionTime: then},
				{Type: corev1.NodePIDPressure, Status: "False", LastHeartbeatTime: then, LastTransitionTime: then},
			},
		},
	}
}
