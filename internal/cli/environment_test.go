package cli

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestTheEnvironmentSpeaksWhereTheFlagsAreSilent(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		args string
		want func(*join.Config)
	}{
		"a variable sets a flag": {[]string{"NODEJOIN_HOLD=5s"}, "", func(c *join.Config) { c.Hold = 5 * time.Second }},
		"a flag wins":            {[]string{"NODEJOIN_HOLD=5s"}, "--hold 7s", func(c *join.Config) { c.Hold = 7 * time.Second }},
		"a flag wins even where it says the default": {
			[]string{"NODEJOIN_HOLD=5s"}, "--hold 60s", func(*join.Config) {},
		},
		"a flag wins over a malformed variable": {[]string{"NODEJOIN_HOLD=soon"}, "--hold 7s", func(c *join.Config) { c.Hold = 7 * time.Second }},
		"an empty variable is not set":          {[]string{"NODEJOIN_HOLD=", "NODEJOIN_TOKEN=", "NODEJOIN_ENDPOINT="}, "", func(*join.Config) {}},
		"a list":                                {[]string{"NODEJOIN_IGNORE_PREFLIGHT_ERRORS=Swap,CRI"}, "", func(c *join.Config) { c.IgnorePreflightErrors = []string{"Swap", "CRI"} }},
		"a flag's list replaces the variable's": {
			[]string{"NODEJOIN_SKIP_PHASES=a"}, "--skip-phases b", func(c *join.Config) { c.SkipPhases = []string{"b"} },
		},
		"kubeadm's flags": {
			[]string{"NODEJOIN_ENDPOINT=a:1", "NODEJOIN_TOKEN=" + token, "NODEJOIN_NODE_NAME=w1", "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH=" + pin}, "",
			func(c *join.Config) {
				c.Endpoint, c.Token.Value, c.NodeName, c.CACertHashes = "a:1", token, "w1", []string{pin}
			},
		},
		"what the Node is registered with": {
			[]string{"NODEJOIN_KUBELET_EXTRA_ARG=cloud-provider=external  feature-gates=A=true,B=true", "NODEJOIN_NODE_LABEL=a=b,c=d",
				"NODEJOIN_TAINT=a=b:NoSchedule,c:NoExecute", "NODEJOIN_NODE_NAME_FROM=ec2", "NODEJOIN_PROVIDER_ID=auto"}, "",
			func(c *join.Config) {
				c.KubeletExtraArgs = []string{"cloud-provider=external", "feature-gates=A=true,B=true"}
				c.NodeLabels, c.Taints = []string{"a=b", "c=d"}, []string{"a=b:NoSchedule", "c:NoExecute"}
				c.NodeNameFrom, c.ProviderID = join.FromEC2, join.ProviderIDAuto
			},
		},
		"the argument wins":      {[]string{"NODEJOIN_ENDPOINT=a:1"}, "b:2", func(c *join.Config) { c.Endpoint = "b:2" }},
		"a flag's token":         {[]string{"NODEJOIN_TOKEN_FILE=/f", "NODEJOIN_TOKEN_COMMAND=c"}, "--token " + token, func(c *join.Config) { c.Token.Value = token }},
		"a flag's token file":    {[]string{"NODEJOIN_TOKEN=" + token, "NODEJOIN_DISCOVERY_TOKEN=" + other}, "--token-file /f", func(c *join.Config) { c.Token.File = "/f" }},
		"a flag's token command": {[]string{"NODEJOIN_TOKEN=" + token, "NODEJOIN_TOKEN_FILE=/f"}, "--token-command c", func(c *join.Config) { c.Token.Command = "c" }},
		"a flag's discovery token": {
			[]string{"NODEJOIN_TOKEN=" + other, "NODEJOIN_TOKEN_FILE=/f"}, "--discovery-token " + token, func(c *join.Config) { c.Token.Value = token },
		},
		"the token for TLS bootstrap is not of that group": {
			[]string{"NODEJOIN_TLS_BOOTSTRAP_TOKEN=" + other}, "--token " + token, func(c *join.Config) { c.Token.Value, c.TLSBootstrapToken = token, other },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := calling(t, nil).with(test.env...)
			if got := c.do(append([]string{"join"}, strings.Fields(test.args)...)...); got != 0 {
				t.Fatalf("exit status %d: %s", got, c.stderr.String())
			}
			if got, want := plain(c.config(t)), changed(test.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestTheTokenIsTakenOutOfTheEnvironment(t *testing.T) {
	for _, args := range []string{"join", "check", "version", "join --bogus"} {
		c := calling(t, nil).with("NODEJOIN_TOKEN=" + token)
		c.do(strings.Fields(args)...)
		for _, name := range []string{"NODEJOIN_TOKEN", "NODEJOIN_DISCOVERY_TOKEN", "NODEJOIN_TLS_BOOTSTRAP_TOKEN"} {
			if !slices.Contains(c.removed, name) {
				t.Errorf("%s: %s stays", args, name)
			}
		}
	}
}

func TestATypoInAVariableIsAWarning(t *testing.T) {
	for _, args := range []string{"join", "check"} {
		c := calling(t, nil).with("NODEJOIN_TOKN="+token, "NODEJOIN_HOLD=5s", "NODEJOIN_V=1", "OTHER=1")
		if got := c.do(args); got != 0 {
			t.Errorf("%s: exit status %d", args, got)
		}
		wantText(t, "standard error", c.stderr.String(), "WARN", "NODEJOIN_TOKN is no setting of nodejoin's")
		if n := strings.Count(c.stderr.String(), "no setting"); n != 1 || strings.Contains(c.stderr.String(), token) {
			t.Errorf("%s: %d warnings, or the token is shown:\n%s", args, n, c.stderr.String())
		}
	}
}

func TestJoinsTimeoutIsNotChecks(t *testing.T) {
	c := calling(t, nil).with("NODEJOIN_TIMEOUT=30m", "NODEJOIN_NODE_NAME=w1", "NODEJOIN_STATUS_FILE=/x")
	c.do("check")
	if got := c.config(t); got.Timeout != 10*time.Second || got.NodeName != "w1" || got.Hold != 0 {
		t.Errorf("got %+v", got)
	}
	c = calling(t, nil)
	c.do("check", "--timeout", "3s")
	if got := c.config(t).Timeout; got != 3*time.Second {
		t.Errorf("--timeout 3s gives %s", got)
	}
}

func TestAnErrorNamesWhatTheUserWrote(t *testing.T) {
	for _, test := range []struct {
		env, args, says, want string
	}{
		{"NODEJOIN_HOLD=2h", "", "--hold: 2h0m0s is longer than --timeout 30m0s", "NODEJOIN_HOLD: 2h0m0s is longer than --timeout 30m0s"},
		{"NODEJOIN_TIMEOUT=1m", "--hold 2m", "--hold: 2m0s is longer than --timeout 1m0s", "--hold: 2m0s is longer than NODEJOIN_TIMEOUT 1m0s"},
		{"NODEJOIN_ENDPOINT=a", "", `ENDPOINT: "a" has no port`, `NODEJOIN_ENDPOINT: "a" has no port`},
		{"NODEJOIN_ENDPOINT=a", "b", `ENDPOINT: "b" has no port`, `ENDPOINT: "b" has no port`},
		{"NODEJOIN_TOKEN=abc", "", "--token: is not a bootstrap token", "NODEJOIN_TOKEN: is not a bootstrap token"},
		{"", "--discovery-token abc", "--token: is not a bootstrap token", "--discovery-token: is not a bootstrap token"},
		{"NODEJOIN_DISCOVERY_TOKEN=abc", "", "--token: is not a bootstrap token", "NODEJOIN_DISCOVERY_TOKEN: is not a bootstrap token"},
		{"", "--discovery-token " + token + " --token abc", "--tls-bootstrap-token: is malformed", "--token: is malformed"},
		{"NODEJOIN_TOKEN=abc", "", "--token-file: is odd", "--token-file: is odd"},
		{"", "--token zzzzzzzz.malformed", `ENDPOINT: "zzzzzzzz.malformed" is odd`, `ENDPOINT: "<redacted>" is odd`},
	} {
		c := calling(t, func(context.Context, join.Config) (join.Report, error) {
			return join.Report{}, &join.Error{Reason: join.Usage, Message: test.says}
		}).with(test.env)
		if got := c.do(append([]string{"join"}, strings.Fields(test.args)...)...); got != 2 {
			t.Errorf("%s: exit status %d", test.says, got)
		}
		if want := "nodejoin: " + test.want + "\n`nodejoin join --help` explains the flags\n"; c.stderr.String() != want {
			t.Errorf("%s %s: got %q, want %q", test.env, test.args, c.stderr.String(), want)
		}
	}
}
