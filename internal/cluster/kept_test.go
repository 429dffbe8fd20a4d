package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func asJSON(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func alike(a, b any) bool { return asJSON(a) == asJSON(b) }

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatalf("not after 5 s: %s", what)
		}
	}
}

// watched starts a watch whose end the test waits for.
func watched(t *testing.T, client *Client) (<-chan Sighting, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	sightings := client.Watch(ctx, "w1")
	stop := func() {
		cancel()
		for range sightings {
		}
	}
	t.Cleanup(stop)
	return sightings, stop
}

// The last state of a Node is that of its deletion's event, known before the deletion is told.
func TestWatchKeepsTheNode(t *testing.T) {
	g, client := newRegistry(t)
	var mu sync.Mutex
	var told []Kept
	client.KeepInto(func(k Kept) { mu.Lock(); told = append(told, k); mu.Unlock() })
	if kept := client.Kept(); kept.Node != nil {
		t.Fatalf("before: %+v", kept)
	}
	g.node, g.csiNode = fullNode(), someCSINode("uid-1", "ebs.csi.aws.com")
	sightings, stop := watched(t, client)
	first := <-sightings
	if kept := client.Kept(); kept.Node.UID != "uid-1" || !kept.SeenAt.Equal(first.At) || !kept.GoneAt.IsZero() || len(kept.Node.Status.Images) != 1 {
		t.Fatalf("%+v", kept)
	}
	until(t, "the CSINode", func() bool { return client.Kept().CSINode != nil })
	g.change("MODIFIED", func() { n := fullNode(); n.Annotations["example.com/a"] = "c"; g.node = n })
	next := <-sightings
	if kept := client.Kept(); kept.Node.Annotations["example.com/a"] != "c" || !kept.SeenAt.Equal(next.At) || !next.At.After(first.At) {
		t.Fatalf("%+v", kept)
	}
	g.change("DELETED", func() { g.node = nil; g.csiNode = "" })
	gone := <-sightings
	kept := client.Kept()
	if gone.Answer != Absent || kept.GoneAt.IsZero() || kept.GoneAt.After(gone.At.Add(-gone.Took)) || kept.GoneAt.Before(next.At) || kept.Node.Annotations["example.com/a"] != "c" || kept.CSINode == nil {
		t.Fatalf("%s: %+v", gone.Answer, kept)
	}
	again := Kept{}
	if err := json.Unmarshal([]byte(asJSON(kept)), &again); err != nil || !alike(again, kept) || !again.GoneAt.Equal(kept.GoneAt) || again.Node.UID != "uid-1" {
		t.Errorf("written and read: %v %s", err, asJSON(again))
	}
	until(t, "telling the deletion", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(told) > 0 && !told[len(told)-1].GoneAt.IsZero() && told[len(told)-1].CSINode != nil
	})
	// somebody makes it anew: its CSINode is this machine's as before until another is seen
	g.change("ADDED", func() { n := fullNode(); n.UID = "uid-2"; g.node = n })
	<-sightings
	if kept := client.Kept(); kept.Node.UID != "uid-2" || !kept.GoneAt.IsZero() || kept.CSINode == nil {
		t.Errorf("%+v", kept)
	}
	g.change("ADDED", func() { n := fullNode(); n.UID = "uid-3"; n.Status.NodeInfo.BootID = "other"; g.node = n })
	<-sightings
	if kept := client.Kept(); kept.Node.UID != "uid-3" || kept.CSINode != nil {
		t.Errorf("another machine's: %+v", kept)
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	n := len(told)
	client.keeper.renew(func(*Kept) {})
	time.Sleep(20 * time.Millisecond)
	if len(told) != n {
		t.Error("told after the end")
	}
}

// A Node that is found gone was not seen to go, and late news of one before is no news.
func TestWatchKeepsOnlyWhatItWasTold(t *testing.T) {
	g, client := newRegistry(t)
	g.node = fullNode()
	sightings, _ := watched(t, client)
	<-sightings
	old := fullNode()
	g.change("", func() { n := fullNode(); n.UID = "uid-2"; g.node = n })
	g.events <- `{"type":"DELETED","object":` + asJSON(old) + `}`
	if s := <-sightings; s.Answer != Present || s.Node.UID != "uid-2" {
		t.Fatalf("%+v", s)
	}
	if kept := client.Kept(); kept.Node.UID != "uid-2" || !kept.GoneAt.IsZero() {
		t.Errorf("made anew by somebody: %+v", kept)
	}
	g.events <- `{"type":"DELETED","object":` + asJSON(old) + `}`
	<-sightings
	if kept := client.Kept(); kept.Node.UID != "uid-2" || !kept.GoneAt.IsZero() {
		t.Errorf("late news: %+v", kept)
	}
	client.keeper.deleted(old, time.Now()) // and no answer comes that would set it right
	if kept := client.Kept(); kept.Node.UID != "uid-2" || !kept.GoneAt.IsZero() {
		t.Errorf("late news before an outage: %+v", kept)
	}
	g.change("", func() { g.node = nil })
	g.events <- `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status","code":410}}`
	if s := <-sightings; s.Answer != Absent {
		t.Fatalf("%+v", s)
	}
	if kept := client.Kept(); kept.Node.UID != "uid-2" || !kept.GoneAt.IsZero() {
		t.Errorf("found gone: %+v", kept)
	}
}

