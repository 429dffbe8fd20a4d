package ec2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// service answers as IMDSv2 does; an empty token is a service that knows none. The real protocol is tested with Amazon's
// own mock, in test/e2e.
func service(t *testing.T, token string, data map[string]string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/latest/api/token" && token != "" && r.Method == http.MethodPut:
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			_, _ = w.Write([]byte(token))
		case token != "" && r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			answer, ok := data[strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = w.Write([]byte(answer))
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

func instance(name string) map[string]string {
	return map[string]string{"instance-id": "i-0123456789abcdef0", "placement/availability-zone": "us-east-1a", "local-hostname": name}
}

func TestInstanceIsNamedAsTheCloudControllerLooksForIt(t *testing.T) {
	for _, c := range []struct{ hostname, node string }{
		{"ip-10-0-0-7.ec2.internal", "ip-10-0-0-7.ec2.internal"},
		{"IP-10-0-0-7.ec2.internal\n", "ip-10-0-0-7.ec2.internal"},
		{"ip-10-0-0-7.one.example two.example", "ip-10-0-0-7.one.example"},
		{"i-0123456789abcdef0.us-west-2.compute.internal", "i-0123456789abcdef0"},
		{"i-0123456789abcdef0", "i-0123456789abcdef0"},
	} {
		service(t, "session", instance(c.hostname))
		i, err := Ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i.NodeName() != c.node || i.ProviderID() != "aws:///us-east-1a/i-0123456789abcdef0" {
			t.Errorf("%q gives Node name %q, wanted %q, and provider ID %q", c.hostname, i.NodeName(), c.node, i.ProviderID())
		}
		if !i.Knows(c.node) || !i.Knows("i-0123456789abcdef0.us-west-2.compute.internal") || i.Knows("w1") || i.Knows("ip-10-0-0-7") {
			t.Errorf("%q: the names that it is known by are wrong", c.hostname)
		}
	}
}

func TestWhatIsNoInstanceIsNotBelieved(t *testing.T) {
	t.Run("IMDSv1 alone, as other clouds have it", func(t *testing.T) {
		service(t, "", instance("ip-10-0-0-7.ec2.internal"))
		if i, err := Ask(t.Context()); err == nil {
			t.Errorf("believed %+v", i)
		}
	})
	t.Run("no instance ID", func(t *testing.T) {
		data := instance("ip-10-0-0-7.ec2.internal")
		data["instance-id"] = "<html>"
		service(t, "session", data)
		if i, err := Ask(t.Context()); err == nil || !strings.Contains(err.Error(), "not EC2's metadata service") {
			t.Errorf("%+v, %v", i, err)
		}
	})
	t.Run("no hostname", func(t *testing.T) {
		service(t, "session", instance(" "))
		if i, err := Ask(t.Context()); err == nil {
			t.Errorf("believed %+v", i)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		service(t, "session", instance("ip-10-0-0-7.ec2.internal"))
		t.Setenv("AWS_EC2_METADATA_DISABLED", "True")
		if i, err := Ask(t.Context()); !errors.Is(err, ErrOff) {
			t.Errorf("%+v, %v", i, err)
		}
	})
}

// A listener that accepts and never answers is the slowest of all ways to have no metadata service.
func TestNoAnswerIsKnownWithinASecond(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+l.Addr().String())
	began := time.Now()
	i, err := Ask(context.Background())
	if err == nil || !strings.HasPrefix(err.Error(), `asking the metadata service: Put "http://127.0.0.1`) {
		t.Errorf("believed %+v, or said %v", i, err)
	}
	if took := time.Since(began); took > askTimeout+300*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

// proxied counts the requests to the proxy that TestMain sets for the whole process: it is looked up but once.
var proxied atomic.Int32

func TestMain(m *testing.M) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	os.Setenv("HTTP_PROXY", proxy.URL)
	os.Setenv("NO_PROXY", "")
	code := m.Run()
	proxy.Close()
	os.Exit(code)
}

func TestMetadataNeverComesThroughAProxy(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1") // no proxy is asked for the loopback
	_, _ = Ask(t.Context())
	if proxied.Load() > 0 {
		t.Error("the proxy was asked")
	}
}

func TestFirmwareTellsAnInstanceFromOtherMachines(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")
	for path, c := range map[string]struct {
		text string
		is   bool
	}{
		"/sys/class/dmi/id/sys_vendor":   {"Amazon EC2\n", true},
		"/sys/class/dmi/id/bios_version": {"4.11.amazon\n", true},
		"/sys/hypervisor/uuid":           {"ec2e1916-9099-7caf-fd21-012345abcdef\n", true},
		"/sys/class/dmi/id/product_uuid": {"ec200000-0000-4000-8000-000000000000\n", false}, // one random UUID in 4096 is like that
		"/etc/hostname":                  {"ip-10-0-0-7.ec2.internal", false},
	} {
		root := t.TempDir()
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if Expected(root) != c.is {
			t.Errorf("%s with %q: %v", path, c.text, !c.is)
		}
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.1")
	if !Expected(t.TempDir()) {
		t.Error("who names the service's address is not believed")
	}
}
