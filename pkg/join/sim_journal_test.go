package join

import (
	"context"
	"slices"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// simJournal is who has written what is in kubeadm's way, by the world's own truth, and what the journal says of it.
type simJournal struct {
	wrote  []string // by a join of nodejoin's that has no certificate, and nobody has changed it since
	listed []string // what was not there when such a join began
	noted  bool     // the journal is of the join to come
	full   error    // it cannot be written
}

// writes is what kubeadm, or the kubelet that it starts, does to files that are not there.
func (s *sim) writes(paths ...string) {
	for _, path := range paths {
		if !slices.Contains(s.disk.Leftovers, path) {
			s.disk.Leftovers = append(slices.Clone(s.disk.Leftovers), path)
			s.wrote = append(s.wrote, path)
		}
	}
}

// places is what a person does.
func (s *sim) places(path string) {
	s.wrote = slices.DeleteFunc(s.wrote, func(p string) bool { return p == path })
	if !slices.Contains(s.disk.Leftovers, path) {
		s.disk.Leftovers = append(slices.Clone(s.disk.Leftovers), path)
	}
}

// unfinished puts the machine into the state after a join of nodejoin's that has come as far as these files.
func (s *sim) unfinished(paths ...string) {
	s.listed = []string{kubeletConf, clusterCA}
	s.writes(paths...)
	s.disk.KubeletConf = slices.Contains(paths, kubeletConf)
	s.disk.Configured, s.kubeletCA = s.disk.KubeletConf, simCA
}

func (s *sim) Written() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written()
}

func (s *sim) written() (paths []string) {
	for _, path := range s.listed {
		if slices.Contains(s.wrote, path) && slices.Contains(s.disk.Leftovers, path) && len(s.mounts) == 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

func (s *sim) Tidy() error {
	s.change(func() {
		s.do("tidy")
		s.mayTidy()
		gone := append(s.written(), bootstrapConf)
		s.disk.Leftovers = slices.DeleteFunc(slices.Clone(s.disk.Leftovers), func(path string) bool { return slices.Contains(gone, path) })
		s.disk.BootstrapConf = false
		s.disk.KubeletConf = slices.Contains(s.disk.Leftovers, kubeletConf)
	})
	return nil
}

// mayTidy: as a reset, but for other people's files, which stay, and which it is to spare.
func (s *sim) mayTidy() {
	s.mayTouch(context.Background(), "tidying")
	disk := s.disk
	s.disk.StaticPods, s.disk.ForeignFiles = nil, nil
	if err := s.harm(); err != nil {
		s.breaks("tidying, or " + err.Error())
	}
	s.disk = disk
	if len(s.written()) == 0 && !s.justWiped() {
		s.breaks("tidying where nothing of an unfinished join is left")
	}
}

func (s *sim) WriteJournal(cluster.Probe) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = true
	next := s.written()
	for _, path := range []string{kubeletConf, clusterCA} {
		if !slices.Contains(s.disk.Leftovers, path) {
			next = append(next, path)
		}
	}
	s.listed = next
	return s.full
}

func (s *sim) RemoveJournal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = nil
	return nil
}
