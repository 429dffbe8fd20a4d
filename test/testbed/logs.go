package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// logsFolder names the environment variable with a folder where failed tests leave their logs.
const logsFolder = "NODEJOIN_TESTBED_LOGS"

const tailLines = 30

// keepLogs prints the end of every log and copies them all if there is a folder to copy them to.
func (tb *Testbed) keepLogs(t testing.TB) {
	logs, _ := filepath.Glob(filepath.Join(tb.dir, "*", "root", "var", "log", "*.log"))
	target := os.Getenv(logsFolder)
	if target != "" {
		target = filepath.Join(target, strings.ReplaceAll(t.Name(), "/", "_"))
	}
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		rel, _ := filepath.Rel(tb.dir, path)
		name, _, _ := strings.Cut(rel, string(filepath.Separator))
		t.Logf("%s: end of %s:\n%s", name, filepath.Base(path), tail(string(data), tailLines))
		if target != "" {
			if err := keep(filepath.Join(target, name+"-"+filepath.Base(path)), data); err != nil {
				t.Logf("keeping %s: %v", path, err)
			}
		}
	}
	if target != "" {
		t.Logf("all logs are in %s", target)
	} else {
		t.Logf("set %s to a folder to keep whole logs", logsFolder)
	}
}

func keep(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{fmt.Sprintf("... %d lines before", len(lines)-n)}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
