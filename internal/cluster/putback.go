package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletapis "k8s.io/kubelet/pkg/apis"
)

const (
	// podCIDRFree is how long a deleted Node's podCIDR is taken to be free: the
	// next new Node may get it, and a kubelet cannot list Nodes to see that.
	podCIDRFree = 10 * time.Second
	// readyStands is how old the sighting may be in which a Node was Ready.
	readyStands = 30 * time.Second
	// putBackReason stands at Ready=Unknown until the kubelet has spoken.
	putBackReason = "NodejoinPutBack"
)

// How [Client.PutBack] can fail, by errors.Is.
var (
	// ErrExists: somebody else has made the Node.
	ErrExists = errors.New("it is there already")
	// ErrRefused: the API server does not take it, now and later.
	ErrRefused = errors.New("the API server refuses it")
	// ErrUnsettled: no answer that says whether the Node was created.
	ErrUnsettled = errors.New("it may or may not have been created")
)

// Returned is what came of putting a Node back.
type Returned struct {
	Node    Sighting // as it was created
	Lost    []string // what a kubelet may not put back, as the kubectl commands that do; also where the creation is not settled
	CSINode error    // why it is not back
}

// PutBack creates the Node of kept again as it was, with the credentials of its
// kubelet, and then its CSINode. Ready is what the caller has seen of the
// kubelet: that it runs and is healthy.
func (c *Client) PutBack(ctx context.Context, kept Kept, ready bool) (Returned, error) {
	if kept.Node == nil {
		return Returned{}, fmt.Errorf("putting a Node back: %w: none was seen", ErrRefused)
	}
	node, lost := again(kept, ready)
	created, err := c.create(ctx, node)
	if err != nil {
		return Returned{Lost: lost}, fmt.Errorf("creating Node %q as it was: %w", node.Name, err)
	}
	return Returned{Node: created, Lost: lost, CSINode: c.PutCSINodeBack(ctx, kept, created.Node.UID)}, nil
}

func (c *Client) create(ctx context.Context, node *corev1.Node) (Sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var created corev1.Node
	err := c.core.Post().Resource("nodes").MaxRetries(0).Body(node).Do(ctx).Into(&created)
	switch {
	case err == nil && created.Name == node.Name && created.UID != "":
		return Sighting{Answer: Present, Node: nodeOf(&created), At: time.Now()}, nil
	case err == nil:
		return Sighting{}, fmt.Errorf("%w: the answer is not that Node", ErrUnsettled)
	case apierrors.IsAlreadyExists(err):
		return Sighting{}, fmt.Errorf("%w: %w", ErrExists, err)
	case refused(err):
		return Sighting{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return Sighting{}, fmt.Errorf("%w: %w", ErrUnsettled, err)
}

// refused holds for the API server's own word, not for that of whoever stands
// before it, and not for what it asks to be repeated.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return false
	}
	switch code := status.Status().Code; code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}

// again is the Node of kept as its kubelet may create it, and the commands for
// what is left out and should not be.
func again(kept Kept, ready bool) (*corev1.Node, []string) {
	was := kept.Node
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: was.Name, Labels: map[string]string{}, Annotations: was.Annotations},
		Spec:       *was.Spec.DeepCopy(),
		Status:     *was.Status.DeepCopy(),
	}
	var lost []string
	for _, key := range slices.Sorted(maps.Keys(was.Labels)) {
		if restricted(key) {
			lost = append(lost, fmt.Sprintf("kubectl label node %s %s=%s", was.Name, key, was.Labels[key]))
		} else {
			node.Labels[key] = was.Labels[key]
		}
	}
	node.Spec.Taints = slices.DeleteFunc(node.Spec.Taints, passing)
	if was.Spec.PodCIDR != "" && (!kept.within(podCIDRFree) || kept.Unanswered) {
		ranges, _ := json.Marshal(map[string]any{"spec": map[string]any{"podCIDR": was.Spec.PodCIDR, "podCIDRs": was.Spec.PodCIDRs}})
		lost = append(lost, fmt.Sprintf("kubectl patch node %s --type merge -p '%s'", was.Name, ranges))
		node.Spec.PodCIDR, node.Spec.PodCIDRs = "", nil
	}
	// A kubelet that finds a condition missing posts its status within 10 s, and
	// else within 5 minutes (pkg/kubelet/kubelet_node_status.go, nodeStatusHasChanged).
	node.Status.Conditions = slices.DeleteFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodePIDPressure })
	for i := range node.Status.Conditions {
		c := &node.Status.Conditions[i]
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && (!ready || !kept.within(readyStands)) {
			c.Status, c.Reason, c.LastTransitionTime = corev1.ConditionUnknown, putBackReason, metav1.Now()
			c.Message = "nodejoin has put this Node back after its deletion, and its kubelet has not spoken yet"
		}
	}
	return node, lost
}

