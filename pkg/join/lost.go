package join

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// without takes a file that is gone for one that is not needed: a member needs
// none of those that its join needed. What is in a file is never passed over.
func (p *plan) without(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.lost = usage(err)
	return nil
}

// goWithout what is lost, where this machine may be a member. Its Node has the
// name that its credentials have, which the config that is gone may have given it.
func (m *machine) goWithout() error {
	if m.plan.lost == nil {
		return nil
	}
	if m.plan.DiscoveryFile == "" { // whoever asked for the cluster would hear that this is not there
		m.plan.DiscoveryFile = m.plan.ConfigFile
	}
	creds, err := m.Credentials()
	missing, mountsErr := m.MissingMounts()
	switch {
	case errors.Is(err, fs.ErrNotExist) && mountsErr == nil && len(missing) == 0:
		return m.plan.lost
	case err == nil && m.plan.ConfigFile != "" && m.plan.NodeName == "" && m.plan.NodeNameFrom == "":
		m.plan.NodeName, m.name = creds.NodeName, creds.NodeName
	}
	return nil
}

// lookInVain: no cluster is named, so whoever needs it needs the file.
func (r *run) lookInVain(asked question) func(context.Context) func() {
	return func(context.Context) func() {
		return fact(asked, &r.facts.Cluster)(judge.Cluster{NoToken: r.lost, Usage: true, Lost: true, NextAt: time.Now().Add(judge.ProbeSilent)}, nil)
	}
}
