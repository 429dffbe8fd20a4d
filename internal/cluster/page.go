package cluster

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// PageError: a web page came in place of an API server's answer. It is evidence
// of nothing, whatever its status.
type PageError struct {
	Status     string // as in "502 Bad Gateway"
	Title      string
	retryAfter time.Duration
}

func (e *PageError) Error() string {
	if e.Title == "" {
		return fmt.Sprintf("the answer is a web page (%s)", e.Status)
	}
	return fmt.Sprintf("the answer is a web page (%s, titled %q)", e.Status, e.Title)
}

// Answered reports whether err is an answer, though a useless one: a web page,
// 429, 5xx. Then somebody is there.
func Answered(err error) bool {
	var page *PageError
	var status apierrors.APIStatus
	return errors.As(err, &page) || errors.As(err, &status)
}

// retryAfter is how long an answer asks to be left alone; 0: it does not.
func retryAfter(err error) time.Duration {
	var page *PageError
	if errors.As(err, &page) {
		return page.retryAfter
	}
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return time.Duration(seconds) * time.Second
}

var title = regexp.MustCompile(`(?i)<title>\s*([^<]{1,80})`)

// pageIn reads and closes the body of a response that is a web page.
func pageIn(response *http.Response) *PageError {
	if media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); media != "text/html" {
		return nil
	}
	defer response.Body.Close()
	page := &PageError{Status: response.Status}
	head, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
	if found := title.FindSubmatch(head); found != nil {
		page.Title = string(found[1])
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		page.retryAfter = time.Duration(seconds) * time.Second
	}
	return page
}
