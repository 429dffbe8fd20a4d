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

// The client of the proven server is asked for while it is being proven again.
func TestClientOfTheProvenServerDoesNotRaceWithAProbe(t *testing.T) {
	s := newAPIServer(t)
	d, err := NewDiscoverer(Source{Endpoint: s.endpoint(), Pins: []string{s.ca.pin()}, NodeName: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		d.Probe(t.Context(), token, token)
		d.Probe(t.Context(), token, token+"0")
	}()
	for asked := false; !asked; {
		select {
		case <-probed:
			asked = true
		default:
		}
		d.Client()
	}
	if d.Client() == nil {
		t.Error("there is no client of the proven server")
	}
}
