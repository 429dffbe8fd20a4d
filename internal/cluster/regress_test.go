package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// The 10 s look runs ahead of the stream: it sees the new Node; then the stream tells late news of the old one.
func TestLateNewsOfANodeThatIsGone(t *testing.T) {
	s := newAPIServer(t)
	var uid atomic.Value
	uid.Store("uid-1")
	late := make(chan struct{})
	s.node = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			answer(w, http.StatusOK, someNode(uid.Load().(string)))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-late
		for _, e := range []struct{ kind, uid string }{{"MODIFIED", "uid-1"}, {"DELETED", "uid-1"}, {"ADDED", "uid-2"}} {
			object, _ := json.Marshal(someNode(e.uid))
			fmt.Fprintf(w, `{"type":%q,"object":%s}`+"\n", e.kind, object)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	sightings := client.Watch(ctx, "w1")
	var got []string
	got = append(got, (<-sightings).Node.UID)
	uid.Store("uid-2")                        // deleted and registered again; the watch lags
	got = append(got, (<-sightings).Node.UID) // the look after 10 s
	close(late)
	for i := 0; i < 3; i++ {
		select {
		case x := <-sightings:
			got = append(got, x.Node.UID)
		case <-time.After(2 * time.Second):
		}
	}
	cancel()
	for range sightings {
	}
	t.Log(got)
	for i := 2; i < len(got); i++ {
		if got[i] == "uid-1" {
			t.Errorf("uid-1 is told as present after uid-2: %v", got)
		}
	}
}

// A handshake that outlives its request writes peer while the next probe reads it.
func TestHandshakeThatOutlivesItsProbe(t *testing.T) {
	s := newAPIServer(t)
	// a proxy that delays the bytes of the first connection
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				if i == 0 {
					time.Sleep(300 * time.Millisecond)
				}
				b, err := net.Dial("tcp", s.endpoint())
				if err != nil {
					return
				}
				go func() {
					buf := make([]byte, 4096)
					for {
						n, err := c.Read(buf)
						if err != nil {
							b.Close()
							return
						}
						b.Write(buf[:n])
					}
				}()
				buf := make([]byte, 4096)
				for {
					n, err := b.Read(buf)
					if err != nil {
						c.Close()
						return
					}
					c.Write(buf[:n])
				}
			}()
		}
	}()
	d, err := NewDiscoverer(Source{Endpoint: l.Addr().String(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	d.Probe(short, token, token)
	cancel()
	for range 40 {
		d.Probe(t.Context(), token, token)
		time.Sleep(10 * time.Millisecond)
	}
}
