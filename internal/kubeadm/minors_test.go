package kubeadm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// saying is a case that `make matrix` brings about for each minor's kubeadm. Its transcripts are testdata/1.MINOR/NAME.txt.
type saying struct {
	kind  Kind
	error string // a part of the error
	// since and until bound the minors whose kubeadm fails in it; the others let it pass. 0: no bound.
	since, until int
	// byHost: whether it fails depends on the machine on which it was recorded, too.
	byHost bool
}

var sayings = map[string]saying{
	"nobody":       {kind: Unfit, error: "IsPrivilegedUser: user is not running as root"},
	"oldkubelet":   {kind: Unfit, error: "KubeletVersion: Kubelet version"},
	"forwarding":   {kind: Unfit, error: "FileContent--proc-sys-net-ipv4-ip_forward: "},
	"verification": {kind: Unfit, error: "SystemVerification: cgroups v1 support is deprecated", since: 35, byHost: true},
	"tooold":       {kind: Unfit, error: "only supports deploying clusters with the control plane version"},
	"preflight":    {kind: Unfit, error: "KubeletVersion: couldn't get kubelet version"},
	"runtime":      {kind: Runtime, error: "CRI: "},
	"leftovers":    {kind: Leftovers, error: "FileAvailable--etc-kubernetes-pki-ca.crt: "},
	"member":       {kind: Leftovers, error: "Port-10250: "},
	"ready":        {kind: NodeReady, error: `a Node with name "n1" and status "Ready" already exists`},
	"pin":          {kind: Pin, error: "are pinned"},
	"signature":    {kind: Signature, error: "failed to verify JWS signature"},
	"unsigned":     {kind: Unsigned, error: `for token ID "fedcba"`},
	"unauthorized": {kind: Retry, error: "Unauthorized"},
	"unreachable":  {kind: Retry, error: "192.0.2.99"},
	"kubelet":      {kind: Kubelet, error: "http://127.0.0.1:10248/healthz"},
	"swap":         {kind: Kubelet, error: "http://127.0.0.1:10248/healthz"},
	"newkubelet":   {kind: Kubelet, error: "http://127.0.0.1:10248/healthz"},
	"bootstrap":    {kind: Bootstrap, error: "context deadline exceeded"},
	"refused":      {kind: Retry, error: "n1", until: 33}, // later ones do not wait for the Node
	"sockets":      {kind: Usage, error: "found multiple CRI endpoints"},
	"malformed":    {kind: Usage, error: "the bootstrap token is invalid"},
	"v1beta3":      {kind: Usage, error: "uses an old API spec", since: 37},
	"v1":           {kind: Usage, error: `"kubeadm.k8s.io/v1"`},
	"v1beta9":      {kind: Usage, error: `no kind "JoinConfiguration" is registered`},
	"twodocs":      {kind: Usage, error: "is specified twice"},
	"mixed":        {kind: Usage, error: "can not mix"},
	"badflag":      {kind: Usage, error: "unknown flag: --nope"},
	"badphase":     {kind: Usage, error: "invalid phase name"},
	"all-and-more": {kind: Usage, error: "don't specify individual checks"},
	// Nothing is wrong, or nothing that stops it.
	"joined": {until: 1}, "unknownfield": {until: 1}, "reset": {until: 1},
}

func TestEveryMinorsWordsAreUnderstood(t *testing.T) {
	folders, err := filepath.Glob("testdata/1.*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			minor, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(folder), "1."))
			if err != nil {
				t.Fatal(err)
			}
			var record struct {
				Version string
				Exits   map[string]int
			}
			raw, err := os.ReadFile(filepath.Join(folder, "record.json"))
			if err == nil {
				err = json.Unmarshal(raw, &record)
			}
			v, ok := parseVersion(record.Version)
			if err != nil || !ok || v.minor != minor || v.Newer() {
				t.Fatalf("record of %q: %v", record.Version, err)
			}
			for name, exit := range record.Exits {
				want, known := sayings[name]
				if name == "runtime" && v.IgnoresRuntime() {
					want = sayings["kubelet"]
				}
				fails := (want.since == 0 || minor >= want.since) && (want.until == 0 || minor <= want.until)
				text, err := os.ReadFile(filepath.Join(folder, name+".txt"))
				if err != nil || !known {
					t.Errorf("%s: known %t, %v", name, known, err)
					continue
				}
				if (exit != 0) != fails && (exit != 0 || !want.byHost) {
					t.Errorf("%s: exit status %d, and failing is %t", name, exit, fails)
				}
				if !fails || exit == 0 {
					continue
				}
				f := failed(t, string(text))
				if f.Kind() != want.kind || !strings.Contains(f.Error(), want.error) || strings.Contains(f.Error(), "\n") {
					t.Errorf("%s: kind %s, want %s with %q: %s", name, f.Kind(), want.kind, want.error, f.Error())
				}
			}
		})
	}
}
