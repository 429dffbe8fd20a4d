package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// canary watches a node for tokens from its making to the end of the story: argv and environment of every process, and
// every file. All tokens of the testbed begin alike, so one search finds any of them, also what is left of a torn one.
// Where a token must be is known; anywhere else it has leaked.
type canary struct {
	node          watched
	stop, stopped chan struct{}

	mu      sync.Mutex
	sources []string        // files in which the user has put a token
	runs    []*testbed.Proc // what a story has started: none of them may say the token
	found   []string
	known   map[string]bool  // leaks that were found before
	seen    map[string]stamp // files that were read, as they were then
	// nodejoin and kubeadm: whether one of them ran at the last look.
	nodejoin, kubeadm bool
	// bootstraps: a kubelet is to get a certificate in place, for which nodejoin itself has put a link where kubeadm puts a file.
	bootstraps bool
	// overdue is since when a file that only kubeadm needs has been there while nodejoin ran and kubeadm did not; orphans
	// are those that were there when no nodejoin ran: a killed one has left them.
	overdue map[string]time.Time
	orphans map[string]stamp
	// secretFiles counts the looks at which kubeadm's configuration was there.
	secretFiles int
}

type stamp struct {
	inode   uint64
	size    int64
	changed syscall.Timespec
}

// tokenMark is what the canary looks for.
var tokenMark = []byte(testbed.TokenMark)

const (
	// canaryEvery is how often it looks at the processes. What is shorter may slip through; the calls of kubeadm are on record.
	canaryEvery = 50 * time.Millisecond
	// filesEvery is at which of these looks it also looks into the folders where files come and go.
	filesEvery = 5
	// kubeadmSlack is how long a file for kubeadm alone may be there without it, before its start and after its end.
	kubeadmSlack = 3 * time.Second
)

// busy are the folders that are looked at while the story runs; at the end of a run it is all of them.
var busy = []string{"/run", "/etc", "/tmp", "/var/tmp", "/dev/shm", "/var/lib/kubelet"}

// unwatched are folders with nothing but what the kernel or the testbed puts there, and where cloud-init keeps the user data
// with the token that the user has written in it.
var unwatched = []string{"/proc", "/sys", "/dev", "/usr", "/opt/testbed", testbed.TestbedFolder, "/var/lib/cloud"}

// watched is a node of either kind.
type watched interface {
	Path(path string) string
	KubeadmCalls() ([]testbed.Call, error)
}

func watch(n watched) *canary {
	c := &canary{
		node: n, stop: make(chan struct{}), stopped: make(chan struct{}),
		known: map[string]bool{}, seen: map[string]stamp{}, overdue: map[string]time.Time{}, orphans: map[string]stamp{},
	}
	go c.watch()
	return c
}

func (c *canary) watch() {
	defer close(c.stopped)
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		c.mu.Lock()
		c.lookAtProcesses()
		if i%filesEvery == 0 {
			c.lookAtFiles(busy)
		}
		c.mu.Unlock()
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
	}
}

// end stops watching, reads every file once more, and tells where a token was.
func (c *canary) end() []string {
	close(c.stop)
	<-c.stopped
	c.mu.Lock()
	clear(c.seen)
	c.mu.Unlock()
	return c.leaks()
}

// leaks looks everywhere and tells where a token was or is, each place once.
func (c *canary) leaks() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookAtProcesses()
	c.lookAtFiles([]string{"/", "/dev/shm"})
	for _, p := range c.runs {
		for what, text := range map[string]*testbed.Buffer{"stdout": p.Stdout, "stderr": p.Stderr} {
			if text.Contains(testbed.TokenMark) {
				c.leak("%s of process %d", what, p.PID)
			}
		}
	}
	if calls, err := c.node.KubeadmCalls(); err != nil {
		c.leak("what cannot be read: %v", err)
	} else {
		for _, call := range calls {
			if strings.Contains(strings.Join(call.Args, " "), testbed.TokenMark) {
				c.leak("the arguments of kubeadm %s", call.Args[0])
			}
		}
	}
	found := c.found
	c.found = nil
	return found
}

func (c *canary) leak(format string, args ...any) {
	if l := fmt.Sprintf(format, args...); !c.known[l] {
		c.known[l] = true
		c.found = append(c.found, l)
	}
}

// lookAtProcesses asks the node's own /proc, which has nobody else's processes.
func (c *canary) lookAtProcesses() {
	c.nodejoin, c.kubeadm = false, false
	info, err := os.Lstat(c.node.Path("/etc/kubernetes/bootstrap-kubelet.conf"))
	c.bootstraps = err == nil && info.Mode()&fs.ModeSymlink != 0
	proc := c.node.Path("/proc")
	entries, _ := os.ReadDir(proc)
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		// An error means that it has just ended.
		args, _ := os.ReadFile(filepath.Join(proc, entry.Name(), "cmdline"))
		env, _ := os.ReadFile(filepath.Join(proc, entry.Name(), "environ"))
		if len(args) > 0 {
			c.lookAtProcess(strings.Split(string(args), "\x00"), env)
		}
	}
}

