package cluster

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestOnlyOurOwnNodeIsSaidToHaveStopped(t *testing.T) {
	var patched map[string]any
	server := newAPIServer(t)
	server.node = func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPatch || r.URL.Path != "/api/v1/nodes/w1/status" || !strings.Contains(r.Header.Get("Content-Type"), "strategic-merge") ||
			json.Unmarshal(raw, &patched) != nil {
			t.Errorf("%s %s %s", r.Method, r.URL, raw)
		}
		presentNode(w, r)
	}
	client, err := NewTokenClient(server.URL, server.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SayStopped(t.Context(), "w1", "uid-1"); err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(patched)
	for _, words := range []string{`"uid":"uid-1"`, `"type":"Ready"`, `"status":"False"`} {
		if !strings.Contains(string(raw), words) {
			t.Errorf("%s is not in %s", words, raw)
		}
	}
}
