package judge

import (
	"slices"
	"time"
)

// tidies: all that hinders kubeadm join was written by a join of this machine
// that never got to a certificate, so nobody loses anything by its going. An
// admin.conf may mean that this is a control plane.
func (v *view) tidies() bool {
	disk, left := v.f.Disk.Value, v.leftovers()
	return len(left) > 0 && !disk.AdminConf && !v.forced() && !slices.ContainsFunc(left, func(path string) bool {
		return path != disk.Bootstrap && !slices.Contains(disk.Written, path)
	})
}

// mayTidy: as for a reset for want of credentials, but for what only a reset
// deletes, and for the user's word against one.
func mayTidy(p Policy, m Memory, f *Facts, now time.Time) bool {
	v, spared := view{p: p, m: m, f: f, now: now}, *f
	spared.Disk.Value.Losses, p.Reset = nil, ResetAuto
	return v.tidies() && mayReset(p, m, &spared, now, NoCredentials)
}
