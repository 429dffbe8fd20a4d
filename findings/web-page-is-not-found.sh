#!/bin/sh
# Any web server's 404 page is, to a Kubernetes client, the API server's word that this very object does not exist.
#
# What: k8s.io/client-go v0.37.2, rest.RESTClient (below every typed client), asking for one Node. Valid input: the 404 page
# of a server that is no API server and never heard of Nodes: a load balancer without a backend, a captive portal, a
# wrong port.
#
# A good guess: IsNotFound, with the object's kind and name among its details, is an answer about that object, and only a
# Kubernetes Status in JSON can be one. Seen:
#   - apierrors.IsNotFound says yes of an HTML page and of an empty body.
#   - the details hold kind "nodes" and name "n1": they are filled in from the request, not from the answer.
#   - the only trace of the truth is a cause of type UnexpectedServerResponse; the message, "the server could not find the
#     requested resource (get nodes n1)", is the one that a real API server gets for a missing resource type.
#   - an API server's own answer has no such cause. Whoever deletes, resets or makes anew on NotFound has to look for it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module finding
go 1.26.0
require (
	k8s.io/api v0.37.2
	k8s.io/client-go v0.37.2
)
MOD
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

func main() {
	for _, c := range []struct{ what, kind, body string }{
		{"a page", "text/html", "<html><body><h1>404 Not Found</h1></body></html>"},
		{"nothing", "text/plain", ""},
		{"an API server", "application/json", `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"nodes \"n1\" not found","reason":"NotFound","details":{"name":"n1","kind":"nodes"},"code":404}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, c.body)
		}))
		client, err := rest.RESTClientFor(&rest.Config{Host: server.URL, APIPath: "/api",
			ContentConfig: rest.ContentConfig{GroupVersion: &core.SchemeGroupVersion, NegotiatedSerializer: scheme.Codecs.WithoutConversion()}})
		if err != nil {
			panic(err)
		}
		err = client.Get().Resource("nodes").Name("n1").Do(context.Background()).Into(&core.Node{})
		status := err.(apierrors.APIStatus).Status()
		fmt.Printf("%s: IsNotFound %v; kind %q, name %q; unexpected response %v\n  %s\n", c.what, apierrors.IsNotFound(err),
			status.Details.Kind, status.Details.Name, apierrors.HasStatusCause(err, meta.CauseTypeUnexpectedServerResponse), err)
		server.Close()
	}
}
GO
go mod tidy >tidy.log 2>&1 || { cat tidy.log; exit 1; }
go run . >seen 2>log || { cat seen log; exit 1; }
cat > expected <<'OUT'
a page: IsNotFound true; kind "nodes", name "n1"; unexpected response true
  the server could not find the requested resource (get nodes n1)
nothing: IsNotFound true; kind "nodes", name "n1"; unexpected response true
  the server could not find the requested resource (get nodes n1)
an API server: IsNotFound true; kind "nodes", name "n1"; unexpected response false
  nodes "n1" not found
OUT
diff expected seen && echo "as described: client-go v0.37.2"
