package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestWhatFollowsTheEndGetsTheReportAndNoToken(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	told := func() (rep report) {
		t.Helper()
		raw, err := s.node.ReadFile("/root/report")
		s.must(err)
		s.must(json.Unmarshal(raw, &rep))
		env, err := s.node.ReadFile("/root/env")
		s.must(err)
		if strings.Contains(string(env), "NODEJOIN_") || !strings.Contains(string(env), "PATH=") {
			t.Errorf("its environment:\n%s", env)
		}
		return rep
	}
	follow := []string{"--on-success", "cat > /root/report; env > /root/env; echo well; exit 1", "--on-failure", "cat > /root/report; env > /root/env; echo badly"}

	p, err := s.node.Start(s.ctx, testbed.Command{Args: s.argsWithout(follow...), Env: []string{"NODEJOIN_TOKEN=" + s.token}})
	s.must(err)
	s.must(p.Stderr.WaitFor(s.ctx, "does not answer"))
	s.must(p.Signal(syscall.SIGINT))
	if exit := p.Wait(); exit.Code != 130 || !strings.Contains(p.Stderr.String(), "--on-failure: badly") {
		t.Errorf("exit %d\n%s", exit.Code, p.Stderr)
	}
	if rep := told(); rep.Reason != "Interrupted" || rep.ExitCode == nil || *rep.ExitCode != 130 {
		t.Errorf("it was told %+v", rep)
	}

	s.must(s.cp.Start(s.ctx))
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	e := s.join(s.args(follow...)...).is(0, "Joined").counts(1, 0, 0, 0).says("--on-success: well", "--on-success: exit status 1")
	if rep := told(); rep.Reason != "Joined" || rep.Node.UID != e.report.Node.UID || len(e.report.ownWarnings()) != 1 {
		t.Errorf("it was told %+v; warnings %q", rep, e.report.Warnings)
	}
	s.nothingRuns("nodejoin", "kubeadm")
}
