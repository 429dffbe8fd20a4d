package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// apiName is what a cluster behind a load balancer calls itself. Each machine finds its address in /etc/hosts.
const apiName = "api.example"

// tellNamed begins a story whose cluster-info, and so kubelet.conf, names apiName. The node does not know the name yet.
func tellNamed(t *testing.T) *story {
	t.Helper()
	s := tell(t, ready())
	var err error
	s.cp, err = s.tb.NewControlPlane(s.ctx, testbed.ControlPlaneOptions{Name: "named", ClusterEndpoint: apiName + ":6443", ExtraSANs: []string{apiName}})
	s.must(err)
	s.must(s.cp.AddHost(s.cp.IP, apiName))
	s.must(s.cp.Start(s.ctx))
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	return s
}

// resolve gives apiName these addresses and no others.
func (s *story) resolve(n *testbed.Node, ips ...string) {
	s.Helper()
	hosts := "127.0.0.1 localhost\n" + n.IP + " " + n.Hostname + "\n"
	for _, ip := range ips {
		hosts += ip + " " + apiName + "\n"
	}
	s.must(n.WriteFile("/etc/hosts", hosts, 0o644))
}

// argsAt is args with another endpoint.
func (s *story) argsAt(endpoint string, more ...string) []string {
	args := s.args(more...)
	args[2] = endpoint
	return args
}

// kubernetes/kubernetes 78915: a load balancer that already sends us to a server which has only half started.
// (The same 401 to the kubelet alone: TestKubeletRefusedForTwentySecondsIsNotReset.)
func TestHalfStartedServerBehindALoadBalancerRefusesForNothing(t *testing.T) {
	s := tellNamed(t)
	s.fault(12)
	lb, err := s.tb.NewStranger(testbed.StrangerOptions{Of: s.cp, Names: []string{apiName}})
	s.must(err)
	s.resolve(s.node, lb.IP)
	unauthorized := testbed.Response{
		Status: http.StatusUnauthorized, Header: map[string]string{"Content-Type": "application/json"},
		Body: `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`,
	}
	lb.Script(unauthorized)
	p := s.start(s.node, s.argsAt(apiName+":6443")...)
	s.must(p.Stderr.WaitFor(s.ctx, "does not serve cluster-info yet"))
	s.sleep(3 * time.Second)
	// A good server and a bad one in turn: an odd number, so that sooner or later it is the token that meets the bad one.
	var turns []testbed.Response
	for range 200 {
		turns = append(turns, testbed.Response{}, unauthorized, unauthorized)
	}
	lb.Script(turns...)
	s.must(p.Stderr.WaitFor(s.ctx, "does not take our token"))
	s.sleep(5 * time.Second)
	s.resolve(s.node, s.cp.IP)
	lb.Close()
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0).says("does not serve cluster-info yet", "does not take our token"))
}

