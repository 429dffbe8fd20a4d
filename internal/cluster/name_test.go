package cluster

import (
	"strings"
	"testing"
)

func TestTheNodeThatIsAskedForMayBeNamedLater(t *testing.T) {
	s := newAPIServer(t)
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []string{"w1", "ip-10-0-0-7.ec2.internal"} {
		d.SetNodeName(name)
		d.Probe(t.Context(), token, token)
		if last := s.requests[len(s.requests)-1]; !strings.HasPrefix(last, "/api/v1/nodes/"+name+" ") {
			t.Errorf("asked for %q, wanted Node %q", last, name)
		}
	}
}
