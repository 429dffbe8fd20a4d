package join

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// journaled is what an unfinished join of this machine has written, by the journal.
type journaled struct {
	sync.Mutex
	files host.Journal
	err   error // why that of an earlier run proves nothing
}

// caFile is where kubeadm puts the cluster's CA, and will not join if something is there.
func (p *plan) caFile() string {
	if p.file == nil {
		return clusterCA
	}
	return cmp.Or(p.file.Options().CACertPath, clusterCA)
}

// caFileCheck is kubeadm's preflight check for that file.
func (p *plan) caFileCheck() string {
	return "FileAvailable-" + strings.ReplaceAll(p.caFile(), "/", "-")
}

// ignoresCAFile: the user has said that it is there on purpose.
func (p *plan) ignoresCAFile() bool {
	return p.ignores(p.caFileCheck())
}

// ignores: the user has said that this check of kubeadm's is not to stop a join.
func (p *plan) ignores(check string) bool {
	return slices.ContainsFunc(p.IgnorePreflightErrors, func(ignored string) bool {
		return strings.EqualFold(ignored, check) || strings.EqualFold(ignored, "all")
	})
}

// Written: of what kubeadm and the kubelet write, these alone keep kubeadm from
// joining again; the rest they write over.
func (m *machine) Written() []string {
	m.journal.Lock()
	defer m.journal.Unlock()
	paths := []string{kubeletConf, m.plan.caFile()}
	return slices.DeleteFunc(paths, func(path string) bool {
		return path != kubeletConf && m.plan.ignoresCAFile() || !m.Host.Written(m.journal.files, path)
	})
}

// WriteJournal says what a join is about to write. All of it is known, so that no
// kill comes in between.
func (m *machine) WriteJournal(p cluster.Probe) error {
	confs, err := cluster.KubeletConfs(p.Server, p.Bundle)
	if err != nil {
		return err
	}
	m.journal.Lock()
	defer m.journal.Unlock()
	if m.journal.files == nil { // else what an earlier try has left is in it
		m.journal.files = host.Journal{}
	}
	m.Expect(m.journal.files, kubeletConf, confs...)
	m.Expect(m.journal.files, m.plan.caFile(), p.Bundle)
	return m.Host.WriteJournal(m.identity, m.journal.files)
}

func (m *machine) Tidy() error {
	err := m.RemoveBootstrapConf()
	for _, path := range m.Written() {
		err = errors.Join(err, m.RemoveWritten(m.journal.files, path))
	}
	return err
}

// RemoveJournal: with a certificate the files are a member's.
func (m *machine) RemoveJournal() error {
	m.journal.Lock()
	defer m.journal.Unlock()
	m.journal.files = nil
	return m.Host.RemoveJournal()
}
