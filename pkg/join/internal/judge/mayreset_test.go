package judge

import (
	"errors"
	"testing"
	"time"
)

// allowed is a case in which a reset is allowed, for each ground.
func allowed(ground Ground) (Policy, Memory, Facts) {
	at := now.Add(-time.Second)
	p := testPolicy
	p.Reset = ResetAuto
	m := Memory{Exits: -1, Acts: 1}
	f := Facts{
		Disk:        Fact[Disk]{Value: Disk{Leftovers: []string{"kubelet.conf"}}},
		Credentials: Fact[Credentials]{Value: Credentials{State: Loaded, NodeName: "self", NotAfter: now.Add(time.Hour), CA: []string{"pin"}}},
		Name:        Fact[Named]{Value: Named{Name: "self"}, At: at},
		Cluster:     Fact[Cluster]{Value: Cluster{Verdict: Proven, CA: []string{"pin"}, Node: Sighting{Answer: Absent}}},
		Node:        Fact[Sighting]{Value: Sighting{Answer: Absent}},
	}
	stopped := func(is Condition) {
		m.Is, m.Since, m.StoppedAt, m.StoppedFor = is, now.Add(-10*time.Minute), now.Add(-2*time.Second), ground
	}
	switch ground {
	case NoCredentials:
		f.Credentials.Value = Credentials{State: NotThere}
	case StaysAway:
		stopped(Gone)
		m.Restarted = now.Add(-9 * time.Minute)
	case RefusesKubelet:
		stopped(Refused)
		m.takenSince = now.Add(-2 * RefusedPatience)
		f.Credentials.Value.NotAfter = now.Add(-time.Hour)
		f.Node.Value = Sighting{Answer: Unauthorized}
	case Clone:
		stopped(Foreign)
		m.Heartbeat.Moved = true
		f.Credentials.Value.NodeName = "golden"
		f.Node.Value = seen(Node{Name: "golden", UID: "golden", BootID: "another", MachineID: "another", SystemUUID: "another", Ready: "True"})
	case Asked:
		p.Reset = ResetAlways
	}
	for _, s := range []*struct{ acts, asked, at any }{
		{&f.Disk.Acts, &f.Disk.Asked, &f.Disk.At}, {&f.Machine.Acts, &f.Machine.Asked, &f.Machine.At},
		{&f.Credentials.Acts, &f.Credentials.Asked, &f.Credentials.At}, {&f.Kubelet.Acts, &f.Kubelet.Asked, &f.Kubelet.At},
		{&f.Cluster.Acts, &f.Cluster.Asked, &f.Cluster.At}, {&f.Request.Acts, &f.Request.Asked, &f.Request.At},
		{&f.Node.Acts, &f.Node.Asked, &f.Node.At}, {&f.Second.Acts, &f.Second.Asked, &f.Second.At},
	} {
		*s.acts.(*int), *s.asked.(*time.Time), *s.at.(*time.Time) = m.Acts, at, at
	}
	return p, m, f
}

