package cluster

import (
	"context"
	"testing"
	"time"
)

func TestProbesThatAreCutShortDoNotRace(t *testing.T) {
	s := newAPIServer(t)
	for range 60 {
		d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			short, cancel := context.WithTimeout(t.Context(), time.Duration(500+i*700)*time.Microsecond)
			d.Probe(short, token, token)
			cancel()
		}
		d.Probe(t.Context(), token, token)
		d.Close()
	}
}
