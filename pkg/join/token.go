package join

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/child"
	"github.com/nodejoin/nodejoin/internal/kubeadm"
)

// tokenTimeout bounds one run of --token-command.
const tokenTimeout = 30 * time.Second

// tokenReader reads the token from its source; it knows the last good one.
type tokenReader struct {
	plan  *plan
	last  string
	stdin chan input // of the one read of standard input; it outlives a reader who gave up
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
// says that the source itself is bad, any other that reading it failed this
// time. Once a good token was read, a bad one is an error of this time only: a
// file may be caught half-written.
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
		raw, err = os.ReadFile(source.File)
	case t.plan.static != "":
		return t.plan.static, nil
	case t.plan.DiscoveryFile != "":
		return "", nil // the file may have credentials of its own
	default:
		return "", errNoToken
	}
	token := strings.TrimSpace(string(raw))
	if err == nil {
		err = kubeadm.ValidateToken(token)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", flag, err)
		if t.last == "" {
			return "", usage(err)
		}
		return "", err
	}
	t.last = token
	return token, nil
}

// readStdin gives up with ctx: a terminal where nobody types blocks for ever.
func (t *tokenReader) readStdin(ctx context.Context) ([]byte, error) {
	if t.stdin == nil {
		t.stdin = make(chan input, 1)
		in := t.plan.Token.Stdin
		if in == nil {
			in = os.Stdin
		}
		go func() {
			raw, err := io.ReadAll(io.LimitReader(in, 4096))
			t.stdin <- input{raw, err}
		}()
	}
	select {
	case got := <-t.stdin:
		t.stdin <- got
		return got.raw, got.err
	case <-ctx.Done():
		return nil, fmt.Errorf("--token-file -: nothing came from standard input: %w", context.Cause(ctx))
	}
}

// runTokenCommand returns the command's standard output. Its standard error is
// for the message, its last line only.
func runTokenCommand(ctx context.Context, command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	var out, last bytes.Buffer
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