// restricted: a kubelet may not set it (plugin/pkg/admission/noderestriction).
func restricted(label string) bool {
	namespace, _, has := strings.Cut(label, "/")
	in := func(domain string) bool {
		return has && (namespace == domain || strings.HasSuffix(namespace, "."+domain))
	}
	return in(corev1.LabelNamespaceNodeRestriction) ||
		(in("kubernetes.io") || in("k8s.io")) && !kubeletapis.IsKubeletLabel(label)
}

const (
	shutdown      = "node.cloudprovider.kubernetes.io/shutdown"
	toBeDeleted   = "ToBeDeletedByClusterAutoscaler"
	leave         = "nodejoin.io/leave"
	disrupted     = "karpenter.sh/disrupted"
	disruptedOnce = "karpenter.sh/disruption" // before Karpenter 1.0
)

// passing: a controller puts it on by what it sees, and would see anew.
func passing(taint corev1.Taint) bool {
	switch taint.Key {
	case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeOutOfService, corev1.TaintNodeMemoryPressure,
		corev1.TaintNodeDiskPressure, corev1.TaintNodeNetworkUnavailable, corev1.TaintNodePIDPressure, shutdown, toBeDeleted:
		return true
	}
	return false
}

// mark names by what its owner said that the Node is to go and stay away; ""
// without. A cordon does not, nor does DeletionCandidateOfClusterAutoscaler.
func mark(node *corev1.Node) string {
	for _, t := range node.Spec.Taints {
		switch t.Key {
		case disrupted, disruptedOnce, toBeDeleted, corev1.TaintNodeOutOfService:
			return "taint " + t.Key
		}
	}
	if _, has := node.Annotations[leave]; has {
		return "annotation " + leave
	}
	return ""
}

// NoCSINode is what TakenUp finds missing where there is none.
const NoCSINode = "the CSINode"

// TakenUp reports whether the running kubelet has taken up the Node that was put
// back with this UID at since, by its own clock: if not, what is still missing.
// Every kubelet has a CSINode before it says that it is Ready; one that nobody has
// seen was made and went with the Node before, and only a restart brings another
// (pkg/volume/csi, initializeCSINode).
func (c *Client) TakenUp(ctx context.Context, name, uid string, since time.Time) (missing string, err error) {
	s, node := c.sight(ctx, name)
	switch {
	case s.Answer == Absent:
		return "the Node", nil
	case s.Err != nil:
		return "", s.Err
	case s.Node.UID != uid:
		return "the Node, which is another one now", nil
	}
	switch _, there, err := c.csiNode(ctx, name); {
	case apierrors.IsNotFound(err):
		return NoCSINode, nil
	case err != nil:
		return "", err
	case !there.ownedBy(uid):
		return "the CSINode, whose owner is another Node", nil
	}
	if !slices.ContainsFunc(node.ManagedFields, byKubelet) {
		return "the kubelet's status", nil
	}
	switch renewed, err := c.LeaseRenewed(ctx, name); {
	case apierrors.IsNotFound(err):
		return "the kubelet's Lease", nil
	case err != nil:
		return "", err
	case !renewed.After(since):
		return "the kubelet's Lease, which was not renewed", nil
	}
	return "", nil
}

// byKubelet, which goes by its program's name, kubelet-1.37 too: the Node was
// created without such an entry, so whenever it is from (by the API server's
// clock), it is from later.
func byKubelet(e metav1.ManagedFieldsEntry) bool {
	return strings.HasPrefix(e.Manager, "kubelet") && e.Subresource == "status"
}
