package testbed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	certificates "k8s.io/api/certificates/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// bindAdmins lets admin.conf's group do everything, as `kubeadm init` does on its way.
func (cp *ControlPlane) bindAdmins(ctx context.Context) error {
	binding := &rbac.ClusterRoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: "kubeadm:cluster-admins"},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: "Group", Name: "kubeadm:cluster-admins"}},
	}
	_, err := cp.client.RbacV1().ClusterRoleBindings().Create(ctx, binding, meta.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// standInNode makes a Node of the control plane, which runs no kubelet, for as long as nobody forgets it.
func (cp *ControlPlane) standInNode(ctx context.Context) (forget func(), err error) {
	node := &core.Node{ObjectMeta: meta.ObjectMeta{Name: cp.Hostname, Labels: map[string]string{core.LabelHostname: cp.Hostname}}}
	if _, err := cp.client.CoreV1().Nodes().Create(ctx, node, meta.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("making a Node for kubeadm to mark: %w", err)
	}
	return func() { _ = cp.DeleteNode(ctx, cp.Hostname) }, nil
}

// GetNode asks for one Node.
func (cp *ControlPlane) GetNode(ctx context.Context, name string) (*core.Node, error) {
	return cp.client.CoreV1().Nodes().Get(ctx, name, meta.GetOptions{})
}

// WaitNode polls until the Node exists and is as wanted; a nil want takes it as it comes.
func (cp *ControlPlane) WaitNode(ctx context.Context, name string, want func(*core.Node) bool) (*core.Node, error) {
	var node *core.Node
	err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
		n, err := cp.GetNode(ctx, name)
		if err != nil {
			return false, err
		}
		node = n
		return want == nil || want(n), nil
	})
	if err != nil {
		return node, fmt.Errorf("waiting for Node %s: %w", name, err)
	}
	return node, nil
}

// WaitNoNode polls until the Node is gone.
func (cp *ControlPlane) WaitNoNode(ctx context.Context, name string) error {
	err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
		_, err := cp.GetNode(ctx, name)
		return apierrors.IsNotFound(err), err
	})
	if err != nil {
		return fmt.Errorf("waiting for the end of Node %s: %w", name, err)
	}
	return nil
}

// Ready is a want for WaitNode: the Node's condition Ready is True.
func Ready(n *core.Node) bool { return condition(n) == core.ConditionTrue }

// Unknown is a want for WaitNode: nobody has heard of the kubelet for the grace period.
func Unknown(n *core.Node) bool { return condition(n) == core.ConditionUnknown }

func condition(n *core.Node) core.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == core.NodeReady {
			return c.Status
		}
	}
	return ""
}

// DeleteNode deletes a Node, as a person or a controller would.
func (cp *ControlPlane) DeleteNode(ctx context.Context, name string) error {
	return cp.client.CoreV1().Nodes().Delete(ctx, name, meta.DeleteOptions{})
}

// AddFinalizer makes the Node stay when it is deleted, as a controller that has something to do first would.
func (cp *ControlPlane) AddFinalizer(ctx context.Context, name, finalizer string) error {
	return cp.setFinalizers(ctx, name, []string{finalizer})
}

// RemoveFinalizers ends AddFinalizer: a Node that was deleted meanwhile goes.
func (cp *ControlPlane) RemoveFinalizers(ctx context.Context, name string) error {
	return cp.setFinalizers(ctx, name, nil)
}

func (cp *ControlPlane) setFinalizers(ctx context.Context, name string, finalizers []string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": finalizers}})
	if err != nil {
		return err
	}
	_, err = cp.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, meta.PatchOptions{})
	return err
}

// Events lists the events about a Node, oldest first as the API server lists them.
func (cp *ControlPlane) Events(ctx context.Context, node string) ([]core.Event, error) {
	selector := fields.Set{"involvedObject.kind": "Node", "involvedObject.name": node}.AsSelector().String()
	list, err := cp.client.CoreV1().Events("").List(ctx, meta.ListOptions{FieldSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing the events of Node %s: %w", node, err)
	}
	return list.Items, nil
}

const refusal = "nodejoin-testbed-refuse-nodes"

// RefusalMessage is what the API server says while RefuseNodes is in force.
const RefusalMessage = "the testbed refuses Nodes"

// RefuseNodes makes the API server refuse to create or change Nodes, as an admission policy can, and returns when it does.
func (cp *ControlPlane) RefuseNodes(ctx context.Context) error {
	return cp.refuseNodes(ctx, "false", nil, admission.Create, admission.Update)
}

// RefuseAnnotatedNodes is RefuseNodes for the creation of Nodes that bring an annotation along. A kubelet's own do not.
func (cp *ControlPlane) RefuseAnnotatedNodes(ctx context.Context, annotation string) error {
	expression := fmt.Sprintf("!has(object.metadata.annotations) || !(%q in object.metadata.annotations)", annotation)
	return cp.refuseNodes(ctx, expression, map[string]string{annotation: ""}, admission.Create)
}

func (cp *ControlPlane) refuseNodes(ctx context.Context, unless string, probe map[string]string, operations ...admission.OperationType) error {
	fail := admission.Fail
	policy := &admission.ValidatingAdmissionPolicy{
		ObjectMeta: meta.ObjectMeta{Name: refusal},
		Spec: admission.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admission.MatchResources{ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: admission.RuleWithOperations{
				Operations: operations,
				Rule:       admission.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"nodes"}},
			}}}},
			Validations: []admission.Validation{{Expression: unless, Message: RefusalMessage}},
		},
	}
	binding := &admission.ValidatingAdmissionPolicyBinding{
		ObjectMeta: meta.ObjectMeta{Name: refusal},
		Spec: admission.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: refusal, ValidationActions: []admission.ValidationAction{admission.Deny},
		},
	}
	api := cp.client.AdmissionregistrationV1()
	_, err := api.ValidatingAdmissionPolicies().Create(ctx, policy, meta.CreateOptions{})
	if err == nil {
		_, err = api.ValidatingAdmissionPolicyBindings().Create(ctx, binding, meta.CreateOptions{})
	}
	if err == nil {
		err = cp.waitAdmission(ctx, false, probe)
	}
	if err != nil {
		return fmt.Errorf("refusing Nodes: %w", err)
	}
	return nil
}

