package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// stoppedReason stands at Ready=False of a Node whose kubelet was stopped on purpose.
const stoppedReason = "NodejoinStoppedKubelet"

// SayStopped sets Ready to False on the Node with this UID, by its kubelet's own
// credentials, whose kubelet the caller has stopped: the cluster would notice
// only after its grace period, and until then kubeadm refuses to join. A kubelet
// that runs takes it back with its next status.
func (c *Client) SayStopped(ctx context.Context, name, uid string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := time.Now().UTC().Format(time.RFC3339)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid}, // another Node of that name is none of ours
		"status": map[string]any{"conditions": []map[string]any{{
			"type": "Ready", "status": "False", "reason": stoppedReason, "message": "nodejoin has stopped the kubelet to join anew",
			"lastTransitionTime": now, "lastHeartbeatTime": now,
		}}},
	})
	if err != nil {
		return err
	}
	err = c.core.Patch(types.StrategicMergePatchType).Resource("nodes").Name(name).SubResource("status").MaxRetries(0).Body(patch).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("saying that the kubelet of Node %q has stopped: %w", name, err)
	}
	return nil
}
