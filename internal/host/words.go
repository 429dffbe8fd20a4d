package host

import (
	"slices"
	"strings"
)

// Words are a kubelet's own, of why it is of no use: the last of each kind in its log, "" if there is none since it was last
// started.
type Words struct {
	Fatal        string // why it refused to run
	Unregistered string // why it cannot register its Node
	Unread       bool   // no log can be read, or none of what it says reaches back to a start or to a try to register
}

// milestones are what a kubelet says at every level of -v when it starts, and at least every 7 s while it has no Node.
var milestones = []string{`"Kubelet version"`, `"command failed"`, `"Attempting to register node"`, `"Unable to register node with API server`, `"Successfully registered node"`}

// WordsOf reads the kubelet's log, klog's lines of all supported minors:
//   - `"command failed" err="..."` of a kubelet that refuses to run (component-base/cli/run.go); a text of several lines
//     stands between `<` and `>`;
//   - `"Unable to register node with API server" err="..."` (pkg/kubelet/kubelet_node_status.go), until
//     `"Successfully registered node"` or another start. Where its creation is forbidden (403: a webhook, a policy, RBAC) the
//     message goes on: `..., reason is forbidden"`, or `..., error getting existing node"` with the 404 that came of asking for it.
func WordsOf(log []string) Words {
	w := Words{Unread: true}
	for i, line := range log {
		w.Unread = w.Unread && !slices.ContainsFunc(milestones, func(m string) bool { return strings.Contains(line, m) })
		switch {
		case strings.Contains(line, `"command failed"`):
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
