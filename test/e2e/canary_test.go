package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// canary watches a node for a token's secret while a story runs: argv and environment of every process, and every file.
// The places where the secret must be are known; anywhere else it has leaked.
type canary struct {
	s    *story
	node *testbed.Node
	// secret is the part of the token behind the dot: the other one is no secret.
	secret []byte
	// sources are the files in which the user has put the token.
	sources []string
	// typed: the user has typed the token, so it may be in nodejoin's own argv; exported: in its own environment.
	typed, exported bool

	stop, stopped chan struct{}

	mu    sync.Mutex
	found []string
	looks int
	seen  map[string]stamp // files that were read, as they were then
	// overdue is since when a file that only kubeadm needs has been there without a kubeadm.
	overdue map[string]time.Time
	// secretFiles counts the looks at which kubeadm's configuration was there.
	secretFiles int
}

type stamp struct {
	inode   uint64
	size    int64
	changed syscall.Timespec
}

// canaryEvery is how often it looks. What is shorter may slip through while the story runs; the calls of kubeadm are on record.
const canaryEvery = 50 * time.Millisecond

// kubeadmSlack is how long a file for kubeadm alone may be there without it, before its start and after its end.
const kubeadmSlack = 2 * time.Second

// unwatched are folders with nothing but what the kernel or the testbed puts there.
var unwatched = []string{"/proc", "/sys", "/dev", "/usr", "/opt/testbed", testbed.TestbedFolder}

// canary begins to watch the node; change says where the token may be.
func (s *story) canary(n *testbed.Node, change func(*canary)) *canary {
	s.Helper()
	_, secret, ok := strings.Cut(s.token, ".")
	if !ok {
		s.Fatal("the story has no token to look for")
	}
	c := &canary{
		s: s, node: n, secret: []byte(secret), seen: map[string]stamp{}, overdue: map[string]time.Time{},
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	if change != nil {
		change(c)
	}
	go c.watch()
	s.Cleanup(c.end)
	return c
}

func (c *canary) watch() {
	defer close(c.stopped)
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	for {
		c.look()
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
	}
}

func (c *canary) end() {
	c.mu.Lock()
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.mu.Unlock()
	<-c.stopped
}

// leaks stops watching, reads every file once more, and tells where the secret was.
func (c *canary) leaks(e ended) []string {
	c.s.Helper()
	c.end()
	c.mu.Lock()
	clear(c.seen)
	c.mu.Unlock()
	c.look()
	for what, text := range map[string]string{"stdout": e.stdout, "stderr": e.stderr} {
		if strings.Contains(text, string(c.secret)) {
			c.leak("nodejoin's %s", what)
		}
	}
	for _, path := range c.kept() {
		c.leak("%s, which outlived nodejoin", path)
	}
	calls, err := c.node.KubeadmCalls()
	c.s.must(err)
	for _, call := range calls {
		if strings.Contains(strings.Join(call.Args, " "), string(c.secret)) {
			c.leak("the arguments of kubeadm %s", call.Args[0])
		}
	}
	return c.found
}

// silent checks that the secret was nowhere, and that the canary was awake.
func (c *canary) silent(e ended) {
	c.s.Helper()
	for _, leak := range c.leaks(e) {
		c.s.Errorf("the token is in %s", leak)
	}
	c.s.Logf("the canary looked %d times and saw kubeadm's configuration %d times", c.looks, c.secretFiles)
	if e.report.Counts.Joins > 0 && c.secretFiles == 0 {
		c.s.Error("the canary has not seen the one file that kubeadm must get: does it see anything?")
	}
}

func (c *canary) leak(format string, args ...any) {
	if where := fmt.Sprintf(format, args...); !slices.Contains(c.found, where) {
		c.found = append(c.found, where)
	}
}

func (c *canary) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	processes, err := c.node.Processes()
	if err != nil {
		return // switched off just now
	}
	kubeadm := false
	for _, p := range processes {
		kubeadm = kubeadm || slices.ContainsFunc(p.Args[:min(2, len(p.Args))], func(a string) bool { return strings.HasPrefix(filepath.Base(a), "kubeadm") })
		c.process(p)
	}
	now := map[string]bool{}
	for _, root := range []string{"/", "/dev/shm"} {
		c.walk(root, now)
	}
	for path := range c.overdue {
		if !now[path] {
			delete(c.overdue, path)
		}
	}
	for path := range now {
		switch since, known := c.overdue[path]; {
		case kubeadm || !known:
			c.overdue[path] = time.Now()
		case time.Since(since) > kubeadmSlack:
			c.leak("%s, though no kubeadm runs", path)
		}
	}
}

func (c *canary) process(p testbed.Process) {
	own := filepath.Base(p.Args[0]) == "nodejoin" // also a child of its that is about to become another program
	for _, arg := range p.Args {
		if strings.Contains(arg, string(c.secret)) && !(own && c.typed) {
			c.leak("argv of %s", p.Args[0])
		}
	}
	for _, variable := range p.Env {
		if strings.Contains(variable, string(c.secret)) && !(own && c.exported) {
			name, _, _ := strings.Cut(variable, "=")
			c.leak("the environment of %s (%s)", p.Args[0], name)
		}
	}
}

// walk looks into every file that has changed; now gets those that only kubeadm needs.
func (c *canary) walk(folder string, now map[string]bool) {
	root := c.node.Path("/")
	_ = filepath.WalkDir(c.node.Path(folder), func(path string, d fs.DirEntry, err error) error {
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
		case !bytes.Contains(raw, c.secret):
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

// kept are the files with the secret that should have gone with nodejoin.
func (c *canary) kept() []string {
	var paths []string
	for _, pattern := range []string{"/run/nodejoin/nodejoin-secret-*", "/etc/kubernetes/bootstrap-kubelet.conf"} {
		matches, _ := filepath.Glob(c.node.Path(pattern))
		for _, path := range matches {
			raw, err := os.ReadFile(path)
			if !errors.Is(err, fs.ErrNotExist) && bytes.Contains(raw, c.secret) {
				paths = append(paths, strings.TrimPrefix(path, c.node.Path("/")))
			}
		}
	}
	return paths
}
