package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nodejoin/nodejoin/test/testbed"
)

// release is where `make snapshot` has put its work, and tree the amd64 package unpacked.
var release, tree string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	work, err := os.MkdirTemp("", "nodejoin-packages-")
	if err == nil {
		defer os.RemoveAll(work)
		err = prepare(context.Background(), work)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func prepare(ctx context.Context, work string) error {
	if err := testbed.Need(ctx, os.Stderr, needs); err != nil {
		return err
	}
	if err := Snapshot(ctx, filepath.Join(work, "first")); err != nil {
		return err
	}
	release, tree = filepath.Join(work, "first", "dist"), filepath.Join(work, "tree")
	deb, err := filepath.Glob(filepath.Join(release, "*_amd64.deb"))
	if err != nil || len(deb) != 1 {
		return fmt.Errorf("the Debian packages for amd64 are %q: %w", deb, err)
	}
	return exec.CommandContext(ctx, "dpkg-deb", "--extract", deb[0], tree).Run()
}

// one is the only artefact that the pattern fits.
func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(release, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: found %q", pattern, found)
	}
	return found[0]
}

// said is what a program writes; it must succeed.
func said(t *testing.T, program string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// sums are the checksums of all that a release publishes.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, e := range entries {
		// goreleaser's notes to itself
		if e.IsDir() || slices.Contains([]string{"artifacts.json", "config.yaml", "metadata.json"}, e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		found[e.Name()] = hex.EncodeToString(sum[:])
	}
	return found
}

