package testbed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nodejoin/nodejoin/test/testbed/internal/machine"
)

// makeCgroup makes a cgroup in every hierarchy, ready to have children: a kubelet whose --cgroup-root it becomes wants
// to find it, with all controllers.
func makeCgroup(name string) error {
	hierarchies, err := machine.CgroupHierarchies()
	if err != nil {
		return err
	}
	for _, top := range hierarchies {
		dir := top
		for word := range strings.SplitSeq(name, "/") {
			parent := dir
			dir = filepath.Join(dir, word)
			if machine.IsCgroupV2() {
				enableControllers(parent)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("making cgroup %s: %w", dir, err)
			}
			inheritCpuset(parent, dir)
		}
		if machine.IsCgroupV2() {
			enableControllers(dir)
		}
	}
	return nil
}

// enableControllers passes a v2 group's controllers on to its children. One at a time: one that cannot be had must not
// keep the others away, and the kubelet says itself which one it misses.
func enableControllers(dir string) {
	list, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for controller := range strings.FieldsSeq(string(list)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

// inheritCpuset fills what cgroup v1 leaves empty in a new cpuset, where no process can live until it is filled.
func inheritCpuset(parent, dir string) {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || len(bytes.TrimSpace(own)) > 0 {
			continue
		}
		if value, err := os.ReadFile(filepath.Join(parent, file)); err == nil {
			_ = os.WriteFile(filepath.Join(dir, file), value, 0o644)
		}
	}
}
