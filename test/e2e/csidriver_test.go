package e2e

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	storage "k8s.io/api/storage/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// csiDriver is a storage driver with a name, and nothing to store in. Its kubelet finds it by its socket.
type csiDriver struct {
	registration.UnimplementedRegistrationServer
	csi.UnimplementedIdentityServer
	csi.UnimplementedNodeServer
	node string
}

const (
	driverName     = "csi.example.com"
	driverSocket   = "/var/lib/kubelet/plugins/" + driverName + "/csi.sock"
	registerSocket = "/var/lib/kubelet/plugins_registry/" + driverName + "-reg.sock"
)

// drive starts the driver on a machine and returns the CSINode with it.
func (s *story) drive(n *testbed.Node, node string) *storage.CSINode {
	s.Helper()
	d := &csiDriver{node: node}
	for _, socket := range []string{driverSocket, registerSocket} { // the kubelet calls at the first as soon as it sees the second
		s.must(os.MkdirAll(filepath.Dir(n.Path(socket)), 0o750))
		listener, err := net.Listen("unix", n.Path(socket))
		s.must(err)
		server := grpc.NewServer()
		registration.RegisterRegistrationServer(server, d)
		csi.RegisterIdentityServer(server, d)
		csi.RegisterNodeServer(server, d)
		go server.Serve(listener)
		s.Cleanup(server.Stop)
	}
	var with *storage.CSINode
	s.eventually(30*time.Second, func() bool {
		with = s.csiNode(node)
		return slices.Contains(driversOf(with), driverName)
	}, "the kubelet does not register the driver")
	return with
}

// csiNode asks for a CSINode; one that is not there is empty.
func (s *story) csiNode(name string) *storage.CSINode {
	n, err := s.cp.Client().StorageV1().CSINodes().Get(s.ctx, name, meta.GetOptions{})
	if err != nil {
		return &storage.CSINode{}
	}
	return n
}

func driversOf(n *storage.CSINode) []string {
	var names []string
	for _, d := range n.Spec.Drivers {
		names = append(names, d.Name)
	}
	return names
}

func (d *csiDriver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: driverName, Endpoint: driverSocket, SupportedVersions: []string{"1.0.0"}}, nil
}

func (d *csiDriver) NotifyRegistrationStatus(context.Context, *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	return &registration.RegistrationStatusResponse{}, nil
}

func (d *csiDriver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "1"}, nil
}

func (d *csiDriver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: "id-of-" + d.node, MaxVolumesPerNode: 7}, nil
}
