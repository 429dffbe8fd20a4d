// Package kubeadm runs the kubeadm program, and is the only package that knows its words.
//
// An attempt to join begins with a configuration: Options render one, or a user's own Config is completed. It is given
// to kubeadm in a file, because kubeadm takes its timeouts from nowhere else and because a token in the arguments is there for
// everyone on the machine to read. What kubeadm says passes a Redactor line by line, then is kept twice: whole for
// whoever follows it, and as a Failure that tells what kubeadm complained of, of what Kind that is, and what a person can do.
//
// A Kind is a hint. Only the names of preflight checks and of phases are stable words of kubeadm's; everything else is taken
// from its texts, so a Kind that would end a run (a CA that is not the pinned one, say) is to be confirmed elsewhere, and
// what is not recognised is Retry.
package kubeadm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
)

// Kubeadm is an installed kubeadm. Its children get nodejoin's environment without any NODEJOIN_ variable.
type Kubeadm struct {
	Path   string              // name looked up in PATH, or a path
	Line   func(string)        // gets each line of output, redacted; nil: nobody does. Must not block
	Warn   func(Check)         // gets what a join warned of, redacted, when it is over; nil: nobody does
	Redact func(string) string // nil: a Redactor that knows no secret, only their shapes
	Grace  time.Duration       // between SIGTERM and SIGKILL; 0: child.DefaultGrace
}

// ErrNotFound: there is no kubeadm at this path, or it is not executable.
var ErrNotFound = errors.New("no executable kubeadm")

// TooOldError: this kubeadm does not know the configuration that nodejoin writes.
type TooOldError struct {
	Version string // what kubeadm says, e.g. "v1.30.4"
	Need    string // e.g. "v1.31.0"
}

func (e *TooOldError) Error() string {
	return fmt.Sprintf("kubeadm is %s, but nodejoin needs %s or newer", e.Version, e.Need)
}

// versionWait bounds a question that kubeadm answers from memory; most of it is for reading the program from a slow disk.
const versionWait = 30 * time.Second

// Version asks kubeadm for its version. The error wraps ErrNotFound, or is a *TooOldError (the version is returned with it).
func (k Kubeadm) Version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, versionWait)
	defer cancel()
	var out []string
	quiet := k
	quiet.Line = func(l string) { out = append(out, l) }
	if err := quiet.run(ctx, "version", "-o", "short"); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return Version{}, fmt.Errorf("%w at %q: %w", ErrNotFound, k.Path, errors.Unwrap(err))
		}
		return Version{}, err
	}
	for _, line := range out {
		v, ok := parseVersion(strings.TrimSpace(line))
		if !ok {
			continue
		}
		if v.minor < minors[0].minor {
			return v, &TooOldError{Version: v.text, Need: fmt.Sprintf("v1.%d.0", minors[0].minor)}
		}
		return v, nil
	}
	return Version{}, fmt.Errorf("asking %q for its version: it said %q", k.Path, strings.Join(out, "; "))
}

// Join runs `kubeadm join --config configPath` with extra arguments, none of which may be secret. It returns nil on exit status
// 0, which proves nothing about the Node, and else a *Failure.
func (k Kubeadm) Join(ctx context.Context, configPath string, extra []string) error {
	return k.run(ctx, append([]string{"join", "--config", configPath}, extra...)...)
}

// Reset runs `kubeadm reset -f`; with criSocket "" kubeadm looks for the runtime itself. It returns nil on exit status 0, which
// proves nothing about the disk, and else a *Failure.
//
// Reset stops the kubelet, unmounts everything below /var/lib/kubelet, removes every pod sandbox, and empties
// /var/lib/kubelet, /etc/kubernetes/manifests, /etc/kubernetes/pki and /var/lib/etcd, whoever wrote what is in there. It
// warns, and exits with 0, when the runtime does not answer.
func (k Kubeadm) Reset(ctx context.Context, criSocket string) error {
	args := []string{"reset", "-f"}
	if criSocket != "" {
		args = append(args, "--cri-socket", criSocket)
	}
	return k.run(ctx, args...)
}

// thrifty is for programs of Go that are large and live for seconds: without it a third of their start goes into collecting
// garbage, of which there is little.
var thrifty = []string{"GOGC=off", "GOMEMLIMIT=128MiB"}

// run runs kubeadm; the error is a *Failure.
func (k Kubeadm) run(ctx context.Context, args ...string) error {
	redact := k.Redact
	if redact == nil {
		redact = NewRedactor().Redact
	}
	said := transcript{}
	code, err := child.Run(ctx, child.Cmd{
		Path:  k.Path,
		Args:  args,
		Env:   append(slices.Clip(thrifty), child.Environ()...), // of two values of one variable the last counts, which is the user's
		Grace: k.Grace,
		Line: func(line string) {
			plain, listing := withoutColour(line)
			line = redact(plain)
			if !listing {
				said.add(line)
			}
			if k.Line != nil {
				k.Line(line)
			}
		},
	})
	for _, w := range said.warnings {
		if k.Warn != nil && args[0] == "join" {
			k.Warn(w)
		}
	}
	if err == nil {
		return nil
	}
	return said.failure("kubeadm "+args[0], code, err)
}
