// Package e2e tells nodejoin's stories on a real cluster: real kubeadm, kubelet, API server and Amazon cloud controller, on
// machines that the testbed makes. Each test is one story whose name is the sentence it proves; each reads the status
// file as an operator's script would, and each looks for the bootstrap token where it must not be.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// nodejoin is the binary under test, built by TestMain as a release is. It has no name any more: however this process
// ends, the kernel removes it.
var nodejoin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	binary, err := buildNodejoin()
	if err != nil {
		fmt.Fprintf(os.Stderr, "building nodejoin: %v\n", err)
		return 1
	}
	defer binary.Close()
	nodejoin = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), binary.Fd())
	if _, err := testbed.Build(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func buildNodejoin() (*os.File, error) {
	dir, err := os.MkdirTemp("", "nodejoin-e2e-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "nodejoin")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/nodejoin")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.Open(path)
}

// story is a cluster and a machine that is to join it.
type story struct {
	*testing.T
	ctx  context.Context
	tb   *testbed.Testbed
	cp   *testbed.ControlPlane
	node *testbed.Node
	// token is what no file, log or process may hold but those that must.
	token string
}

// longest is for how long a story may last before it is ended, with its logs shown.
const longest = 8 * time.Minute

// Context ends with the story.
func (s *story) Context() context.Context { return s.ctx }

// tell begins a story: a control plane that is not started and a node. Stories run side by side.
func tell(t *testing.T, opts testbed.NodeOptions) *story {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	t.Cleanup(cancel)
	s := &story{T: t, ctx: ctx, tb: testbed.New(t)}
	var err error
	if s.cp, err = s.tb.NewControlPlane(s.ctx, testbed.ControlPlaneOptions{}); err != nil {
		t.Fatal(err)
	}
	s.node = s.newNode("w1", opts)
	return s
}

// tellLive begins a story whose control plane runs and has a token.
func tellLive(t *testing.T, opts testbed.NodeOptions) *story {
	t.Helper()
	s := tell(t, opts)
	s.must(s.cp.Start(s.ctx))
	var err error
	if s.token, err = s.cp.ReadyToken(s.ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *story) newNode(name string, opts testbed.NodeOptions) *testbed.Node {
	s.Helper()
	n, err := s.tb.Node(s.Context(), name, opts)
	if err != nil {
		s.Fatal(err)
	}
	s.must(n.Install(nodejoin, "nodejoin"))
	return n
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// report is the status file, read as anybody would.
type report struct {
	SchemaVersion   int
	Phase           string
	Result          *string
	Reason          string
	ExitCode        *int
	Message, Hint   string
	Node            struct{ Name, UID, BootID string }
	DurationSeconds float64
	Attempts        []struct {
		Number int
		Phases []struct {
			Phase           string
			DurationSeconds float64
			Error           string
		}
	}
	Counts    struct{ Attempts, Joins, Resets, KubeletRestarts, Deletions int }
	Deletions []struct {
		UID          string
		AfterSeconds float64
	}
	Warnings              []string
	FirstError, LastError string
	LogTail               struct{ Kubeadm, Kubelet []string }
}

// ended is a nodejoin that has ended.
type ended struct {
	s              *story
	code           int
	took           time.Duration
	stdout, stderr string
	report         report
	hasReport      bool
}

// args is nodejoin join with the flags of a printed join command, and the host's preflight exceptions.
func (s *story) args(more ...string) []string {
	join := s.cp.JoinArgs(s.token) // join ENDPOINT --token ... --discovery-token-ca-cert-hash ...
	return slices.Concat([]string{"nodejoin"}, join, testbed.PreflightArgs(), more)
}

// argsWithout is args without a token.
func (s *story) argsWithout(more ...string) []string {
	args := s.args()
	i := slices.Index(args, "--token")
	return slices.Concat(slices.Delete(args, i, i+2), more)
}

// start runs nodejoin in the background.
func (s *story) start(n *testbed.Node, args ...string) *running {
	s.Helper()
	p, err := n.Start(s.Context(), testbed.Command{Args: args})
	if err != nil {
		s.Fatal(err)
	}
	return &running{s: s, node: n, Proc: p, began: time.Now()}
}

type running struct {
	*testbed.Proc
	s     *story
	node  *testbed.Node
	began time.Time
}

// join runs nodejoin to its end on the story's node.
func (s *story) join(args ...string) ended {
	s.Helper()
	return s.start(s.node, args...).end()
}

// end waits for the end, reads the status file and looks for the token.
func (r *running) end() ended {
	s := r.s
	s.Helper()
	exit := r.Wait()
	e := ended{s: s, code: exit.Code, took: time.Since(r.began), stdout: r.Stdout.String(), stderr: r.Stderr.String()}
	s.Logf("nodejoin on %s ended with %d after %s\n%s%s", r.node.Name, e.code, e.took.Round(time.Millisecond), e.stderr, e.stdout)
	if raw, err := r.node.ReadFile("/run/nodejoin/status.json"); err == nil {
		e.hasReport = true
		s.must(json.Unmarshal(raw, &e.report))
		if e.report.Result == nil || e.report.ExitCode == nil || *e.report.ExitCode != e.code {
			s.Errorf("the status file says %s, the exit status is %d", raw, e.code)
		}
	}
	s.noTokenLeft(r.node, e)
	return e
}

// noTokenLeft looks for the token's secret in what nodejoin has said and in what is left on the node.
func (s *story) noTokenLeft(n *testbed.Node, e ended) {
	s.Helper()
	_, secret, ok := strings.Cut(s.token, ".")
	if !ok {
		return
	}
	for what, text := range map[string]string{"stdout": e.stdout, "stderr": e.stderr} {
		if strings.Contains(text, secret) {
			s.Errorf("the token is in nodejoin's %s", what)
		}
	}
	for _, folder := range []string{"/run/nodejoin", "/etc/kubernetes", "/var/lib/kubelet", "/dev/shm", "/tmp", "/var/log"} {
		_ = filepath.WalkDir(n.Path(folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), secret) {
					s.Errorf("the token is left in %s", strings.TrimPrefix(path, n.Path("/")))
				}
			}
			return nil
		})
	}
}

