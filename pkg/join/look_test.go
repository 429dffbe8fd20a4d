package join

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
	"github.com/nodejoin/nodejoin/pkg/join/internal/judge"
)

// kubeletWorld has a service and processes of its own.
type kubeletWorld struct {
	*sim
	is   host.Unit
	runs []host.KubeletProcess
}

func (w kubeletWorld) Kubelet(context.Context) (host.Unit, error)       { return w.is, nil }
func (w kubeletWorld) KubeletProcesses() ([]host.KubeletProcess, error) { return w.runs, nil }
func (w kubeletWorld) run() *run {
	return newRun(&plan{Config: Defaults()}, w, simID, "w1", func(m string) string { return m })
}

func TestAKubeletRunsWhoeverHasStartedIt(t *testing.T) {
	process := func(pid int, ancestors ...int) []host.KubeletProcess {
		return []host.KubeletProcess{{PID: pid, Ancestors: ancestors, Started: time.Now().Add(-time.Hour)}}
	}
	type is struct{ running, stray, failed, starting bool }
	for name, c := range map[string]struct {
		unit host.Unit
		runs []host.KubeletProcess
		want is
	}{
		"the service's":                           {host.Unit{Active: true, Running: true, MainPID: 7, State: "active/running"}, process(7), is{running: true}},
		"by a wrapper that the service starts":    {host.Unit{Active: true, Running: true, MainPID: 6, State: "active/running"}, process(7, 6, 1), is{running: true}},
		"by hand, the service being stopped":      {host.Unit{State: "inactive/dead"}, process(7, 1), is{running: true, stray: true}},
		"by hand, beside a service that loops":    {host.Unit{Active: true, Looping: true, State: "activating/auto-restart"}, process(7, 1), is{running: true, stray: true}},
		"by hand, beside a service that failed":   {host.Unit{Failing: true, State: "failed/failed"}, process(7, 1), is{running: true, stray: true}},
		"nobody's":                                {host.Unit{State: "inactive/dead"}, nil, is{}},
		"about to be started":                     {host.Unit{Active: true, State: "activating/start-pre"}, nil, is{starting: true}},
		"about to be started again after one end": {host.Unit{Active: true, Failing: true, State: "activating/auto-restart"}, nil, is{starting: true}},
		"ending again and again":                  {host.Unit{Active: true, Looping: true, State: "activating/auto-restart"}, nil, is{failed: true, starting: true}},
		"failed":                                  {host.Unit{Failing: true, State: "failed/failed"}, nil, is{failed: true}},
	} {
		w := kubeletWorld{&sim{t: t}, c.unit, c.runs}
		k, _, err := w.run().kubelet(t.Context(), false)
		if got := (is{k.Running, k.Stray, k.Failed, k.Starting}); err != nil || got != c.want {
			t.Errorf("%s: %+v (%v), wanted %+v", name, got, err, c.want)
		}
	}
}

