package e2e

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// A hint that does not work is worse than none: every command that nodejoin's messages print is run, on the member or by the
// cluster's administrator, as it is printed and with real names in the place of made-up ones.
func TestCommandsThatNodejoinPrintsWork(t *testing.T) {
	printed := printedCommands(t)
	for command := range printed {
		if _, known := printedOnes[command]; !known {
			t.Errorf("%s prints `%s`, and nothing here runs it", printed[command], command)
		}
	}
	for command := range printedOnes {
		if printed[command] == "" {
			t.Errorf("nothing prints `%s` any more", command)
		}
	}
	if t.Failed() {
		return
	}
	s := tellBooted(t, testbed.BootedOptions{CNI: true})
	s.startCluster()
	s.must(s.node.Boot(s.ctx))
	s.must(s.node.WaitBoot(s.ctx))
	s.run(s.args("--until", "ready")...).is(0, "Joined")
	config, err := s.node.Run(s.ctx, "kubeadm", "config", "print", "join-defaults")
	s.must(err)
	s.must(s.node.WriteFile("/root/OLD", config, 0o600))
	s.must(s.node.WriteFile("/root/file", "", 0o644))
	csrs, err := s.cp.CSRs(s.ctx)
	s.must(err)
	names := strings.NewReplacer("%NODE", "b1", "%CSR", csrs[0].Name)
	for _, command := range slices.Sorted(maps.Keys(printedOnes)) {
		p := printedOnes[command]
		run := names.Replace(p.run)
		if run == "" {
			run = command
		}
		var machine interface {
			Start(ctx context.Context, cmd testbed.Command) (*testbed.Proc, error)
		} = s.node
		cmd := testbed.Command{Args: []string{"sh", "-c", run}}
		switch p.where {
		case elsewhere:
			continue
		case onControlPlane:
			machine, cmd.Env = s.cp.Machine, []string{"KUBECONFIG=/etc/kubernetes/admin.conf"}
		}
		proc, err := machine.Start(s.ctx, cmd)
		s.must(err)
		if exit := proc.Wait(); exit.Code != 0 {
			t.Errorf("%s ends with %d\n%s%s", run, exit.Code, proc.Stdout, proc.Stderr)
		}
	}
}

// printedOne is a command that is printed, and how it is run: as it stands if run is empty.
type printedOne struct {
	where where
	run   string
}

type where int

const (
	onNode where = iota
	onControlPlane
	elsewhere
)

var printedOnes = map[string]printedOne{
	"chmod 600":                     {onNode, "chmod 600 /root/file"},
	"date -u":                       {},
	"df -h %s":                      {onNode, "df -h /run/nodejoin"},
	"df -i %s":                      {onNode, "df -i /run/nodejoin"},
	"hostname -f":                   {},
	"hostnamectl set-hostname NAME": {onNode, "hostnamectl set-hostname %NODE"},
	"timedatectl":                   {},
	"sysctl -w %s=1":                {onControlPlane, "sysctl -w net.ipv4.ip_forward=1"},
	"journalctl -u kubelet":         {},
	"kill -CONT %d":                 {onNode, "kill -CONT $(systemctl show -P MainPID kubelet)"},
	"systemctl enable kubelet":      {},
	"systemctl unmask kubelet":      {},
	"systemctl restart kubelet":     {},
	"systemctl start kubelet":       {},
	"systemctl status kubelet":      {},

	"hostnamectl set-hostname":      {onNode, "hostnamectl set-hostname %NODE"},
	"ss -ltnp":                      {},
	"ss -ltnp sport = :%d":          {onNode, "ss -ltnp sport = :10250"},
	"systemctl cat kubelet":         {},
	"systemctl status containerd":   {},
	"systemctl stop nodejoin":       {where: elsewhere}, // of the package
	"rc-service kubelet restart":    {where: elsewhere}, // OpenRC, as the others of its kind
	"rc-service kubelet start":      {where: elsewhere},
	"rc-service kubelet status":     {where: elsewhere},
	"rc-update add kubelet default": {where: elsewhere},
	"tail %s":                       {onNode, "tail /root/file"},

	"nodejoin join --bring-back": {onNode, "nodejoin join --bring-back --help"},
	"nodejoin check":             {},
	"nodejoin check --help":      {},
	"nodejoin join --help":       {},
	"nodejoin %s":                {onNode, "nodejoin version"},
	"%s --help":                  {onNode, "nodejoin --help"},

	"kubeadm config migrate --old-config OLD --new-config NEW": {},
	"kubeadm config print join-defaults":                       {},
	"kubeadm init phase bootstrap-token":                       {where: onControlPlane},
	"kubeadm token create":                                     {where: onControlPlane},
	"kubeadm token create --print-join-command":                {where: onControlPlane},
	"kubeadm token create --usages signing,authentication":     {where: onControlPlane},
	"kubeadm token list":                                       {where: onControlPlane},

	"kubectl certificate approve %s":            {onControlPlane, "kubectl certificate approve %CSR"},
	"kubectl delete node %s":                    {onControlPlane, "kubectl delete node --dry-run=server %NODE"},
	"kubectl describe node %s":                  {onControlPlane, "kubectl describe node %NODE"},
	"kubectl get csr":                           {where: onControlPlane},
	"kubectl get node %s -o yaml":               {onControlPlane, "kubectl get node %NODE -o yaml"},
	"kubectl get events -A | grep DeletingNode": {onControlPlane, "kubectl get events -A | grep -c DeletingNode || true"},
	"kubectl label node":                        {onControlPlane, "kubectl label node %NODE example.org/a=b"},

	// In every story, and in TestTheDebsUnitJoinsAtBootAndAPurgeLeavesTheMember.
	"kubeadm join":               {where: elsewhere},
	"kubeadm reset":              {where: elsewhere},
	"nodejoin join":              {where: elsewhere},
	"systemctl restart nodejoin": {where: elsewhere},
	// Only with cgroup v2 can systemd freeze a unit, and thaw it.
	"systemctl thaw kubelet": {where: elsewhere},
	// They would change the host of the tests, or ask Amazon: nothing runs them.
	"modprobe br_netfilter": {where: elsewhere},
	"swapoff -a":            {where: elsewhere},
	"aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled": {where: elsewhere},
}

var backquoted = regexp.MustCompile("`([^`]+)`")

// printedCommands are those in backquotes in nodejoin's strings, each with a place that prints it. What is put together at
// run time is "%s".
func printedCommands(t *testing.T) map[string]string {
	t.Helper()
	files, found := token.NewFileSet(), map[string]string{}
	for _, root := range []string{"../../internal", "../../pkg"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := textOf(e)
				if !ok {
					return true
				}
				for _, m := range backquoted.FindAllStringSubmatch(text, -1) {
					if command := m[1]; strings.Contains(command, " ") || command == "timedatectl" {
						found[command] = files.Position(n.Pos()).String()
					}
				}
				return false
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// textOf is a string as the source has it.
func textOf(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			return "", false
		}
		x, isX := textOf(e.X)
		y, isY := textOf(e.Y)
		if !isX && !isY {
			return "", false
		}
		if !isX {
			x = "%s"
		}
		if !isY {
			y = "%s"
		}
		return x + y, true
	}
	return "", false
}
