package host

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func TestAKubeletIsHealthyByItsOwnWordOnly(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	h := Host{Root: t.TempDir()}
	configured := func(config string) bool {
		t.Helper()
		if err := os.WriteFile(h.Path("/config.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		return h.KubeletHealthy(t.Context(), KubeletArgs{Config: "/config.yaml"})
	}
	good := fmt.Sprintf("healthzBindAddress: 127.0.0.1\nhealthzPort: %s\n", port)
	if !configured(good) {
		t.Error("a kubelet that says ok is not healthy")
	}
	if !configured(fmt.Sprintf("healthzBindAddress: 0.0.0.0\nhealthzPort: %s\n", port)) {
		t.Error("one that serves on all addresses is not healthy")
	}
	status = http.StatusInternalServerError
	if configured(good) {
		t.Error("a kubelet whose sync loop hangs is healthy")
	}
	status = http.StatusOK
	server.Close()
	if configured(good) {
		t.Error("a kubelet that does not answer is healthy")
	}
	if configured("healthzPort: 0\n") || configured("healthzPort: [\n") {
		t.Error("a kubelet that cannot be asked is healthy")
	}
	if h.KubeletHealthy(t.Context(), KubeletArgs{Config: "/not/there.yaml"}) {
		t.Error("a kubelet whose configuration is not there is healthy")
	}
}

// Where a kubelet that hangs is waited for, what others said is old by then.
func TestAKubeletThatHangsIsSoonKnownNotToBeWell(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	h := Host{Root: t.TempDir()}
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	if err := os.WriteFile(h.Path("/config.yaml"), []byte("healthzPort: "+port+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if began := time.Now(); h.KubeletHealthy(ctx, KubeletArgs{Config: "/config.yaml"}) || time.Since(began) > 1500*time.Millisecond {
		t.Errorf("known after %s", time.Since(began))
	}
}
