package cluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// lookEvery bounds how long a watch that died without a word is believed:
	// the GET on the same connection fails 8 s later.
	lookEvery = 10 * time.Second
	// retryEvery is the pace while the API server gives no useful answer.
	retryEvery = time.Second
)

// Watch sends what the API server says about a Node: at once, whenever it
// changes, and at least every 10 s, until ctx ends; then the channel and the
// client's idle connections are closed.
//
// The watch is limited to metadata.name, which is all that a kubelet may watch.
// It delivers news within milliseconds; that a Node is gone is said only after
// a quorum GET has confirmed it.
func (c *Client) Watch(ctx context.Context, name string) <-chan Sighting {
	out := make(chan Sighting)
	go func() {
		defer c.Close()
		defer close(out)
		var telling sync.WaitGroup
		defer telling.Wait()
		telling.Go(func() { c.keeper.tell(ctx) })
		w := watcher{client: c, name: name, out: out}
		for ctx.Err() == nil {
			s := w.look(ctx)
			if s.Answer == Present || s.Answer == Absent {
				sleep(ctx, w.follow(ctx, s.Node.resourceVersion))
			} else {
				sleep(ctx, max(s.RetryAfter, jitter(retryEvery)))
			}
			// a kept connection keeps the client certificate that it was made with, expired or not
			c.close()
		}
	}()
	return out
}

type watcher struct {
	client *Client
	name   string
	out    chan<- Sighting
	last   string // UID last sent as Present
	gone   string // UID last seen to be gone: late news of it is no news
}

// look asks with a GET and sends the answer.
func (w *watcher) look(ctx context.Context) Sighting {
	s := w.ask(ctx)
	w.send(ctx, s)
	return s
}

func (w *watcher) ask(ctx context.Context) Sighting {
	s, node := w.client.sight(ctx, w.name)
	switch s.Answer {
	case Present:
		w.client.keeper.present(node, s.At)
	case Absent:
	default:
		w.client.keeper.unanswered()
	}
	return s
}

func (w *watcher) send(ctx context.Context, s Sighting) {
	switch s.Answer {
	case Present:
		if w.last != "" && w.last != s.Node.UID {
			w.gone = w.last
		}
		w.last = s.Node.UID
	case Absent:
		w.gone = w.last
	}
	select {
	case w.out <- s:
	case <-ctx.Done():
	}
}

// follow sends news from one watch until it breaks, and returns for how long the
// API server is to be left alone then. Without a resourceVersion
// (there was no Node) the watch begins with the present state, read by quorum.
func (w *watcher) follow(ctx context.Context, resourceVersion string) time.Duration {
	stream, err := w.client.core.Get().Resource("nodes").MaxRetries(0).
		Param("watch", "true").Param("fieldSelector", "metadata.name="+w.name).
		Param("resourceVersion", resourceVersion).Watch(ctx)
	if err != nil {
		w.client.keeper.unanswered()
		return max(retryAfter(err), jitter(retryEvery))
	}
	defer stream.Stop()
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	csiNode := make(chan struct{}, 1)
	want(csiNode)
	reading.Go(func() { w.readCSINodes(ctx, csiNode) })
	events := arrivals(ctx, stream)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0
		case <-tick.C:
			s := w.ask(ctx)
			if s.Answer == Unauthorized {
				return 0 // to be asked again on a new connection: the kubelet may have another certificate
			}
			if w.send(ctx, s); s.Answer != Present && s.Answer != Absent {
				return s.RetryAfter
			}
			want(csiNode)
		case event, ok := <-events:
			node, isNode := event.Object.(*corev1.Node)
			switch {
			case !ok || !isNode: // closed, or an error such as 410 Gone
				return jitter(retryEvery) / 4
			case event.Type == watch.Deleted:
				w.client.keeper.deleted(node, event.at)
				if s := w.look(ctx); s.Answer != Present && s.Answer != Absent {
					return max(s.RetryAfter, jitter(retryEvery))
				}
			case string(node.UID) != w.gone:
				w.client.keeper.present(node, event.at)
				w.send(ctx, Sighting{Answer: Present, Node: nodeOf(node), At: event.at})
				if w.client.keeper.behind() {
					want(csiNode)
				}
			}
		}
	}
}

func want(csiNode chan<- struct{}) {
	select {
	case csiNode <- struct{}{}:
	default:
	}
}

// eventBacklog is how many events are taken off the stream while nobody takes a
// sighting: a Node changes every 10 s at most, as a rule.
const eventBacklog = 64

type arrival struct {
	watch.Event
	at time.Time
}

// arrivals notes when each event came. Whoever reads the sightings may be away
// for a minute, and what came meanwhile would look like news.
func arrivals(ctx context.Context, stream watch.Interface) <-chan arrival {
	out := make(chan arrival, eventBacklog)
	go func() {
		defer close(out)
		for event := range stream.ResultChan() {
			select {
			case out <- arrival{event, time.Now()}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// jitter spreads d by a quarter to either side, so that a fleet that lost its
// API server does not come back in step.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
