package judge

import (
	"testing"
	"time"
)

func TestWhoWouldStartUnderAnotherName(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		kubelet Kubelet
		state   State
		want    bool
	}{
		"it runs":                     {Kubelet{Name: "new", Running: true, Exits: -1}, Loaded, true},
		"its service would start it":  {Kubelet{Name: "new"}, Loaded, true},
		"its arguments are not known": {Kubelet{Name: "new", Exits: -1}, Loaded, false},
		"its name is not known":       {Kubelet{}, Loaded, false},
		"by its old name":             {Kubelet{Name: "old"}, Loaded, false},
		"without credentials":         {Kubelet{Name: "new"}, NotThere, false},
	} {
		f := Facts{}
		f.Credentials.Value, f.Kubelet.Value = Credentials{State: c.state, NodeName: "old"}, c.kubelet
		v := view{m: Memory{Is: Gone, Since: now.Add(-time.Hour)}, f: &f, now: now}
		if a, decided := v.renamed(); decided != c.want || decided && (a.Kind != End || a.Reason != HostUnfit) {
			t.Errorf("%s: %t, %+v", name, decided, a)
		}
	}
}
