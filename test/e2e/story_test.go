// Package e2e tells nodejoin's stories on a real cluster: real kubeadm, kubelet, API server and Amazon cloud controller, on
// machines that the testbed makes. Each test is one story whose name is the sentence it proves; each reads the status
// file as an operator's script would, and all through each of them a canary looks for the bootstrap token where it must not be.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	if err := buildParts(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// buildParts compiles before the first story what none of them has the time for.
func buildParts(ctx context.Context, out io.Writer) error {
	_, err := testbed.BuildNodeParts(ctx, out, "")
	if err == nil {
		_, err = testbed.BuildControlPlaneParts(ctx, out, "")
	}
	if err == nil {
		_, err = testbed.BuildNodeParts(ctx, out, testbed.OldNodes)
	}
	return err
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
	*shared
}

// shared is what a story and its parts have in common.
type shared struct {
	canaries map[*testbed.Node]*canary
	// stated: of a run at least, the story has stated the exit status, the counts and a sentence.
	stated bool
}

// longest is for how long a story may last before it is ended, with its logs shown.
const longest = 8 * time.Minute

// Context ends with the story.
func (s *story) Context() context.Context { return s.ctx }

// tell begins a story: a control plane that is not started and a node. Stories run side by side.
func tell(t *testing.T, opts testbed.NodeOptions) *story {
	t.Helper()
	return tellIn(t, testbed.ControlPlaneOptions{}, opts)
}

// tellIn is tell in a cluster that is not like the others.
func tellIn(t *testing.T, cluster testbed.ControlPlaneOptions, opts testbed.NodeOptions) *story {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	t.Cleanup(cancel)
	s := &story{T: t, ctx: ctx, tb: testbed.New(t), shared: &shared{canaries: map[*testbed.Node]*canary{}}}
	var err error
	if s.cp, err = s.tb.NewControlPlane(s.ctx, cluster); err != nil {
		t.Fatal(err)
	}
	s.node = s.newNode("w1", opts)
	return s
}

// tellLive begins a story whose control plane runs and has a token.
func tellLive(t *testing.T, opts testbed.NodeOptions) *story {
	t.Helper()
	return tell(t, opts).live()
}

func (s *story) live() *story {
	s.Helper()
	s.must(s.cp.Start(s.ctx))
	var err error
	s.token, err = s.cp.ReadyToken(s.ctx)
	s.must(err)
	return s
}

// in is the story as a part of it sees it: a test of its own.
func (s *story) in(t *testing.T) *story {
	part := *s
	part.T = t
	return &part
}

// newNode makes a machine that nodejoin is on, and watches it until the story, or the part that it was made in, is over.
func (s *story) newNode(name string, opts testbed.NodeOptions) *testbed.Node {
	s.Helper()
	n, err := s.tb.Node(s.Context(), name, opts)
	if err != nil {
		s.Fatal(err)
	}
	s.must(n.Install(nodejoin, "nodejoin"))
	c := watch(n)
	s.canaries[n] = c
	s.Cleanup(func() {
		for _, leak := range c.end() {
			s.Errorf("on %s a token is in %s", n.Name, leak)
		}
	})
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
	PID             int
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
	Counts    struct{ Attempts, Joins, Resets, KubeletRestarts, NodesPutBack, Bootstraps, Deletions int }
	Deletions []struct {
		UID, PodCIDR, ProviderID string
		AfterSeconds             float64
		Taints                   []string
		Cordoned                 bool
	}
	Warnings              []string
	FirstError, LastError string
	LogTail               struct{ Kubeadm, Kubelet []string }
}

// ownWarnings are those that are not kubeadm's, which depend on the host that the tests run on.
func (r report) ownWarnings() []string {
	return slices.DeleteFunc(slices.Clone(r.Warnings), func(w string) bool { return strings.HasPrefix(w, "kubeadm warns of ") })
}

// ended is a nodejoin that has ended.
type ended struct {
	s              *story
	code           int
	took           time.Duration
	stdout, stderr string
	report         report
	hasReport      bool
	wanted         string // exit status and reason, as stated
	counted, said  bool   // the counts and a sentence are stated too
	back, anew     int    // the returns, and the certificates had anew, that counts will look for
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
	return s.startAs(n, testbed.Command{Args: args})
}

// startAs is start with an environment, a standard input or the like.
func (s *story) startAs(n *testbed.Node, cmd testbed.Command) *running {
	s.Helper()
	c := s.canaryOf(n)
	p, err := n.Start(s.Context(), cmd)
	s.must(err)
	c.mu.Lock()
	c.runs = append(c.runs, p)
	c.mu.Unlock()
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

// end waits for the end, reads the report from the status file or, if that is not this run's, from standard output, and
// looks for the token.
func (r *running) end() ended {
	s := r.s
	s.Helper()
	exit := r.Wait()
	e := ended{s: s, code: exit.Code, took: time.Since(r.began), stdout: r.Stdout.String(), stderr: r.Stderr.String()}
	s.Logf("nodejoin on %s ended with %d after %s\n%s%s", r.node.Name, e.code, e.took.Round(time.Millisecond), e.stderr, e.stdout)
	var rep report
	if raw, err := r.node.ReadFile("/run/nodejoin/status.json"); err == nil {
		s.must(json.Unmarshal(raw, &rep))
	}
	if rep.PID != r.PID {
		rep = report{}
		_ = json.Unmarshal([]byte(e.stdout), &rep) // -o json
	}
	if rep.PID == r.PID {
		e.hasReport, e.report = true, rep
		if rep.Result == nil || rep.ExitCode == nil || *rep.ExitCode != e.code {
			s.Errorf("the report says %+v, the exit status is %d", rep, e.code)
		}
	}
	s.canaryOf(r.node).outlived()
	s.silent(r.node)
	return e
}

// unreported are the exit statuses that come without a report: bad input, a host on which nothing can be written, another
// nodejoin at work, and the answers of check.
var unreported = []int{2, 3, 11, 20, 21}

// is checks how it ended: with this exit status and, by its report, for one of these reasons; no reason, or an empty one: a
// report is not looked for.
func (e ended) is(code int, reasons ...string) ended {
	e.s.Helper()
	if e.code != code || e.hasReport && !slices.Contains(reasons, e.report.Reason) {
		e.s.Fatalf("exit %d %s (%s), wanted %d %s", e.code, e.report.Reason, e.report.Message, code, reasons)
	}
	if !e.hasReport && strings.Join(reasons, "") != "" && !slices.Contains(unreported, code) {
		e.s.Fatalf("exit %d, and there is no report of it", e.code)
	}
	e.wanted = fmt.Sprintf("%d %s", code, strings.Join(reasons, "|"))
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
	e.said = true
	return e.isStated()
}

func (e ended) isStated() ended {
	e.s.stated = e.s.stated || e.wanted != "" && e.counted && e.said
	return e
}

// fault names the fault that a story tells, by its number in the table of `make faults`. Who tells a fault states of one run
// at least how nodejoin ends, what it has done and the sentence that a person reads.
func (s *story) fault(number int) {
	s.Helper()
	s.Attr("fault", fmt.Sprint(number))
	s.Cleanup(func() {
		if !s.Failed() && !s.stated {
			s.Errorf("fault %d is told, and of no run is(), counts() and says() are stated together", number)
		}
	})
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