// The one place that allows a reset says no by itself, whatever the rows before it have seen to: one thing is spoilt at a time.
func TestMayResetSaysNoByItself(t *testing.T) {
	old := now.Add(-FreshFor - time.Second)
	unknown := errors.New("not known")
	every := []Ground{NoCredentials, StaysAway, RefusesKubelet, Clone, Asked}
	unasked := every[:4] // the user's word outweighs the rest
	own := every[1:4]
	for name, c := range map[string]struct {
		grounds []Ground
		spoil   func(*Policy, *Memory, *Facts)
	}{
		"a disk of long ago":                {every, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Asked, f.Disk.At = old, old }},
		"a disk from before the act":        {every, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Acts-- }},
		"a disk not read":                   {every, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Err = unknown }},
		"company of long ago":               {every, func(_ *Policy, _ *Memory, f *Facts) { f.Machine.Asked, f.Machine.At = old, old }},
		"credentials of long ago":           {every, func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Asked, f.Credentials.At = old, old }},
		"a kubelet of long ago":             {every, func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Asked, f.Kubelet.At = old, old }},
		"a kubelet from before the act":     {every, func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Acts-- }},
		"a cluster of long ago":             {every, func(_ *Policy, _ *Memory, f *Facts) { f.Cluster.Asked, f.Cluster.At = old, old }},
		"a request of long ago":             {every[:1], func(_ *Policy, _ *Memory, f *Facts) { f.Request.Asked, f.Request.At = old, old }},
		"a request not known":               {every[:1], func(_ *Policy, _ *Memory, f *Facts) { f.Request.Err = unknown }},
		"a request that lives":              {every[:1], func(_ *Policy, _ *Memory, f *Facts) { f.Request.Value = Request{Name: "csr", Pending: true, Own: true} }},
		"our Node of long ago":              {own, func(_ *Policy, _ *Memory, f *Facts) { f.Node.Asked, f.Node.At = old, old }},
		"a second opinion of long ago":      {every[2:3], func(_ *Policy, _ *Memory, f *Facts) { f.Second.Asked, f.Second.At = old, old }},
		"a control plane":                   {every, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.ControlPlane = "ca.key" }},
		"company not seen":                  {every, func(_ *Policy, _ *Memory, f *Facts) { f.Machine.Err = unknown }},
		"somebody else's kubeadm":           {every, func(_ *Policy, _ *Memory, f *Facts) { f.Machine.Value.Kubeadm = "kubeadm join" }},
		"a mount to come":                   {every, func(_ *Policy, _ *Memory, f *Facts) { f.Machine.Value.Mounts = []string{"/var/lib/kubelet"} }},
		"our own kubeadm":                   {every, func(_ *Policy, _ *Memory, f *Facts) { f.Join.Running = true }},
		"--reset=never":                     {every, func(p *Policy, _ *Memory, _ *Facts) { p.Reset = ResetNever }},
		"--reset=always, done":              {every[4:], func(_ *Policy, m *Memory, _ *Facts) { m.ForcedDone = true }},
		"a kubelet not known":               {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Err = unknown }},
		"a kubelet that runs":               {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Value.Running = true }},
		"a kubelet about to run":            {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Value.Starting = true }},
		"credentials not read":              {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Err = unknown }},
		"credentials not understood":        {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Value.State = NotUnderstood }},
		"credentials that load":             {every[:1], func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Value.State = Loaded }},
		"credentials that are not there":    {own, func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Value.State = NotThere }},
		"this machine's own files":          {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.Losses = []string{"proxy.yaml"} }},
		"an administrator's kubeconfig":     {unasked, func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.AdminConf = true }},
		"a Node that is there":              {own, func(_ *Policy, m *Memory, _ *Facts) { m.Is = Member }},
		"another ground by now":             {every[1:3], func(_ *Policy, m *Memory, f *Facts) { m.Is = Foreign; f.Node.Value = seen(otherNode) }},
		"a kubelet that was not stopped":    {own, func(_ *Policy, m *Memory, _ *Facts) { m.StoppedAt = time.Time{} }},
		"a kubelet that a person must mend": {every[1:2], func(_ *Policy, m *Memory, _ *Facts) { m.Doomed = true }},
		"a kubelet that says why":           {every[1:2], func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Value.Unregistered = "denied" }},
		"a log that cannot be read":         {every[1:2], func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Value.Unread = true }},
		"a reset for the same before":       {every[1:2], func(_ *Policy, m *Memory, _ *Facts) { m.GoneSpent = true }},
		"a silence since the restart":       {every[1:2], func(_ *Policy, m *Memory, _ *Facts) { m.Heard = now.Add(-time.Minute) }},
		"nobody who reports for the clone":  {every[3:4], func(_ *Policy, m *Memory, _ *Facts) { m.Heartbeat.Moved = false }},
		"a certificate that is still valid": {every[2:3], func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Value.NotAfter = now.Add(time.Hour) }},
	} {
		for _, ground := range c.grounds {
			p, m, f := allowed(ground)
			if !mayReset(p, m, &f, now, ground) {
				t.Fatalf("ground %d: what is to be spoilt is not allowed at all", ground)
			}
			c.spoil(&p, &m, &f)
			if mayReset(p, m, &f, now, ground) {
				t.Errorf("%s: a reset is allowed (ground %d)", name, ground)
			}
		}
	}
}
