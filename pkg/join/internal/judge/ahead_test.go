package judge

import (
	"testing"
	"time"
)

// The cluster is asked beside a slow init system once, and only where a join is sure to want it.
func TestAnEmptyMachineAsksTheClusterBesideItsInitSystem(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		state  State
		change func(*Facts)
		want   Topic
	}{
		"an empty machine":            {state: NotThere, want: Unit | Token},
		"before its name":             {state: NotThere, change: func(f *Facts) { f.Name = Fact[Named]{} }, want: Unit | Naming},
		"a name that is waited for":   {state: NotThere, change: func(f *Facts) { f.Name.Value.Wait = &Action{} }, want: Unit},
		"a cluster that has answered": {state: NotThere, change: func(f *Facts) { f.Cluster.At = now }, want: Unit},
		"leftovers":                   {state: NotThere, change: func(f *Facts) { f.Disk.Value.Leftovers = []string{"x"} }, want: Unit},
		"a ca.crt":                    {state: NotThere, change: func(f *Facts) { f.Disk.Value.CAFile = "x" }, want: Unit},
		"credentials of some kind":    {state: Unusable, want: Unit},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{
				Disk: Fact[Disk]{At: now, Asked: now}, Machine: Fact[Machine]{At: now, Asked: now},
				Credentials: Fact[Credentials]{At: now, Asked: now, Value: Credentials{State: tt.state}}, Name: Fact[Named]{At: now, Asked: now},
			}
			if tt.change != nil {
				tt.change(&f)
			}
			if a := Next(Policy{}, Memory{}, &f, now); a.Kind != Wait || a.Ask != tt.want|Programs {
				t.Errorf("%v asks %b, wanted %b", a.Kind, a.Ask, tt.want|Programs)
			}
		})
	}
	// Whose answer comes first must not have the other asked again.
	f := Facts{Credentials: Fact[Credentials]{At: now, Asked: now}}
	if a := Next(Policy{}, Memory{}, &f, now); a.Ask != Files {
		t.Errorf("with credentials known and files not, %b is asked", a.Ask)
	}
}
