package host

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"
)

// healthTimeout bounds the kubelet's word about its own health: it answers from its memory. It has to be well below the
// judge's FreshFor: where a kubelet that hangs is waited for as long as that, what others said is old by then, and asked
// again, and after that the kubelet is, for ever.
const healthTimeout = time.Second

// KubeletHealthy reports whether the kubelet that was started with these arguments says on /healthz that it is well: its
// sync loop runs. Where it is told to serve no /healthz (healthzPort: 0), or where that is cannot be read, it is not known
// to be, and the answer is no.
func (h Host) KubeletHealthy(ctx context.Context, args KubeletArgs) bool {
	config := kubeletConfiguration{}
	if args.Config != "" {
		var err error
		if config, err = h.kubeletConfiguration(args.Config); err != nil {
			return false
		}
	}
	port := 10248 // pkg/kubelet/apis/config/v1beta1/defaults.go
	if config.HealthzPort != nil {
		port = *config.HealthzPort
	}
	ip := net.ParseIP(config.HealthzBindAddress)
	if ip == nil || ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(ip.String(), strconv.Itoa(port))+"/healthz", nil)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy stands between a machine and itself
	response, err := transport.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
