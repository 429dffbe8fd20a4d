package machine

import (
	"os"
	"strconv"
	"strings"
)

// journalctl prints the last lines of a unit's log. Every output format but "cat" gets a short prefix.
func journalctl(args []string) Reply {
	unit, lines, output := "", -1, "short"
	option := func(i *int, short, long string) (string, bool) {
		arg := args[*i]
		switch {
		case arg == short || arg == long:
			if *i++; *i < len(args) {
				return args[*i], true
			}
			return "", true
		case strings.HasPrefix(arg, long+"="):
			return arg[len(long)+1:], true
		case strings.HasPrefix(arg, short) && !strings.HasPrefix(arg, "--"):
			return arg[len(short):], true
		}
		return "", false
	}
	for i := 0; i < len(args); i++ {
		if v, ok := option(&i, "-u", "--unit"); ok {
			unit = v
		} else if v, ok := option(&i, "-n", "--lines"); ok {
			if n, err := strconv.Atoi(v); err == nil {
				lines = n
			}
		} else if v, ok := option(&i, "-o", "--output"); ok {
			output = v
		}
	}
	data, _ := os.ReadFile(LogPath(unit))
	text := strings.TrimSuffix(string(data), "\n")
	if unit == "" || text == "" {
		return Reply{Stdout: "-- No entries --\n"}
	}
	all := strings.Split(text, "\n")
	if lines >= 0 && len(all) > lines {
		all = all[len(all)-lines:]
	}
	var b strings.Builder
	host, _ := os.Hostname()
	name := strings.TrimSuffix(unit, ".service")
	for _, line := range all {
		if output != "cat" {
			b.WriteString(host + " " + name + ": ")
		}
		b.WriteString(line + "\n")
	}
	return Reply{Stdout: b.String()}
}
