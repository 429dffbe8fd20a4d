package judge

import "time"

// CloudInit is what cloud-init does now.
type CloudInit int

// What it does.
const (
	CloudInitIdle    CloudInit = iota // nothing that could be waited for
	CloudInitBusy                     // it may yet mend this machine
	CloudInitUnclear                  // and it may wait for us
)

// takeCompany: what was found before cloud-init's end may be mended since.
func (m Memory) takeCompany(is CloudInit, at time.Time) Memory {
	switch {
	case is != CloudInitUnclear:
		m.unclearSince = time.Time{}
	case m.unclearSince.IsZero():
		m.unclearSince = at
	}
	if is == CloudInitIdle && m.cloudInit != CloudInitIdle {
		m.cloudInitOver = at
	}
	m.cloudInit = is
	return m
}

// firstBoot: a unit that has ended with 3 is not started again, so it is not given
// for what cloud-init may yet mend: a program, swap, a module, a runtime's or a
// kubelet's configuration, a name.
func (v *view) firstBoot(unfit Action) (Action, bool) {
	if unfit.Kind != End || unfit.Reason != HostUnfit {
		return pass()
	}
	looked, byKubeadm := v.asked(Files|Unit|Programs|Naming), v.byKubeadm(unfit)
	switch {
	case v.unasked(Company) != 0:
		return v.ask(Company, ""), true
	case v.f.Machine.Value.CloudInit == CloudInitBusy, v.f.Machine.Value.CloudInit == CloudInitUnclear && v.now.Sub(v.m.unclearSince) < unclearPatience:
		unfit.Message += ", and cloud-init, which is at work, may yet mend that"
	case byKubeadm && v.m.JoinedAt.Before(v.m.cloudInitOver), v.before(looked, v.m.cloudInitOver) != 0:
		unfit.Message += ", before cloud-init was done"
	default:
		return pass()
	}
	if byKubeadm {
		return fail(unfit.Message, unfit.Hint, unfit.Err), true
	}
	return v.wait("", JoinFailed, unfit.Message, unfit.Hint, unfit.Err).asking(v, Company|looked, lookEvery), true
}

// byKubeadm: only another join can tell whether that is mended.
func (v *view) byKubeadm(unfit Action) bool {
	j := v.f.Join
	return j.Back && j.End != nil && j.End.Message == unfit.Message
}

// asked are those of the topics that were.
func (v *view) asked(topics Topic) (asked Topic) {
	for t := range topics.each {
		if !v.f.stamp(t).at.IsZero() {
			asked |= t
		}
	}
	return asked
}

// before are those of the topics that were asked for before then.
func (v *view) before(topics Topic, then time.Time) (old Topic) {
	for t := range topics.each {
		if v.f.stamp(t).asked.Before(then) {
			old |= t
		}
	}
	return old
}
