package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
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

// busy answers with 429 and a time, and notes when it was asked.
type busy struct {
	mu    sync.Mutex
	asked []time.Time
}

func (b *busy) refuse(w http.ResponseWriter, seconds string) {
	b.mu.Lock()
	b.asked = append(b.asked, time.Now())
	b.mu.Unlock()
	w.Header().Set("Retry-After", seconds)
	http.Error(w, "too many requests", http.StatusTooManyRequests)
}

func (b *busy) times() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// An API server that serves Nodes but not watches, for the time being.
func TestWatchThatIsTooMuchIsLeftAlone(t *testing.T) {
	t.Parallel()
	s, b := newAPIServer(t), &busy{}
	s.node = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			b.refuse(w, "3")
			return
		}
		presentNode(w, r)
	}
	gaps(t, s, b, 5*time.Second)
}

// An API server that asks for rest while the watch is open.
func TestLookThatIsTooMuchIsLeftAlone(t *testing.T) {
	t.Parallel()
	s, b := newAPIServer(t), &busy{}
	looks := atomic.Int32{}
	s.node = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case looks.Add(1) == 1:
			presentNode(w, r)
		default:
			b.refuse(w, "3")
		}
	}
	gaps(t, s, b, lookEvery+5*time.Second)
}

func gaps(t *testing.T, s *apiServer, b *busy, lasts time.Duration) {
	t.Helper()
	client, err := NewTokenClient(s.URL, s.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	for range client.Watch(ctx, "w1") {
	}
	asked := b.times()
	if len(asked) < 2 {
		t.Fatalf("asked %d times", len(asked))
	}
	for i := 1; i < len(asked); i++ {
		if gap := asked[i].Sub(asked[i-1]); gap < 2900*time.Millisecond {
			t.Errorf("asked again after %s, wanted 3s", gap)
		}
	}
}

// The token goes over TLS that was proven, and nowhere else: not where a proven server points to, either.
func TestTokenDoesNotFollowARedirect(t *testing.T) {
	t.Parallel()
	var shown atomic.Value
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(r.Header.Get("Authorization"))
		absentNode(w, r)
	}))
	t.Cleanup(open.Close)
	s := newAPIServer(t)
	s.node = func(w http.ResponseWriter, r *http.Request) {
		// without a body: a web page would not even be looked at
		w.Header().Set("Location", open.URL+r.URL.Path)
		w.WriteHeader(http.StatusFound)
	}
	if p := s.probe(t, s.ca.pin()); p.Node.Answer != Silent || shown.Load() != nil {
		t.Errorf("answer %s; without TLS somebody was shown %q", p.Node.Answer, shown.Load())
	}
}

// What a discovery file says is believed for the TLS that it came over; a redirect may lead away from that.
func TestDiscoveryFileIsNotFetchedWithoutTLS(t *testing.T) {
	s := newAPIServer(t)
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.info["kubeconfig"]) }))
	t.Cleanup(open.Close)
	at := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, open.URL, http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			fmt.Fprint(w, s.info["kubeconfig"])
		}
	}))
	t.Cleanup(at.Close)
	usual := http.DefaultTransport
	http.DefaultTransport = at.Client().Transport // in place of the system's CAs
	t.Cleanup(func() { http.DefaultTransport = usual })
	for path, want := range map[string]bool{"/": true, "/moved": true, "/away": false} {
		d, err := NewDiscoverer(Source{File: at.URL + path, NodeName: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		p := d.Probe(t.Context(), "", token)
		d.Close()
		if (p.Verdict == Proven) != want {
			t.Errorf("%s: verdict %d, %v", path, p.Verdict, p.Err)
		}
	}
}

// A load balancer that ends TLS with a certificate of its own stands before this very cluster; one that says nothing of it may
// stand before any.
func TestLoadBalancerOfTheSameClusterIsNoStranger(t *testing.T) {
	t.Parallel()
	behind, front := newAPIServer(t), newAPIServer(t)
	front.info = behind.info
	for name, c := range map[string]struct {
		ca   []byte
		info map[string]string
		want bool
	}{
		"the API server itself":   {front.ca.pem, nil, false},
		"before the same cluster": {behind.ca.pem, behind.info, false},
		"before another cluster":  {newAuthority(t).pem, behind.info, true},
		"before who knows":        {behind.ca.pem, nil, true},
		"with junk for an answer": {behind.ca.pem, map[string]string{"kubeconfig": "junk"}, true},
	} {
		front.info = c.info
		if got := IsStranger(t.Context(), front.URL, c.ca); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