func TestTwoBuildsOfOneCommitAreAlike(t *testing.T) {
	first := sums(t, release)
	var kinds []string
	version := regexp.MustCompile(`0\.0\.0[-~]20260101000000[-_][0-9a-f]{12}`)
	for name := range first {
		kinds = append(kinds, version.ReplaceAllString(name, "V"))
	}
	slices.Sort(kinds)
	want := []string{
		"checksums.txt",
		"nodejoin-V-1.aarch64.rpm", "nodejoin-V-1.x86_64.rpm",
		"nodejoin_V_amd64.deb", "nodejoin_V_arm64.deb",
		"nodejoin_V_linux_amd64.tar.gz", "nodejoin_V_linux_amd64.tar.gz.spdx.json",
		"nodejoin_V_linux_arm64.tar.gz", "nodejoin_V_linux_arm64.tar.gz.spdx.json",
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("a release has %q, want %q", kinds, want)
	}
	list, err := os.ReadFile(filepath.Join(release, "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, sum := range first {
		if name != "checksums.txt" && !strings.Contains(string(list), sum+"  "+name+"\n") {
			t.Errorf("checksums.txt lacks %s", name)
		}
	}

	// Elsewhere, on another day, by somebody who keeps his files to himself.
	t.Setenv("TZ", "Asia/Tokyo")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	work := filepath.Join(t.TempDir(), "in a place with a longer name")
	if err := Snapshot(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	second := sums(t, filepath.Join(work, "dist"))
	for name, sum := range first {
		if second[name] != sum {
			t.Errorf("%s differs between two builds", name)
		}
	}
	if len(second) != len(first) {
		t.Errorf("one build made %d files, the other %d", len(first), len(second))
	}
}

func TestAPackageIsNamedAsItsProgram(t *testing.T) {
	got := said(t, filepath.Join(tree, "usr/bin/nodejoin"), "version")
	m := regexp.MustCompile(`^nodejoin v(0\.0\.0-20260101000000-([0-9a-f]{12})) \(go[0-9.]+, commit ([0-9a-f]{12})\)\n$`).FindStringSubmatch(got)
	if m == nil || m[2] != m[3] {
		t.Fatalf("the program says %q", got)
	}
	deb := strings.TrimSpace(said(t, "dpkg-deb", "--field", one(t, "*_amd64.deb"), "Version"))
	rpm := said(t, "rpm", "--query", "--package", "--queryformat", "%{VERSION}", one(t, "*.x86_64.rpm"))
	if deb != strings.Replace(m[1], "-", "~", 1) || rpm != strings.Replace(strings.Replace(m[1], "-", "~", 1), "-", "_", 1) {
		t.Errorf("the program is %s, the deb %s, the rpm %s", m[1], deb, rpm)
	}
}

// installers are the texts that say how to install a package.
var installers = []string{"README.md", "internal/dist/generate/nodejoin-ec2.7.md"}

// A line of these texts that names a package is run, with what the other architecture's machine would say.
func TestPackagesToInstallAreThoseOfARelease(t *testing.T) {
	deb, rpm := one(t, "*_amd64.deb"), one(t, "*.x86_64.rpm")
	versions := map[string]string{
		"DEB": strings.TrimSpace(said(t, "dpkg-deb", "--field", deb, "Version")),
		"RPM": said(t, "rpm", "--query", "--package", "--queryformat", "%{VERSION}", rpm),
	}
	for _, file := range installers {
		text := read(t, file)
		lines := regexp.MustCompile("(?m)^\\s*DEB=.*$|RPM=[^`]+").FindAllString(text, -1)
		places := regexp.MustCompile(`RELEASE=(\S+)`).FindAllStringSubmatch(text, -1)
		if len(lines) < 2 || len(places) != 2 {
			t.Errorf("%s names packages in %q, at %q", file, lines, places)
		}
		for _, place := range places {
			if got := strings.Replace(place[1], "$VERSION", "0.1.0", 1); got != "https://github.com/nodejoin/nodejoin/releases/download/v0.1.0" {
				t.Errorf("%s: a release is not at %s", file, got)
			}
		}
		for _, line := range lines {
			for dpkgs, unames := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
				for variable, version := range versions {
					name := strings.TrimSpace(said(t, "sh", "-c", "dpkg() { echo "+dpkgs+"; }; uname() { echo "+unames+"; }; VERSION='"+version+"'\n"+line+"\necho $"+variable))
					if _, err := os.Stat(filepath.Join(release, name)); name != "" && err != nil {
						t.Errorf("%s: %s: on %s no release has %s", file, line, dpkgs, name)
					}
				}
			}
		}
	}
}

// README's user data is the manual's, shorter: each of its lines stands there too, in the same order.
func TestREADMEsUserDataIsTheManuals(t *testing.T) {
	_, short, _ := strings.Cut(read(t, "README.md"), "```sh\n#!/bin/sh\n")
	short, _, _ = strings.Cut(short, "```")
	_, full, _ := strings.Cut(read(t, "internal/dist/generate/nodejoin-ec2.7.md"), "\n#!/bin/sh\n")
	full, _, _ = strings.Cut(full, "\n```")
	if short == "" {
		t.Fatal("README has no user data")
	}
	for line := range strings.Lines(short) {
		line = strings.TrimSuffix(strings.TrimSpace(line), " \\")
		_, rest, ok := strings.Cut(full, line)
		if !ok {
			t.Errorf("nodejoin-ec2(7) lacks, or has elsewhere: %s", line)
			continue
		}
		full = rest
	}
}

func TestTheProgramCarriesNothingThatWritesItsManual(t *testing.T) {
	info, err := buildinfo.ReadFile(filepath.Join(tree, "usr/bin/nodejoin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range info.Deps {
		if strings.Contains(module.Path, "md2man") || strings.Contains(module.Path, "blackfriday") {
			t.Errorf("%s is in it", module.Path)
		}
	}
}

// files are those of both packages: mode, then path.
var files = []string{
	"drwx------ /etc/nodejoin",
	"-rw------- /etc/nodejoin/nodejoin.env",
	"-rwxr-xr-x /usr/bin/nodejoin",
	"-rw-r--r-- /usr/lib/systemd/system/nodejoin.service",
	"-rw-r--r-- /usr/share/bash-completion/completions/nodejoin",
	"-rw-r--r-- /usr/share/doc/nodejoin/README.md",
	"-rw-r--r-- /usr/share/fish/vendor_completions.d/nodejoin.fish",
	"-rw-r--r-- /usr/share/man/man1/nodejoin-check.1.gz",
	"-rw-r--r-- /usr/share/man/man1/nodejoin-join.1.gz",
	"-rw-r--r-- /usr/share/man/man1/nodejoin-version.1.gz",
	"-rw-r--r-- /usr/share/man/man1/nodejoin.1.gz",
	"-rw-r--r-- /usr/share/man/man7/nodejoin-ec2.7.gz",
	"-rw-r--r-- /usr/share/man/man7/nodejoin.7.gz",
	"-rw-r--r-- /usr/share/man/man8/nodejoin.service.8.gz",
}

func sameFiles(t *testing.T, got []string, own ...string) {
	t.Helper()
	path := func(a, b string) int { return strings.Compare(a[11:], b[11:]) }
	want := append(slices.Clone(files), own...)
	slices.SortFunc(got, path)
	slices.SortFunc(want, path)
	if !slices.Equal(got, want) {
		t.Errorf("the package has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheDeb(t *testing.T) {
	for arch, name := range map[string]string{"amd64": "*_amd64.deb", "arm64": "*_arm64.deb"} {
		deb := one(t, name)
		var got []string
		for line := range strings.Lines(said(t, "dpkg-deb", "--contents", deb)) {
			field := strings.Fields(line)
			path := strings.TrimSuffix(strings.TrimPrefix(field[5], "."), "/")
			if field[1] != "root/root" {
				t.Errorf("%s: %s belongs to %s", arch, path, field[1])
			}
			if field[0] == "drwxr-xr-x" { // the folders of the system
				continue
			}
			got = append(got, field[0]+" "+path)
		}
		sameFiles(t, got, "-rw-r--r-- /usr/share/doc/nodejoin/copyright", "-rw-r--r-- /usr/share/zsh/vendor-completions/_nodejoin")
		if conffiles := said(t, "dpkg-deb", "--info", deb, "conffiles"); conffiles != "/etc/nodejoin/nodejoin.env\n" {
			t.Errorf("%s: the conffiles are %q", arch, conffiles)
		}
		if got := said(t, "dpkg-deb", "--field", deb, "Architecture", "Depends", "Recommends"); got != "Architecture: "+arch+"\nRecommends: kubeadm, kubelet\n" {
			t.Errorf("%s: %s", arch, got)
		}
	}
}

func TestTheRpm(t *testing.T) {
	for _, name := range []string{"*.x86_64.rpm", "*.aarch64.rpm"} {
		rpm := one(t, name)
		query := func(args ...string) string {
			return said(t, "rpm", append([]string{"--query", "--package", rpm}, args...)...)
		}
		listed := strings.Split(strings.TrimSpace(query("--list")), "\n")
		sameFiles(t, strings.Split(strings.TrimSpace(query("--queryformat", `[%{FILEMODES:perms} %{FILENAMES}\n]`)), "\n"),
			"-rw-r--r-- /usr/share/licenses/nodejoin/LICENSE", "-rw-r--r-- /usr/share/zsh/site-functions/_nodejoin")
		if len(listed) != len(files)+2 {
			t.Errorf("rpm -qpl lists %q", listed)
		}
		if got := query("--configfiles"); got != "/etc/nodejoin/nodejoin.env\n" {
			t.Errorf("the config files are %q", got)
		}
		// What rpm marks so is kept when somebody has changed it.
		if got := query("--queryformat", `[%{FILEFLAGS:fflags} %{FILENAMES}\n]`); !strings.Contains(got, "cn /etc/nodejoin/nodejoin.env\n") {
			t.Errorf("nodejoin.env would be replaced: %s", got)
		}
		if got := query("--queryformat", "%{BUILDHOST}"); got != "localhost" {
			t.Errorf("built on %q: the machine's name got in", got)
		}
		scripts := query("--scripts")
		for heading, file := range map[string]string{"postinstall": "postinstall.sh", "preuninstall": "preremove.sh", "postuninstall": "postremove.sh"} {
			if !strings.Contains(scripts, heading+" scriptlet (using /bin/sh):\n"+read(t, "internal/dist/scripts", file)) {
				t.Errorf("no %s script, or another:\n%s", heading, scripts)
			}
		}
		if strings.Contains(scripts, "preinstall scriptlet") || strings.Contains(scripts, "trans") {
			t.Errorf("more scripts than are known of:\n%s", scripts)
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestTheScripts(t *testing.T) {
	control := t.TempDir()
	said(t, "dpkg-deb", "--control", one(t, "*_amd64.deb"), control)
	for script, file := range map[string]string{"postinst": "postinstall.sh", "prerm": "preremove.sh", "postrm": "postremove.sh"} {
		content, err := os.ReadFile(filepath.Join(control, script))
		if err != nil {
			t.Fatal(err)
		}
		if string(content) != read(t, "internal/dist/scripts", file) {
			t.Errorf("%s is not %s", script, file)
		}
		// Whoever installs decides whether it runs.
		if bytes.Contains(content, []byte("systemctl enable")) || bytes.Contains(content, []byte("systemctl start")) || bytes.Contains(content, []byte("systemctl restart")) {
			t.Errorf("%s starts or enables", script)
		}
	}
	root, err := checkout()
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(root, "internal/dist/scripts/*.sh"))
	if err != nil || len(scripts) < 4 {
		t.Fatalf("the scripts are %q", scripts)
	}
	if got := said(t, "shellcheck", append([]string{"--shell=sh"}, scripts...)...); got != "" {
		t.Error(got)
	}
}
