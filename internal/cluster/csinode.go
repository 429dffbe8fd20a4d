package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	csiNodes = "/apis/storage.k8s.io/v1/csinodes"
	// nodeIDs names the drivers of a Node (pkg/volume/csi/nodeinfomanager). The
	// kubelet writes it first and the CSINode a moment later.
	nodeIDs = "csi.volume.kubernetes.io/nodeid"
	// csiNodeReads is how often, a second apart, a CSINode is read that does not
	// have the drivers that its Node names, before the next round.
	csiNodeReads = 3
	// csiNodeCollected bounds how long the CSINode of a deleted Node is in the
	// way: the garbage collector deletes it after 15 to 55 ms, but after an outage
	// of the API server it may be long in coming; then the CSINode is handed over.
	csiNodeCollected = time.Second
	csiNodeRetry     = 50 * time.Millisecond
)

// csiNode is what nodejoin reads of a CSINode, and all of it that is created again.
type csiNode struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   csiNodeMeta     `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
}

type csiNodeMeta struct {
	Name            string                  `json:"name"`
	Labels          map[string]string       `json:"labels,omitempty"`
	Annotations     map[string]string       `json:"annotations,omitempty"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
}

func (n csiNode) ownedBy(uid string) bool {
	return slices.ContainsFunc(n.Metadata.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "Node" && string(o.UID) == uid
	})
}

// csiNode asks for a Node's CSINode. A kubelet may get its own, not watch it.
func (c *Client) csiNode(ctx context.Context, name string) (json.RawMessage, csiNode, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var node csiNode
	raw, err := c.core.Get().AbsPath(csiNodes, name).SetHeader("Accept", "application/json").MaxRetries(0).Do(ctx).Raw()
	if err == nil {
		err = json.Unmarshal(raw, &node)
	}
	if err == nil && node.Metadata.Name != name {
		err = fmt.Errorf("the answer is not that CSINode")
	}
	if err != nil {
		return nil, csiNode{}, fmt.Errorf("getting CSINode %q: %w", name, err)
	}
	return raw, node, nil
}

// PutCSINodeBack creates the CSINode of kept again, if there was one, as that of
// the Node with this UID.
func (c *Client) PutCSINodeBack(ctx context.Context, kept Kept, uid string) error {
	if kept.CSINode == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var node csiNode
	if err := json.Unmarshal(kept.CSINode, &node); err != nil {
		return fmt.Errorf("reading the CSINode of before: %w", err)
	}
	name := node.Metadata.Name
	node.Metadata.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(uid)}}
	body, err := json.Marshal(node)
	if err != nil {
		return err
	}
	owner, err := json.Marshal(map[string]any{"metadata": map[string]any{"ownerReferences": node.Metadata.OwnerReferences}})
	if err != nil {
		return err
	}
	for began := time.Now(); ; sleep(ctx, csiNodeRetry) {
		_, err = c.core.Post().AbsPath(csiNodes).SetHeader("Accept", "application/json").SetHeader("Content-Type", "application/json").
			MaxRetries(0).Body(body).Do(ctx).Raw()
		if !apierrors.IsAlreadyExists(err) {
			break
		}
		_, there, unread := c.csiNode(ctx, name)
		if unread == nil && there.ownedBy(uid) {
			return nil
		}
		if time.Since(began) > csiNodeCollected {
			if unread == nil && there.ownedBy(string(kept.Node.UID)) { // whoever collects it later finds that its owner lives
				_, err = c.core.Patch(types.MergePatchType).AbsPath(csiNodes, name).SetHeader("Accept", "application/json").
					MaxRetries(0).Body(owner).Do(ctx).Raw()
			}
			break
		}
	}
	if err != nil {
		return fmt.Errorf("creating CSINode %q: %w", name, err)
	}
	return nil
}

// readCSINodes reads the CSINode of the Node that is kept each time it is wanted.
func (w *watcher) readCSINodes(ctx context.Context, wanted <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-wanted:
		}
		for range csiNodeReads {
			if !w.readCSINode(ctx) || !w.client.keeper.behind() {
				break
			}
			sleep(ctx, time.Second)
		}
	}
}

// readCSINode returns false where asking again soon is no use, or no kindness.
func (w *watcher) readCSINode(ctx context.Context) bool {
	k := w.client.keeper
	of := k.current()
	if of.Node == nil || !of.GoneAt.IsZero() || ctx.Err() != nil {
		return false
	}
	raw, node, err := w.client.csiNode(ctx, w.name)
	at := time.Now()
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return false
	}
	k.renew(func(kept *Kept) {
		switch {
		case kept.Node.UID != of.Node.UID || !kept.GoneAt.IsZero():
		case !absent && node.ownedBy(string(of.Node.UID)):
			kept.CSINode, k.csiOwner, k.noneAt = raw, string(of.Node.UID), time.Time{}
		case absent && kept.CSINode == nil:
			k.csiOwner = string(of.Node.UID)
		case absent && k.noneAt.IsZero():
			k.noneAt = at // it may be gone with its Node, of which we shall hear in a moment
		case absent && kept.SeenAt.After(k.noneAt):
			kept.CSINode, k.csiOwner, k.noneAt = nil, string(of.Node.UID), time.Time{}
		}
	})
	return true
}

// behind reports whether the CSINode is to be read before the next round: it was
// not yet for this Node, which a kubelet registers a moment before it, or does not
// have the drivers that the Node names.
func (k *keeper) behind() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept.Node == nil || !k.kept.GoneAt.IsZero() {
		return false
	}
	return k.csiOwner != string(k.kept.Node.UID) || k.kept.CSINode == nil || !slices.Equal(driversNamed(k.kept.Node), driversOf(k.kept.CSINode))
}

func driversNamed(node *corev1.Node) []string {
	var ids map[string]string
	_ = json.Unmarshal([]byte(node.Annotations[nodeIDs]), &ids) // none, or what no kubelet understands
	return slices.Sorted(maps.Keys(ids))
}

func driversOf(raw json.RawMessage) []string {
	var node struct {
		Spec struct {
			Drivers []struct {
				Name string `json:"name"`
			} `json:"drivers"`
		} `json:"spec"`
	}
	_ = json.Unmarshal(raw, &node) // was read as JSON before
	var names []string
	for _, d := range node.Spec.Drivers {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	return names
}
