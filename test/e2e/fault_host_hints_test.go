package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A server that looks dead because of our own clock: the hint must not send people to look for an outage.
func TestCertificateThatBeginsInAnHourLeadsToTheClock(t *testing.T) {
	s := tell(t, ready())
	s.fault(29)
	s.token = testbed.NewToken()
	early, err := s.tb.NewStranger(testbed.StrangerOptions{NotBefore: time.Now().Add(time.Hour)})
	s.must(err)
	early.Sign(s.token)
	early.Script(testbed.Response{Header: map[string]string{"Date": time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)}})
	args := append([]string{"nodejoin", "join", early.Endpoint(), "--token", s.token, "--discovery-token-ca-cert-hash", early.CAHash(),
		"--timeout", "15s", "--hold", "5s"}, testbed.PreflightArgs()...)
	e := s.join(args...).is(6, "Unreachable").counts(0, 0, 0, 0).says("not yet valid", "2h0m0s ahead of this machine's")
	if !strings.Contains(e.report.Hint, "clock") {
		t.Errorf("hint %q", e.report.Hint)
	}
}

// Nothing fails yet, but the kubelet's certificates will.
func TestDateThatIsAnHourOffIsAWarning(t *testing.T) {
	s := tellLive(t, ready())
	s.fault(29)
	balancer, err := s.tb.NewStranger(testbed.StrangerOptions{Of: s.cp})
	s.must(err)
	balancer.Script(testbed.Response{Header: map[string]string{"Date": time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}})
	args := append([]string{"nodejoin", "join", balancer.Endpoint(), "--token", s.token, "--discovery-token-ca-cert-hash", s.cp.CAHash()}, testbed.PreflightArgs()...)
	e := s.join(args...).is(0, "Joined").counts(1, 0, 0, 0).says("clock is 1h0m0s behind this machine's")
	if len(e.report.ownWarnings()) != 1 {
		t.Errorf("warnings %q", e.report.Warnings)
	}
	s.member(e)
}

// It is the proxy that is dead, so the hint must not send people to the API server.
func TestDeadProxyLeadsToItsVariables(t *testing.T) {
	s := tell(t, ready())
	s.fault(34)
	s.token = testbed.NewToken()
	e := s.joinWith([]string{"HTTPS_PROXY=http://" + net.JoinHostPort(s.tb.HubIP(), "9")}, "--timeout", "10s", "--hold", "5s").is(6, "Unreachable").counts(0, 0, 0, 0).says("proxyconnect")
	if !strings.Contains(e.report.Hint, "HTTPS_PROXY") || !strings.Contains(e.report.Hint, "NO_PROXY") {
		t.Errorf("hint %q", e.report.Hint)
	}
}
