package kubeadm

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	redacted = "[redacted]"

	// shortest is the length from which a part of a secret is one itself. Shorter ones stand in ordinary words.
	shortest = 6
)

// Redactor takes secrets out of text: those it was told of, in the forms in which programs print them, and whatever has the
// shape of a bootstrap token, a certificate key, a private key or a bearer token. It may be used by several goroutines; the
// lines of a private key must come to it one after the other.
type Redactor struct {
	mu     sync.Mutex
	forms  []string       // of the registered secrets
	known  *regexp.Regexp // any of forms, in any case; nil if there are none
	inside bool           // the last line was part of a private key
}

// NewRedactor makes a Redactor that knows these secrets. Empty ones are nothing.
func NewRedactor(secrets ...string) *Redactor {
	r := &Redactor{}
	r.Add(secrets...)
	return r
}

// Add registers more secrets, well formed or not. The six characters before a bootstrap token's dot are public, and stay.
func (r *Redactor) Add(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		// What is not UTF-8 comes out of programs as child.Run makes it.
		for _, form := range forms(strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))) {
			if !slices.Contains(r.forms, form) {
				r.forms = append(r.forms, form)
			}
		}
	}
	if len(r.forms) == 0 {
		return
	}
	// The longest first: the first alternative that matches wins.
	slices.SortFunc(r.forms, func(a, b string) int { return len(b) - len(a) })
	var alternatives []string
	for _, f := range r.forms {
		alternatives = append(alternatives, regexp.QuoteMeta(f))
	}
	r.known = regexp.MustCompile(`(?i)` + strings.Join(alternatives, "|"))
}

var tokenID = regexp.MustCompile(`^[a-z0-9]{6}$`)

// forms are the ways in which a secret, or the secret part of it, may be printed.
func forms(secret string) []string {
	if secret == "" {
		return nil
	}
	parts := []string{}
	for i, part := range strings.Split(secret, ".") {
		public := i == 0 && tokenID.MatchString(part) && part != secret
		if len(part) >= shortest && !public {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = []string{secret}
	}
	var all []string
	for _, p := range append(parts, secret) {
		if p == secret && strings.Contains(secret, ".") && len(parts) > 0 && parts[0] != secret {
			// The parts cover the plain text and leave the public ID; in base64 it is all one.
			all = append(all, encoded(p)...)
			continue
		}
		quoted, _ := json.Marshal(p)
		all = append(all, p, url.QueryEscape(p), url.PathEscape(p),
			strings.Trim(strconv.Quote(p), `"`), strings.Trim(strconv.QuoteToASCII(p), `"`), strings.Trim(string(quoted), `"`))
		all = append(all, encoded(p)...)
	}
	return all
}

// encoded is s in base64, at each of the three places where it may begin within a larger text, without the characters at the
// ends that depend on its neighbours.
func encoded(s string) []string {
	var all []string
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			b := e.EncodeToString([]byte("\x00\x00"[:shift] + s))
			first := (shift*8 + 5) / 6
			last := (shift + len(s)) * 8 / 6
			if last-first >= shortest {
				all = append(all, b[first:last])
			}
		}
	}
	return all
}