// What cannot be read, or is not understood, may be good credentials.
func TestOnlyCredentialsThatAreMissingOrTornAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		known bool
		state judge.State
	}{
		"no file":        {fmt.Errorf("kubelet.conf: %w", fs.ErrNotExist), true, judge.NotThere},
		"torn":           {fmt.Errorf("kubelet.conf: %w", cluster.ErrUnusable), true, judge.Unusable},
		"not understood": {&cluster.NotUnderstoodError{Path: "kubelet.conf", Field: "exec", NodeName: "w1"}, true, judge.NotUnderstood},
		"not readable":   {fs.ErrPermission, false, 0},
		"a broken disk":  {errors.New("input/output error"), false, 0},
	} {
		r := kubeletWorld{sim: &sim{t: t}}.run()
		r.credentials(question{at: time.Now()}, nil, nil, c.err)
		f := r.facts.Credentials
		if f.Known() != c.known || c.known && f.Value.State != c.state {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// unmountedWorld has a disk that is yet to come.
type unmountedWorld struct {
	*sim
	missing []string
	err     error
}

func (w unmountedWorld) Credentials() (*cluster.Credentials, error) { return nil, fs.ErrNotExist }
func (w unmountedWorld) MissingMounts() ([]string, error)           { return w.missing, w.err }

func TestThatThereAreNoCredentialsIsKnownOnlyOfDisksThatAreThere(t *testing.T) {
	for name, c := range map[string]struct {
		missing []string
		err     error
		none    bool
	}{
		"all is mounted":        {nil, nil, true},
		"one is yet to come":    {[]string{"/etc/kubernetes"}, nil, false},
		"which, nobody can say": {nil, errors.New("/proc/mounts cannot be read"), false},
	} {
		w := unmountedWorld{&sim{t: t}, c.missing, c.err}
		r := newRun(&plan{Config: Defaults()}, w, simID, "w1", func(m string) string { return m })
		if _, err := r.mountedCredentials(false); errors.Is(err, fs.ErrNotExist) != c.none {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A watch's word may have waited while something was done: then it is of before that.
func TestAPushedWordIsDatedByWhenItWasSaid(t *testing.T) {
	r := kubeletWorld{sim: &sim{t: t}}.run()
	r.memory.Acts, r.running.acted = 3, time.Now()
	for name, c := range map[string]struct {
		said time.Duration
		acts int
	}{"before the last act": {-time.Second, 2}, "after it": {time.Second, 3}} {
		if f := r.dated(cluster.Sighting{At: r.running.acted.Add(c.said)}); f.Acts != c.acts || !f.News {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// countedWorld counts the looks at the disk.
type countedWorld struct {
	*sim
	looks *int
}

func (w countedWorld) Inspect() (host.Disk, error) { *w.looks++; return host.Disk{}, nil }

// Two answers that make each other old must not become a thousand questions a second.
func TestNobodyIsAskedTheSameWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		r := newRun(&plan{Config: Defaults()}, countedWorld{&sim{t: t}, &looks}, simID, "w1", func(m string) string { return m })
		for _, most := range []int{askMost, 2 * askMost} {
			for range 100 {
				r.ask(t.Context(), judge.Files)
				synctest.Wait()
				select {
				case a := <-r.eyes.answers:
					r.eyes.inFlight &^= a.topic
				default:
				}
			}
			if looks != most {
				t.Errorf("asked %d times, wanted %d", looks, most)
			}
			time.Sleep(askWindow)
		}
	})
}

// shownWorld notes to whom the token is shown.
type shownWorld struct {
	*sim
	to []cluster.Credentials
}

func (w *shownWorld) AskWithToken(_ context.Context, c *cluster.Credentials, _ string) cluster.Sighting {
	w.to = append(w.to, *c)
	return cluster.Sighting{}
}

// Rule 8: the kubelet's server has to prove itself by the CA that was proven for the token, not by the kubelet's own.
func TestTokenIsShownToTheKubeletsServerUnderTheProvenCA(t *testing.T) {
	w := &shownWorld{sim: &sim{t: t}}
	r := newRun(&plan{Config: Defaults()}, w, simID, "w1", func(m string) string { return m })
	r.eyes.creds = &cluster.Credentials{Server: "https://kubelets:6443", CA: simCA2, NodeName: "w1", NotAfter: time.Now()}
	r.eyes.proven = cluster.Credentials{Server: "https://proven:6443", CA: simCA}
	if r.find(judge.TokensNode) != nil {
		t.Error("the token is shown to a server although nothing is proven")
	}
	r.facts.Cluster = judge.Fact[judge.Cluster]{Value: judge.Cluster{Verdict: judge.Proven}, At: time.Now()}
	r.find(judge.TokensNode)(t.Context())
	if len(w.to) != 1 || w.to[0].Server != "https://kubelets:6443" || string(w.to[0].CA) != string(simCA) || !w.to[0].NotAfter.IsZero() {
		t.Errorf("the token was shown to %+v", w.to)
	}
}
