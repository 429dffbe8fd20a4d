package host

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
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