func (c *canary) lookAtProcess(args []string, env []byte) {
	for _, program := range args[:min(2, len(args))] { // a script is its interpreter's first argument
		c.nodejoin = c.nodejoin || filepath.Base(program) == "nodejoin"
		c.kubeadm = c.kubeadm || strings.HasPrefix(filepath.Base(program), "kubeadm")
	}
	text := strings.Join(args, " ")
	// nodejoin's own, as the user has typed it: also behind a shell, and in a child that is about to become another program.
	if slices.Contains(strings.Fields(text), "nodejoin") {
		return
	}
	if strings.Contains(text, testbed.TokenMark) {
		c.leak("argv of %s", args[0])
	}
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		if name, value, _ := bytes.Cut(variable, []byte("=")); bytes.Contains(value, tokenMark) {
			c.leak("the environment of %s (%s)", args[0], name)
		}
	}
}

// lookAtFiles reads what has changed.
func (c *canary) lookAtFiles(folders []string) {
	now := map[string]bool{}
	for _, folder := range folders {
		c.walk(folder, now)
	}
	for path := range c.overdue {
		if !now[path] {
			delete(c.overdue, path)
		}
	}
	for path := range now {
		switch since, known := c.overdue[path]; {
		case !c.nodejoin:
			c.orphans[path] = c.seen[path]
		case c.orphans[path] == c.seen[path]:
		case c.kubeadm || c.bootstraps || !known:
			c.overdue[path] = time.Now()
		case time.Since(since) > kubeadmSlack:
			c.leak("%s, though no kubeadm runs and no kubelet bootstraps", path)
		}
	}
}

// walk looks into every file that has changed; now gets those that only kubeadm needs.
func (c *canary) walk(folder string, now map[string]bool) {
	root := c.node.Path("/") // asked for once: the node may be switched off meanwhile; not cleaned: it may be a link
	_ = filepath.WalkDir(root+folder, func(path string, d fs.DirEntry, err error) error {
		inside := filepath.Join("/", strings.TrimPrefix(path, root))
		switch {
		case err != nil: // gone meanwhile
			return nil
		case d.IsDir() && inside != folder && slices.Contains(unwatched, inside):
			return fs.SkipDir
		case !d.Type().IsRegular() || slices.Contains(c.sources, inside):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		mark, forKubeadm := stamp{stat.Ino, stat.Size, stat.Ctim}, isForKubeadm(inside)
		if c.seen[inside] == mark && !forKubeadm {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		c.seen[inside] = mark
		switch {
		case !bytes.Contains(raw, tokenMark):
		case !forKubeadm:
			c.leak("%s", inside)
		default:
			now[inside] = true
			if strings.HasPrefix(inside, "/run/") {
				c.secretFiles++
			}
			if info.Mode().Perm() != 0o600 || stat.Uid != 0 {
				c.leak("%s, with mode %s of user %d", inside, info.Mode(), stat.Uid)
			}
		}
		return nil
	})
}

// isForKubeadm: its configuration, and what it makes of it until the kubelet has a certificate.
func isForKubeadm(path string) bool {
	return strings.HasPrefix(path, "/run/nodejoin/nodejoin-secret-") || path == "/etc/kubernetes/bootstrap-kubelet.conf"
}

// outlived notes the files for kubeadm that should have gone with the nodejoin that has just ended.
func (c *canary) outlived() {
	c.mu.Lock()
	defer c.mu.Unlock()
	root := c.node.Path("/")
	for _, pattern := range []string{"/run/nodejoin/nodejoin-secret-*", "/etc/kubernetes/bootstrap-kubelet.conf"} {
		matches, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, path := range matches {
			if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, tokenMark) {
				c.leak("%s, which outlived nodejoin", filepath.Join("/", strings.TrimPrefix(path, root)))
			}
		}
	}
}

// source writes a file in which the user has put a token.
func (s *story) source(n *testbed.Node, path, text string, mode os.FileMode) {
	s.Helper()
	c := s.canaryOf(n)
	c.mu.Lock()
	if !slices.Contains(c.sources, path) {
		c.sources = append(c.sources, path)
	}
	c.mu.Unlock()
	s.must(n.WriteFile(path, text, mode))
}

// silent checks that no token has leaked on the node so far.
func (s *story) silent(n *testbed.Node) {
	s.Helper()
	for _, leak := range s.canaryOf(n).leaks() {
		s.Errorf("on %s a token is in %s", n.Name, leak)
	}
}

func (s *story) canaryOf(n *testbed.Node) *canary {
	s.Helper()
	c := s.shared.canaries[n]
	if c == nil {
		s.Fatalf("nobody watches %s: it must be made by newNode", n.Name)
	}
	return c
}
