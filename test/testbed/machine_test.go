package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestProgramsInAMachine(t *testing.T) {
	t.Parallel()
	tb := New(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{NoRuntime: true}))(t)
	start := func(script string, more ...string) *Proc {
		return must(n.Start(t.Context(), Command{Args: []string{"sh", "-c", script}, Env: more, Stdin: strings.NewReader("from stdin\n")}))(t)
	}
	p := start(`read line; echo "$line $WORD"; echo oops >&2; exit 7`, "WORD=word")
	if exit := p.Wait(); exit.Code != 7 || p.Stdout.String() != "from stdin word\n" || p.Stderr.String() != "oops\n" {
		t.Errorf("got %+v, %q, %q", exit, p.Stdout, p.Stderr)
	}
	p = start(`trap 'echo bye; exit 143' TERM; echo up; while :; do sleep 0.1; done`)
	ok(t, p.Stdout.WaitFor(within(t, 5*time.Second), "up"))
	ok(t, p.Signal(syscall.SIGTERM))
	if exit := p.Wait(); exit.Code != 143 || !p.Stdout.Contains("bye") {
		t.Errorf("after SIGTERM: %+v, %q", exit, p.Stdout)
	}
	p = start(`sleep 60 & wait`)
	waitOne(t, n.Machine, "sleep")
	ok(t, p.Signal(syscall.SIGKILL))
	if exit := p.Wait(); exit.Signal != syscall.SIGKILL {
		t.Errorf("after SIGKILL: %+v", exit)
	}
	if orphans := must(n.Running("sleep"))(t); len(orphans) != 1 {
		t.Errorf("SIGKILL to the shell alone should leave its child: %+v", orphans)
	}
	if _, err := n.Run(t.Context(), "no-such-program"); err == nil {
		t.Error("a program that is not there ran")
	}

	ok(t, n.WrapKubeadm("#!/bin/sh\necho scripted \"$@\"\nexit 3\n"))
	p = must(n.Start(t.Context(), Command{Args: []string{"kubeadm", "join", "a b", ""}}))(t)
	if exit := p.Wait(); exit.Code != 3 || p.Stdout.String() != "scripted join a b \n" {
		t.Errorf("scripted kubeadm: %+v, %q", exit, p.Stdout)
	}
	if calls := must(n.KubeadmCalls())(t); len(calls) != 1 || !slices.Equal(calls[0].Args, []string{"join", "a b", ""}) || time.Since(calls[0].At) > time.Minute {
		t.Errorf("recorded %+v", calls)
	}
}

// waitOne waits until one process of that name runs: a child bears its parent's until it has become what it is to be.
func waitOne(t *testing.T, m *Machine, name string) {
	t.Helper()
	ok(t, poll(within(t, 20*time.Second), 50*time.Millisecond, func() (bool, error) {
		running, err := m.Running(name)
		return err == nil && len(running) == 1, errors.Join(err, fmt.Errorf("processes called %s: %+v, want one", name, running))
	}))
}

func TestSystemctlSpeaksAsSystemdDoes(t *testing.T) {
	t.Parallel()
	tb := New(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{NoRuntime: true}))(t)
	say := func(args ...string) (string, int) {
		p := must(n.Start(t.Context(), Command{Args: append([]string{"systemctl"}, args...)}))(t)
		exit := p.Wait()
		return p.Stdout.String() + p.Stderr.String(), exit.Code
	}
	check := func(wantText string, wantCode int, args ...string) {
		t.Helper()
		if text, code := say(args...); !strings.Contains(text, wantText) || code != wantCode {
			t.Errorf("systemctl %q: exit status %d, %q; want %d, %q", args, code, text, wantCode, wantText)
		}
	}
	ok(t, poll(within(t, 10*time.Second), 50*time.Millisecond, func() (bool, error) {
		text, _ := say("is-active", "kubelet")
		return text == "activating\n", nil // no configuration yet: it restarts for ever
	}))
	check("enabled\n", 0, "is-enabled", "kubelet")
	check("", 0, "stop", "kubelet")
	check("inactive\n", 3, "is-active", "kubelet.service")
	check("could not be found", 4, "status", "nosuch")
	check("LoadState=not-found\n", 0, "show", "nosuch", "-p", "LoadState")
	check("loaded\n", 0, "show", "--property=LoadState", "--value", "kubelet")
	check("not found", 5, "start", "nosuch")
	ok(t, n.SetKubeletFault(KubeletFault{Masked: true}))
	check("is masked", 1, "restart", "kubelet")
	check("masked\n", 1, "is-enabled", "kubelet")
	ok(t, n.SetKubeletFault(KubeletFault{Missing: true}))
	check("not found", 5, "restart", "kubelet")
	ok(t, n.SetKubeletFault(KubeletFault{Disabled: true}))
	check("disabled\n", 1, "is-enabled", "kubelet")
	const link = "/etc/systemd/system/multi-user.target.wants/kubelet.service"
	if n.Exists(link) {
		t.Error("a disabled unit is linked")
	}
	check("Created symlink "+link, 0, "enable", "kubelet")
	if _, err := os.Lstat(n.Path(link)); err != nil {
		t.Error(err)
	}
	ok(t, n.SetKubeletFault(KubeletFault{Fail: map[string]string{"restart": "Job for kubelet.service failed."}}))
	check("Job for kubelet.service failed.", 1, "restart", "kubelet")
	ok(t, n.SetKubeletFault(KubeletFault{Command: []string{"sleep", "60"}}))
	check("", 0, "restart", "kubelet")
	check("active\n", 0, "is-active", "kubelet")
}

