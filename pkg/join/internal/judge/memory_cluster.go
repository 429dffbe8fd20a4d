package judge

import "time"

func (m Memory) takeCluster(p Policy, f *Facts) Memory {
	c, at := f.Cluster.Value, f.Cluster.At
	if c.NoToken != nil {
		m.takenSince = time.Time{}
		return m
	}
	if c.Verdict != Unreachable && m.answersSince.IsZero() {
		m.answersSince = at
	}
	if c.Verdict > NotServed {
		m.Answered = true
		if m.servesSince.IsZero() {
			m.servesSince = at
		}
	}
	if c.Verdict <= NotServed { // a 401 before a silence and one after it are two lone ones
		m.refusedSince = time.Time{}
	}
	m.Starting = at.Sub(m.servesSince) < StartsFor
	switch {
	case c.Verdict != BadSignature:
		m.badSignSince = time.Time{}
	case m.badSignSince.IsZero():
		m.badSignSince = at
	}
	switch {
	case !c.Algorithm:
		m.strangeSince = time.Time{}
	case m.strangeSince.IsZero():
		m.strangeSince = at
	}
	switch passed := c.Verdict == Unsigned && c.Signers > 0 && c.Node.Answer >= Forbidden; {
	case !passed:
		m.passedOver = time.Time{}
	case m.passedOver.IsZero():
		m.passedOver = at
	}
	switch unknown := c.unknownToken(); {
	case c.Verdict == BadSignature && at.Sub(m.badSignSince) >= SignatureAgain, unknown && m.refusedSince.IsZero():
		m.refusedSince = at
	case c.Verdict == Unsigned && !unknown, c.Verdict == Proven:
		m.refusedSince = time.Time{}
	}
	if c.Verdict != Proven || f.Credentials.Value.State == Loaded && !SharesKey(c.CA, f.Credentials.Value.CA) {
		m.takenSince = time.Time{}
	}
	if c.Verdict == Proven {
		m.Answered = true
	}
	switch silent := c.Verdict == Proven && c.Node.Answer == Present && p.ofMachine(c.Node.Node) && c.Node.Node.Ready == "Unknown"; {
	case !silent:
		m.silentSince = time.Time{}
	case m.silentSince.IsZero():
		m.silentSince = at
	}
	if c.Verdict == Proven && c.Node.Answer == Present && !p.Ours(c.Node.Node) {
		m.Twin = m.Twin.take(c.Node.Node, at)
	} else {
		m.Twin = Heartbeat{} // silence proves nobody alive
	}
	return m
}

// unknownToken: late is not wrong, but a token that is answered with 401, or not
// signed for where others are, is unknown just now.
func (c Cluster) unknownToken() bool {
	return c.Verdict == Rejected || c.Verdict == Unsigned &&
		(c.Node.Answer == Unauthorized || !c.Pinned && len(c.CA) == 0 && c.Signers > 0)
}

// TokenRefused reports whether the token was refused at the last answer, so that
// its source is worth reading again.
func (m Memory) TokenRefused() bool { return !m.refusedSince.IsZero() }

func (m Memory) takeRequest(r Request, at time.Time) Memory {
	switch {
	case r.Name == "", r.Pending, r.Denied:
		m.issuedSince = time.Time{}
	case m.issuedSince.IsZero():
		m.issuedSince = at
	}
	if r.Denial != "" {
		m.Denial = r.Denial
	}
	return m
}
