package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func TestFilesHaveTheirModesWhateverTheUmask(t *testing.T) {
	s := tellLive(t, ready())
	for name, umask := range map[string]string{"open": "000", "closed": "077"} {
		n := s.newNode(name, ready())
		args := append([]string{"sh", "-c", `umask ` + umask + `; exec "$@"`, "sh"}, s.args("--hold", "5s")...)
		s.start(n, args...).end().is(0, "Joined")
		for path, mode := range map[string]os.FileMode{
			"/run/nodejoin": os.ModeDir | 0o755, "/run/nodejoin/lock": 0o600, "/run/nodejoin/status.json": 0o644,
		} {
			info, err := os.Lstat(n.Path(path))
			s.must(err)
			if stat, ok := info.Sys().(*syscall.Stat_t); info.Mode() != mode || !ok || stat.Uid != 0 || stat.Gid != 0 {
				t.Errorf("umask %s: %s is %s %d:%d, wanted %s of root", umask, path, info.Mode(), stat.Uid, stat.Gid, mode)
			}
		}
		entries, err := os.ReadDir(n.Path("/run/nodejoin"))
		s.must(err)
		if len(entries) != 2 {
			t.Errorf("left behind: %v", entries)
		}
	}
}

// Whoever can plant a link must not make root write through it.
func TestLinksPlantedWhereNodejoinWritesAreNotFollowed(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	const precious = "/etc/precious"
	for link, want := range map[string]struct {
		code int // 6: it went on to look for the API server
		says string
	}{
		"/run/nodejoin/status.json":                             {6, "is not a regular file"},
		"/run/nodejoin/.status.json.new":                        {6, ""},
		"/run/nodejoin/nodejoin-secret-AAAAAAAAAAAAAAAAAAAAAAA": {6, ""},
		"/run/nodejoin/lock":                                    {3, "the lock in /run/nodejoin cannot be taken"},
	} {
		s.must(s.node.WriteFile(precious, "precious\n", 0o640))
		s.must(os.RemoveAll(s.node.Path("/run/nodejoin")))
		s.must(os.Mkdir(s.node.Path("/run/nodejoin"), 0o755))
		s.must(os.Symlink(precious, s.node.Path(link)))
		code, said := s.runs(s.node, s.args("--timeout", "3s", "--hold", "1s")...)
		if code != want.code || !strings.Contains(said, want.says) {
			t.Errorf("%s: exit %d, wanted %d and %q\n%s", link, code, want.code, want.says, said)
		}
		s.unharmed(link, precious)
	}

	t.Log("a pipe in the lock's place hangs nobody")
	s.must(os.RemoveAll(s.node.Path("/run/nodejoin")))
	s.must(os.Mkdir(s.node.Path("/run/nodejoin"), 0o755))
	s.must(syscall.Mkfifo(s.node.Path("/run/nodejoin/lock"), 0o600))
	if code, said := s.runs(s.node, s.args("--timeout", "3s", "--hold", "1s")...); code != 6 && code != 3 {
		t.Errorf("exit %d\n%s", code, said)
	}
}

// Where others can write, they could swap what nodejoin has written.
func TestRuntimeFolderOfOthersIsRefused(t *testing.T) {
	s := tell(t, ready())
	s.token = testbed.NewToken()
	for name, prepare := range map[string]func(dir string) error{
		"a link":                    func(dir string) error { return os.Symlink("/srv", dir) },
		"writable for all":          func(dir string) error { return mkdir(dir, 0o777, 0) },
		"writable for the group":    func(dir string) error { return mkdir(dir, 0o775, 0) },
		"somebody else's":           func(dir string) error { return mkdir(dir, 0o755, 65534) },
		"a file":                    func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"a link that leads nowhere": func(dir string) error { return os.Symlink("/srv/nowhere", dir) },
	} {
		dir := s.node.Path("/run/nodejoin")
		s.must(os.RemoveAll(dir))
		s.must(prepare(dir))
		if code, said := s.runs(s.node, s.args("--timeout", "3s", "--hold", "1s")...); code != 3 || !strings.Contains(said, "/run/nodejoin") {
			t.Errorf("%s: exit %d, wanted 3\n%s", name, code, said)
		}
		for _, folder := range []string{"/run/nodejoin", "/srv"} {
			for _, file := range []string{"lock", "nodejoin-secret-*"} {
				if found, _ := filepath.Glob(s.node.Path(folder + "/" + file)); len(found) > 0 {
					t.Errorf("%s: written: %v", name, found)
				}
			}
		}
		s.must(os.RemoveAll(s.node.Path("/srv/status.json")))
	}
}

