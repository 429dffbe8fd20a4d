package cluster

import (
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOnlyTheAPIServersOwnNotFoundCounts(t *testing.T) {
	for name, c := range map[string]struct {
		node http.HandlerFunc
		want Answer
	}{
		"its own": {absentNode, Absent},
		"of another Node": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w2", "nodes")
		}, Silent},
		"a load balancer's page": {http.NotFound, Silent},
		"plain JSON": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"error": "no"})
		}, Silent},
		"the Node": {presentNode, Present},
		"too many requests": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}, Silent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.node = c.node
			client, err := NewTokenClient(s.URL, s.ca.pem, token)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			asked := time.Now()
			sighting := client.Node(t.Context(), "w1")
			if sighting.Answer != c.want {
				t.Errorf("%s (%v), wanted %s", sighting.Answer, sighting.Err, c.want)
			}
			if sighting.At.Before(asked) || sighting.At.After(time.Now()) || sighting.Took <= 0 || sighting.Took > sighting.At.Sub(asked) {
				t.Errorf("asked at %s, it tells of %s and %s", asked, sighting.At, sighting.Took)
			}
			if name == "too many requests" && sighting.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After was read as %s", sighting.RetryAfter)
			}
		})
	}
}

// A finalizer holds a Node up that somebody deleted: it is there, Ready and all, and as good as gone.
func TestNodeThatIsBeingDeleted(t *testing.T) {
	node := someNode("uid-1")
	if got := nodeOf(&node); !got.DeletedAt.IsZero() || got.Finalizers != nil || got.LastWriter != "" {
		t.Errorf("nobody deleted it: %+v", got)
	}
	node = deletedNode("uid-1")
	got := nodeOf(&node)
	if !got.DeletedAt.Equal(deletedAt) || !slices.Equal(got.Finalizers, []string{"karpenter.sh/termination"}) {
		t.Errorf("deleted at %s, held up by %q", got.DeletedAt, got.Finalizers)
	}
}

var deletedAt = time.Unix(1_800_000_000, 0)

func deletedNode(uid string) corev1.Node {
	node := someNode(uid)
	node.DeletionTimestamp, node.Finalizers = &metav1.Time{Time: deletedAt}, []string{"karpenter.sh/termination"}
	return node
}

// Only the answer to a creation says so by itself, and that can be lost.
func TestANodeIsPutBackByTheAPIServersWord(t *testing.T) {
	for name, c := range map[string]struct {
		entry metav1.ManagedFieldsEntry
		is    bool
	}{
		"made by nodejoin":              {metav1.ManagedFieldsEntry{Manager: "nodejoin"}, true},
		"made by its kubelet":           {metav1.ManagedFieldsEntry{Manager: "kubelet"}, false},
		"said by nodejoin to have gone": {metav1.ManagedFieldsEntry{Manager: "nodejoin", Subresource: "status"}, false},
	} {
		node := someNode("uid-1")
		node.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl-cordon"}, c.entry}
		if is := nodeOf(&node).PutBack; is != c.is {
			t.Errorf("%s: it was put back: %t", name, is)
		}
	}
}

func TestWhoWroteLast(t *testing.T) {
	entry := func(manager, subresource string, at int64) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Subresource: subresource, Time: &metav1.Time{Time: time.Unix(at, 0)}}
	}
	for name, c := range map[string]struct {
		entries []metav1.ManagedFieldsEntry
		want    string
	}{
		"nobody":                 {},
		"at no known time":       {entries: []metav1.ManagedFieldsEntry{{Manager: "a"}}},
		"the newest":             {entries: []metav1.ManagedFieldsEntry{entry("kubelet", "status", 3), entry("kubectl", "", 2)}, want: "kubelet (status)"},
		"the last in one second": {entries: []metav1.ManagedFieldsEntry{entry("kubelet", "status", 3), entry("kubectl-cordon", "", 3)}, want: "kubectl-cordon"},
	} {
		if got := lastWriter(c.entries); got != c.want {
			t.Errorf("%s: %q, wanted %q", name, got, c.want)
		}
	}
}
