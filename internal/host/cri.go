package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// criSockets are where kubeadm looks for a container runtime (cmd/kubeadm/app/constants_unix.go), which is the same as in all
// supported minors.
var criSockets = []string{"/var/run/containerd/containerd.sock", "/var/run/crio/crio.sock", "/var/run/cri-dockerd.sock"}

// criWait is kubeadm's own patience (cmd/kubeadm/app/util/runtime).
const criWait = 2 * time.Second

// RuntimeServes asks the container runtime for its version, as kubeadm does. With no socket given one of those must answer that
// kubeadm looks for. The error tells that nobody does, or not in the protocol of kubelets; an answer that is not understood
// is none.
func (h Host) RuntimeServes(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, criWait)
	defer cancel()
	if path, unix := strings.CutPrefix(socket, "unix://"); unix || strings.HasPrefix(socket, "/") {
		return askCRI(ctx, h.Path(path))
	}
	if socket != "" {
		return nil
	}
	var errs []error
	for _, path := range criSockets {
		err := askCRI(ctx, h.Path(path))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errs[0] // kubeadm's own choice where there is none
}

// unimplemented is gRPC's status of a server that does not know a service.
const unimplemented = "12"

// askCRI is one gRPC call, by hand: a frame without compression that holds an empty VersionRequest. gRPC's own client would make
// the program a tenth larger.
func askCRI(ctx context.Context, path string) error {
	_, err := callCRI(ctx, path, "Version")
	return err
}

// callCRI calls a method with an empty request, and returns the answer's message, nil if none is understood.
func callCRI(ctx context.Context, path, method string) ([]byte, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/runtime.v1.RuntimeService/"+method, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := transport.RoundTrip(req)
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, dial
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%s takes a connection and does not answer within %s", path, criWait)
	case err != nil:
		return nil, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil { // the status comes after the answer
		return nil, nil
	}
	status, message := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status")), cmp.Or(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
	if status == unimplemented { // as gRPC's own clients say it
		return nil, fmt.Errorf("%s does not serve the container runtime interface: code = Unimplemented desc = %s", path, message)
	}
	if status != "0" || len(answer) < frameHead {
		return nil, nil
	}
	return answer[frameHead:], nil
}

// Runtime is a container runtime that serves kubelets.
type Runtime struct {
	Driver     string // CgroupDriver's answer
	Configured string // what the kubelet's configuration says of it; "": nothing
}

// ConfiguredDriver is the cgroup driver by the configuration of a kubelet with these arguments, or by kubeadm's.
func (h Host) ConfiguredDriver(args KubeletArgs) string {
	raw, err := os.ReadFile(h.Path(cmp.Or(args.Config, kubeletConfig)))
	var config struct {
		CgroupDriver string `json:"cgroupDriver"`
	}
	if err != nil || yaml.Unmarshal(raw, &config) != nil {
		return ""
	}
	return config.CgroupDriver
}

// frameHead comes before a message of gRPC's: whether it is compressed, and its length.
const frameHead = 5

// CgroupDriver is what the container runtime makes pods' cgroups with, in the kubelet's words; "" if it does not tell
// (containerd before 2.0), or not in the way that is understood.
func (h Host) CgroupDriver(ctx context.Context, socket string) string {
	ctx, cancel := context.WithTimeout(ctx, criWait)
	defer cancel()
	paths := criSockets
	if socket != "" {
		paths = []string{strings.TrimPrefix(socket, "unix://")}
	}
	for _, path := range paths {
		// RuntimeConfigResponse{linux = 1: LinuxRuntimeConfiguration{cgroup_driver = 1: SYSTEMD = 0, CGROUPFS = 1}}
		switch message, err := callCRI(ctx, h.Path(path), "RuntimeConfig"); {
		case err != nil:
		case bytes.Equal(message, []byte{0x0a, 0x00}), bytes.Equal(message, []byte{0x0a, 0x02, 0x08, 0x00}):
			return "systemd"
		case bytes.Equal(message, []byte{0x0a, 0x02, 0x08, 0x01}):
			return "cgroupfs"
		}
	}
	return ""
}