// Whatever a load balancer says in the API server's place, it is evidence of nothing.
func TestAnswersThatProveNothingAreWaitedOut(t *testing.T) {
	s := tellNamed(t)
	s.fault(13)
	s.resolve(s.node, s.cp.IP)
	lb, err := s.tb.NewStranger(testbed.StrangerOptions{Of: s.cp, Names: []string{apiName}})
	s.must(err)
	html := map[string]string{"Content-Type": "text/html"}
	const page = "<html><head><title>Bad gateway</title></head><body>no backend</body></html>"
	for _, c := range []struct {
		name   string
		answer testbed.Response
		says   []string
	}{
		{"403", testbed.Response{Status: 403, Body: "Forbidden"}, []string{"does not serve cluster-info yet", "anonymous access", "--discovery-file"}},
		{"429", testbed.Response{Status: 429, Header: map[string]string{"Retry-After": "4"}, Body: "slow down"}, []string{"answers, but not usefully", "too many requests", "has too much to do"}},
		{"500", testbed.Response{Status: 500, Body: "etcd is away"}, []string{"answers, but not usefully", "etcd is away", "its log says more"}},
		{"a page with 502", testbed.Response{Status: 502, Header: html, Body: page}, []string{"answers, but not usefully", `a web page (502 Bad Gateway, titled "Bad gateway")`, "a load balancer without a backend", "the wrong address or port"}},
		{"a page with 200", testbed.Response{Status: 200, Header: html, Body: page}, []string{"answers, but not usefully", "a web page (200 OK", "the wrong address or port"}},
		{"a page with 404", testbed.Response{Status: 404, Header: html, Body: page}, []string{"answers, but not usefully", "a web page (404 Not Found"}},
		{"a hangup", testbed.Response{Hangup: true}, []string{"does not answer", "cluster-info"}},
	} {
		t.Log(c.name)
		lb.Script(c.answer)
		before := len(lb.Requests())
		s.join(s.argsAt(lb.Endpoint(), "--timeout", "7s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0).says(c.says...)
		if n := len(lb.Requests()) - before; c.name == "429" && n > 2 {
			t.Errorf("%d requests in 7 s, though Retry-After asks for 4 s between them", n)
		}
	}
	if lb.Saw(s.token) {
		t.Error("the load balancer saw the token")
	}
	lb.Script()
	s.member(s.join(s.argsAt(lb.Endpoint())...).is(0, "Joined").counts(1, 0, 0, 0))

	t.Log("a member: its Node is not gone because a page says 404, nor its credentials bad because of a lone 401")
	s.resolve(s.node, lb.IP)
	for _, answer := range []testbed.Response{{Status: 404, Header: html, Body: page}, {Status: 401, Header: html, Body: page}, {Status: 500}} {
		lb.Script(answer)
		s.join(s.args("--timeout", "7s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0)
	}
	lb.Script(testbed.Response{Status: 401})
	s.join(s.args("--timeout", "7s", "--hold", "1s")...).is(7, "JoinFailed").counts(0, 0, 0, 0).says("refuses the kubelet's credentials (401)")
	s.resolve(s.node, s.cp.IP)
	s.member(s.join(s.args()...).is(0, "AlreadyJoined").counts(0, 0, 0, 0))
}

// The token goes to nobody whose certificate does not chain to the proven CA, wherever the name leads.
func TestTLSOfAStrangerGetsNoToken(t *testing.T) {
	s := tellNamed(t)
	s.fault(13)
	stranger, err := s.tb.NewStranger(testbed.StrangerOptions{Names: []string{apiName}})
	s.must(err)
	s.resolve(s.node, stranger.IP)
	t.Log("cluster-info is good, but the server it names is a stranger")
	s.join(s.args("--timeout", "7s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says(s.cp.Endpoint(), apiName, "certificate signed by unknown authority")
	t.Log("the endpoint itself is a stranger that knows nothing")
	stranger.Script(testbed.Response{Status: 200, Body: "welcome"})
	s.join(s.argsAt(apiName+":6443", "--timeout", "7s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0)
	if stranger.Saw(s.token) || stranger.Saw(s.token[7:]) {
		t.Errorf("the stranger saw the token: %+v", stranger.Requests())
	}
	s.resolve(s.node, s.cp.IP)
	s.member(s.join(s.args()...).is(0, "Joined").counts(1, 0, 0, 0))

	t.Log("a member that meets a stranger under its API server's name is left alone")
	s.resolve(s.node, stranger.IP)
	s.join(s.args("--timeout", "7s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says("certificate signed by unknown authority", "nothing is done to it")
	s.resolve(s.node, s.cp.IP)
	s.member(s.join(s.args()...).is(0, "AlreadyJoined").counts(0, 0, 0, 0))
}

// kubernetes/kubeadm 3079: after discovery kubeadm goes on with the server that cluster-info names.
func TestServerInClusterInfoThatCannotBeReachedIsNamedBesideTheEndpoint(t *testing.T) {
	s := tellNamed(t)
	s.fault(14)
	s.resolve(s.node, s.tb.BlackholeIP())
	s.join(s.args("--timeout", "15s", "--hold", "1s")...).is(6, "Unreachable").counts(0, 0, 0, 0).
		says(s.cp.Endpoint(), "named in its cluster-info", "https://"+apiName+":6443")
	t.Log("the name is unknown at first, and leads to the API server later")
	s.resolve(s.node)
	p := s.start(s.node, s.args()...)
	s.must(p.Stderr.WaitFor(s.ctx, "named in its cluster-info"))
	s.resolve(s.node, s.cp.IP)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
}

// The name of an API server has several addresses, as that of a load balancer has, and one of them is dead.
func TestEndpointWithADeadAddressAndEndpointsByIPv6AreJoined(t *testing.T) {
	s := tellNamed(t)
	s.fault(14)
	v6name, v6 := s.newNode("w2", ready()), s.newNode("w3", ready())
	s.resolve(s.node, s.tb.UnusedIP(), s.cp.IP)
	s.resolve(v6name, s.cp.IP6)
	s.resolve(v6, s.cp.IP6)
	// kubeadm asks for this one when it is given an address of IPv6
	s.must(v6.SetSysctl("net/ipv6/conf/default/forwarding", "1"))
	all := []*running{
		s.start(s.node, s.argsAt(apiName+":6443")...),
		s.start(v6name, s.argsAt(apiName+":6443")...),
		s.start(v6, s.argsAt(s.cp.Endpoint6())...),
	}
	for _, p := range all {
		s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0).says("is Ready and accepted"))
	}
}
