package host

import "testing"

func TestWhoWaitsAtAPort(t *testing.T) {
	const title = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
		known bool
	}{
		"nobody":          {map[string]string{"/proc/net/tcp": title, "/proc/net/tcp6": title}, false, true},
		"a connection":    {map[string]string{"/proc/net/tcp": title + "   0: 0100007F:280A 0100007F:1F90 01 0 0 0 0\n"}, false, true},
		"another port":    {map[string]string{"/proc/net/tcp": title + "   0: 00000000:1F90 00000000:0000 0A 0 0 0 0\n"}, false, true},
		"somebody":        {map[string]string{"/proc/net/tcp": title + "   0: 00000000:280A 00000000:0000 0A 0 0 0 0\n"}, true, true},
		"somebody, IPv6":  {map[string]string{"/proc/net/tcp": title, "/proc/net/tcp6": title + "   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 0 0\n"}, true, true},
		"nothing is read": {nil, false, false},
	} {
		if got, err := machine(t, c.files).PortTaken(10250); got != c.want || (err == nil) != c.known {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}
