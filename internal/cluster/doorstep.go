package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// lookUpWait bounds one look-up of a name: the resolver asks each name server for 5 s.
const lookUpWait = 6 * time.Second

// Doorstep is what anybody can see of an API server: nothing secret is shown for it, and nothing of it is proven.
type Doorstep struct {
	Host, Port string
	Proxy      string // stands between, so that nothing else is known; "": none

	Addresses []string // that Host stands for,
	LookUp    error    // or why that is not known
	Closed    map[string]error
	Handshake error // or no address connects

	Certificate *x509.Certificate // the server's own
	Stranger    error             // why it does not prove the server: its names, its dates, who signed it
	Ahead       time.Duration     // of the server's clock
	Clock       error             // why that is not known
}

// LookAt stands before the server, a URL. ca (PEM) may be empty: then nobody knows who should have signed.
func LookAt(ctx context.Context, server string, ca []byte) Doorstep {
	u, err := url.Parse(server)
	if err != nil {
		return Doorstep{LookUp: err}
	}
	d := Doorstep{Host: u.Hostname(), Port: u.Port(), Closed: map[string]error{}}
	if d.Port == "" {
		d.Port = "443"
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err != nil {
		return Doorstep{Host: d.Host, LookUp: err}
	} else if proxy != nil {
		d.Proxy = proxy.Host // what else stands in it may be a password
		return d
	}
	bounded, cancel := context.WithTimeout(ctx, lookUpWait)
	defer cancel()
	if d.Addresses, d.LookUp = net.DefaultResolver.LookupHost(bounded, d.Host); d.LookUp != nil {
		return d
	}
	var open net.Conn
	for _, address := range d.Addresses {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, d.Port))
		switch {
		case err != nil:
			d.Closed[address] = err
		case open == nil:
			open = conn
			defer conn.Close()
		default:
			_ = conn.Close()
		}
	}
	if open != nil {
		d.greet(ctx, open, ca)
	}
	return d
}

// greet shakes hands, and asks for what everybody may know, for the Date of the answer.
func (d *Doorstep) greet(ctx context.Context, open net.Conn, ca []byte) {
	_ = open.SetDeadline(time.Now().Add(requestTimeout))
	conn := tls.Client(open, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: d.Host, InsecureSkipVerify: true}) // nothing secret goes over it
	if d.Handshake = conn.HandshakeContext(ctx); d.Handshake != nil {
		return
	}
	shown := conn.ConnectionState().PeerCertificates
	d.Certificate = shown[0]
	d.Stranger = proves(shown, d.Host, ca)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(d.Host, d.Port)+"/version", nil)
	if err == nil {
		request.Header.Set("User-Agent", userAgent)
		request.Close = true
		err = request.Write(conn)
	}
	var response *http.Response
	if err == nil {
		response, err = http.ReadResponse(bufio.NewReader(conn), request)
	}
	if err == nil {
		_ = response.Body.Close()
		var date time.Time
		date, err = http.ParseTime(response.Header.Get("Date"))
		d.Ahead = time.Until(date)
	}
	d.Clock = err
}

// proves says why certificates do not prove a server; without ca whoever signed them is believed.
func proves(shown []*x509.Certificate, host string, ca []byte) error {
	if err := shown[0].VerifyHostname(host); err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for _, c := range shown[1:] {
		options.Intermediates.AddCert(c)
	}
	if len(ca) == 0 {
		options.Roots.AddCert(shown[len(shown)-1])
	} else if !options.Roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("reading the CA: no certificate in it")
	}
	_, err := shown[0].Verify(options)
	return err
}
