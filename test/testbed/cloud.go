package testbed

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// Cloud is the Amazon cloud controller of a control plane, and the EC2 that it asks. EC2 knows no instance until it is told;
// the controller deletes every Node that is not Ready and that EC2 does not know, every 5 s.
type Cloud struct {
	*EC2
	cp *ControlPlane
}

// CloudController is the controller's unit on the control plane, for Pause, Resume, SignalUnit and Log.
const CloudController = "aws-cloud-controller-manager"

const cloudConf = "/etc/kubernetes/cloud.conf"

// NewCloud gives a control plane a cloud whose controller is not started.
func (cp *ControlPlane) NewCloud() (*Cloud, error) {
	listener, err := cp.tb.Listen("")
	if err != nil {
		return nil, fmt.Errorf("making a cloud: %w", err)
	}
	c := &Cloud{EC2: newEC2(), cp: cp}
	server := &http.Server{Handler: c.EC2, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	cp.tb.onClose(func() { server.Close() })
	// A VPC, a subnet and a cluster ID: with them the controller does not ask which instance it runs on itself.
	config := fmt.Sprintf(`[Global]
Region = %s
VPC = vpc-0a0b0c0d
SubnetID = subnet-0a0b0c0d
KubernetesClusterID = %s
[ServiceOverride "ec2"]
Service = EC2
Region = %s
URL = http://%s
SigningRegion = %s
SigningName = ec2
`, region, clusterID, region, listener.Addr(), region)
	if err := os.WriteFile(cp.disk(cloudConf), []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("making a cloud: %w", err)
	}
	return c, nil
}

// Cloud gives a control plane a cloud and starts its controller.
func (cp *ControlPlane) Cloud(ctx context.Context) (*Cloud, error) {
	c, err := cp.NewCloud()
	if err != nil {
		return nil, err
	}
	return c, c.Start(ctx)
}

// Start starts the controller and returns when it is healthy.
func (c *Cloud) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	unit := machine.Unit{
		Name: CloudController + ".service", Description: "Amazon cloud controller", UID: c.cp.uid(),
		Command: []string{CloudController, "--cloud-provider=aws", "--cloud-config=" + cloudConf,
			"--kubeconfig=/etc/kubernetes/super-admin.conf", "--authentication-kubeconfig=/etc/kubernetes/super-admin.conf",
			"--authorization-kubeconfig=/etc/kubernetes/super-admin.conf", "--bind-address=127.0.0.1",
			"--controllers=cloud-node-lifecycle-controller,cloud-node-controller", "--configure-cloud-routes=false",
			"--leader-elect=false", "-v=2"},
		Env: []string{"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=testbed", "AWS_SECRET_ACCESS_KEY=testbed", "AWS_REGION=" + region},
		// It waits only seconds for its API server; in a cluster its pod is restarted.
		Restart: true, RestartSec: time.Second,
	}
	err := c.cp.setUnit(unit)
	if err == nil {
		err = c.cp.StartUnit(CloudController)
	}
	if err == nil {
		err = poll(ctx, 100*time.Millisecond, func() (bool, error) { return c.healthy(ctx) })
	}
	if err != nil {
		return fmt.Errorf("starting the cloud controller: %w\n%s", err, tail(c.cp.Log(CloudController), 15))
	}
	return nil
}

func (c *Cloud) healthy(ctx context.Context) (bool, error) {
	transport := &http.Transport{DialContext: c.cp.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://127.0.0.1:10258/healthz", nil)
	if err != nil {
		return false, err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false, err
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK, fmt.Errorf("/healthz answers %s", response.Status)
}

// Stop stops the controller. EC2 stays.
func (c *Cloud) Stop() error { return c.cp.StopUnit(CloudController) }

// Know lets EC2 list the node as a running instance, by its hostname.
func (c *Cloud) Know(n *Node) { c.Add(Instance{PrivateDNSName: n.Hostname, IP: n.IP}) }

// Forget lets EC2 list the node no more.
func (c *Cloud) Forget(n *Node) { c.Remove(n.Hostname) }