// An answer that is missing after the deletion is remembered: the podCIDR may be another's.
func TestWatchKeepsThatAnAnswerWasMissing(t *testing.T) {
	g, client := newRegistry(t)
	g.node = fullNode()
	sightings, _ := watched(t, client)
	<-sightings
	g.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		status(w, 503, metav1.StatusReasonServiceUnavailable, "", "")
		return true
	}
	g.change("DELETED", func() { g.node = nil })
	if s := <-sightings; s.Answer != Silent {
		t.Fatalf("%+v", s)
	}
	if kept := client.Kept(); kept.GoneAt.IsZero() || !kept.Unanswered {
		t.Errorf("%+v", kept)
	}
	began := time.Now()
	if s := <-sightings; s.Answer != Silent || time.Since(began) > 2*time.Second {
		t.Errorf("asked again after %s: %+v", time.Since(began), s)
	}
}

// Nor was the watch unbroken that could not be begun again.
func TestWatchKeepsThatAWatchWasMissing(t *testing.T) {
	g, client := newRegistry(t)
	g.node = fullNode()
	sightings, _ := watched(t, client)
	<-sightings
	g.change("DELETED", func() { g.node = nil })
	<-sightings
	if kept := client.Kept(); kept.GoneAt.IsZero() || kept.Unanswered {
		t.Fatalf("%+v", kept)
	}
	g.change("", func() { g.silent = true })
	g.events <- `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status","code":410}}`
	<-sightings
	until(t, "that an answer is missing", func() bool { return client.Kept().Unanswered })
}

// The CSINode is never read before the sighting is taken and the watch stands, and not more than it takes.
func TestCSINodeIsReadBesideTheWatch(t *testing.T) {
	g, client := newRegistry(t)
	node := fullNode()
	delete(node.Annotations, nodeIDs)
	g.node, g.csiNode = node, someCSINode("uid-1")
	sightings, stop := watched(t, client)
	time.Sleep(100 * time.Millisecond) // nobody takes it
	if g.requests(getCSINode) != 0 {
		t.Error("read before the sighting was taken")
	}
	<-sightings
	time.Sleep(time.Second)
	if got := strings.Join(g.all(), ", "); got != "GET /api/v1/nodes/w1, GET /api/v1/nodes watch, "+getCSINode {
		t.Errorf("in one second: %s", got)
	}
	// the annotation first, the CSINode later
	g.change("MODIFIED", func() { g.node = fullNode() })
	<-sightings
	until(t, "another look", func() bool { return g.requests(getCSINode) == 2 })
	g.change("", func() { g.csiNode = someCSINode("uid-1", "ebs.csi.aws.com") })
	until(t, "the driver", func() bool { return strings.Contains(string(client.Kept().CSINode), "ebs.csi.aws.com") })
	g.change("MODIFIED", func() { n := fullNode(); n.Labels["a"] = "b"; g.node = n })
	<-sightings
	time.Sleep(100 * time.Millisecond)
	if n := g.requests(getCSINode); n != 3 {
		t.Errorf("read %d times", n)
	}
	stop()
}

// A CSINode that hangs delays no sighting, and one that is missing is forgotten only if its Node is there after that.
func TestCSINodeOfANodeThatGoes(t *testing.T) {
	g, client := newRegistry(t)
	g.node, g.csiNode = fullNode(), someCSINode("uid-1", "ebs.csi.aws.com")
	k := client.keeper
	w := &watcher{client: client, name: "w1"}
	read := func() { t.Helper(); w.readCSINode(t.Context()) }
	read() // no Node yet
	k.present(g.node, time.Now())
	if !k.behind() {
		t.Error("was not read yet")
	}
	read()
	if k.behind() || g.requests(getCSINode) != 1 {
		t.Errorf("%q", g.asked)
	}
	g.csiNode = ""
	read()
	read()
	if client.Kept().CSINode == nil {
		t.Error("forgotten, though its Node may be gone")
	}
	g.csiNode = someCSINode("uid-0") // of a Node before: about to go
	k.present(g.node, time.Now())
	read()
	if !client.Kept().CSINodeOf("uid-1") {
		t.Error("another Node's was kept")
	}
	g.csiNode = ""
	read()
	if client.Kept().CSINode != nil {
		t.Error("not forgotten, though its Node is there without")
	}
	g.csiNode = someCSINode("uid-1", "ebs.csi.aws.com")
	read()
	k.deleted(g.node, time.Now())
	g.csiNode = ""
	n := g.requests(getCSINode)
	read()
	k.present(g.node, time.Now())
	g.refuse = func(w http.ResponseWriter, _ *http.Request) bool { // the Node goes while the question is on its way
		k.deleted(g.node, time.Now())
		status(w, 404, metav1.StatusReasonNotFound, "w1", "csinodes")
		return true
	}
	read()
	read()
	if !client.Kept().CSINodeOf("uid-1") || g.requests(getCSINode) != n+1 || k.behind() {
		t.Errorf("%s after %q", client.Kept().CSINode, g.asked)
	}
}

// CSINodeOf reports whether a CSINode is kept that belongs to the Node with this UID.
func (k Kept) CSINodeOf(uid string) bool {
	var node csiNode
	return json.Unmarshal(k.CSINode, &node) == nil && node.ownedBy(uid)
}

func TestHangingCSINodeDelaysNoSighting(t *testing.T) {
	g, _ := newRegistry(t)
	g.node = fullNode()
	hang := make(chan struct{})
	s := g.serve
	server := newAPIServer(t)
	server.node = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "csinodes") {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		s(w, r)
	}
	client, err := NewTokenClient(server.URL, server.ca.pem, token)
	if err != nil {
		t.Fatal(err)
	}
	defer close(hang)
	sightings, stop := watched(t, client)
	<-sightings
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	g.change("DELETED", func() { g.node = nil })
	if s := <-sightings; s.Answer != Absent || time.Since(began) > time.Second {
		t.Errorf("%s after %s", s.Answer, time.Since(began))
	}
	stop()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("ended after %s", took)
	}
}
