package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestSystemdFindsNothingWrongWithTheUnit(t *testing.T) {
	// It wants the units that ours names, and says what it does not understand without failing.
	root := t.TempDir()
	said(t, "cp", "-a", tree+"/.", root)
	said(t, "cp", "-a", "--no-clobber", "/usr/lib/systemd/system/.", filepath.Join(root, "usr/lib/systemd/system"))
	verify := func() (string, error) {
		output, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--root="+root, "--man=no", "nodejoin.service").CombinedOutput()
		return string(output), err
	}
	if output, err := verify(); err != nil || output != "" {
		t.Errorf("%v: %s", err, output)
	}
	path := filepath.Join(root, "usr/lib/systemd/system/nodejoin.service")
	unit, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// An empty default would be the natural thing to write. systemd ignores it, and the unit fails without a token.
	spoilt := strings.Replace(string(unit), `SetCredential=token:\n`, "SetCredential=token:", 1)
	if err := os.WriteFile(path, []byte(spoilt), 0o644); err != nil {
		t.Fatal(err)
	}
	if output, _ := verify(); !strings.Contains(output, "Invalid syntax") {
		t.Errorf("an empty default for the credential passes: %q", output)
	}
}

// settings are the unit's lines, by name.
func settings(t *testing.T) map[string][]string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join(tree, "usr/lib/systemd/system/nodejoin.service"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(unit)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			found[name] = append(found[name], value)
		}
	}
	return found
}

func TestARestartIsNoUseWhereAPersonMustHelp(t *testing.T) {
	help := said(t, filepath.Join(tree, "usr/bin/nodejoin"), "join", "--help")
	var want []string
	for _, reason := range []string{"Usage", "HostUnfit", "WrongCluster", "NameTaken", "Refused"} {
		m := regexp.MustCompile(`\n +(\d+)  ` + reason + ` `).FindStringSubmatch(help)
		if m == nil {
			t.Fatalf("--help does not tell the exit status of %s", reason)
		}
		want = append(want, m[1])
	}
	if got := strings.Join(settings(t)["RestartPreventExitStatus"], " "); got != strings.Join(want, " ") {
		t.Errorf("the unit has %s, want %v", got, want)
	}
}

// What kubeadm reset unmounts in a mount namespace of the unit's own stays mounted on the host.
func TestTheUnitHasTheMountsOfTheHost(t *testing.T) {
	own := []string{
		"ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "PrivateMounts", "ProtectKernelTunables", "ProtectKernelModules",
		"ProtectKernelLogs", "ProtectControlGroups", "ProtectProc", "ProcSubset", "ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths",
		"ExecPaths", "NoExecPaths", "TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths", "RootDirectory", "RootImage", "MountFlags",
		"DynamicUser", "ProtectHostname", "StateDirectory", "RuntimeDirectory",
	}
	for name := range settings(t) {
		if slices.Contains(own, name) {
			t.Errorf("the unit has %s=", name)
		}
	}
}

// Every variable that the unit and its environment file name is a setting: nodejoin warns of those that are none.
func TestTheUnitSetsNothingThatNodejoinDoesNotKnow(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(tree, "etc/nodejoin/nodejoin.env"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(example) + strings.Join(settings(t)["Environment"], "\n")
	names := regexp.MustCompile(`(?m)^#?(NODEJOIN_[A-Z_]+)=`).FindAllStringSubmatch(text, -1)
	if len(names) < 7 {
		t.Fatalf("only %q are named", names)
	}
	warnings := func(extra ...string) string {
		cmd := exec.CommandContext(t.Context(), filepath.Join(tree, "usr/bin/nodejoin"), "check", "--timeout=1s")
		cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, extra...)
		for _, name := range names {
			cmd.Env = append(cmd.Env, name[1]+"=x")
		}
		output, _ := cmd.CombinedOutput() // this machine is no member
		return string(output)
	}
	if got := warnings(); strings.Contains(got, "is no setting") {
		t.Error(got)
	}
	if got := warnings("NODEJOIN_ENDPIONT=x"); !strings.Contains(got, "NODEJOIN_ENDPIONT is no setting") {
		t.Errorf("the check cannot fail: %s", got)
	}
	// As it is installed, the file sets nothing.
	for line := range strings.Lines(string(example)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			t.Errorf("nodejoin.env sets %s", line)
		}
	}
}
