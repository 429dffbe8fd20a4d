package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestBadInputIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	pin := s.cp.CAHash()
	good := []string{"10.77.0.2:6443", "--token", s.token, "--discovery-token-ca-cert-hash", pin}
	config := func(name, text string) string {
		s.source(s.node, "/root/"+name, text, 0o600)
		return "/root/" + name
	}
	const v1beta4 = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n"
	discovery := "discovery: {bootstrapToken: {apiServerEndpoint: '10.77.0.2:6443', token: " + s.token + ", caCertHashes: ['" + pin + "']}}\n"
	s.source(s.node, "/root/token", s.token, 0o600)

	for name, c := range map[string]struct {
		args []string
		env  []string
		code int
		says []string
	}{
		"no endpoint":                  {args: good[1:], code: 2, says: []string{"ENDPOINT"}},
		"two endpoints":                {args: append([]string{"other:6443"}, good...), code: 2, says: []string{"ENDPOINT"}},
		"endpoint with a scheme":       {args: append([]string{"https://10.77.0.2:6443"}, good[1:]...), code: 2, says: []string{"ENDPOINT", "https"}},
		"endpoint without port":        {args: append([]string{"10.77.0.2"}, good[1:]...), code: 2, says: []string{"ENDPOINT", "port"}},
		"malformed token":              {args: []string{good[0], "--token", "abcdef.0123", good[3], good[4]}, code: 2, says: []string{"--token"}},
		"no token":                     {args: []string{good[0], good[3], good[4]}, code: 2, says: []string{"--token"}},
		"two sources of tokens":        {args: append(good, "--token-file", "/root/token"), code: 2, says: []string{"--token-file"}},
		"token file is a folder":       {args: []string{good[0], good[3], good[4], "--token-file", "/root"}, code: 2, says: []string{"--token-file"}},
		"malformed pin":                {args: []string{good[0], good[1], good[2], good[3], "sha256:12"}, code: 2, says: []string{"--discovery-token-ca-cert-hash"}},
		"no pin":                       {args: good[:3], code: 2, says: []string{"--discovery-token-ca-cert-hash", "--discovery-token-unsafe-skip-ca-verification"}},
		"unknown flag":                 {args: append(good, "--tokn", "x"), code: 2, says: []string{"--tokn"}},
		"control plane":                {args: append(good, "--control-plane"), code: 2, says: []string{"--control-plane", "workers"}},
		"bad level":                    {args: append(good, "--until", "perfect"), code: 2, says: []string{"--until", "initialized"}},
		"bad duration":                 {args: append(good, "--hold", "soon"), code: 2, says: []string{"hold"}},
		"hold beyond timeout":          {args: append(good, "--hold", "2m", "--timeout", "1m"), code: 2, says: []string{"--hold", "--timeout"}},
		"bad reset mode":               {args: append(good, "--reset", "maybe"), code: 2, says: []string{"--reset"}},
		"bad output":                   {args: append(good, "-o", "xml"), code: 2, says: []string{"output"}},
		"bad log level":                {args: append(good, "--log-level", "loud"), code: 2, says: []string{"log-level"}},
		"bad node name":                {args: append(good, "--node-name", "under_score"), code: 2, says: []string{"--node-name"}},
		"bad value in the environment": {args: good, env: []string{"NODEJOIN_HOLD=soon"}, code: 2, says: []string{"NODEJOIN_HOLD"}},
		"discovery file and endpoint":  {args: append(good, "--discovery-file", "/root/token"), code: 2, says: []string{"--discovery-file"}},
		"no such discovery file":       {args: []string{"--discovery-file", "/root/none", "--token", s.token}, code: 2, says: []string{"--discovery-file", "/root/none"}},
		"no such config file":          {args: []string{"--config", "/root/none"}, code: 2, says: []string{"--config", "/root/none"}},
		"config and endpoint":          {args: []string{"10.77.0.2:6443", "--config", config("ok.yaml", v1beta4+discovery)}, code: 2, says: []string{"ENDPOINT", "--config"}},
		"node name that is too long":   {args: append(good, "--node-name", strings.Repeat("n", 64)), code: 2, says: []string{"--node-name", "64 characters"}},
		"config and other flags":       {args: []string{"--config", "/root/ok.yaml", "--cri-socket", "unix:///x"}, code: 2, says: []string{"--config", "--node-name"}},
		"config of old": {args: []string{"--config", config("old.yaml", strings.Replace(v1beta4, "v1beta4", "v1beta3", 1)+discovery)},
			code: 2, says: []string{"old.yaml", "kubeadm config migrate"}},
		"config without join":       {args: []string{"--config", config("init.yaml", "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n")}, code: 2, says: []string{"JoinConfiguration"}},
		"config of a control plane": {args: []string{"--config", config("cp.yaml", v1beta4+discovery+"controlPlane: {}\n")}, code: 2, says: []string{"controlPlane"}},
		"config with a bad token":   {args: []string{"--config", config("token.yaml", v1beta4+strings.Replace(discovery, s.token, "abc.def", 1))}, code: 2, says: []string{"token"}},
		"config that is no YAML":    {args: []string{"--config", config("torn.yaml", v1beta4+"discovery: {")}, code: 2, says: []string{"torn.yaml"}},
		"no such kubeadm":           {args: append(good, "--kubeadm", "/root/none"), code: 3, says: []string{"--kubeadm", "/root/none"}},
		"kubeadm that may not run":  {args: append(good, "--kubeadm", "/root/token"), code: 3, says: []string{"--kubeadm"}},
		"not root":                  {args: append([]string{"AS-NOBODY"}, good...), code: 3, says: []string{"root"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			args := append([]string{"nodejoin", "join"}, c.args...)
			if c.args[0] == "AS-NOBODY" {
				args = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "nodejoin", "join"}, c.args[1:]...)
			}
			_ = os.Remove(s.node.Path("/run/nodejoin/status.json"))
			before := s.disk()
			if !strings.Contains(strings.Join(args, " "), "--timeout") {
				args = append(args, "--timeout", "70s")
			}
			e := s.startAs(s.node, testbed.Command{Args: args, Env: c.env}).end().is(c.code, "Usage", "HostUnfit").says(c.says...)
			if after := s.disk(); after != before {
				t.Errorf("touched: before\n%safter\n%s", before, after)
			}
			if e.code == 2 && s.node.Exists("/run/nodejoin/status.json") {
				t.Error("a usage error wrote the status file")
			}
		})
	}
	if n := s.node.KubeadmCount("join") + s.node.KubeadmCount("reset"); n != 0 {
		t.Errorf("kubeadm join or reset ran %d times", n)
	}
}

// disk lists what a join or a reset would change.
func (s *story) disk() string {
	var list strings.Builder
	for _, folder := range []string{"/etc/kubernetes", "/var/lib/kubelet"} {
		_ = filepath.WalkDir(s.node.Path(folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil {
				if info, err := d.Info(); err == nil {
					list.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + "\n")
				}
			}
			return nil
		})
	}
	return list.String()
}
