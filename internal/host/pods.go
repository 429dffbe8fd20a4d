package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kubeletRoot is the kubelet's --root-dir if it is not given one.
const kubeletRoot = "/var/lib/kubelet"

// podCgroup finds pods in the path of a cgroup, outermost first, in the words of both drivers of the kubelet:
//
//	/kubepods/burstable/pod<uid>/<container>
//	/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with underscores>.slice/<container>.scope
var podCgroup = regexp.MustCompile(`kubepods[^:]*?[/-]pod([0-9A-Za-z_-]+)`)

// Pods counts the pods that live on this machine, for somebody who must know what a reset would end. rootDir is the
// kubelet's; "" is /var/lib/kubelet, and one that does not exist holds none.
//
// A pod counts if its directory exists, or if a process of it lives. The kubelet keeps the directory of a pod that has
// ended until its volumes are gone, so this may be one too many for a moment; but the directory holds the pod's data, which
// a reset deletes, and a pod that waits between two tries of its container may have nothing else.
func (h Host) Pods(rootDir string) (int, error) {
	if rootDir == "" {
		rootDir = kubeletRoot
	}
	pods, err := h.livingPods()
	if err != nil {
		return 0, fmt.Errorf("counting pods: %w", err)
	}
	entries, err := os.ReadDir(h.Path(filepath.Join(rootDir, "pods")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("counting pods: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "lost+found" { // the directory may be a disk of its own
			pods[e.Name()] = true
		}
	}
	return len(pods), nil
}

// livingPods are the UIDs of the pods that have a process on this machine.
//
// A container on this machine may be a node itself (kind), and its pods' processes and cgroups are seen from here too. The
// name of a cgroup does not tell whose it is, and a pod's processes have mount namespaces of their own. But what started
// them, the runtime's shim, runs beside the kubelet; where it is dead, they belong to process 1 of the machine that it ran on.
func (h Host) livingPods() (map[string]bool, error) {
	all, err := h.processes()
	if err != nil {
		return nil, err
	}
	// This machine may be a container in a pod itself: then that pod's cgroup is on every path.
	around, err := h.podsAround(1)
	if err != nil && !errors.Is(err, errEnded) {
		return nil, err
	}
	byPID, podOf := map[int]process{}, map[int]string{}
	for _, p := range all {
		pods, err := h.podsAround(p.pid)
		if errors.Is(err, errEnded) {
			continue
		} else if err != nil {
			return nil, err
		}
		byPID[p.pid] = p
		if i := slices.IndexFunc(pods, func(uid string) bool { return !slices.Contains(around, uid) }); i >= 0 {
			podOf[p.pid] = pods[i]
		}
	}
	living := map[string]bool{}
	for pid, uid := range podOf {
		if living[uid] {
			continue
		}
		local, err := h.startedHere(byPID, podOf, pid)
		if err != nil {
			return nil, err
		}
		if local {
			living[uid] = true
		}
	}
	return living, nil
}

// startedHere finds the nearest ancestor that is not in the process's pod, and tells whether it is of this machine. One
// that cannot be seen, or is gone meanwhile, leaves doubt: then the pod counts.
func (h Host) startedHere(all map[int]process, podOf map[int]string, pid int) (bool, error) {
	ancestor := pid
	for range len(all) {
		p, seen := all[ancestor]
		if !seen {
			return true, nil
		}
		if podOf[ancestor] != podOf[pid] {
			local, err := h.local(ancestor)
			if errors.Is(err, errEnded) {
				return true, nil
			}
			return local, err
		}
		ancestor = p.parent
	}
	return true, nil
}

// podsAround are the UIDs of the pods in whose cgroups a process is, outermost first.
func (h Host) podsAround(pid int) ([]string, error) {
	b, err := os.ReadFile(h.proc(pid, "cgroup"))
	if err != nil {
		return nil, h.unlessEnded(pid, err)
	}
	var uids []string
	for line := range strings.Lines(string(b)) { // one for each hierarchy
		for _, match := range podCgroup.FindAllStringSubmatch(line, -1) {
			uids = append(uids, strings.ReplaceAll(match[1], "_", "-"))
		}
	}
	return uids, nil
}
