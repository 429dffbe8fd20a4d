package cluster

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cluster-bootstrap/token/jws"
)

func TestProbeVerdicts(t *testing.T) {
	html := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(code)
			fmt.Fprint(w, "<html>sorry</html>")
		}
	}
	for name, c := range map[string]struct {
		change func(*apiServer)
		pin    func(*apiServer) []string
		want   Verdict
		token  bool // the server may see the token
	}{
		"proven by pin":            {want: Proven, token: true},
		"proven by signature":      {pin: func(*apiServer) []string { return nil }, want: Proven, token: true},
		"another CA than pinned":   {pin: func(*apiServer) []string { return []string{newAuthority(t).pin()} }, want: WrongCA},
		"cluster-info forbidden":   {change: func(s *apiServer) { s.info = nil }, want: NotServed},
		"not signed, pinned":       {change: func(s *apiServer) { delete(s.info, "jws-kubeconfig-abcdef") }, want: Unsigned, token: true},
		"not signed, nothing else": {change: func(s *apiServer) { delete(s.info, "jws-kubeconfig-abcdef") }, pin: func(*apiServer) []string { return nil }, want: Unsigned},
		"other secret, pinned":     {change: func(s *apiServer) { s.info = s.signed("ffffffffffffffff") }, want: BadSignature},
		"other secret":             {change: func(s *apiServer) { s.info = s.signed("ffffffffffffffff") }, pin: func(*apiServer) []string { return nil }, want: BadSignature},
		"401 to the token": {change: func(s *apiServer) {
			s.node = func(w http.ResponseWriter, _ *http.Request) {
				status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
			}
		}, want: Rejected, token: true},
		"HTML with 503": {change: func(s *apiServer) { s.node = html(http.StatusServiceUnavailable) }, want: Unreachable, token: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			if c.change != nil {
				c.change(s)
			}
			pins := []string{s.ca.pin()}
			if c.pin != nil {
				pins = c.pin(s)
			}
			p := s.probe(t, pins...)
			if p.Verdict != c.want {
				t.Errorf("verdict %d (%v), wanted %d", p.Verdict, p.Err, c.want)
			}
			if s.sawToken() != c.token {
				t.Errorf("server saw the token: %t, requests %q", !c.token, s.requests)
			}
		})
	}
}

// With an empty secret everybody can sign.
func TestAnEmptyTokenProvesNoServer(t *testing.T) {
	s := newAPIServer(t)
	s.info = s.signed("")
	s.info["jws-kubeconfig-"] = s.info["jws-kubeconfig-abcdef"]
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if p := d.Probe(t.Context(), "", token); p.Verdict != Rejected || s.sawToken() {
		t.Errorf("verdict %d (%v); the server saw the token: %t", p.Verdict, p.Err, s.sawToken())
	}
}

// Whoever holds a token can sign a cluster-info with a CA of his own beside the pinned one.
func TestWhatStandsBesideThePinnedCAIsProvenByItsConnectionOnly(t *testing.T) {
	for name, c := range map[string]struct {
		host   string // the server's certificate is for 127.0.0.1
		pinned bool
		whole  bool
	}{
		"pinned": {host: "127.0.0.1", pinned: true, whole: true},
		"pinned, at a name that the certificate has not": {host: "localhost", pinned: true},
		"by the signature alone":                         {host: "localhost", whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			pins, one := []string{s.ca.pin()}, s.ca.pem
			if !c.pinned {
				pins = nil
			}
			s.ca.pem = slices.Concat(one, newAuthority(t).pem)
			s.info = s.signed(tokenSecret)
			d, err := NewDiscoverer(Source{Endpoint: strings.Replace(s.endpoint(), "127.0.0.1", c.host, 1), Pins: pins, NodeName: "w1"})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			p := d.Probe(t.Context(), token, token)
			if p.Verdict != Proven || p.Server != s.URL {
				t.Fatalf("verdict %d by %q: %v", p.Verdict, p.Server, p.Err)
			}
			want := one
			if c.whole {
				want = s.ca.pem
			}
			if !bytes.Equal(p.Bundle, want) {
				t.Errorf("got\n%s\nwanted\n%s", p.Bundle, want)
			}
		})
	}
}