// AllowNodes ends RefuseNodes.
func (cp *ControlPlane) AllowNodes(ctx context.Context) error {
	api := cp.client.AdmissionregistrationV1()
	err := api.ValidatingAdmissionPolicyBindings().Delete(ctx, refusal, meta.DeleteOptions{})
	if err == nil {
		err = api.ValidatingAdmissionPolicies().Delete(ctx, refusal, meta.DeleteOptions{})
	}
	if err == nil {
		err = cp.waitAdmission(ctx, true, nil)
	}
	if err != nil {
		return fmt.Errorf("allowing Nodes: %w", err)
	}
	return nil
}

// waitAdmission tries with a dry run: policies take effect a moment after they are stored.
func (cp *ControlPlane) waitAdmission(ctx context.Context, allowed bool, annotations map[string]string) error {
	probe := &core.Node{ObjectMeta: meta.ObjectMeta{Name: "nodejoin-testbed-probe", Annotations: annotations}}
	return poll(ctx, 100*time.Millisecond, func() (bool, error) {
		_, err := cp.client.CoreV1().Nodes().Create(ctx, probe, meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
		return (err == nil) == allowed, err
	})
}

// CSRs lists the requests for kubelet client certificates.
func (cp *ControlPlane) CSRs(ctx context.Context) ([]certificates.CertificateSigningRequest, error) {
	list, err := cp.client.CertificatesV1().CertificateSigningRequests().List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing CSRs: %w", err)
	}
	return list.Items, nil
}

// ApproveCSRs approves every CSR that nobody has decided on and returns their number.
func (cp *ControlPlane) ApproveCSRs(ctx context.Context) (int, error) {
	return cp.decide(ctx, certificates.CertificateApproved)
}

// DenyCSRs denies every CSR that nobody has decided on and returns their number.
func (cp *ControlPlane) DenyCSRs(ctx context.Context) (int, error) {
	return cp.decide(ctx, certificates.CertificateDenied)
}

func (cp *ControlPlane) decide(ctx context.Context, decision certificates.RequestConditionType) (int, error) {
	all, err := cp.CSRs(ctx)
	count := 0
	for _, csr := range all {
		if len(csr.Status.Conditions) > 0 {
			continue
		}
		csr.Status.Conditions = append(csr.Status.Conditions, certificates.CertificateSigningRequestCondition{
			Type: decision, Status: core.ConditionTrue, Reason: "Testbed", Message: "decided by the testbed",
		})
		if _, err := cp.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, &csr, meta.UpdateOptions{}); err != nil {
			return count, fmt.Errorf("deciding on CSR %s: %w", csr.Name, err)
		}
		count++
	}
	return count, err
}

// RotateCA gives the cluster another CA and all that hangs on it, as after a rebuild in the same place, and returns when a
// join can work. Nodes that joined before have lost it.
func (cp *ControlPlane) RotateCA(ctx context.Context) error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if err := cp.rotateCA(ctx); err != nil {
		return fmt.Errorf("rotating the CA of %s: %w", cp.Name, err)
	}
	return nil
}

func (cp *ControlPlane) rotateCA(ctx context.Context) error {
	for _, unit := range []string{ControllerManager, APIServer} {
		if err := cp.StopUnit(unit); err != nil {
			return err
		}
	}
	for _, path := range []string{pki + "/ca.crt", pki + "/ca.key", pki + "/apiserver.crt", pki + "/apiserver.key",
		pki + "/apiserver-kubelet-client.crt", pki + "/apiserver-kubelet-client.key",
		adminConf, "/etc/kubernetes/super-admin.conf", "/etc/kubernetes/controller-manager.conf"} {
		if err := os.Remove(cp.disk(path)); err != nil {
			return err
		}
	}
	if err := cp.makeCertificates(ctx); err != nil {
		return err
	}
	if err := cp.connect(); err != nil {
		return err
	}
	if err := cp.start(ctx); err != nil {
		return err
	}
	// cluster-info and kube-proxy's configuration carry the CA.
	if err := cp.client.CoreV1().ConfigMaps("kube-public").Delete(ctx, "cluster-info", meta.DeleteOptions{}); err != nil {
		return err
	}
	return cp.kubeadmInit(ctx, "bootstrap-token", "--skip-token-print", "--kubeconfig", adminConf)
}

// makeOtherCA makes a CA that has signed nothing, for OtherClientCA and OwnKubeletCA.
func (cp *ControlPlane) makeOtherCA() error {
	certPEM, key, err := newCA("another-ca")
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"other-ca.crt": certPEM,
		"other-ca.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}),
		"both-cas.crt": slices.Concat(cp.CA(), certPEM),
	} {
		if err := os.WriteFile(cp.disk(pki+"/"+name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func newCA(name string) (certPEM []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, nil
}

// WaitServiceAccount polls until a namespace has its default ServiceAccount, without which it takes no pods.
func (cp *ControlPlane) WaitServiceAccount(ctx context.Context, namespace string) error {
	return poll(ctx, 100*time.Millisecond, func() (bool, error) {
		_, err := cp.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", meta.GetOptions{})
		return err == nil, err
	})
}
