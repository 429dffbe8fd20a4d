package judge

import "time"

// Standing is what stands in the way of a join by one topic alone, for a person who asks for all of them at once.
func Standing(p Policy, m Memory, f *Facts, now time.Time, of Topic) (Action, bool) {
	v := view{p: p, m: m, f: f, now: now}
	switch of {
	case Company:
		return v.company()
	case Unit:
		return v.unit()
	case Token:
		return v.unproven()
	}
	return pass()
}
