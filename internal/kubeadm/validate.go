package kubeadm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// FieldError is a value that kubeadm would refuse, or misunderstand.
type FieldError struct {
	Field   string // a flag, "ENDPOINT", or a file and the field in it
	Problem string
	Remedy  string // "" if the problem says it all
}

func (e *FieldError) Error() string {
	return e.Field + ": " + e.Problem
}

// ValidateToken checks the form of a bootstrap token, "abcdef.0123456789abcdef". The error never contains the token:
// what is almost a token is almost the secret.
func ValidateToken(s string) error {
	if bootstraputil.IsValidBootstrapToken(s) {
		return nil
	}
	problem := "not a bootstrap token: want six characters, a dot and sixteen characters, each of a-z or 0-9"
	id, secret, dot := strings.Cut(s, ".")
	switch {
	case s == "":
		problem = "is empty"
	case strings.TrimSpace(s) != s:
		problem += "; this one has white space around it"
	case !dot:
		problem += fmt.Sprintf("; this one has %d characters and no dot", len(s))
	case len(id) != 6 || len(secret) != 16:
		problem += fmt.Sprintf("; this one has %d and %d", len(id), len(secret))
	case s != strings.ToLower(s):
		problem += "; this one has capital letters"
	}
	return errors.New(problem)
}

// ValidateNodeName checks the length of a Node's name, which is also the value of its label kubernetes.io/hostname. The kubelet
// (kubelet_node_status.go initialNode) starts with a longer one, and cannot register.
func ValidateNodeName(name string) error {
	if len(name) > validation.LabelValueMaxLength {
		return fmt.Errorf("has %d characters, and a Node's label kubernetes.io/hostname takes %d", len(name), validation.LabelValueMaxLength)
	}
	return nil
}

// ValidateHash checks the form of a CA pin, "sha256:" and 64 hexadecimal digits (util/pubkeypin).
func ValidateHash(s string) error {
	format, value, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(format, "sha256") {
		return fmt.Errorf("%q does not begin with %q", pattern.Redact(s), "sha256:")
	}
	if b, err := hex.DecodeString(value); err != nil || len(b) != 32 {
		return fmt.Errorf("%q is not %q and 64 hexadecimal digits (it has %d characters after the colon)", pattern.Redact(s), "sha256:", len(value))
	}
	return nil
}

// pattern takes what looks like a secret out of errors that quote a value: people put a token where an address belongs.
var pattern = NewRedactor()

const notInEndpoint = "/?#@ \t\r\n"

// ValidateEndpoint checks an API server's address, "host:port" with an IPv6 address in brackets. It is stricter than kubeadm,
// which tries to reach what cannot be reached for minutes.
func ValidateEndpoint(s string) error {
	quoted := strconv.Quote(pattern.Redact(s))
	if s == "" {
		return errors.New("is empty: want host:port")
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("%s is a URL: leave the %q out, %s", quoted, scheme+"://", instead(rest))
	}
	if strings.ContainsAny(s, notInEndpoint) {
		return fmt.Errorf("%s is not host:port: %s", quoted, instead(s))
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Is6() {
			return fmt.Errorf("%s has no port: an IPv6 address goes in brackets, %q", quoted, net.JoinHostPort(s, "6443"))
		}
		return fmt.Errorf("%s has no port: write %q if it is the usual one", quoted, s+":6443")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if strings.Count(s, ":") == 0 {
			return fmt.Errorf("%s has no port: write %s if it is the usual one", quoted, strconv.Quote(pattern.Redact(s)+":6443"))
		}
		return fmt.Errorf("%s is not host:port (an IPv6 address goes in brackets)", quoted)
	}
	if host == "" {
		return fmt.Errorf("%s has no host", quoted)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%s: the port is not a number from 1 to 65535", quoted)
	}
	if _, err := url.Parse("https://" + s); err != nil { // which is what kubeadm and client-go make of it
		return fmt.Errorf("%s: this is no host of a URL", quoted)
	}
	return nil
}

// MindsEndpoint reports whether kubeadm's checks find something about an endpoint that goes unsaid where a discovery file names
// the server (preflight/checks.go, JoinNodeChecks): a proxy on the way, or an address whose family is not forwarded. It is
// true of an endpoint that is none, as where the user has a discovery file.
func MindsEndpoint(root, endpoint string) bool {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil || os.Getenv("HTTPS_PROXY") != "" || os.Getenv("https_proxy") != "" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	forwarding := "/proc/sys/net/ipv6/conf/default/forwarding"
	if addr.Unmap().Is4() {
		forwarding = "/proc/sys/net/ipv4/ip_forward"
	}
	content, err := os.ReadFile(filepath.Join(root, forwarding))
	return err != nil || !strings.HasPrefix(string(content), "1")
}

// instead proposes s without a path, if that is an endpoint.
func instead(s string) string {
	host, _, _ := strings.Cut(s, "/")
	if !strings.ContainsAny(host, notInEndpoint) && ValidateEndpoint(host) == nil {
		return fmt.Sprintf("write %q", pattern.Redact(host))
	}
	return "write host:port"
}
