package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MissingMounts are the mount points at, above or below one of the paths that this machine's configuration wants mounted,
// and that are not. A member whose disk comes late looks like an empty machine, and what is written below its mount point
// is out of sight once it is there.
//
// Wanted is what stands in /etc/fstab without noauto, and each mount unit that was written for this machine: it is there to be
// mounted, at boot or for a unit that needs it. An automount that waits for its first access is not missing.
func (h Host) MissingMounts(paths ...string) ([]string, error) {
	wanted, err := h.fstab()
	if err != nil {
		return nil, fmt.Errorf("looking for mounts that are wanted: %w", err)
	}
	units, err := h.mountUnits()
	if err != nil {
		return nil, fmt.Errorf("looking for mounts that are wanted: %w", err)
	}
	wanted = append(wanted, units...)
	for _, p := range slices.Clone(paths) {
		paths = append(paths, h.resolve(p))
	}
	wanted = slices.DeleteFunc(wanted, func(point string) bool {
		target := h.resolve(point)
		return target == "/" || !slices.ContainsFunc(paths, func(p string) bool {
			return below(p, point) || below(p, target) || below(point, p) || below(target, p)
		})
	})
	if len(wanted) == 0 {
		return nil, nil
	}
	mounted, err := h.mounted()
	if err != nil {
		return nil, fmt.Errorf("looking for what is mounted: %w", err)
	}
	missing := slices.DeleteFunc(wanted, func(point string) bool { return mounted[point] || mounted[h.resolve(point)] })
	slices.Sort(missing)
	return slices.Compact(missing), nil
}

// below tells whether a path is a directory or lies in it.
func below(p, dir string) bool {
	p, dir = path.Clean(p), path.Clean(dir)
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// fstab are the mount points of /etc/fstab that are mounted at boot. A line that mount(8) could not read counts no more than
// it does there.
func (h Host) fstab() ([]string, error) {
	b, err := os.ReadFile(h.Path("/etc/fstab"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") {
			continue
		}
		point, kind := unescape(f[1]), f[2]
		if !path.IsAbs(point) || kind == "swap" || kind == "ignore" { // "none" is the place of swap
			continue
		}
		if len(f) > 3 && !mountedAtBoot(strings.Split(f[3], ",")) {
			continue
		}
		points = append(points, path.Clean(point))
	}
	return points, nil
}

// mountedAtBoot: the last of auto and noauto counts, neither of them beside an automount (systemd.mount(5)).
func mountedAtBoot(options []string) bool {
	auto := true
	for _, option := range options {
		switch option {
		case "auto":
			auto = true
		case "noauto":
			auto = false
		}
	}
	return auto || slices.Contains(options, "x-systemd.automount") || slices.Contains(options, "comment=systemd.automount")
}

// mountUnits are the mount points of systemd's own units. One in /etc hides one of the same name in /run; one without a
// word in it, such as a link to /dev/null, is masked.
func (h Host) mountUnits() ([]string, error) {
	var points, seen []string
	for _, dir := range []string{"/etc/systemd/system", "/run/systemd/system"} {
		names, err := h.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !strings.HasSuffix(name, ".mount") || slices.Contains(seen, name) {
				continue
			}
			seen = append(seen, name)
			b, err := os.ReadFile(h.Path(h.resolve(dir + "/" + name)))
			if errors.Is(err, fs.ErrNotExist) {
				continue // a link to nowhere: no such unit for systemd
			} else if err != nil {
				return nil, err
			}
			if point := where(string(b)); path.IsAbs(point) {
				points = append(points, path.Clean(point))
			}
		}
	}
	return points, nil
}

// where is a mount unit's Where=.
func where(unit string) string {
	var section, point string
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, ok := strings.Cut(line, "="); ok && section == "[Mount]" && strings.TrimSpace(key) == "Where" {
			point = strings.TrimSpace(value)
		}
	}
	return point
}

// mounted are the mount points of now.
func (h Host) mounted() (map[string]bool, error) {
	b, err := os.ReadFile(h.Path("/proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	points := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 {
			points[path.Clean(unescape(f[4]))] = true
		}
	}
	return points, nil
}

// unescape reads the octal form that both tables give to blanks and backslashes, such as \040.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// maxLinks is how many symlinks the kernel follows in one path.
const maxLinks = 40

// resolve follows the symlinks in a path from the machine's root as far as there is something; the rest stays as it is. That
// a link leads nowhere yet is the case that matters: its target may lie on a disk that is not mounted.
func (h Host) resolve(p string) string {
	rest, done := strings.Split(path.Clean("/"+p), "/"), "/"
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		target, err := os.Readlink(h.Path(next))
		if err != nil || links == maxLinks {
			done = next
			continue
		}
		links++
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done
}
