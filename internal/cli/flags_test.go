package cli

import (
	"context"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

// plain is a Config without what cannot be compared.
func plain(c join.Config) join.Config {
	c.Observe, c.Version, c.Token.Stdin = nil, "", nil
	return c
}

func changed(change func(*join.Config)) join.Config {
	c := join.Defaults()
	change(&c)
	return c
}

func TestTheJoinCommandKubeadmPrintsWorks(t *testing.T) {
	// Verbatim from kubeadm token create --print-join-command, with its space at the end.
	line := "kubeadm join 10.0.0.1:6443 --token " + token + " --discovery-token-ca-cert-hash " + pin + " "
	args := strings.Fields(line)[1:]
	c := calling(t, nil)
	if got := c.do(args...); got != 0 {
		t.Fatalf("exit status %d: %s", got, c.stderr.String())
	}
	want := changed(func(c *join.Config) {
		c.Endpoint, c.CACertHashes, c.Token.Value = "10.0.0.1:6443", []string{pin}, token
	})
	if got := plain(c.config(t)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEveryFlagReachesTheLibrary(t *testing.T) {
	in := strings.NewReader("")
	for _, test := range []struct {
		args string
		want func(*join.Config)
	}{
		{"--token " + token, func(c *join.Config) { c.Token.Value = token }},
		{"--discovery-token " + token, func(c *join.Config) { c.Token.Value = token }},
		{"--discovery-token " + token + " --tls-bootstrap-token " + other, func(c *join.Config) { c.Token.Value, c.TLSBootstrapToken = token, other }},
		{"--discovery-token " + token + " --token " + other, func(c *join.Config) { c.Token.Value, c.TLSBootstrapToken = token, other }},
		{"--token " + token + " --tls-bootstrap-token " + other, func(c *join.Config) { c.Token.Value, c.TLSBootstrapToken = token, other }},
		{"--discovery-file f --tls-bootstrap-token " + other, func(c *join.Config) { c.DiscoveryFile, c.TLSBootstrapToken = "f", other }},
		{"--discovery-file f --token " + other, func(c *join.Config) { c.DiscoveryFile, c.Token.Value = "f", other }},
		{"--discovery-token-ca-cert-hash sha256:a --discovery-token-ca-cert-hash sha256:b", func(c *join.Config) { c.CACertHashes = []string{"sha256:a", "sha256:b"} }},
		{"--discovery-token-unsafe-skip-ca-verification", func(c *join.Config) { c.UnsafeSkipCAVerification = true }},
		{"--config f", func(c *join.Config) { c.ConfigFile = "f" }},
		{"--node-name n", func(c *join.Config) { c.NodeName = "n" }},
		{"--cri-socket s", func(c *join.Config) { c.CRISocket = "s" }},
		{"--ignore-preflight-errors Swap,Mem --ignore-preflight-errors CRI", func(c *join.Config) { c.IgnorePreflightErrors = []string{"Swap", "Mem", "CRI"} }},
		{"--patches d", func(c *join.Config) { c.Patches = "d" }},
		{"--skip-phases a,b", func(c *join.Config) { c.SkipPhases = []string{"a", "b"} }},
		{"--token-file -", func(c *join.Config) { c.Token.File = "-" }},
		{"--token-command true", func(c *join.Config) { c.Token.Command = "true" }},
		{"--until ready", func(c *join.Config) { c.Until = join.Ready }},
		{"--hold 0", func(c *join.Config) { c.Hold = 0 }},
		{"--timeout 2m", func(c *join.Config) { c.Timeout = 2 * time.Minute }},
		{"--attempt-timeout 2m", func(c *join.Config) { c.AttemptTimeout = 2 * time.Minute }},
		{"--backoff-initial 2m", func(c *join.Config) { c.BackoffInitial = 2 * time.Minute }},
		{"--backoff-max 2m", func(c *join.Config) { c.BackoffMax = 2 * time.Minute }},
		{"--max-deletions 3", func(c *join.Config) { c.MaxDeletions = 3 }},
		{"--reset never", func(c *join.Config) { c.Reset = join.ResetNever }},
		{"--node-name-from fqdn", func(c *join.Config) { c.NodeNameFrom = join.FromFQDN }},
		{"--provider-id auto", func(c *join.Config) { c.ProviderID = join.ProviderIDAuto }},
		{"--kubelet-extra-arg feature-gates=A=true,B=true --kubelet-extra-arg v=4", func(c *join.Config) { c.KubeletExtraArgs = []string{"feature-gates=A=true,B=true", "v=4"} }},
		{"--node-label a=b,c=d --node-label e=", func(c *join.Config) { c.NodeLabels = []string{"a=b", "c=d", "e="} }},
		{"--taint a=b:NoSchedule --taint c:NoExecute", func(c *join.Config) { c.Taints = []string{"a=b:NoSchedule", "c:NoExecute"} }},
		{"--kubeadm /k", func(c *join.Config) { c.Kubeadm = "/k" }},
		{"--control-plane=false --dry-run=false", func(*join.Config) {}},
		{"--dry-run", func(c *join.Config) { c.DryRun = true }},
		{"", func(*join.Config) {}},
	} {
		c := calling(t, nil)
		c.in = in
		if got := c.do(append([]string{"join"}, strings.Fields(test.args)...)...); got != 0 {
			t.Errorf("%s: exit status %d: %s", test.args, got, c.stderr.String())
			continue
		}
		if got, want := plain(c.config(t)), changed(test.want); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.args, got, want)
		}
		if c.configs[0].Token.Stdin != io.Reader(in) || c.configs[0].Version == "" {
			t.Errorf("%s: standard input or version is missing", test.args)
		}
	}
}

func TestEveryExampleIsAccepted(t *testing.T) {
	root := calling(t, nil).command()
	for _, command := range root.Commands() {
		for line := range strings.Lines(command.Example) {
			fields := strings.Fields(strings.ReplaceAll(line, "$HASH", strings.TrimPrefix(pin, "sha256:")))
			c := calling(t, nil)
			if got := c.do(fields[1:]...); fields[0] != "nodejoin" || got != 0 {
				t.Errorf("%s: exit status %d: %s", line, got, c.stderr.String())
			}
		}
	}
}

func TestKubeadmsVerbosityMeansDebug(t *testing.T) {
	for args, want := range map[string]bool{
		"--v=5": true, "-v 2": true, "-v5": true, "--v 1": false, "": false, "--v=5 --log-level warn": false,
	} {
		c := calling(t, nil)
		c.run = func(_ context.Context, config join.Config) (join.Report, error) {
			config.Observe(join.Event{Severity: join.Detail, Message: "[preflight] Running"})
			return report(join.Joined), nil
		}
		c.do(append([]string{"join"}, strings.Fields(args)...)...)
		if got := strings.Contains(c.stderr.String(), "[preflight]"); got != want {
			t.Errorf("%q: kubeadm's output in the log: %v, want %v", args, got, want)
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, test := range []struct {
		args string
		env  string
		want string // on standard error, the whole first line
		hint string
	}{
		{"join --bogus", "", "--bogus: no such flag", "`nodejoin join --help`"},
		{"join --token-fle /t", "", "--token-fle: no such flag", "did you mean --token-file?"},
		{"join --tokenfile=/t", "", "--tokenfile: no such flag", "did you mean --token-file?"},
		{"join --timout 5m", "", "--timout: no such flag", "did you mean --timeout?"},
		{"join -timeout 5m", "", "-t: no such flag", "did you mean --timeout?"},
		{"join --contol-plane", "", "--contol-plane: no such flag", "`nodejoin join --help`"},
		{"join --ca-cert-hash sha256:1", "", "--ca-cert-hash: no such flag", "did you mean --discovery-token-ca-cert-hash?"},
		{"join --rootfs /mnt", "", "--rootfs: no such flag", "this machine's own root"},
		{"join --hold=60", "", `--hold: "60" is not a duration`, "--hold=60s, or --hold=60m"},
		{"join -x", "", "-x: no such flag", "--help"},
		{"join a:1 b:2", "", "nodejoin join takes one argument, ENDPOINT; 2 given", "--help"},
		{"join a:1 --token", "", "--token: needs a value", ""},
		{"join --hold soon", "", `--hold: "soon" is not a duration such as 30s or 5m`, ""},
		{"join --timeout 60", "", `--timeout: "60" is not a duration such as 30s or 5m`, ""},
		{"join --max-deletions many", "", `--max-deletions: "many" is not a whole number`, ""},
		{"join --discovery-token-unsafe-skip-ca-verification=perhaps", "", `--discovery-token-unsafe-skip-ca-verification: "perhaps" is not true or false`, ""},
		{"join -o yaml", "", `--output: "yaml" is not text or json`, ""},
		{"join --log-format xml", "", `--log-format: "xml" is not auto, console or json`, ""},
		{"join --log-level loud", "", `--log-level: "loud" is not debug, info, warn or error`, ""},
		{"join --control-plane", "", "--control-plane: nodejoin joins workers only", "`kubeadm join` itself"},
		{"join --certificate-key " + strings.Repeat("5", 64), "", "--certificate-key: nodejoin joins workers only", ""},
		{"join --apiserver-advertise-address 1.2.3.4", "", "--apiserver-advertise-address: nodejoin joins workers only", ""},
		{"join --apiserver-bind-port 6443", "", "--apiserver-bind-port: nodejoin joins workers only", ""},
		{"join --experimental-control-plane", "", "--experimental-control-plane: nodejoin joins workers only", ""},
		{"join --discovery-file f --discovery-token " + token, "", "--discovery-token: cannot be used with --discovery-file", "--tls-bootstrap-token"},
		{"join", "NODEJOIN_HOLD=soon", `NODEJOIN_HOLD: "soon" is not a duration such as 30s or 5m`, ""},
		{"join", "NODEJOIN_OUTPUT=yaml", `NODEJOIN_OUTPUT: "yaml" is not text or json`, ""},
		{"join", "NODEJOIN_CONTROL_PLANE=true", "NODEJOIN_CONTROL_PLANE: nodejoin joins workers only", ""},
		{"join", "NODEJOIN_DRY_RUN=perhaps", "NODEJOIN_DRY_RUN: \"perhaps\" is not true or false", ""},
		{"check w1", "", "nodejoin check takes no arguments, 1 given", ""},
		{"check --hold 1s", "", "--hold: no such flag", "it is a flag of `nodejoin join`"},
		{"check --bogus", "", "--bogus: no such flag", "`nodejoin check --help`"},
		{"version now", "", "nodejoin version takes no arguments, 1 given", ""},
		{"joni", "", `"joni" is no command of nodejoin's`, "did you mean `nodejoin join`?"},
		{"10.0.0.1:6443 --token " + token, "", "--token: no such flag", "`nodejoin join`"},
		// A token in the wrong place is not shown either.
		{token, "", `"abcdef.<redacted>" is no command of nodejoin's`, ""},
		{"join --hold " + token, "", `--hold: "abcdef.<redacted>" is not a duration such as 30s or 5m`, ""},
		{"join --" + token, "", "--abcdef.<redacted>: no such flag", ""},
	} {
		c := calling(t, nil).with(test.env)
		if got := c.do(strings.Fields(test.args)...); got != 2 {
			t.Errorf("%s: exit status %d, want 2", test.args, got)
		}
		first, hint, _ := strings.Cut(c.stderr.String(), "\n")
		if !strings.HasPrefix(first, "nodejoin: "+test.want) || !strings.Contains(hint, test.hint) || hint == "" {
			t.Errorf("%s: got\n%s\nwant %q, %q", test.args, c.stderr.String(), test.want, test.hint)
		}
		if strings.Contains(c.stderr.String(), "0123456789abcdef") || strings.Contains(c.stderr.String(), "5555") {
			t.Errorf("%s: a secret is shown: %s", test.args, c.stderr.String())
		}
		if len(c.configs) > 0 || c.stdout.String() != "" {
			t.Errorf("%s: the library was called, or standard output got %q", test.args, c.stdout.String())
		}
	}
}

func TestMisuseIsAReportToo(t *testing.T) {
	for _, args := range []string{
		"join --bogus -o json", "join -o json --bogus", "join --bogus --output=json", "join -ojson --hold soon", "check --output json --bogus",
		"join -o json --control-plane",
	} {
		c := calling(t, nil)
		if got := c.do(strings.Fields(args)...); got != 2 {
			t.Errorf("%s: exit status %d", args, got)
		}
		rep := decode(t, c.stdout.String())
		if rep.Reason != join.Usage || *rep.ExitCode != 2 || rep.Hint == "" || rep.SchemaVersion != 1 || rep.FinishedAt == nil {
			t.Errorf("%s: %+v", args, rep)
		}
		if strings.Contains(c.stdout.String(), "null") {
			t.Errorf("%s: a list is null:\n%s", args, c.stdout.String())
		}
	}
	c := calling(t, nil).with("NODEJOIN_OUTPUT=json", "NODEJOIN_HOLD=soon")
	c.do("join")
	wantText(t, "the report", decode(t, c.stdout.String()).Message, "NODEJOIN_HOLD: ")
}

func TestAloneItPrintsHelp(t *testing.T) {
	c := calling(t, nil)
	if got := c.do(); got != 0 {
		t.Errorf("exit status %d", got)
	}
	wantText(t, "help", c.stdout.String(), "join ", "check ", "version ", "completion ")
}

func TestCompletionOffersFilesWhereAFileIsMeantOnly(t *testing.T) {
	for args, want := range map[string]string{
		"join --token-file": ":0", "join --config": ":0", "check --status-file": ":0", "join --patches": ":16",
		"join --hold": ":4", "join --node-name": ":4", "join --token": ":4", "join": ":4", "check": ":4", "version": ":4", "check --timeout": ":4",
	} {
		c := calling(t, nil)
		c.do(append(append([]string{"__complete"}, strings.Fields(args)...), "")...)
		if lines := strings.Fields(c.stdout.String()); len(lines) == 0 || lines[len(lines)-1] != want {
			t.Errorf("%s: directive %q, want %s", args, c.stdout.String(), want)
		}
	}
}

func TestCompletionKnowsTheChoices(t *testing.T) {
	for _, flag := range []string{"--until", "--reset", "--output", "--log-format", "--log-level", "--node-name-from", "--provider-id"} {
		c := calling(t, nil)
		c.do("__complete", "join", flag, "")
		for _, word := range choices[strings.TrimPrefix(flag, "--")] {
			if !slices.Contains(strings.Split(c.stdout.String(), "\n"), word) {
				t.Errorf("%s: %q is not offered: %s", flag, word, c.stdout.String())
			}
		}
	}
	c := calling(t, nil)
	c.do("__complete", "join", "--")
	if out := c.stdout.String(); !strings.Contains(out, "--token") || strings.Contains(out, "--control-plane") {
		t.Errorf("flags that are offered:\n%s", out)
	}
}
