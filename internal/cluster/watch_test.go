package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

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

// The deletion of a Node that a finalizer holds up comes as a change.
func TestWatchTellsOfADeletionThatIsHeldUp(t *testing.T) {
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			presentNode(w, r)
			return
		}
		object, _ := json.Marshal(deletedNode("uid-1"))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"type":"MODIFIED","object":%s}`+"\n", object)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sightings := client.Watch(ctx, "w1")
	began := <-sightings
	held := <-sightings
	cancel()
	for range sightings {
	}
	if began.Answer != Present || !began.Node.DeletedAt.IsZero() || began.At.IsZero() || began.Took == 0 {
		t.Errorf("at first: %+v", began)
	}
	if held.Answer != Present || !held.Node.DeletedAt.Equal(deletedAt) || len(held.Node.Finalizers) != 1 || held.At.Before(began.At) || held.Took != 0 {
		t.Errorf("deleted: %+v", held)
	}
}

// Nobody took a sighting for a minute: what came in that time is as old as it is.
func TestEventsAreTimedAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stream := watch.NewFake()
		events := arrivals(ctx, stream)
		began, node := time.Now(), someNode("uid-1")
		for range 3 {
			stream.Modify(&node)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for i := range 3 {
			if event := <-events; event.at.Sub(began) != time.Duration(i)*time.Second || event.Type != watch.Modified {
				t.Errorf("event %d: %s, %s after the beginning", i, event.Type, event.at.Sub(began))
			}
		}
		for range eventBacklog + 1 { // more than are kept, and then nobody is interested any more
			stream.Modify(&node)
		}
		cancel()
		synctest.Wait()
		stream.Stop()
	})
}
