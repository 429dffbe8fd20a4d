package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// openUnitStatus tells systemd what the run is about, for `systemctl status`;
// nil where it does not ask. A service manager that does not listen slows the
// run down as little as a slow disk does, and is nothing to tell anybody.
func openUnitStatus() *statusWriter {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return openStatus(func(line []byte) error {
		_, err := daemon.SdNotify(false, "STATUS="+string(line))
		return err
	}, func(error) {})
}

// statusLine is the report in one line: the phase and what it waits for, at the
// end how it went and what to do.
func statusLine(rep join.Report) []byte {
	words := fmt.Sprintf("%s: %s", rep.Phase, rep.Message)
	if rep.Result != nil {
		words = fmt.Sprintf("%s (exit status %d): %s", rep.Reason, *rep.ExitCode, rep.Message)
	}
	if rep.Hint != "" {
		words += "; " + rep.Hint
	}
	words = oneLine(words)
	if len(words) > statusLineMost {
		words = strings.ToValidUTF8(words[:statusLineMost], "") + "..."
	}
	return []byte(words)
}

// statusLineMost is in bytes: systemd throws a message of more than 4096 away.
const statusLineMost = 1000
