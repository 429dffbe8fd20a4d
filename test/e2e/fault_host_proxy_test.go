package e2e

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// nodejoin, kubeadm and client-go read the same variables.
func TestProxyVariablesAreHeededAndNamedWhenTheProxyIsDead(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(34)
	dead := "http://" + net.JoinHostPort(s.tb.HubIP(), "9")
	s.joinWith([]string{"HTTPS_PROXY=" + dead}, "--timeout", "15s", "--hold", "5s").is(6, "Unreachable").counts(0, 0, 0, 0).says("proxyconnect", dead[len("http://"):])
	host, _, _ := net.SplitHostPort(s.cp.Endpoint())
	s.member(s.joinWith([]string{"HTTPS_PROXY=" + dead, "NO_PROXY=" + host}).is(0, "Joined").counts(1, 0, 0, 0))
}

// The kubelet is started by the init system and never sees the variables, so it must reach the API server by itself.
func TestJoinThroughAProxy(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(34)
	listener, err := s.tb.Listen("")
	s.must(err)
	var tunnels atomic.Int32
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect && s.tunnel(w, r.Host) {
			tunnels.Add(1)
		}
	})}
	go proxy.Serve(listener)
	t.Cleanup(func() { proxy.Close() })
	e := s.joinWith([]string{"https_proxy=http://" + listener.Addr().String()}).is(0, "Joined").counts(1, 0, 0, 0).says("is Ready and accepted")
	if tunnels.Load() == 0 {
		t.Error("nobody came through the proxy")
	}
	s.member(e)
}

// tunnel connects a client of the proxy with a machine of the testbed.
func (s *story) tunnel(w http.ResponseWriter, host string) bool {
	far, err := s.tb.DialContext(s.ctx, "tcp", host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return false
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return false
	}
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		go func() {
			io.Copy(way[0], way[1])
			way[0].Close()
		}()
	}
	return true
}

// joinWith is join with more in the environment.
func (s *story) joinWith(env []string, more ...string) ended {
	s.Helper()
	return s.startAs(s.node, testbed.Command{Args: s.args(more...), Env: env}).end()
}
