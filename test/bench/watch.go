package main

import (
	"context"
	"fmt"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// nodeNews sends the time of every event about one Node, as the administrator's watch hears of it, until ctx ends. The
// watch begins with what is there.
func nodeNews(ctx context.Context, cp *testbed.ControlPlane, name string) (<-chan news, error) {
	w, err := watchNodes(ctx, cp, "metadata.name="+name)
	if err != nil {
		return nil, fmt.Errorf("watching Node %s: %w", name, err)
	}
	out := make(chan news, 100)
	go func() {
		defer close(out)
		for e := range w.ResultChan() {
			if node, ok := e.Object.(*core.Node); ok {
				out <- news{time.Now(), e.Type, node}
			}
		}
	}()
	return out, nil
}

// watchNodes watches for as long as ctx lasts; the administrator's own client ends each request after half a minute.
func watchNodes(ctx context.Context, cp *testbed.ControlPlane, selector string) (watch.Interface, error) {
	config := cp.RESTConfig()
	config.Timeout = 0
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return client.CoreV1().Nodes().Watch(ctx, meta.ListOptions{FieldSelector: selector})
}

type news struct {
	at   time.Time
	kind watch.EventType
	node *core.Node
}

// await returns the first news that is wanted; late says that there was none in time.
func await(ctx context.Context, in <-chan news, most time.Duration, want func(news) bool) (n news, late bool, err error) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return n, false, context.Cause(ctx)
		case <-timer.C:
			return n, true, nil
		case got, ok := <-in:
			if !ok {
				return n, false, fmt.Errorf("the watch broke")
			}
			if want(got) {
				return got, false, nil
			}
		}
	}
}

func added(n news) bool   { return n.kind == watch.Added }
func deleted(n news) bool { return n.kind == watch.Deleted }
func ready(n news) bool   { return n.kind != watch.Deleted && testbed.Ready(n.node) }

// signed returns the moment at which cluster-info carries the token's signature.
func signed(ctx context.Context, cp *testbed.ControlPlane, token string) (time.Time, error) {
	if err := cp.WaitSigned(ctx, token); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}
