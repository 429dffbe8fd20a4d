package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A page is no word of an API server's, whatever its status: somebody answers, and it is told what came.
func TestWebPageIsAnAnswerButNoEvidence(t *testing.T) {
	for _, code := range []int{200, 401, 403, 404, 429, 502} {
		s := newAPIServer(t)
		s.node = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
			fmt.Fprint(w, "<html><head><title>No \x1b[2J backend</title></head></html>")
		}
		p := s.probe(t, s.ca.pin())
		want := fmt.Sprintf(`the answer is a web page (%d %s, titled "No \x1b[2J backend")`, code, http.StatusText(code))
		if p.Verdict != Unreachable || !Answered(p.Err) || !strings.Contains(p.Err.Error(), want) || p.RetryAfter != 7*time.Second {
			t.Errorf("%d: verdict %d, retry after %s, error %v", code, p.Verdict, p.RetryAfter, p.Err)
		}
	}
	s := newAPIServer(t)
	for _, contentType := range []string{"text/html", "text/plain"} {
		for _, seconds := range []string{"3600", "9223372037", "99999999999999999999"} {
			s.node = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.Header().Set("Retry-After", seconds)
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			if p := s.probe(t, s.ca.pin()); p.RetryAfter < 0 || p.RetryAfter > time.Minute {
				t.Errorf("%s, Retry-After %s: to be left alone for %s", contentType, seconds, p.RetryAfter)
			}
		}
	}
	s.Close()
	if p := s.probe(t, s.ca.pin()); Answered(p.Err) {
		t.Errorf("nobody answers, but %v", p.Err)
	}
}
