package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// bootedStory is a story on a node with a real systemd, journald, cloud-init and sshd.
type bootedStory struct {
	*story
	node *testbed.Booted
}

// tokenFile is where user data puts a token.
const tokenFile = "/root/token"

// longestReal is longest for real machines, which may have to do without the host's help.
const longestReal = 40 * time.Minute

// tellBooted begins a story with a control plane that is not started and a booted node that is switched off.
func tellBooted(t *testing.T, opts testbed.BootedOptions) *bootedStory {
	t.Helper()
	return tellBootedIn(t, testbed.ControlPlaneOptions{}, opts)
}

// tellBootedIn is tellBooted in a cluster that is not like the others.
func tellBootedIn(t *testing.T, cluster testbed.ControlPlaneOptions, opts testbed.BootedOptions) *bootedStory {
	t.Helper()
	t.Parallel()
	most := longest
	if testbed.BootedAreReal() {
		most = longestReal
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	t.Cleanup(cancel)
	s := &bootedStory{story: &story{T: t, ctx: ctx, tb: testbed.New(t), shared: &shared{}}}
	var err error
	if s.cp, err = s.tb.NewControlPlane(ctx, cluster); err != nil {
		t.Fatal(err)
	}
	if s.node, err = s.tb.NewBooted(ctx, "b1", opts); err != nil {
		t.Fatal(err)
	}
	s.must(s.node.Install(nodejoin, "/usr/bin/nodejoin", 0o755))
	c := watch(s.node)
	c.sources = []string{tokenFile, "/etc/nodejoin/token", "/run/credentials/nodejoin.service/token"} // the unit's, and systemd's copy
	t.Cleanup(func() {
		leaks := append(c.end(), s.leaksInside(c.sources)...)
		if strings.Contains(s.node.Console(), testbed.TokenMark) {
			leaks = append(leaks, "the journal")
		}
		for _, leak := range leaks {
			t.Errorf("on %s a token is in %s", s.node.Name, leak)
		}
	})
	return s
}

// leaksInside are the files of a real machine in which a token is; the host sees none of them.
func (s *bootedStory) leaksInside(sources []string) (leaks []string) {
	if !testbed.BootedAreReal() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := s.node.Run(ctx, "sh", "-c", "grep -rslF "+testbed.TokenMark+" /etc /run /var /root /tmp /home /dev/shm; [ $? -lt 3 ]")
	if err != nil {
		return []string{"what cannot be read: " + err.Error()}
	}
	for path := range strings.FieldsSeq(out) {
		if !slices.Contains(sources, path) && !slices.ContainsFunc(unwatched, func(folder string) bool { return strings.HasPrefix(path, folder+"/") }) {
			leaks = append(leaks, path)
		}
	}
	return leaks
}

// startCluster starts the control plane and gives the story a token.
func (s *bootedStory) startCluster() {
	s.Helper()
	s.must(s.cp.Start(s.ctx))
	var err error
	if s.token, err = s.cp.ReadyToken(s.ctx); err != nil {
		s.Fatal(err)
	}
}

// ssh starts a command on the node over its sshd; the client runs on the control plane's machine.
func (s *bootedStory) ssh(args ...string) *testbed.Proc {
	s.Helper()
	command, err := s.node.SSH(s.cp.Machine, args...)
	s.must(err)
	p, err := s.cp.Machine.Start(s.ctx, testbed.Command{Args: command})
	s.must(err)
	return p
}

// status is the status file now.
func (s *bootedStory) status() (report, bool) {
	s.Helper()
	raw, err := s.node.ReadFile("/run/nodejoin/status.json")
	if err != nil {
		return report{}, false
	}
	var r report
	s.must(json.Unmarshal(raw, &r))
	return r, true
}

// ended waits until a nodejoin that runs by itself has ended, and checks how; what it has printed is in the journal, if at all.
func (s *bootedStory) ended(code int, reason string) ended {
	s.Helper()
	for {
		if r, there := s.status(); there && r.Result != nil {
			return ended{s: s.story, code: *r.ExitCode, report: r, hasReport: true}.is(code, reason)
		}
		s.sleep(200 * time.Millisecond)
	}
}

// run runs nodejoin on the node to its end.
func (s *bootedStory) run(args ...string) ended {
	s.Helper()
	began := time.Now()
	p, err := s.node.Start(s.ctx, testbed.Command{Args: args})
	s.must(err)
	exit := p.Wait()
	e := ended{s: s.story, code: exit.Code, took: time.Since(began), stdout: p.Stdout.String(), stderr: p.Stderr.String()}
	e.report, e.hasReport = s.status()
	s.Logf("%q ended with %d\n%s%s", args, e.code, e.stderr, e.stdout)
	return e
}

// cloudInitIsDone waits for cloud-init's end, without errors.
func (s *bootedStory) cloudInitIsDone() {
	s.Helper()
	out, err := s.node.Run(s.ctx, "cloud-init", "status", "--wait", "--format", "json")
	var status struct {
		Status string
		Errors []string
	}
	if jsonErr := json.Unmarshal([]byte(strings.TrimLeft(out, ".\n")), &status); err != nil || jsonErr != nil || status.Status != "done" || len(status.Errors) > 0 {
		s.Errorf("cloud-init: %s %v\n%s", out, err, s.node.Log("cloud-final"))
	}
}
