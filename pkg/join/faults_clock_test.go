package join

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

func TestClockThatIsWrongIsSaidOnce(t *testing.T) {
	t.Attr("fault", "29")
	simulate(t, nil, func(s *sim, start func() (Report, error)) {
		s.ready = true
		invalid := x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}
		s.verdict = cluster.Probe{Err: fmt.Errorf("asking: %w", invalid), Ahead: time.Hour}
		s.after(20*time.Second, func() { s.verdict = cluster.Probe{} })
		r, err := start()
		wanted{reason: Joined, joins: 1}.check(t, r, err)
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "1h0m0s ahead of this machine's") {
			t.Errorf("warnings %q", r.Warnings)
		}
	})
	simulate(t, func(c *Config) { c.Timeout, c.Hold = 10*time.Second, 0 }, func(s *sim, start func() (Report, error)) {
		invalid := x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}
		s.verdict = cluster.Probe{Err: fmt.Errorf("asking: %w", invalid), Ahead: time.Minute}
		r, err := start()
		wanted{reason: Unreachable}.check(t, r, err)
		if len(r.Warnings) != 0 || !strings.Contains(r.Hint, "clock") {
			t.Errorf("warnings %q, hint %q", r.Warnings, r.Hint)
		}
	})
}
