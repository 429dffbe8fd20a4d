package judge

import (
	"errors"
	"testing"
	"time"
)

func TestWhatAnUnfinishedJoinHasWrittenIsTidiedAwayInsteadOfAReset(t *testing.T) {
	left := basedOn(map[axis]string{byCreds: "not there", byDisk: "an unfinished join"})
	decide(t, []decision{
		{name: "kubelet.conf without a certificate", at: left(nil), kind: Tidy, words: "kubelet.conf"},
		{name: "another cluster's CA", at: left(map[axis]string{byDisk: "another CA of an unfinished join"}), kind: Tidy, words: "ca.crt"},
		{name: "beside this machine's own files, which stay", at: left(map[axis]string{byDisk: "an unfinished join, losses"}), kind: Tidy},
		{name: "against a reset, which it is not", at: left(map[axis]string{byReset: "never"}), kind: Tidy},
		{name: "torn, as by a power failure", at: left(map[axis]string{byCreds: "unusable"}), kind: Tidy},
		{name: "the kubelet is in a crash loop", at: left(map[axis]string{byKubelet: "in a crash loop"}), kind: Tidy},
		{name: "the kubelet waits for its first certificate", at: left(map[axis]string{byKubelet: "runs for an hour"}), kind: StopKubelet, ground: NoCredentials, words: "before tidying"},
		{name: "so it does, beside this machine's own files", at: left(map[axis]string{byDisk: "an unfinished join, losses", byKubelet: "runs for an hour"}), kind: StopKubelet, ground: NoCredentials},
		{name: "the kubelet has pods", at: left(map[axis]string{byKubelet: "runs for an hour", byMachine: "pods"}), kind: End, reason: Refusal},
		{name: "the kubelet is not the service's", at: left(map[axis]string{byKubelet: "runs astray"}), kind: Wait, reason: JoinFailed, words: "not the service's"},
		{name: "its certificate request is pending", at: left(map[axis]string{byRequest: "pending"}), kind: Wait, reason: JoinFailed, words: "is pending"},
		{name: "the cluster has this machine's Node", at: left(map[axis]string{byDisk: "an unfinished join, configured", byCluster: "our Node, dead"}), kind: Bootstrap},
		{name: "admin.conf", at: left(map[axis]string{byDisk: "an unfinished join, admin.conf"}), kind: End, reason: Refusal, words: "admin.conf"},
		{name: "somebody's CA besides, which only a reset takes away", at: left(map[axis]string{byDisk: "an unfinished join beside somebody's CA"}), kind: Reset, ground: NoCredentials},
		{name: "the user wants a reset", at: left(map[axis]string{byReset: "always, due"}), kind: Reset, ground: Asked},
		{name: "the user wanted one, and it is done", at: left(map[axis]string{byReset: "always, done"}), kind: Tidy},
		{name: "the disk of long ago", at: left(nil), change: func(r *row) { r.f.Disk.Asked, r.f.Disk.At = ago(time.Minute), ago(time.Minute) }, kind: Wait, ask: Files},
	})
}

// What the rows before it have seen to is looked at right before it once more.
func TestTidyingAsksForItselfWhetherItMay(t *testing.T) {
	r := rowOf(map[axis]string{byCreds: "not there", byDisk: "an unfinished join", byKubelet: "starting"})
	v := view{p: r.p, m: r.m, f: &r.f, now: now}
	if a, _ := v.reset(); a.Kind != Wait || a.Message != "tidying must wait: "+v.why(NoCredentials) {
		t.Errorf("%+v", a)
	}
}

// A look at a kubelet is none at a machine that was tidied, but the kubelet itself is as it was.
func TestAfterTidyingAllIsLookedAtAgain(t *testing.T) {
	r := rowOf(map[axis]string{byCreds: "not there", byDisk: "an unfinished join", byKubelet: "stopped", byStopped: "2 s"})
	after := r.m.Did(Action{Kind: Tidy}, &r.f, false, now)
	if a := Next(r.p, after, &r.f, now); a.Kind != Wait || a.Ask&Files == 0 {
		t.Errorf("%+v", a)
	}
	if after.StoppedAt.IsZero() || after.PID != r.m.PID {
		t.Error("the kubelet that was stopped is forgotten")
	}
}

func TestMayTidySaysNoByItself(t *testing.T) {
	tidy := func() (Policy, Memory, Facts) {
		p, m, f := allowed(NoCredentials)
		f.Disk.Value = Disk{Leftovers: kubeletConf, Written: kubeletConf, Losses: []string{"static.yaml"}}
		return p, m, f
	}
	for name, spoil := range map[string]func(*Policy, *Memory, *Facts){
		"a file that nobody has written down": func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.Written = nil },
		"another one":                         func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.CAFile = "ca.crt" },
		"nothing in the way":                  func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.Leftovers = nil },
		"an administrator's kubeconfig":       func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.AdminConf = true },
		"one, and the user's word for a reset": func(p *Policy, m *Memory, f *Facts) {
			p.Reset, m.ForcedDone, f.Disk.Value.AdminConf = ResetAlways, true, true
		},
		"the user's word for a reset": func(p *Policy, _ *Memory, _ *Facts) { p.Reset = ResetAlways },
		"credentials that load":       func(_ *Policy, _ *Memory, f *Facts) { f.Credentials.Value.State = Loaded },
		"a kubelet that runs":         func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Value.Running = true },
		"a kubelet not known":         func(_ *Policy, _ *Memory, f *Facts) { f.Kubelet.Err = errors.New("not known") },
		"a control plane":             func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Value.ControlPlane = "ca.key" },
		"somebody else's kubeadm":     func(_ *Policy, _ *Memory, f *Facts) { f.Machine.Value.Kubeadm = "kubeadm join" },
		"a request that lives":        func(_ *Policy, _ *Memory, f *Facts) { f.Request.Value = Request{Name: "csr", Pending: true, Own: true} },
		"a disk from before the act":  func(_ *Policy, _ *Memory, f *Facts) { f.Disk.Acts-- },
	} {
		p, m, f := tidy()
		if p.Reset = ResetNever; !mayTidy(p, m, &f, now) {
			t.Fatal("what is to be spoilt is not allowed at all")
		}
		p.Reset = ResetAuto
		spoil(&p, &m, &f)
		if mayTidy(p, m, &f, now) {
			t.Errorf("%s: tidying is allowed", name)
		}
	}
}
