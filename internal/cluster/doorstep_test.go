package cluster

import (
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWhatIsSeenOfAServerFromOutside(t *testing.T) {
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}
	port := s.URL[strings.LastIndex(s.URL, ":")+1:]
	stranger := newAuthority(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0") // shuts at once
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for conn, err := plain.Accept(); err == nil; conn, err = plain.Accept() {
			conn.Close()
		}
	}()
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	for what, c := range map[string]struct {
		server string
		ca     []byte
		is     func(Doorstep) bool
	}{
		"well": {s.URL, s.ca.pem, func(d Doorstep) bool {
			return d.Stranger == nil && d.Certificate != nil && (d.Ahead-time.Hour).Abs() < 5*time.Second && d.Clock == nil && len(d.Closed) == 0
		}},
		"whoever signed it":  {s.URL, nil, func(d Doorstep) bool { return d.Stranger == nil }},
		"another CA":         {s.URL, stranger.pem, func(d Doorstep) bool { return errors.As(d.Stranger, &unknown) }},
		"another name":       {"https://localhost:" + port, s.ca.pem, func(d Doorstep) bool { return errors.As(d.Stranger, &name) }},
		"no such host":       {"https://no-such-host.invalid:1", nil, func(d Doorstep) bool { return d.LookUp != nil }},
		"nobody":             {"https://127.0.0.1:1", nil, func(d Doorstep) bool { return d.Closed["127.0.0.1"] != nil && d.Certificate == nil }},
		"somebody else":      {"https://" + plain.Addr().String(), nil, func(d Doorstep) bool { return d.Handshake != nil && d.Certificate == nil }},
		"no URL":             {"https://%zz", nil, func(d Doorstep) bool { return d.LookUp != nil }},
		"the port of https:": {"https://127.0.0.1", nil, func(d Doorstep) bool { return d.Port == "443" }},
	} {
		if d := LookAt(t.Context(), c.server, c.ca); !c.is(d) {
			t.Errorf("%s: %+v", what, d)
		}
	}
	if s.sawToken() {
		t.Error("it was shown a token")
	}
}

func TestAPinIsSeenWithoutAToken(t *testing.T) {
	s := newAPIServer(t)
	for pin, want := range map[string]Verdict{s.ca.pin(): Rejected, newAuthority(t).pin(): WrongCA} {
		d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{pin}, NodeName: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if p := d.Probe(t.Context(), "", ""); p.Verdict != want || (len(p.CA) > 0) != (want == Rejected) {
			t.Errorf("%+v, wanted %d", p, want)
		}
	}
}
