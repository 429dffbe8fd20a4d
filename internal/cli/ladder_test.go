package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/pkg/join"
)

func TestAllOfACheckTakesJoinsFlags(t *testing.T) {
	ladder := func(context.Context, join.Config) (join.Report, error) {
		rep := report(join.NotMember)
		rep.Check = &join.Checked{Unseen: []string{}, Rungs: []join.Rung{
			{Name: "dial", State: join.Well, Message: "port 6443 is open"},
			{Name: "pin", State: join.Unseen, Message: "none was given"},
			{Name: "mounts", State: join.Wrong, Message: "not mounted yet", Hint: "mount it"},
		}}
		return rep, &join.Error{Reason: join.NotMember, Message: "no member"}
	}
	c := calling(t, ladder)
	if got := c.do("check", "--all", "cp:6443", "--token", token, "--discovery-token-ca-cert-hash", pin, "--cri-socket", "/s"); got != 20 {
		t.Errorf("exit status %d", got)
	}
	config := c.config(t)
	if !config.All || config.Endpoint != "cp:6443" || config.Token.Value != token || config.CACertHashes[0] != pin || config.CRISocket != "/s" || config.Hold != 0 {
		t.Errorf("%+v", config)
	}
	wantText(t, "text", c.stdout.String(), "  dial         ok             port 6443 is open\n", "  pin          could not see  none was given\n",
		"  mounts       NO             not mounted yet\n", "do: mount it")
	c = calling(t, ladder)
	c.do("check", "--all", "-o", "json")
	wantText(t, "JSON", c.stdout.String(), `"name": "mounts"`, `"state": "wrong"`, `"message": "not mounted yet"`, `"hint": "mount it"`)

	c = calling(t, ladder).with("NODEJOIN_ENDPOINT=cp:6443", "NODEJOIN_TOKEN="+token, "NODEJOIN_TIMEOUT=1h", "NODEJOIN_ALL=1")
	c.do("check", "--all")
	if config := c.config(t); config.Endpoint != "cp:6443" || config.Token.Value != token || config.Timeout > 1e11 {
		t.Errorf("from the environment %+v", config)
	}
	c = calling(t, nil).with("NODEJOIN_ENDPOINT=cp:6443", "NODEJOIN_TOKEN="+token, "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH="+pin)
	c.do("check")
	if config := c.config(t); config.All || config.Endpoint != "" || config.Token.Value != "" || len(config.CACertHashes) > 0 {
		t.Errorf("without --all %+v", config)
	}
	for _, line := range []string{"check cp:6443", "check --token " + token, "check --all a:1 b:1"} {
		c := calling(t, nil)
		if got := c.do(strings.Fields(line)...); got != 2 || len(c.configs) > 0 || strings.Contains(c.stderr.String(), token) {
			t.Errorf("%s: exit status %d, %s", line, got, c.stderr.String())
		}
	}
}
