package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOnlyTheAPIServersOwnNotFoundCounts(t *testing.T) {
	for name, c := range map[string]struct {
		node http.HandlerFunc
		want Answer
	}{
		"its own": {absentNode, Absent},
		"of another Node": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound, "w2", "nodes")
		}, Silent},
		"a load balancer's page": {http.NotFound, Silent},
		"plain JSON": {func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, map[string]string{"error": "no"})
		}, Silent},
		"the Node": {presentNode, Present},
		"too many requests": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}, Silent},
	} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.node = c.node
			client, err := NewTokenClient(s.URL, s.ca.pem, token)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			sighting := client.Node(t.Context(), "w1")
			if sighting.Answer != c.want {
				t.Errorf("%s (%v), wanted %s", sighting.Answer, sighting.Err, c.want)
			}
			if name == "too many requests" && sighting.RetryAfter != 7*time.Second {
				t.Errorf("Retry-After was read as %s", sighting.RetryAfter)
			}
		})
	}
}

// A deletion is told within a second, by the watch, and a watch that breaks is
// made again.
func TestWatchTellsADeletionAtOnce(t *testing.T) {
	s := newAPIServer(t)
	events := make(chan string, 8)
	var mu sync.Mutex
	gone := false
	s.node = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				absentNode(w, r)
			} else {
				presentNode(w, r)
			}
			return
		}
		if got := r.URL.Query().Get("fieldSelector"); got != "metadata.name=w1" {
			t.Errorf("watch with field selector %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case kind := <-events:
			object, _ := json.Marshal(someNode("uid-1"))
			fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", kind, object)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	}
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	sightings := client.Watch(ctx, "w1")
	if first := <-sightings; first.Answer != Present || !first.Node.Uninitialized || first.Node.BootID != "boot" || first.Node.ReadyMessage != "no CNI" {
		t.Fatalf("first sighting %+v", first)
	}
	mu.Lock()
	gone = true
	mu.Unlock()
	events <- "DELETED"
	if next := <-sightings; next.Answer != Absent {
		t.Errorf("after the deletion: %s %v", next.Answer, next.Err)
	}
	cancel()
	for range sightings {
	}
}
