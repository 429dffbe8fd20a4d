package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// needs has what the host lacks installed, see testbed.Need.
func (s *story) needs(packageOf map[string]string) {
	s.Helper()
	s.must(testbed.Need(s.ctx, s.Output(), packageOf))
}

// preflight are the host's preflight exceptions as nodejoin's environment.
func preflight() string {
	_, checks, _ := strings.Cut(strings.Join(testbed.PreflightArgs(), ""), "=")
	return "NODEJOIN_IGNORE_PREFLIGHT_ERRORS=" + checks
}

func TestAnsibleTellsChangedFromOKFromFailed(t *testing.T) {
	s := tellLive(t, ready())
	s.needs(map[string]string{"ansible-playbook": "ansible-core"})
	playbook, err := os.ReadFile("../examples/ansible.yml")
	s.must(err)
	s.must(s.node.WriteFile("/root/join.yml", string(playbook), 0o600))
	s.source(s.node, "/root/token", s.token+"\n", 0o600)
	play := func(endpoint string) (string, int) {
		p, err := s.node.Start(s.ctx, testbed.Command{
			Args: []string{"ansible-playbook", "--connection=local", "--inventory=w1,", "/root/join.yml",
				"--extra-vars=ansible_become=false ansible_python_interpreter=/usr/bin/python3 token_file=/root/token endpoint=" + endpoint + " ca_cert_hash=" + s.cp.CAHash()},
			Env: []string{preflight(), "NODEJOIN_TIMEOUT=90s", "ANSIBLE_LOCALHOST_WARNING=False", "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8"},
		})
		s.must(err)
		code := p.Wait().Code
		out := p.Stdout.String() + p.Stderr.String()
		t.Log(out)
		return out, code
	}
	wants := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("ansible does not say %q", w)
			}
		}
	}
	out, code := play(s.cp.Endpoint())
	wants(out, "changed: [w1]", "Joined: ", "failed=0")
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	s.must(os.Remove(s.node.Path("/root/token"))) // a member needs none
	out, code = play(s.cp.Endpoint())
	wants(out, "ok: [w1]", "AlreadyJoined: ", "changed=0", "failed=0")
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	out, code = play("10.77.0.10") // an address that lacks its port
	wants(out, "fatal: [w1]", "Usage: ENDPOINT: ", "changed=0", "failed=1")
	if code == 0 {
		t.Error("a failure is none to ansible")
	}
}

func TestAStepOfGitHubActionsJoinsAndReports(t *testing.T) {
	s := tellLive(t, ready())
	s.needs(map[string]string{"jq": "jq"})
	raw, err := os.ReadFile("../examples/github-actions.yml")
	s.must(err)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Env map[string]string
				Run string
			}
		}
	}
	s.must(yaml.Unmarshal(raw, &workflow))
	given := workflow.Jobs["join"].Steps[0]
	if names := slices.Sorted(maps.Keys(given.Env)); !slices.Equal(names, []string{"CA_CERT_HASH", "ENDPOINT", "NODEJOIN_TOKEN"}) {
		t.Fatalf("the step's variables are %v", names)
	}
	s.must(s.node.WriteFile("/root/step.sh", given.Run, 0o600))
	step := func(more ...string) (code int, log, output, summary string, rep report) {
		t.Helper()
		for _, name := range []string{"output", "summary"} {
			s.must(s.node.WriteFile("/root/"+name, "", 0o600))
		}
		p, err := s.node.Start(s.ctx, testbed.Command{ // as the runner runs a step
			// The last word is for the canary: the runner's own shell has the secret, and nodejoin's children must not.
			Args: []string{"bash", "--noprofile", "--norc", "-eo", "pipefail", "/root/step.sh", "nodejoin"},
			Env: append([]string{"CI=true", "TERM=xterm", "GITHUB_OUTPUT=/root/output", "GITHUB_STEP_SUMMARY=/root/summary", preflight(),
				"ENDPOINT=" + s.cp.Endpoint(), "CA_CERT_HASH=" + s.cp.CAHash(), "NODEJOIN_TOKEN=" + s.token}, more...),
		})
		s.must(err)
		code = p.Wait().Code
		if p.Stdout.String() != "" {
			t.Errorf("standard output has %q", p.Stdout)
		}
		read := func(name string) string {
			raw, err := s.node.ReadFile("/root/" + name)
			s.must(err)
			return string(raw)
		}
		s.must(json.Unmarshal([]byte(read("report.json")), &rep)) // and nothing else is in there
		log = p.Stderr.String()
		t.Logf("exit status %d\n%s", code, log)
		return code, log, read("output"), read("summary"), rep
	}

	code, log, output, summary, _ := step()
	if code != 0 || output != "reason=Joined\nnode=w1\n" || !strings.HasPrefix(summary, "Joined: Node \"w1\"") {
		t.Errorf("exit status %d, output %q, summary %q", code, output, summary)
	}
	if strings.ContainsAny(log, "\x1b…\r") || strings.Contains(log, s.token) {
		t.Errorf("the log is not plain, or has the token:\n%q", log)
	}
	for line := range strings.Lines(log) {
		if _, err := time.Parse(time.RFC3339, strings.Fields(line)[0]); err != nil {
			t.Errorf("a line of the log is %q", line)
		}
	}

	t.Log("again, and with a log for programs")
	code, log, output, _, _ = step("NODEJOIN_LOG_FORMAT=json")
	if code != 0 || output != "reason=AlreadyJoined\nnode=w1\n" {
		t.Errorf("exit status %d, output %q", code, output)
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is %q", line)
		}
	}

	t.Log("--timeout, to the second")
	s.must(s.cp.Stop())
	s.must(s.node.WriteFile("/root/step.sh", strings.Replace(given.Run, "--timeout 10m", "--timeout 7s --hold 5s", 1), 0o600))
	code, _, output, summary, rep := step()
	if code != 6 || !strings.HasPrefix(output, "reason=Unreachable") || !strings.Contains(summary, "no member after 7s") {
		t.Errorf("exit status %d, output %q, summary %q", code, output, summary)
	}
	if rep.DurationSeconds < 7 || rep.DurationSeconds >= 8 {
		t.Errorf("it took %.1f s", rep.DurationSeconds)
	}
}
