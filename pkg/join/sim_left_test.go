package join

import "github.com/nodejoin/nodejoin/internal/host"

// simLeft is what an earlier run has left of a Node that its owner wanted gone.
type simLeft struct {
	left     host.Left
	unlisted error // it cannot be read or written
	spared   bool  // it says that our Node is not to come back, and nobody has brought it back
}

func (s *sim) ReadLeft(bootID string) (host.Left, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left.BootID != bootID {
		return host.Left{}, s.unlisted
	}
	return s.left, s.unlisted
}

func (s *sim) WriteLeft(l host.Left) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unlisted == nil {
		s.left = l
	}
	return s.unlisted
}

func (s *sim) RemoveLeft() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.spared = host.Left{}, false
	return nil
}

// leaves: an earlier run of this boot has.
func (s *sim) leaves() {
	s.left = host.Left{Name: s.kubeletName(), UID: "uid-0", BootID: simBoot, Mark: "taint karpenter.sh/disrupted"}
	s.spared = true
}
