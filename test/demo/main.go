// Command demo shows, on a real Kubernetes control plane with the real Amazon cloud controller, why nodejoin exists: a
// Node is deleted seconds after it joined, the well-known shell loop does not notice, and nodejoin brings it back. With -picture
// it shows nodejoin alone, and keeps what a person at a terminal sees of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

func main() {
	picture := flag.String("picture", "", "SVG of nodejoin's live view, to be written")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *picture); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// demo is the stage: a clock in front of every line that anybody says.
type demo struct {
	ctx     context.Context
	cp      *testbed.ControlPlane
	cloud   *testbed.Cloud
	picture string // where it is to go, if anywhere

	mu    sync.Mutex
	began time.Time
}

const (
	nodeA = "ip-10-77-0-101.ec2.internal"
	nodeB = "ip-10-77-0-102.ec2.internal"
)

func run(ctx context.Context, picture string) (err error) {
	dir, err := os.MkdirTemp("", "nodejoin-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := buildNodejoin(ctx, dir)
	if err != nil {
		return err
	}
	tb, err := testbed.Start(ctx, testbed.Options{Out: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tb.Close()) }()

	d := &demo{ctx: ctx, picture: picture, began: time.Now()}
	d.title("A control plane: etcd, kube-apiserver, kube-controller-manager")
	if d.cp, err = tb.ControlPlane(ctx, testbed.ControlPlaneOptions{}); err != nil {
		return err
	}
	if d.cloud, err = d.cp.NewCloud(); err != nil {
		return err
	}
	token, err := d.cp.ReadyToken(ctx)
	if err != nil {
		return err
	}
	d.say("it answers at %s; its cloud controller is not up yet, as on any fresh control plane", d.cp.Endpoint())

	// No network plugin: the Node is not Ready yet, which is when the cloud controller looks.
	external := testbed.NodeOptions{KubeletArgs: []string{"--cloud-provider=external"}}
	b, err := tb.Node(ctx, nodeB, external)
	if err != nil {
		return err
	}
	if err := b.Install(binary, "nodejoin"); err != nil {
		return err
	}
	if picture != "" {
		if err := d.cloud.Start(ctx); err != nil {
			return err
		}
		return d.nodejoin(b, token)
	}
	a, err := tb.Node(ctx, nodeA, external)
	if err != nil {
		return err
	}
	if err := d.shellLoop(a, token); err != nil {
		return err
	}
	if err := d.nodejoin(b, token); err != nil {
		return err
	}
	return d.end(a, b)
}

func buildNodejoin(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "nodejoin")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/nodejoin")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building nodejoin: %w\n%s", err, out)
	}
	return binary, nil
}

// shellLoop is what operators have written for years; it ends at the first sight of the Node.
func (d *demo) shellLoop(a *testbed.Node, token string) error {
	d.title("Node A: the shell loop")
	if err := a.WriteFile("/root/.kube/config", string(d.cp.Kubeconfig()), 0o600); err != nil {
		return err
	}
	loop := fmt.Sprintf(`until kubectl get node | grep $(hostname -f)
do
  kubeadm reset -f >/dev/null 2>&1
  kubeadm %s | grep -E 'joined the cluster|rror'
  echo "Waiting for Master to start up..."
  sleep 10
done`, strings.Join(append(d.cp.JoinArgs(token), testbed.PreflightArgs()...), " "))
	d.print("  ", strings.ReplaceAll(loop, token, "$TOKEN"))
	code, err := d.watch(a, "A  ", "sh", "-c", loop)
	if err != nil {
		return err
	}
	d.say("A's user data is done, exit status %d. Everybody goes home.", code)

	d.title("The Amazon cloud controller comes up. EC2 does not list the new instances yet")
	if err := d.cloud.Start(d.ctx); err != nil {
		return err
	}
	if err := d.cp.WaitNoNode(d.ctx, nodeA); err != nil {
		return err
	}
	d.say("Node A is deleted: EC2 did not list the instance")
	d.cloud.Know(a)
	d.say("EC2 lists it now; 15 s pass")
	if err := d.sleep(15 * time.Second); err != nil {
		return err
	}
	if _, err := d.cp.GetNode(d.ctx, nodeA); err == nil {
		return fmt.Errorf("node A came back by itself, which was not to happen")
	}
	d.say("Node A is still gone. Its kubelet runs, and registers once in its life:")
	d.print("A  ", last(a.Log("kubelet"), "not found"))
	return nil
}

