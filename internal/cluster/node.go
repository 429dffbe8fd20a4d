package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// uninitialized is the taint with which a kubelet started with
// --cloud-provider=external registers; the cloud's node controller lifts it
// once the cloud knows the instance (k8s.io/cloud-provider/api).
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// Node is what nodejoin wants to know of a Node object.
type Node struct {
	Name string
	UID  string

	// The kubelet's own identity, sent with its first create. Empty when no
	// kubelet has posted yet.
	BootID     string
	MachineID  string
	SystemUUID string

	// Ready is the status of the condition of that name: "True", "False",
	// "Unknown", or "" while there is none.
	Ready        string
	ReadyReason  string
	ReadyMessage string

	// Heartbeat is the condition's lastHeartbeatTime. A healthy kubelet whose
	// status does not change moves it every 5 minutes only.
	Heartbeat time.Time

	Uninitialized bool     // carries the cloud provider's taint
	Unschedulable bool     // cordoned
	Taints        []string // key=value:effect, in the API server's order
	ProviderID    string
	PodCIDR       string // of two families: both, with a comma
	CreatedAt     time.Time

	// Mark names the taint or the annotation by which its owner said that the
	// Node is to go and stay away, as "taint karpenter.sh/disrupted".
	Mark string

	// DeletedAt is when somebody deleted the Node; zero if nobody did. It is
	// there for as long as Finalizers hold it up, and then gone.
	DeletedAt  time.Time
	Finalizers []string
	PutBack    bool // nodejoin has created it
	// LastWriter is who changed the Node last, as "kubelet (status)"; "" if the
	// API server does not say.
	LastWriter string

	resourceVersion string
}

func nodeOf(n *corev1.Node) Node {
	node := Node{
		Name:            n.Name,
		UID:             string(n.UID),
		BootID:          n.Status.NodeInfo.BootID,
		MachineID:       n.Status.NodeInfo.MachineID,
		SystemUUID:      n.Status.NodeInfo.SystemUUID,
		Unschedulable:   n.Spec.Unschedulable,
		ProviderID:      n.Spec.ProviderID,
		PodCIDR:         strings.Join(n.Spec.PodCIDRs, ","),
		Mark:            mark(n),
		CreatedAt:       n.CreationTimestamp.Time,
		Finalizers:      n.Finalizers,
		PutBack:         slices.ContainsFunc(n.ManagedFields, byNodejoin),
		LastWriter:      lastWriter(n.ManagedFields),
		resourceVersion: n.ResourceVersion,
	}
	if n.DeletionTimestamp != nil {
		node.DeletedAt = n.DeletionTimestamp.Time
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			node.Ready = string(c.Status)
			node.ReadyReason = c.Reason
			node.ReadyMessage = c.Message
			node.Heartbeat = c.LastHeartbeatTime.Time
		}
	}
	for _, t := range n.Spec.Taints {
		node.Uninitialized = node.Uninitialized || t.Key == uninitialized
		node.Taints = append(node.Taints, t.ToString())
	}
	return node
}

// byNodejoin: the API server names who creates an object by its User-Agent, and
// nodejoin creates a Node to put it back, and changes the status of none but its own.
func byNodejoin(e metav1.ManagedFieldsEntry) bool {
	return e.Manager == userAgent && e.Subresource == ""
}

// lastWriter: times are whole seconds, and of entries within one the last counts.
func lastWriter(entries []metav1.ManagedFieldsEntry) (writer string) {
	var newest time.Time
	for _, e := range entries {
		if e.Time == nil || e.Time.Time.Before(newest) {
			continue
		}
		newest, writer = e.Time.Time, e.Manager
		if e.Subresource != "" {
			writer = fmt.Sprintf("%s (%s)", e.Manager, e.Subresource)
		}
	}
	return writer
}

// Answer is what an API server said about a Node.
type Answer int

// The answers, from no evidence at all to the strongest.
const (
	// Silent: no answer, or one that proves nothing: connection refused, a
	// timeout, a certificate that does not chain, 429, 5xx, a page of HTML.
	Silent Answer = iota
	// Unauthorized: 401. A starting API server says so to good credentials.
	Unauthorized
	// Forbidden: 403: the credentials are known, the question is not allowed.
	Forbidden
	// Absent: the API server itself says that there is no such Node.
	Absent
	// Present: here it is.
	Present
)

func (a Answer) String() string {
	return [...]string{"silent", "unauthorized", "forbidden", "absent", "present"}[a]
}

// Sighting is one answer about one Node.
type Sighting struct {
	Answer     Answer
	Node       Node          // when Present
	Err        error         // unless Present
	RetryAfter time.Duration // how long the server asks to be left alone
	At         time.Time     // when the answer arrived, or its lack was plain
	Took       time.Duration // from question to answer; 0 for news that a watch brings
}

// sightingOf judges the error of a GET for nodes/<name>.
func sightingOf(name string, err error) Sighting {
	s := Sighting{Err: err, RetryAfter: retryAfter(err)}
	switch {
	case isAbsent(name, err):
		s.Answer = Absent
	case apierrors.IsUnauthorized(err):
		s.Answer = Unauthorized
	case apierrors.IsForbidden(err):
		s.Answer = Forbidden
	}
	return s
}

// isAbsent holds only for the API server's own NotFound for this very Node. A
// load balancer's 404 page also becomes a NotFound in client-go, with details
// filled in from the request; the cause UnexpectedServerResponse gives it away.
func isAbsent(name string, err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	d := status.Status().Details
	if d == nil || d.Name != name || d.Kind != "nodes" {
		return false
	}
	for _, c := range d.Causes {
		if c.Type == metav1.CauseTypeUnexpectedServerResponse {
			return false
		}
	}
	return true
}
