package host

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Words are a kubelet's own, of why it is of no use: the last of each kind in its log, "" if there is none since it was last
// started.
type Words struct {
	Fatal        string // why it refused to run
	Unregistered string // why it cannot register its Node
	Unread       bool   // no log can be read, or none of what it says reaches back to a start or to a try to register
	Refusal             // what Fatal amounts to; whoever has a Host asks for it
}

// fatals are what a kubelet says before it exits by itself.
var fatals = []string{`"command failed"`, `"Failed to start ContainerManager"`, `"Failed to listen and serve"`}

// milestones are what a kubelet says besides, at every level of -v when it starts, and at least every 7 s while it has no Node.
var milestones = []string{`"Kubelet version"`, `"Attempting to register node"`, `"Unable to register node with API server`, `"Successfully registered node"`}

// WordsOf reads the kubelet's log, klog's lines of all supported minors:
//   - `"command failed" err="..."` of a kubelet that refuses to run (component-base/cli/run.go), and the like
//     (pkg/kubelet/kubelet.go, pkg/kubelet/server/server.go); a text of several lines stands between `<` and `>`;
//   - `"Unable to register node with API server" err="..."` (pkg/kubelet/kubelet_node_status.go), until
//     `"Successfully registered node"` or another start. Where its creation is forbidden (403: a webhook, a policy, RBAC) the
//     message goes on: `..., reason is forbidden"`, or `..., error getting existing node"` with the 404 that came of asking for it.
func WordsOf(log []string) Words {
	w := Words{Unread: true}
	for i, line := range log {
		w.Unread = w.Unread && !saysOneOf(line, milestones) && !saysOneOf(line, fatals)
		switch {
		case saysOneOf(line, fatals):
			w.Fatal = words(log[i:])
		case strings.Contains(line, `"Unable to register node with API server`):
			w.Unregistered = words(log[i:])
			if strings.Contains(line, "error getting existing node") {
				w.Unregistered = "it may not be created (403: admission, a policy or RBAC), and " + w.Unregistered
			}
		case strings.Contains(line, `"Successfully registered node"`):
			w = Words{}
		case strings.Contains(line, `"Kubelet version"`):
			w.Unregistered = ""
		}
	}
	return w
}

func saysOneOf(line string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) })
}

// words are what stands behind err= in the first of the lines.
func words(lines []string) string {
	_, said, found := strings.Cut(lines[0], "err=")
	if !found { // --logging-format=json
		_, said, found = strings.Cut(lines[0], `"err":`)
	}
	switch {
	case !found:
		return ""
	case strings.HasPrefix(said, "<"):
		var text []string
		for _, line := range lines[1:] {
			if strings.TrimSpace(line) == ">" || strings.HasPrefix(strings.TrimSpace(line), "> ") {
				break
			}
			text = append(text, strings.TrimSpace(line))
		}
		return strings.Join(text, " ")
	case strings.HasPrefix(said, `"`):
		var b strings.Builder
		for i := 1; i < len(said) && said[i] != '"'; i++ {
			if said[i] == '\\' && i+1 < len(said) {
				i++
			}
			b.WriteByte(said[i])
		}
		return b.String()
	}
	return said
}

// klogHeader is what differs between two lines of klog's that say the same.
var klogHeader = regexp.MustCompile(`^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ `)

// Telling is the end of a kubelet's log for a person, at most so many lines: each said once, where it was said last, and first
// of all why it refused to run or cannot register.
func Telling(log []string, lines int) []string {
	var first, rest []string
	found := -1
	said := map[string]bool{}
	for i := len(log) - 1; i >= 0 && len(rest) < lines; i-- {
		words := klogHeader.ReplaceAllString(log[i], "")
		if said[words] {
			continue
		}
		said[words] = true
		rest = append(rest, log[i])
	}
	slices.Reverse(rest)
	for _, why := range [][]string{fatals, {`"Unable to register node with API server`}} {
		for i := len(log) - 1; i >= 0 && first == nil; i-- {
			if saysOneOf(log[i], why) {
				first, found = []string{log[i]}, i
				if strings.Contains(log[i], "err=<") {
					first[0] = strings.Replace(log[i], "err=<", fmt.Sprintf("err=%q", words(log[i:])), 1)
				}
			}
		}
	}
	if first != nil {
		rest = slices.DeleteFunc(rest, func(line string) bool { return line == log[found] })
		rest = append(first, rest[max(0, len(rest)+1-lines):]...)
	}
	return rest
}