// What the network and a handshake take is not the server's.
func TestProbeTellsHowLongTheServerTook(t *testing.T) {
	const slow = 300 * time.Millisecond
	for name, c := range map[string]struct {
		network, handshake, server, proven time.Duration
		file                               bool
		least, most                        time.Duration
	}{
		"not serving yet":               {handshake: slow, most: slow / 2},
		"at ease":                       {most: slow / 2},
		"far away":                      {network: slow, most: slow / 2},
		"far away, by a discovery file": {network: slow, file: true, most: slow / 2},
		"busy":                          {server: slow, least: slow - 50*time.Millisecond, most: 2 * slow},
		"busy and far away":             {network: slow, server: slow, least: slow / 2, most: 2 * slow},
		"busy with what a token is for": {proven: slow, least: slow - 50*time.Millisecond, most: 2 * slow},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			handler := s.Config.Handler
			s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(c.server + c.network)
				if r.Header.Get("Authorization") != "" {
					time.Sleep(c.proven)
				}
				handler.ServeHTTP(w, r)
			})
			source := Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"}
			if c.file {
				path := filepath.Join(t.TempDir(), "discovery.conf")
				if err := os.WriteFile(path, []byte(s.info["kubeconfig"]), 0o600); err != nil {
					t.Fatal(err)
				}
				source = Source{File: path, NodeName: "w1"}
			}
			d, err := NewDiscoverer(source)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			s.handshake.Store(int64(c.handshake))
			dialer.Control = func(string, string, syscall.RawConn) error { time.Sleep(c.network); return nil }
			defer func() { dialer.Control = nil }()
			quickest := time.Hour // of three, for a busy host may hold up one; each with a handshake
			for range 3 {
				d.Close()
				p := d.Probe(t.Context(), token, token)
				if p.Verdict != Proven {
					t.Fatalf("verdict %d: %v", p.Verdict, p.Err)
				}
				quickest = min(quickest, p.Took)
			}
			if quickest < c.least || quickest > c.most {
				t.Errorf("took %s, wanted %s to %s", quickest, c.least, c.most)
			}
		})
	}
}

// A connection that was late once, as in a crowd it is, tells nothing about the server.
func TestOneLateConnectionHidesNoBusyServer(t *testing.T) {
	const slow = 300 * time.Millisecond
	s := newAPIServer(t)
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 3 { // a busy host may hold up one
		if err := d.door.knock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dialer.Control = func(string, string, syscall.RawConn) error { time.Sleep(slow); return nil }
	defer func() { dialer.Control = nil }()
	handler := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(slow)
		handler.ServeHTTP(w, r)
	})
	if p := d.Probe(t.Context(), token, token); p.Took < slow/2 {
		t.Errorf("took %s, wanted %s", p.Took, slow)
	}
}

// Hundreds of nodes wait for one signer: each asks for cluster-info, and shows the token once only.
func TestUnsignedTokenIsNotShownWithEachProbe(t *testing.T) {
	s := newAPIServer(t)
	signed := s.info
	s.info = map[string]string{"kubeconfig": signed["kubeconfig"]}
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	shown := func() int { return strings.Count(strings.Join(s.requests, "\n"), tokenSecret) }
	s.node = func(w http.ResponseWriter, r *http.Request) {
		status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
	}
	var first time.Time // answer
	for i := range 5 {
		asked := time.Now()
		p := d.Probe(t.Context(), token, token)
		if i == 0 {
			first = p.Node.At
		}
		if p.At.Before(asked) || p.At.After(time.Now()) || !p.Node.At.Equal(first) || p.Node.At.After(p.At) {
			t.Errorf("asked at %s, answered at %s, of the Node at %s, the first time at %s", asked, p.At, p.Node.At, first)
		}
		if p.Verdict != Unsigned || p.Node.Answer != Unauthorized || p.Old != (i > 0) {
			t.Errorf("verdict %d, the Node %s, old %t: the last answer is to stand", p.Verdict, p.Node.Answer, p.Old)
		}
	}
	if shown() != 1 {
		t.Errorf("the token was shown %d times: %q", shown(), s.requests)
	}
	unsigned := s.info
	d.asked = d.asked.Add(-unsignedAgain)
	s.info = nil
	d.Probe(t.Context(), token, token)
	s.info = unsigned
	if p := d.Probe(t.Context(), token, token); p.Node.Answer != Silent || !p.Old || shown() != 1 {
		t.Errorf("just back, a server has no signature yet, and the token was shown %d times (the Node %s, old %t): %q", shown(), p.Node.Answer, p.Old, s.requests)
	}
	d.asked = d.asked.Add(-unsignedAgain)
	if p := d.Probe(t.Context(), token, token); p.Old || shown() != 2 {
		t.Errorf("a silence lies some seconds back, and the token was shown %d times: %q", shown(), s.requests)
	}
	d.asked = d.asked.Add(-unsignedAgain)
	s.status = http.StatusInternalServerError
	d.Probe(t.Context(), token, token)
	s.status = 0
	if p := d.Probe(t.Context(), token, token); p.Old || shown() != 3 {
		t.Errorf("an error lies between, and the token was shown %d times: %q", shown(), s.requests)
	}
	d.Probe(t.Context(), token, "abcdef.another89abcdef0")
	s.node, s.info = absentNode, signed
	if p := d.Probe(t.Context(), token, token); p.Verdict != Proven || p.Node.Answer != Absent {
		t.Errorf("signed: verdict %d, the Node %s: it is to be asked for at once", p.Verdict, p.Node.Answer)
	}
	if last := s.requests[len(s.requests)-3]; !strings.Contains(last, "another") {
		t.Errorf("another token was not shown at once: %q", s.requests)
	}
	s.info = map[string]string{"kubeconfig": strings.Replace(signed["kubeconfig"], base64.StdEncoding.EncodeToString(s.ca.pem),
		base64.StdEncoding.EncodeToString(newAuthority(t).pem), 1)}
	if p := d.Probe(t.Context(), token, token); p.Verdict != WrongCA {
		t.Errorf("another CA: verdict %d", p.Verdict)
	}
}