// is checks how it ended.
func (e ended) is(code int, reason string) ended {
	e.s.Helper()
	if e.code != code || e.hasReport && e.report.Reason != reason {
		e.s.Fatalf("exit %d %s (%s), wanted %d %s", e.code, e.report.Reason, e.report.Message, code, reason)
	}
	return e
}

// counts checks what was done; -1 is any number.
func (e ended) counts(joins, resets, restarts, deletions int) ended {
	e.s.Helper()
	c := e.report.Counts
	for what, n := range map[string][2]int{
		"joins": {c.Joins, joins}, "resets": {c.Resets, resets}, "kubelet restarts": {c.KubeletRestarts, restarts}, "deletions": {c.Deletions, deletions},
	} {
		if n[1] >= 0 && n[0] != n[1] {
			e.s.Errorf("%d %s, wanted %d", n[0], what, n[1])
		}
	}
	return e
}

// says checks that the report, or what was printed, has all these words.
func (e ended) says(words ...string) ended {
	e.s.Helper()
	text := e.stdout + e.stderr + e.report.Message + e.report.Hint + strings.Join(e.report.Warnings, "\n")
	for _, w := range words {
		if !strings.Contains(text, w) {
			e.s.Errorf("nothing says %q", w)
		}
	}
	return e
}

// within checks the whole time it took.
func (e ended) within(most time.Duration) ended {
	e.s.Helper()
	if e.took > most {
		e.s.Errorf("took %s, wanted at most %s", e.took, most)
	}
	return e
}

// sleep lets the story's time pass.
func (s *story) sleep(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d):
	case <-s.Context().Done():
		s.Fatal("the test ended early")
	}
}

// member checks, as an administrator, that the Node is there under the reported UID.
func (s *story) member(e ended) {
	s.Helper()
	n, err := s.cp.GetNode(s.Context(), e.report.Node.Name)
	s.must(err)
	if string(n.UID) != e.report.Node.UID || n.Status.NodeInfo.BootID != e.report.Node.BootID {
		s.Errorf("the API server has Node %s with UID %s, reported is %s", n.Name, n.UID, e.report.Node.UID)
	}
}

func ready() testbed.NodeOptions { return testbed.NodeOptions{CNI: true} }

func external() testbed.NodeOptions {
	return testbed.NodeOptions{KubeletArgs: []string{"--cloud-provider=external"}}
}
