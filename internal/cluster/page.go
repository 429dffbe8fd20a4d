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
	retryAfter int // seconds
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

// longestPause is as long as a server is left alone for its own word: an API
// server asks for seconds, and whoever stands in its place may ask for an hour,
// in which its coming up, or a deletion, would go unseen.
const longestPause = time.Minute

// retryAfter is how long an answer asks to be left alone; 0: it does not.
func retryAfter(err error) time.Duration {
	var page *PageError
	seconds, _ := apierrors.SuggestsClientDelay(err)
	if errors.As(err, &page) {
		seconds = page.retryAfter
	}
	most := int(longestPause / time.Second)
	return time.Duration(min(max(seconds, 0), most)) * time.Second
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
	page.retryAfter, _ = strconv.Atoi(response.Header.Get("Retry-After"))
	return page
}