func mkdir(dir string, mode os.FileMode, uid int) error {
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	if err := os.Chown(dir, uid, 0); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// What a token command prints may be an error page, or a token with words around it: none of it is repeated.
func TestTokenCommandThatPrintsJunkIsWaitedForUnheard(t *testing.T) {
	s := tellLive(t, ready())
	s.source(s.node, "/root/secret", s.token+"\n", 0o600)
	for name, command := range map[string]string{
		"words around it": `echo "Your token: $(cat /root/secret)"`,
		"two of them":     "cat /root/secret /root/secret",
		"torn":            "cut -c 1-20 /root/secret",
		"nothing":         ":",
		"an error page":   `echo "<html>$(cat /root/secret)</html>"`,
		"no text at all":  "head -c 4096 /dev/urandom",
	} {
		t.Log(name)
		e := s.join(s.argsWithout("--token-command", command, "--timeout", "3s", "--hold", "1s")...).is(5, "TokenRejected").counts(0, 0, 0, 0).says("--token-command")
		if strings.Contains(e.stderr+e.report.Message, s.token[:20]) {
			t.Errorf("%s: most of the token is repeated", name)
		}
	}

	t.Log("a failure that tells the token")
	s.join(s.argsWithout("--token-command", `echo "denied for $(cat /root/secret)" >&2; exit 4`, "--timeout", "5s", "--hold", "1s")...).
		is(5, "TokenRejected").counts(0, 0, 0, 0).says("denied for", "exit status 4")
}

// A parameter that the control plane fills holds a word until then, and a file may come with cloud-init's last step.
func TestTokenThatComesLateIsWaitedFor(t *testing.T) {
	s := tellLive(t, ready())
	for name, late := range map[string][]string{
		"file":    {"--token-file", "/root/late"},
		"command": {"--token-command", "cat /root/late 2>/dev/null || echo placeholder"},
	} {
		node := s.node
		if name == "command" {
			node = s.newNode("w2", testbed.NodeOptions{})
		}
		p := s.start(node, s.argsWithout(append(late, "--hold", "5s")...)...)
		word := "no such file"
		if name == "command" {
			word = `"placeholder"`
		}
		s.must(p.Stderr.WaitFor(s.ctx, word))
		if name == "file" {
			s.must(node.WriteFile("/root/late", "", 0o600))
			s.must(p.Stderr.WaitFor(s.ctx, "is empty"))
		}
		s.source(node, "/root/late", s.token+"\n", 0o600)
		p.end().is(0, "Joined").counts(1, 0, 0, 0)
	}
}

func TestTokenCommandThatPrintsJunkLaterIsTriedAgain(t *testing.T) {
	s := tellLive(t, ready())
	good := s.token
	s.source(s.node, "/root/secret", testbed.NewToken()+"\n", 0o600)
	p := s.start(s.node, s.argsWithout("--token-command", "cat /root/secret", "--hold", "5s")...)
	s.must(p.Stderr.WaitFor(s.ctx, "does not take our token"))
	s.must(s.node.WriteFile("/root/secret", "upgrading, please wait\n", 0o600))
	s.must(p.Stderr.WaitFor(s.ctx, "trying again every 10 s"))
	s.source(s.node, "/root/secret", good+"\n", 0o600)
	s.member(p.end().is(0, "Joined").counts(1, 0, 0, 0))
	if p.Stderr.Contains("upgrading, please wait") {
		t.Error("the junk is repeated")
	}
}

// runs runs nodejoin where there may be no status file to read.
func (s *story) runs(n *testbed.Node, args ...string) (code int, said string) {
	s.Helper()
	p := s.start(n, args...)
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		_ = p.Signal(syscall.SIGKILL)
		s.Errorf("%q hangs", args)
	}
	exit := p.Wait()
	return exit.Code, p.Stdout.String() + p.Stderr.String()
}

func (s *story) unharmed(link, precious string) {
	s.Helper()
	raw, err := s.node.ReadFile(precious)
	s.must(err)
	info, err := os.Stat(s.node.Path(precious))
	s.must(err)
	if string(raw) != "precious\n" || info.Mode().Perm() != 0o640 {
		s.Errorf("through %s: %s is now %s %q", link, precious, info.Mode(), raw)
	}
}

// A member needs none of the files that its join needed: user data and cloud-init's writes are often gone by the next boot.
func TestMemberNeedsNoConfigOnceItIsIn(t *testing.T) {
	s := tellLive(t, ready())
	const config, node = "/root/join.yaml", "named-in-a-file"
	args := slices.Concat([]string{"nodejoin", "join", "--config", config, "--hold", "5s"}, testbed.PreflightArgs())
	s.source(s.node, config, `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
nodeRegistration: {name: `+node+`}
discovery: {bootstrapToken: {apiServerEndpoint: "`+s.cp.Endpoint()+`", token: `+s.token+`, caCertHashes: ["`+s.cp.CAHash()+`"]}}
`, 0o600)
	s.join(args...).is(0, "Joined").counts(1, 0, 0, 0)
	s.must(os.Remove(s.node.Path(config)))
	kubelet := s.mainPID(s.node)
	if e := s.join(args...).is(0, "AlreadyJoined").counts(0, 0, 0, 0); e.report.Node.Name != node || len(e.report.ownWarnings()) > 0 {
		t.Errorf("Node %q, warnings %q", e.report.Node.Name, e.report.Warnings)
	}
	if code, said := s.runs(s.node, append(args, "--dry-run")...); code != 0 || !strings.Contains(said, "AlreadyJoined") {
		t.Errorf("exit %d: %s", code, said)
	}
	discovery := slices.Concat([]string{"nodejoin", "join", "--discovery-file", "/root/none", "--node-name", node}, testbed.PreflightArgs())
	s.join(discovery...).is(0, "AlreadyJoined").counts(0, 0, 0, 0)
	if now := s.mainPID(s.node); now != kubelet {
		t.Errorf("the kubelet is process %d, before it was %d", now, kubelet)
	}

	t.Log("its Node is deleted: a restart of the kubelet needs no file")
	s.must(s.cp.DeleteNode(s.ctx, node))
	s.join(args...).is(0, "Recovered").counts(0, 0, 1, 0)

	t.Log("what needs one names it, and touches nothing")
	s.join(append(args, "--reset=always")...).is(2, "Usage").counts(0, 0, 0, 0).says("--config", config)
	if got := s.nodeNamed(node); got.DeletionTimestamp != nil {
		t.Errorf("Node %+v", got)
	}
	code, said := s.runs(s.newNode("w2", ready()), args...)
	if code != 2 || !strings.Contains(said, "--config: open "+config) {
		t.Errorf("exit %d: %s", code, said)
	}
}
