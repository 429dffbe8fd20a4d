// Package readme keeps those parts of a README that a program writes.
package readme

import (
	"fmt"
	"os"
	"strings"
)

// Shown is what stands between the lines begin and end of the file at path.
func Shown(path, begin, end string) (string, error) {
	raw, err := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(raw), begin)
	shown, _, _ := strings.Cut(rest, end)
	return shown, err
}

// Refresh puts text between the lines begin and end of the file at path. Both end with a line break and stay. A file that
// has them not, or not in this order, is an error and stays as it is; one that has the text already is not written.
func Refresh(path, begin, end, text string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no place for it: it needs the lines %q and %q", path, begin, end)
	}
	fresh := before + begin + text + end + after
	if fresh == string(raw) {
		return nil
	}
	return os.WriteFile(path, []byte(fresh), 0o644)
}
