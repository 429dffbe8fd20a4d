package join

import (
	"cmp"
	"context"
	"time"

	"github.com/nodejoin/nodejoin/internal/ec2"
	"github.com/nodejoin/nodejoin/internal/host"
)

// simEC2 is the part of sim that names its Node.
type simEC2 struct {
	ec2      bool          // the firmware says so
	instance *ec2.Instance // that the metadata service tells of
	imds     error         // what it says as long as it tells of none
	asked    int           // how often
	fqdn     string
	hostname string       // "": w1
	clouding bool         // cloud-init is at work
	unclear  bool         // and may wait for us
	clouds   time.Time    // since when
	told     registration // what a join registers the Node with
}

func (s *sim) HostName() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.hostname, "w1"), nil
}

func (s *sim) CloudInitWorks() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clouding && !s.unclear
}

func (s *sim) CloudInit() host.CloudInit {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.clouding:
		return host.CloudInitIdle
	case s.unclear:
		return host.CloudInitUnclear
	}
	return host.CloudInitBusy
}

// name is what the kubelet calls its Node.
func (s *sim) name() string { return cmp.Or(s.told.name, "w1") }

func (s *sim) Register(as registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = as
}

func (s *sim) LookUpFQDN(context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fqdn
}

func (s *sim) OnEC2() bool { return s.ec2 }

func (s *sim) Instance(context.Context) (*ec2.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.instance == nil {
		return nil, s.imds
	}
	return s.instance, nil
}
