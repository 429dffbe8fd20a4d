package judge

import "testing"

// Whoever stops a run beside kubeadm join is told that, and not that it was looking.
func TestALookAfterAnActIsNotAPhaseOfItsOwn(t *testing.T) {
	first := Next(testPolicy, Memory{}, &Facts{}, now)
	if first.Ask&Files == 0 || first.Phase != Look {
		t.Errorf("at first: %+v", first)
	}
	r := rowOf(nil)
	r.m.Acts++
	if a := Next(r.p, r.m, &r.f, now); a.Ask&Files == 0 || a.Phase != "" {
		t.Errorf("after an act: %+v", a)
	}
}
