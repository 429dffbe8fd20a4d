package join

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// tokenTimeout bounds one run of --token-command, and one wait for a file: a pipe
// that has given its token has nothing for the next attempt.
const tokenTimeout = 30 * time.Second

// tokenMost is as much as is read of a token's source: one that goes on for
// ever must not fill the memory.
const tokenMost = 4096

// tokenReader reads the token from its source; it knows the last good one.
type tokenReader struct {
	plan  *plan
	last  string
	given chan input // by a read of standard input or a file; it outlives a reader who gave up
}

type input struct {
	raw []byte
	err error
}

// errNoToken: a join is needed and no source of a token was given.
var errNoToken = &Error{
	Reason:  Usage,
	Message: "--token: missing, and this machine is not a member yet",
	Hint:    "give --token, --token-file or --token-command; on a control-plane host `kubeadm token create` makes a token",
}

// read returns the token as its source has it now. An error of reason Usage
// says that the source itself is bad, any other that it has no good token this
// time: a file may come later or be caught half-written, and a parameter that a
// control plane fills holds something else until then.
func (t *tokenReader) read(ctx context.Context) (string, error) {
	source := t.plan.Token
	var raw []byte
	var err error
	flag := "--token-file"
	switch {
	case source.Command != "":
		flag = "--token-command"
		if raw, err = runTokenCommand(ctx, source.Command); err != nil {
			return "", err
		}
	case source.File == "-":
		if t.last != "" {
			return t.last, nil
		}
		if raw, err = t.readStdin(ctx); ctx.Err() != nil {
			return "", err
		}
	case source.File != "":
		if raw, err = t.readFile(ctx, source.File); ctx.Err() != nil || errors.Is(err, errSilent) {
			return "", err
		}
	case t.plan.static != "":
		return t.plan.static, nil
	case t.plan.TLSBootstrapToken != "" && t.plan.DiscoveryFile != "":
		return "", nil
	case t.plan.DiscoveryFile != "":
		return "", cluster.CheckCredentials(t.plan.DiscoveryFile)
	default:
		return "", errNoToken
	}
	token := strings.TrimSpace(string(raw))
	switch {
	case err != nil:
		err = fmt.Errorf("%s: %w", flag, err)
	case token == "" && flag == "--token-file":
		err = emptyFile(source.File)
	default:
		if err = kubeadm.ValidateToken(token); err != nil {
			err = fmt.Errorf("%s: %w%s", flag, err, placeholder(token))
		}
	}
	switch {
	case err == nil:
		t.last = token
		return token, nil
	case t.last == "" && (source.File == "-" || errors.Is(err, syscall.EISDIR)):
		return "", usage(err)
	}
	return "", err
}

// placeholders stand where there is no token yet: jq, aws and Go's templates print
// them, and people write them. Any other text may be a secret, a password say,
// where a parameter's name is mistyped.
var placeholders = []string{"null", "none", "nil", "<nil>", "<no value>", "undefined", "{}", "[]", "-", "placeholder", "changeme", "todo", "tbd"}

func placeholder(given string) string {
	if slices.Contains(placeholders, strings.ToLower(given)) {
		return fmt.Sprintf(": %q", given)
	}
	return ""
}

// emptyFile is how nodejoin.service looks on a machine that was given no token:
// its credential is empty where /etc/nodejoin/token is missing.
func emptyFile(path string) error {
	e := &kubeadm.FieldError{
		Field: "--token-file", Problem: fmt.Sprintf("%q is empty, and this machine is not a member yet", path),
		Remedy: "write a token into it; on a control-plane host `kubeadm token create` makes one",
	}
	if credential(path) {
		e.Problem = fmt.Sprintf("the unit's credential %q is empty, and this machine is not a member yet", filepath.Base(path))
		e.Remedy = "nodejoin.service takes it from /etc/nodejoin/token: write a token into that file (on a control-plane host `kubeadm token create` makes one), then `systemctl restart nodejoin`"
	}
	return e
}

// warnExposed: what everybody can read is no secret any more. A member's files
// are not looked at.
func (r *run) warnExposed() {
	warn := func(flag, what, path string, holds func(path string) bool) {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 && holds(path) {
			r.tell.warn(fmt.Sprintf("%s: everybody on this machine can read the %s in %q (mode %04o): `chmod 600` it", flag, what, path, info.Mode().Perm()))
		}
	}
	warn("--token-file", "token", r.Token.File, func(string) bool { return true })
	warn("--config", "token", r.ConfigFile, func(string) bool { return r.static != "" || r.TLSBootstrapToken != "" })
	warn("--discovery-file", "credentials", r.DiscoveryFile, cluster.HoldsSecret)
}

// readStdin reads once, and gives up with ctx: a terminal where nobody types
// blocks for ever.
func (t *tokenReader) readStdin(ctx context.Context) ([]byte, error) {
	got, err := t.await(ctx, func() input {
		in := t.plan.Token.Stdin
		if in == nil {
			in = os.Stdin
		}
		raw, err := io.ReadAll(io.LimitReader(in, tokenMost))
		return input{raw, err}
	})
	if err != nil {
		return nil, fmt.Errorf("--token-file -: nothing came from standard input: %w", err)
	}
	t.given <- got
	return got.raw, got.err
}

var errSilent = fmt.Errorf("no answer within %s", tokenTimeout)

// readFile gives up with ctx, or soon: a pipe, as <(...) is one, may have no writer.
func (t *tokenReader) readFile(ctx context.Context, path string) ([]byte, error) {
	soon, cancel := context.WithTimeoutCause(ctx, tokenTimeout, errSilent)
	defer cancel()
	got, err := t.await(soon, func() input {
		f, err := os.Open(path)
		if err != nil {
			return input{err: err}
		}
		defer f.Close()
		raw, err := io.ReadAll(io.LimitReader(f, tokenMost))
		return input{raw, err}
	})
	if err != nil {
		return nil, fmt.Errorf("--token-file: nothing came from %q: %w", path, err)
	}
	t.given = nil
	return got.raw, got.err
}

// await is what read gives, or why that was not waited for any longer. One read
// is under way at most, or what comes late would be nobody's.
func (t *tokenReader) await(ctx context.Context, read func() input) (input, error) {
	if t.given == nil {
		given := make(chan input, 1)
		t.given = given
		go func() { given <- read() }()
	}
	select {
	case got := <-t.given:
		return got, nil
	case <-ctx.Done():
		return input{}, context.Cause(ctx)
	}
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), tokenMost-h.Len())])
	return len(p), nil
}

// runTokenCommand returns the command's standard output. Its standard error is
// for the message, its last line only.
func runTokenCommand(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	var out head
	var last bytes.Buffer
	_, err := child.Run(ctx, child.Cmd{
		Path:   "/bin/sh",
		Args:   []string{"-c", command},
		Stdout: &out,
		Line: func(line string) {
			if strings.TrimSpace(line) != "" {
				last.Reset()
				last.WriteString(line)
			}
		},
	})
	switch {
	case err == nil:
		return out.Bytes(), nil
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("--token-command: no answer within %s", tokenTimeout)
	case last.Len() > 0:
		return nil, fmt.Errorf("--token-command: %w: %s", err, last.String())
	}
	return nil, fmt.Errorf("--token-command: %w", err)
}