func TestProbesShareConnectionsUntilAnotherServerIsToBeAsked(t *testing.T) {
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "", "")
	}
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, want := range []int32{2, 4} { // one without and one with the token
		for range 5 {
			if p := d.Probe(t.Context(), token, token); p.Verdict != Rejected {
				t.Fatalf("verdict %d: %v", p.Verdict, p.Err)
			}
		}
		if made := s.connections.Load(); made != want {
			t.Errorf("%d connections, wanted %d", made, want)
		}
		d.dialed = time.Now().Add(-otherServer - time.Second)
	}
}

// While nobody answers a probe is a connection and no more; the one that succeeds is what the request goes over.
func TestServerIsKnockedAtUntilItOpens(t *testing.T) {
	s := newAPIServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	d, err := NewDiscoverer(Source{Endpoint: addr, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if p := d.Probe(t.Context(), token, token); p.Verdict != Unreachable || !errors.Is(p.Err, syscall.ECONNREFUSED) {
			t.Errorf("verdict %d: %v", p.Verdict, p.Err)
		}
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatalf("somebody else has taken the port: %v", err)
	}
	accepted := make(chan struct{}, 10)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			out, err := net.Dial("tcp", s.endpoint())
			if err != nil {
				return
			}
			go io.Copy(out, in)
			go io.Copy(in, out)
		}
	}()
	defer l.Close()
	if p := d.Probe(t.Context(), token, token); p.Verdict != Proven {
		t.Errorf("verdict %d: %v", p.Verdict, p.Err)
	}
	// cluster-info names the server itself, so only the anonymous connection came this way
	if len(accepted) != 1 {
		t.Errorf("%d connections", len(accepted))
	}
	l.Close()
	s.CloseClientConnections()
	d.anon.Close()
	for range 2 {
		if p := d.Probe(t.Context(), token, token); p.Verdict != Unreachable {
			t.Errorf("gone again: verdict %d: %v", p.Verdict, p.Err)
		}
	}
}

// A stranger that copied cluster-info, signature and all, but cannot prove the
// CA on its own connection never sees the token.
func TestTokenGoesOnlyOverTLSThatChainsToTheProvenCA(t *testing.T) {
	real := newAPIServer(t)
	stranger := newAPIServer(t)
	stranger.info = strangerInfo(t, real, stranger)
	p := stranger.probe(t, real.ca.pin())
	if p.Verdict == Proven || stranger.sawToken() {
		t.Errorf("verdict %d, stranger saw %q", p.Verdict, stranger.requests)
	}
	if !strings.Contains(p.Err.Error(), "certificate") {
		t.Errorf("error %q does not say what is wrong", p.Err)
	}
}

func strangerInfo(t *testing.T, real, stranger *apiServer) map[string]string {
	t.Helper()
	kubeconfig := strings.ReplaceAll(real.info["kubeconfig"], real.URL, stranger.URL)
	signature, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, tokenSecret)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"kubeconfig": kubeconfig, "jws-kubeconfig-" + tokenID: signature}
}

func TestServerInClusterInfoThatIsDownIsNamedWithTheEndpoint(t *testing.T) {
	s := newAPIServer(t)
	kubeconfig := strings.ReplaceAll(s.info["kubeconfig"], s.URL, "https://127.0.0.1:1")
	signature, err := jws.ComputeDetachedSignature(kubeconfig, tokenID, tokenSecret)
	if err != nil {
		t.Fatal(err)
	}
	s.info = map[string]string{"kubeconfig": kubeconfig, "jws-kubeconfig-" + tokenID: signature}
	p := s.probe(t, s.ca.pin())
	if p.Verdict != Unreachable || !strings.Contains(p.Err.Error(), s.endpoint()) || !strings.Contains(p.Err.Error(), "127.0.0.1:1") {
		t.Errorf("verdict %d, error %v", p.Verdict, p.Err)
	}
}

func TestSilenceIsUnreachable(t *testing.T) {
	s := newAPIServer(t)
	s.Close()
	if p := s.probe(t, s.ca.pin()); p.Verdict != Unreachable || !strings.Contains(p.Err.Error(), "refused") {
		t.Errorf("verdict %d, error %v", p.Verdict, p.Err)
	}
}
