package main

import (
	"context"
	"fmt"
	"strings"
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

// lasting is a client whose watches last; the administrator's own ends each request after half a minute.
func lasting(cp *testbed.ControlPlane) (*kubernetes.Clientset, error) {
	config := cp.RESTConfig()
	config.Timeout = 0
	return kubernetes.NewForConfig(config)
}

func watchNodes(ctx context.Context, cp *testbed.ControlPlane, selector string) (watch.Interface, error) {
	client, err := lasting(cp)
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

// signed returns the moment at which the administrator's watch hears that cluster-info carries the token's signature.
func signed(ctx context.Context, cp *testbed.ControlPlane, token string) (time.Time, error) {
	client, err := lasting(cp)
	if err != nil {
		return time.Time{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	w, err := client.CoreV1().ConfigMaps(meta.NamespacePublic).Watch(ctx, meta.ListOptions{FieldSelector: "metadata.name=cluster-info"})
	if err != nil {
		return time.Time{}, fmt.Errorf("watching cluster-info: %w", err)
	}
	defer w.Stop()
	id, _, _ := strings.Cut(token, ".")
	for e := range w.ResultChan() {
		if info, ok := e.Object.(*core.ConfigMap); ok && info.Data["jws-kubeconfig-"+id] != "" {
			return time.Now(), nil
		}
	}
	return time.Time{}, fmt.Errorf("the watch of cluster-info broke before token %s was signed: %w", id, context.Cause(ctx))
}
