package host

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// listening is the state of a socket that waits for connections (include/net/tcp_states.h).
const listening = "0A"

// PortTaken reports whether somebody waits for connections at a TCP port of this machine.
func (h Host) PortTaken(port int) (bool, error) {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(h.Path(table))
		if errors.Is(err, fs.ErrNotExist) && table == "/proc/net/tcp6" { // a kernel without IPv6
			continue
		} else if err != nil {
			return false, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != listening {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
				return true, nil
			}
		}
		if err := lines.Err(); err != nil {
			return false, err
		}
	}
	return false, nil
}
