package host

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runtimeAt is a container runtime at one of kubeadm's sockets, as far as HTTP/2 goes.
func runtimeAt(t *testing.T, h Host, socket string, answer http.HandlerFunc) {
	t.Helper()
	path := h.Path(socket)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// grpcStatus answers as gRPC does: with the status in the trailer, or in the header where there is no answer.
func grpcStatus(status string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/runtime.v1.RuntimeService/Version" || r.ProtoMajor != 2 || r.Header.Get("Content-Type") != "application/grpc" {
			http.Error(w, "what?", http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		if status == "0" {
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(make([]byte, 5))
		}
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", "the words")
	}
}

func TestRuntimeServes(t *testing.T) {
	const containerd, crio = "/var/run/containerd/containerd.sock", "/var/run/crio/crio.sock"
	for name, c := range map[string]struct {
		there  map[string]http.HandlerFunc
		socket string
		want   string // part of the error; "": none
	}{
		"none":                      {nil, "", "no such file"},
		"containerd":                {map[string]http.HandlerFunc{containerd: grpcStatus("0")}, "", ""},
		"another":                   {map[string]http.HandlerFunc{crio: grpcStatus("0")}, "", ""},
		"one of two":                {map[string]http.HandlerFunc{containerd: grpcStatus("12"), crio: grpcStatus("0")}, "", ""},
		"without the interface":     {map[string]http.HandlerFunc{containerd: grpcStatus("12")}, "", "does not serve the container runtime interface: code = Unimplemented desc = the words"},
		"in trouble":                {map[string]http.HandlerFunc{containerd: grpcStatus("13")}, "", ""},
		"not understood":            {map[string]http.HandlerFunc{containerd: http.NotFound}, "", ""},
		"named":                     {map[string]http.HandlerFunc{"/run/x.sock": grpcStatus("0")}, "unix:///run/x.sock", ""},
		"named by path":             {map[string]http.HandlerFunc{"/run/x.sock": grpcStatus("0")}, "/run/x.sock", ""},
		"named, and another's here": {map[string]http.HandlerFunc{containerd: grpcStatus("0")}, "unix:///run/x.sock", "no such file"},
		"not a socket of a machine": {nil, "tcp://127.0.0.1:1", ""},
		"silent":                    {map[string]http.HandlerFunc{containerd: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}, "", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "cri") // a socket's path must be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			h := Host{Root: dir}
			for socket, answer := range c.there {
				runtimeAt(t, h, socket, answer)
			}
			err = h.RuntimeServes(context.Background(), c.socket)
			if got := ""; err != nil {
				got = err.Error()
				if c.want == "" || !strings.Contains(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			} else if c.want != "" {
				t.Errorf("got nothing, want %q", c.want)
			}
		})
	}
}

func TestAHungRuntimeIsNotWaitedForLong(t *testing.T) {
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	h := Host{Root: dir}
	if err := os.MkdirAll(h.Path("/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", h.Path("/run/x.sock")) // takes connections and reads nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	if err := h.RuntimeServes(t.Context(), "unix:///run/x.sock"); err == nil || time.Since(began) > 2*criWait {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

func TestTheRuntimesCgroupDriver(t *testing.T) {
	answers := func(status string, message ...byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/runtime.v1.RuntimeService/RuntimeConfig" {
				http.Error(w, "what?", http.StatusTeapot)
				return
			}
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write(append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
			w.Header().Set("Grpc-Status", status)
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"systemd, as nothing is written": {answers("0", 0x0a, 0), "systemd"},
		"systemd":                        {answers("0", 0x0a, 2, 8, 0), "systemd"},
		"cgroupfs":                       {answers("0", 0x0a, 2, 8, 1), "cgroupfs"},
		"a third one":                    {answers("0", 0x0a, 2, 8, 2), ""},
		"no word of Linux":               {answers("0"), ""},
		"an old one":                     {answers("12"), ""},
	} {
		dir, err := os.MkdirTemp("", "cri")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		runtimeAt(t, Host{Root: dir}, "/run/x.sock", c.answer)
		if got := (Host{Root: dir}).CgroupDriver(t.Context(), "unix:///run/x.sock"); got != c.want {
			t.Errorf("%s: %q, wanted %q", name, got, c.want)
		}
	}
	h := machine(t, map[string]string{"/var/lib/kubelet/config.yaml": "cgroupDriver: systemd\n", "/other.yaml": "cgroupDriver: cgroupfs\n", "/torn": ":"})
	for config, want := range map[string]string{"": "systemd", "/other.yaml": "cgroupfs", "/torn": "", "/none": ""} {
		if got := h.ConfiguredDriver(KubeletArgs{Config: config}); got != want {
			t.Errorf("by %q: %q, wanted %q", config, got, want)
		}
	}
}
