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
	"strings"
	"time"
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
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/runtime.v1.RuntimeService/Version", bytes.NewReader(make([]byte, 5)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	resp, err := transport.RoundTrip(req)
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return dial
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s takes a connection and does not answer within %s", path, criWait)
	case err != nil:
		return nil
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)); err != nil { // the status comes after the answer
		return nil
	}
	status, message := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status")), cmp.Or(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
	if status == unimplemented { // as gRPC's own clients say it
		return fmt.Errorf("%s does not serve the container runtime interface: code = Unimplemented desc = %s", path, message)
	}
	return nil
}
