package testbed

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Connections counts the TCP connections of a machine since its boot: those that it has made, and those that others have
// made to it. One to itself counts as both.
func (m *Machine) Connections(ctx context.Context) (made, taken int, err error) {
	text, err := m.Run(ctx, "cat", "/proc/net/snmp")
	if err != nil {
		return 0, 0, err
	}
	var names []string
	counts := map[string]int{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != "Tcp:":
		case names == nil:
			names = fields
		default:
			for i, name := range names {
				counts[name], _ = strconv.Atoi(fields[i])
			}
		}
	}
	if _, ok := counts["PassiveOpens"]; !ok {
		return 0, 0, fmt.Errorf("reading the connections of %s: got %q", m.Name, text)
	}
	return counts["ActiveOpens"] - counts["AttemptFails"], counts["PassiveOpens"], nil
}
