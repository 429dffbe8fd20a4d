package e2e

import (
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// Exit status 3 is final for the unit: it is given at once where cloud-init waits for us and can mend nothing meanwhile, and
// not for what cloud-init has yet to install.
func TestUnitWaitsForWhatCloudInitInstallsUnlessCloudInitWaitsForIt(t *testing.T) {
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	s.startCluster()
	s.must(s.node.Install("../../internal/dist/nodejoin.service", "/etc/systemd/system/nodejoin.service", 0o644))
	env := []string{"NODEJOIN_ENDPOINT=" + s.cp.Endpoint(), "NODEJOIN_DISCOVERY_TOKEN_CA_CERT_HASH=" + s.cp.CAHash(), "NODEJOIN_UNTIL=ready"}
	for _, arg := range testbed.PreflightArgs() {
		env = append(env, "NODEJOIN_IGNORE_PREFLIGHT_ERRORS="+strings.TrimPrefix(arg, "--ignore-preflight-errors="))
	}
	s.must(s.node.SetUserData(`#!/bin/sh
set -eu
umask 077
mkdir -p /etc/nodejoin
cat >/etc/nodejoin/nodejoin.env <<'END'
` + strings.Join(env, "\n") + `
END
echo ` + s.token + ` >/etc/nodejoin/token
kubeadm=$(command -v kubeadm)
mv "$kubeadm" "$kubeadm.away"
! systemctl start nodejoin
systemctl show nodejoin --value -p ExecMainStatus >/root/waiting
systemctl start --no-block nodejoin
until systemctl show nodejoin --value -p StatusText | tee /root/mending | grep cloud-init; do sleep 1; done
sleep 10
systemctl show nodejoin --value -p ActiveState >>/root/mending
mv "$kubeadm.away" "$kubeadm"
`))
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.cloudInitIsDone()
	s.member(s.ended(0, "Joined").counts(1, 0, 0, 0))
	waiting, err := s.node.ReadFile("/root/waiting")
	if err != nil || strings.TrimSpace(string(waiting)) != "3" {
		t.Errorf("while cloud-init waited the unit ended with %q, %v", waiting, err)
	}
	mending, err := s.node.ReadFile("/root/mending")
	if text := string(mending); err != nil || !strings.HasSuffix(text, "\nactivating\n") {
		t.Errorf("while cloud-init was at work the unit was %q, %v", text, err)
	}
}