func TestStrangerRecordsWhatItIsAsked(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{}))(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	s := must(tb.NewStranger(StrangerOptions{}))(t)
	token := NewToken()
	s.Sign(token)
	args := slices.Concat([]string{"kubeadm", "join", s.Endpoint(), "--token", token, "--discovery-token-ca-cert-hash", cp.CAHash()}, PreflightArgs())
	p := must(n.Start(within(t, 5*time.Second), Command{Args: args}))(t)
	p.Wait()
	if len(s.Requests()) == 0 {
		t.Error("the stranger was never asked")
	}
	if _, secret, _ := strings.Cut(token, "."); s.Saw(secret) {
		t.Error("the stranger saw the token")
	}

	// One that holds the cluster's CA is a load balancer: scripted first, then the cluster itself.
	lb := must(tb.NewStranger(StrangerOptions{Of: cp}))(t)
	lb.Script(Response{Status: 401, Body: "who are you"}, Response{Status: 503, Body: "<html>busy</html>"}, Response{})
	good := must(cp.ReadyToken(within(t, time.Minute)))(t)
	args = slices.Concat([]string{"kubeadm", "join", lb.Endpoint(), "--token", good, "--discovery-token-ca-cert-hash", cp.CAHash()}, PreflightArgs())
	must(n.Run(within(t, 90*time.Second), args...))(t)
	must(cp.WaitNode(within(t, 20*time.Second), "n1", nil))(t)
}

func TestDiscoveryFileWhereAnonymousAccessIsOff(t *testing.T) {
	t.Parallel()
	tb := New(t)
	cp := must(tb.ControlPlane(t.Context(), ControlPlaneOptions{APIServerArgs: []string{"--anonymous-auth=false"}}))(t)
	n := must(tb.Node(t.Context(), "n1", NodeOptions{}))(t)
	token := must(cp.ReadyToken(within(t, time.Minute)))(t)
	ok(t, n.WriteFile("/root/discovery.conf", cp.DiscoveryFile(token), 0o600))
	must(n.Run(within(t, time.Minute), slices.Concat([]string{"kubeadm", "join", "--discovery-file", "/root/discovery.conf"}, PreflightArgs())...))(t)
	must(cp.WaitNode(within(t, 20*time.Second), "n1", nil))(t)
}

func TestTwoTestbedsAtOnce(t *testing.T) {
	t.Parallel()
	var both sync.WaitGroup
	for range 2 {
		tb := New(t)
		both.Go(func() {
			cp, err := tb.ControlPlane(t.Context(), ControlPlaneOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := tb.Node(t.Context(), "n1", NodeOptions{}); err != nil {
				t.Error(err)
			}
			if out, err := cp.Kubectl(t.Context(), "get", "nodes"); err != nil {
				t.Error(out, err)
			}
		})
	}
	both.Wait()
}

func TestProgramThatMachinesShareIsNotWrittenThrough(t *testing.T) {
	t.Parallel()
	tb := New(t)
	program := filepath.Join(t.TempDir(), "greet")
	ok(t, os.WriteFile(program, []byte("#!/bin/sh\necho hello\n"), 0o755))
	n1 := must(tb.Node(t.Context(), "n1", NodeOptions{NoRuntime: true}))(t)
	n2 := must(tb.Node(t.Context(), "n2", NodeOptions{NoRuntime: true}))(t)
	for _, n := range []*Node{n1, n2, n1} {
		ok(t, n.Install(program, "greet"))
	}
	ok(t, n1.SetProgram("greet", "#!/bin/sh\necho changed\n"))
	for n, want := range map[*Node]string{n1: "changed", n2: "hello"} {
		if got := must(n.Run(t.Context(), "greet"))(t); strings.TrimSpace(got) != want {
			t.Errorf("%s says %q, not %q", n.Name, got, want)
		}
	}
}
