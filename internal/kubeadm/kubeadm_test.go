package kubeadm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestVersions(t *testing.T) {
	for said, ok := range map[string]bool{"v1.31.0": true, "v1.37.2": true, "v1.38.0-alpha.1.12+abcdef": true, "v1.39.0": true, "v2.0.0": true, "v1.30.14": false, "v1.9.1": false, "v0.1.0": false} {
		got, err := Kubeadm{Path: script(t, `[ "$*" = "version -o short" ] && echo `+said)}.Version(t.Context())
		var old *TooOldError
		if got.String() != said || got.Newer() != (said == "v1.39.0" || said == "v2.0.0") || (err == nil) != ok || !ok && (!errors.As(err, &old) || old.Version != said || !strings.Contains(err.Error(), "v1.31.0")) {
			t.Errorf("%s: got %q, %v", said, got, err)
		}
	}
	for name, body := range map[string]string{"nothing": "", "junk": "echo hello", "a failure": "echo v1.37.2; exit 1"} {
		if got, err := (Kubeadm{Path: script(t, body)}).Version(t.Context()); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestNoKubeadm(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "kubeadm")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"no-such-kubeadm", "/no/such/kubeadm", plain, t.TempDir()} {
		if _, err := (Kubeadm{Path: path}).Version(t.Context()); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestJoinAndResetSayWhatTheyMust(t *testing.T) {
	t.Setenv("NODEJOIN_TOKEN", token)
	out := filepath.Join(t.TempDir(), "out")
	k := Kubeadm{Path: script(t, `echo "$*" >>`+out+`; env | grep NODEJOIN >>`+out+`; exit 0`)}
	if err := errors.Join(k.Join(t.Context(), "/run/c.yaml", []string{"-v=1"}), k.Reset(t.Context(), "unix:///x"), k.Reset(t.Context(), "")); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(out)
	want := []string{"join --config /run/c.yaml -v=1", "reset -f --cri-socket unix:///x", "reset -f", ""}
	if got := strings.Split(string(b), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEverythingThatLeavesIsRedacted(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(corpus, "malformed.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	k := Kubeadm{Path: script(t, "cat "+file+"; echo '\t[ERROR Odd]: "+token+"' >&2; exit 1"), Line: func(l string) { lines = append(lines, l) },
		Redact: NewRedactor("abcdef.0123456789ABCDEF").Redact}
	err = k.Join(t.Context(), "c", nil)
	var f *Failure
	if !errors.As(err, &f) || f.ExitCode != 1 || f.Command != "kubeadm join" || len(f.Checks) != 1 || len(f.Tail) != len(lines) || len(lines) != 3 {
		t.Fatalf("got %#v", err)
	}
	all := strings.Join(lines, "\n") + strings.Join(f.Tail, "\n") + f.Error() + f.Checks[0].Message + f.Said
	if strings.Contains(strings.ToLower(all), secret) || !strings.Contains(all, "abcdef.[redacted]") {
		t.Errorf("a secret left, or nothing was redacted: %s", all)
	}
	k.Redact, k.Line = nil, nil
	if err := k.Join(t.Context(), "c", nil); strings.Contains(err.Error(), secret) {
		t.Errorf("without a Redact of the caller's: %v", err)
	}
}

func TestADeadlineEndsKubeadmAndIsSaid(t *testing.T) {
	why := errors.New("attempt timed out")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, why)
	defer cancel()
	k := Kubeadm{Path: script(t, "trap '' TERM; echo '[preflight] Running'; while :; do sleep 0.05; done"), Grace: 50 * time.Millisecond}
	start := time.Now()
	err := k.Reset(ctx, "")
	var f *Failure
	if !errors.As(err, &f) || !errors.Is(err, why) || f.ExitCode != -1 || f.Kind() != Retry || time.Since(start) > 30*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	if want := "running kubeadm reset: attempt timed out, last word: [preflight] Running"; err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
}

// The system verification prints some forty lines in colour, all of them good but the one that matters.
func TestTheTailIsWorthReading(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(corpus, "verification.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	k := Kubeadm{Path: script(t, "cat "+file+"; exit 1"), Line: func(l string) { lines = append(lines, l) }}
	var f *Failure
	if !errors.As(k.Join(t.Context(), "c", nil), &f) {
		t.Fatal("no failure")
	}
	tail := strings.Join(f.Tail, "\n")
	for _, want := range []string{
		"[preflight] Running pre-flight checks", "Printing the output from the verification:", "CGROUPS_MEMORY: missing", "[WARNING Hostname]: ", "[ERROR CRI]: ",
		"[ERROR SystemVerification]: missing required cgroups: memory", "error execution phase preflight",
	} {
		if !strings.Contains(tail, want) {
			t.Errorf("no %q in the tail", want)
		}
	}
	if strings.Contains(tail, "CONFIG_") || strings.Contains(tail, ": enabled") || strings.Contains(tail+strings.Join(lines, ""), "\x1b") {
		t.Errorf("the tail:\n%q", f.Tail)
	}
	if whole := strings.Count(read(t, "verification"), "\n"); len(lines) != whole || !slices.Contains(lines, "CONFIG_NET_NS: enabled") {
		t.Errorf("%d of %d lines are passed on", len(lines), whole)
	}
}

func TestColoursDoNotHideASecret(t *testing.T) {
	k := Kubeadm{Path: script(t, `printf 'token abcdef.\033[0;31m0123456789\033[0mabcdef\n'; exit 1`)}
	var f *Failure
	if err := k.Join(t.Context(), "c", nil); !errors.As(err, &f) || f.Tail[0] != "token abcdef.[redacted]" {
		t.Errorf("got %q", f.Tail)
	}
}

// A kubelet that is asked for its version inherits it; a kubelet that serves does not, for init starts it.
func TestKubeadmStartsWithoutCollectingGarbage(t *testing.T) {
	for own, want := range map[string]string{"": "off 128MiB", "50": "50 128MiB"} {
		t.Setenv("GOGC", own)
		if own == "" {
			os.Unsetenv("GOGC") // Setenv puts back what there was
		}
		var said string
		k := Kubeadm{Path: script(t, `echo $GOGC $GOMEMLIMIT`), Line: func(line string) { said = line }}
		if err := k.Join(t.Context(), "x", nil); err != nil || said != want {
			t.Errorf("GOGC=%q: kubeadm has %q (%v), wanted %q", own, said, err, want)
		}
	}
}
