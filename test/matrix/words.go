package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// What a minor's kubeadm says when things go wrong is recorded bare, without nodejoin, so that the package that reads these
// words is tested with all of them: a transcript for each case, and one file with the exit statuses.

// testdata is where the transcripts are kept, seen from the test module.
const testdata = "../internal/kubeadm/testdata"

// The token of kubeadm's documentation, which is nobody's, and one that has only its ID.
const (
	token = "abcdef.0123456789abcdef"
	wrong = "abcdef.fedcba9876543210"
)

// hostname is that of every machine on which kubeadm is heard.
const hostname = "n1"

// hearing is one run of kubeadm on a machine of its own.
type hearing struct {
	ctx  context.Context
	tb   *testbed.Testbed
	cp   *testbed.ControlPlane
	node *testbed.Node

	config string   // of `kubeadm join --config`
	args   []string // in place of that
	as     []string // a program that runs kubeadm
	other  net.Listener
}

// recordWords runs through the cases with a cell's kubeadm and keeps what it says.
func recordWords(ctx context.Context, c Cell) (err error) {
	tb, err := testbed.Start(ctx, testbed.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tb.Close()) }()
	cp, err := tb.ControlPlane(ctx, testbed.ControlPlaneOptions{Kubernetes: c.ControlPlane})
	if err != nil {
		return err
	}
	if _, err := cp.Token(ctx, testbed.TokenOptions{Value: token}); err != nil {
		return err
	}
	if err := cp.WaitSigned(ctx, token); err != nil {
		return err
	}
	parts, err := testbed.BuildNodeParts(ctx, os.Stderr, c.Nodes)
	if err != nil {
		return err
	}
	heard, r := map[string]string{}, record{Version: parts.Kubernetes, Exits: map[string]int{}}
	for _, k := range cases {
		h := &hearing{ctx: ctx, tb: tb, cp: cp}
		said, exit, err := h.hear(k, c)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if said = h.plain(said); k.name != verification {
			said = listing.ReplaceAllString(said, "")
		}
		heard[k.name], r.Exits[k.name] = said, exit
		fmt.Printf("%-10s kubeadm in case %-16s exit status %d\n", c, k.name, exit)
	}
	return write(c.Nodes, heard, r)
}

func (h *hearing) hear(k saying, c Cell) (said string, exit int, err error) {
	if h.node, err = h.tb.Node(h.ctx, k.name, testbed.NodeOptions{Hostname: hostname, CNI: true, Kubernetes: c.Nodes}); err != nil {
		return "", 0, err
	}
	defer h.node.PowerOff()
	h.config = h.join()
	if err := k.prepare(h); err != nil {
		return "", 0, err
	}
	p, err := h.run()
	if k.undo != nil {
		err = errors.Join(err, k.undo(h))
	}
	if deleteErr := h.cp.Client().CoreV1().Nodes().DeleteCollection(h.ctx, meta.DeleteOptions{}, meta.ListOptions{}); err == nil {
		err = deleteErr
	}
	if err != nil {
		return "", 0, err
	}
	return p.Stdout.String(), p.Wait().Code, nil
}

// run runs kubeadm to its end. A case is over in seconds, for its configuration has short timeouts.
func (h *hearing) run() (*testbed.Proc, error) {
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Minute)
	defer cancel()
	const path = "/root/join.yaml"
	if err := h.node.WriteFile(path, h.config, 0o644); err != nil {
		return nil, err
	}
	args := h.args
	if args == nil {
		args = []string{"join", "--config", path}
	}
	p, err := h.node.Start(ctx, testbed.Command{Args: slices.Concat([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, h.as, []string{testbed.RealKubeadm}, args)})
	if err != nil {
		return nil, err
	}
	p.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("kubeadm does not end:\n%s", p.Stdout)
	}
	return p, nil
}

// join is a configuration in which everything is right, but for what the changes, pairs of old and new text, make of it.
func (h *hearing) join(change ...string) string {
	ignored := []string{}
	for _, arg := range testbed.PreflightArgs() {
		_, check, _ := strings.Cut(arg, "=")
		ignored = append(ignored, check)
	}
	config := fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken:
    apiServerEndpoint: %q
    token: %s
    caCertHashes: [%q]
  tlsBootstrapToken: %[2]s
nodeRegistration:
  name: %[4]s
  ignorePreflightErrors: [%[5]s]
timeouts: {discovery: 6s, kubeletHealthCheck: 6s, tlsBootstrap: 8s, kubernetesAPICall: 6s}
`, h.cp.Endpoint(), token, h.cp.CAHash(), hostname, strings.Join(ignored, ", "))
	return strings.NewReplacer(change...).Replace(config)
}

var (
	klogHeader = regexp.MustCompile(`(?m)^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ `)
	anyPin     = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	kernel     = regexp.MustCompile(`(KERNEL_VERSION[^:]*: \S*?m)[0-9][^\x1b]*`)
	listing    = regexp.MustCompile(`(?m)^\x1b\[0;37m.*\n`) // forty lines of the system verification
	took       = regexp.MustCompile(`(healthy after )[0-9.]+(?:ms|s)`)
	sourcePort = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+):\d+->`)
)

// plain takes out what is another in each run, and what only this machine and this cluster have.
func (h *hearing) plain(said string) string {
	said = strings.NewReplacer(h.cp.IP, "192.0.2.1", h.node.IP, "192.0.2.11", h.tb.BlackholeIP(), "192.0.2.99").Replace(said)
	said = klogHeader.ReplaceAllString(said, "${1}0101 00:00:00.000000    1000 ")
	said = anyPin.ReplaceAllString(said, "sha256:"+strings.Repeat("0123456789abcdef", 4))
	said = took.ReplaceAllString(said, "${1}1s")
	said = sourcePort.ReplaceAllString(said, "$1:50000->")
	return kernel.ReplaceAllString(said, "${1}6.1.0")
}

// record goes with the transcripts of a minor.
type record struct {
	Version string         `json:"version"`
	Exits   map[string]int `json:"exits"` // statuses by case
}

// write puts the transcripts of a minor in the place of older ones.
func write(minor string, heard map[string]string, r record) error {
	folder := filepath.Join(testdata, minor)
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	err = errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "record.json"), append(raw, '\n'), 0o644))
	for name, text := range heard {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, name+".txt"), []byte(text), 0o644))
	}
	return err
}