var (
	// Six characters, a dot and sixteen, without regard to what is around them.
	tokenShape = regexp.MustCompile(`([a-z0-9]{6})((?:\.[a-z0-9]{16,})+)`)
	// kubeadm's certificate keys are 32 bytes in hexadecimal; so are CA pins and digests, which are public.
	hexShape    = regexp.MustCompile(`(?i)(sha256:)?([0-9a-f]{64,})`)
	bearerShape = regexp.MustCompile(`(?i)(authorization["']?[:=]\s*["']?(?:bearer|basic)\s+)\S+|(bearer\s+)[a-z0-9._~+/=-]{20,}`)
	jwtShape    = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?`)
	keyData     = regexp.MustCompile(`(client-key-data["']?:\s*["']?)[A-Za-z0-9+/=_-]+`)
	keyBegin    = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)
	keyEnd      = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY-----`)
	keyLine     = regexp.MustCompile(`^\s*(?:[A-Za-z0-9+/]{4,}={0,2}|[A-Za-z0-9+/]{1,3}={1,3})\s*$`)
)

// apiWord is the one label of Kubernetes' own API names that is as long as a token's secret (admissionregistration.k8s.io).
const apiWord = ".admissionregistration"

// Redact returns s, a line or several, without secrets.
func (r *Redactor) Redact(s string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := strings.Split(strings.ToValidUTF8(s, "\uFFFD"), "\n")
	for i, line := range lines {
		lines[i] = r.line(line)
	}
	s = strings.Join(lines, "\n")
	// Again, for secrets with a line break in them.
	return r.registered(s)
}

func (r *Redactor) line(s string) string {
	s = r.privateKey(s)
	s = r.registered(s)
	s = tokens(s)
	s = hexShape.ReplaceAllStringFunc(s, func(m string) string {
		hash := strings.IndexByte(m, ':') + 1
		if hash == 0 {
			return redacted
		}
		pin, rest := m[:hash+64], m[hash+64:]
		if len(rest) >= 64 {
			rest = redacted
		}
		return pin + rest
	})
	s = bearerShape.ReplaceAllString(s, "${1}${2}"+redacted)
	s = jwtShape.ReplaceAllString(s, redacted)
	return keyData.ReplaceAllString(s, "${1}"+redacted)
}

// tokens takes out what has the shape of a bootstrap token, but for labels of a host's name, which are no secrets: of a longer
// one whose last label is letters alone, and with few digits, where a token has four or five of them. Tokens that were given
// are registered, whatever they look like.
func tokens(s string) string {
	var b strings.Builder
	at := 0
	for _, found := range tokenShape.FindAllStringIndex(s, -1) {
		m := s[found[0]:found[1]]
		digits := strings.Count(digit.ReplaceAllString(m[7:], "#"), "#")
		if strings.HasPrefix(m[6:], apiWord) || digits <= hostsDigits && hostsEnd.MatchString(s[found[1]:]) {
			continue
		}
		b.WriteString(s[at:found[0]] + m[:6] + "." + redacted)
		at = found[1]
	}
	return b.String() + s[at:]
}

const hostsDigits = 2

var digit = regexp.MustCompile(`[0-9]`)

// hostsEnd is how a host's name goes on, from within one of its labels.
var hostsEnd = regexp.MustCompile(`^[A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?:[^A-Za-z0-9.-]|\.?$|\.[^A-Za-z0-9])`)

// registered takes out the secrets it was told of. What is left and right of one may make up another, so it looks again; if that
// does not end, nothing of the text is worth keeping.
func (r *Redactor) registered(s string) string {
	if r.known == nil {
		return s
	}
	for range 4 {
		clean := r.known.ReplaceAllLiteralString(s, redacted)
		if clean == s {
			return s
		}
		s = clean
	}
	if marker := r.known.ReplaceAllLiteralString(redacted, ""); marker != redacted {
		return s // a secret that stands in "[redacted]" itself: no text could be without it
	}
	return redacted
}

// privateKey takes out private keys in PEM form, in one line (with its newlines escaped) or in many. A line that can be no
// part of a key ends it, so that a torn key does not swallow what follows.
func (r *Redactor) privateKey(s string) string {
	if r.inside {
		end := keyEnd.FindStringIndex(s)
		switch {
		case end != nil:
			r.inside = false
			s = redacted + s[end[1]:]
		case keyLine.MatchString(s):
			return redacted
		default:
			r.inside = strings.TrimSpace(s) == "" || strings.HasPrefix(s, "Proc-Type:") || strings.HasPrefix(s, "DEK-Info:")
		}
	}
	for {
		begin := keyBegin.FindStringIndex(s)
		if begin == nil {
			return s
		}
		end := keyEnd.FindStringIndex(s[begin[1]:])
		if end == nil {
			r.inside = true
			return s[:begin[0]] + redacted
		}
		s = s[:begin[0]] + redacted + s[begin[1]+end[1]:]
	}
}