func (d *demo) nodejoin(b *testbed.Node, token string) error {
	d.title("Node B: nodejoin, against the same controller and the same ignorant EC2")
	timer := time.AfterFunc(12*time.Second, func() {
		d.cloud.Know(b)
		d.say("EC2 lists B's instance now")
	})
	defer timer.Stop()
	args := append(append([]string{"nodejoin"}, d.cp.JoinArgs(token)...), testbed.PreflightArgs()...)
	args = append(args, "--hold", "30s")
	d.print("  ", strings.ReplaceAll(strings.Join(args, " "), token, "$TOKEN"))
	show := func() (int, error) { return d.watch(b, "B  ", args...) }
	if d.picture != "" {
		show = func() (int, error) { return d.pictured(b, token) }
	}
	code, err := show()
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("nodejoin ended with exit status %d", code)
	}
	d.say("nodejoin is done, exit status 0")
	return nil
}

func (d *demo) end(nodes ...*testbed.Node) error {
	d.title("What the API server says in the end")
	out, err := d.cp.Kubectl(d.ctx, "get", "nodes")
	if err != nil {
		return err
	}
	d.print("  ", "$ kubectl get nodes  # NotReady, for there is no network plugin here\n"+out)
	for _, n := range nodes {
		out, err := d.cp.Kubectl(d.ctx, "get", "events", "-A", "--field-selector", "involvedObject.name="+n.Hostname,
			"--sort-by=.metadata.creationTimestamp", "-o", "custom-columns=REASON:.reason,MESSAGE:.message")
		if err != nil {
			return err
		}
		d.print("  ", fmt.Sprintf("$ kubectl get events  # of %s\n%s", n.Hostname, onlyMembership(out)))
	}
	d.say("the end")
	return nil
}

// onlyMembership keeps the events that tell of the Node itself.
func onlyMembership(events string) string {
	var kept []string
	for line := range strings.Lines(events) {
		for _, reason := range []string{"REASON", "RegisteredNode", "DeletingNode", "RemovingNode", "Starting "} {
			if strings.HasPrefix(line, reason) {
				kept = append(kept, strings.TrimRight(line, "\n"))
			}
		}
	}
	return strings.Join(kept, "\n")
}

// watch runs a program on a node and shows what it prints.
func (d *demo) watch(n *testbed.Node, prefix string, args ...string) (int, error) {
	out := &lines{d: d, prefix: prefix}
	p, err := n.Start(d.ctx, testbed.Command{Args: args, Out: out})
	if err != nil {
		return 0, err
	}
	exit := p.Wait()
	return exit.Code, d.ctx.Err()
}

// lines prints what is written to it line by line.
type lines struct {
	d      *demo
	prefix string
	mu     sync.Mutex
	rest   string
}

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.d.print(l.prefix, line)
		l.rest = rest
	}
}

func (d *demo) title(text string) { d.print("", "\n== "+text) }

func (d *demo) say(format string, args ...any) { d.print("-- ", fmt.Sprintf(format, args...)) }

func (d *demo) print(prefix, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Printf("%6.1f s  %s%s\n", time.Since(d.began).Seconds(), prefix, line)
	}
}

func (d *demo) sleep(t time.Duration) error {
	select {
	case <-time.After(t):
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

// last finds the last line of a log with a text in it.
func last(log, text string) string {
	found := ""
	for line := range strings.Lines(log) {
		if strings.Contains(line, text) {
			found = strings.TrimSpace(line)
		}
	}
	return found
}
