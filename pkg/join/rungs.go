package join

import (
	"context"
	"fmt"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
)

// absent: a kubelet registers once in its life, so only a restart brings a
// deleted Node back.
func (s *settling) absent(ctx context.Context) error {
	name := s.creds.NodeName
	if s.named && name != s.name {
		return &Error{
			Reason:  Refused,
			Message: fmt.Sprintf("this machine has credentials of Node %q, which does not exist, and is to be %q", name, s.name),
			Hint:    "leave out --node-name, or run nodejoin with --reset=always",
		}
	}
	s.enter(Verify)
	gone := Error{Reason: JoinFailed, Message: fmt.Sprintf("the API server has no Node %q yet", name),
		Hint: "the kubelet registers it; its log says why it does not: `journalctl -u kubelet`"}
	sinceRestart := s.lasting(s.restarted)
	switch {
	case s.joining, !s.lost && s.lasting(s.newborn) < registerPatience:
		s.wait(gone)
		return nil
	case s.restarted.IsZero() || s.restarted.Before(s.since):
		return s.restartKubelet(ctx, fmt.Sprintf("the API server has no Node %q", name))
	case sinceRestart < restartPatience:
		s.wait(gone)
		return nil
	case s.heard.After(s.restarted): // not 404 all the time since
		return s.restartKubelet(ctx, fmt.Sprintf("the API server has no Node %q", name))
	case s.goneSpent || s.Reset == ResetNever:
		return fmt.Errorf("verifying: still no Node %q %s after a kubelet restart", name, seconds(sinceRestart))
	}
	s.gone = true
	s.evidence = fmt.Sprintf("no Node %q for %s after a kubelet restart", name, seconds(sinceRestart))
	return fmt.Errorf("verifying: %s", s.evidence)
}

// dead: the kubelet has stopped reporting. Its Node is there, so nothing but
// the kubelet needs help.
func (s *settling) dead(ctx context.Context) error {
	s.enter(Verify)
	s.uid, s.reached = "", time.Time{}
	switch {
	case s.joining, s.lasting(s.newborn) < registerPatience: // a new kubelet on the old Node has yet to report
	case s.restarted.IsZero() || s.restarted.Before(s.since):
		return s.restartKubelet(ctx, fmt.Sprintf("Node %q is ours, but its kubelet has stopped reporting", s.creds.NodeName))
	case s.lasting(s.restarted) >= restartPatience:
		return fmt.Errorf("verifying: the kubelet does not report for Node %q, %s after its restart", s.creds.NodeName, seconds(s.lasting(s.restarted)))
	}
	s.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("Node %q is ours, but its kubelet does not report", s.creds.NodeName),
		Hint: "its log says why: `journalctl -u kubelet`"})
	return nil
}

// foreign: the Node has another bootID. Just after a reboot or a takeover that
// is normal: our kubelet will put ours there. Else somebody else lives there.
func (s *settling) foreign(ctx context.Context) error {
	node := s.last.Node
	s.enter(Verify)
	s.uid, s.reached = "", time.Time{}
	other := s.w.OtherMachine(node)
	alive := node.Ready == "True" || node.Ready == "False"
	patient := s.lasting(s.since) < statusPatience && (!other || !alive || time.Since(s.newborn) < statusPatience)
	if s.name == "" && (other || alive && !patient) {
		if err := s.register(ctx); err != nil {
			return err
		}
	}
	switch {
	case other && node.Name != s.name:
		return s.cloned(node)
	case s.joining:
	case alive && !patient:
		switch err := s.twin.alive(node); {
		case err != nil && node.Name == s.name:
			return err
		case err != nil && node.Heartbeat.After(s.twin.heartbeat): // two boots at once are two machines, whatever their IDs say
			return s.cloned(node)
		}
		s.wait(s.twin.waiting(node))
		return nil
	case patient:
		unit, err := s.kubelet(ctx)
		if err != nil {
			return err
		}
		if !unit.Active && s.restarted.IsZero() {
			return s.restartKubelet(ctx, fmt.Sprintf("Node %q waits for this boot's kubelet, which does not run", node.Name))
		}
	case s.restarted.IsZero():
		return s.restartKubelet(ctx, fmt.Sprintf("Node %q has another bootID and nobody reports for it", node.Name))
	case s.lasting(s.restarted) >= restartPatience:
		return fmt.Errorf("verifying: Node %q has another bootID (%q) and the kubelet does not report for it", node.Name, node.BootID)
	}
	s.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("Node %q has another bootID (%q); our kubelet is to report", node.Name, node.BootID),
		Hint: "normal for some seconds after a reboot or when a dead Node was taken over"})
	return nil
}

// cloned: the credentials came with an image of another machine (rule 2d).
func (s *settling) cloned(node cluster.Node) error {
	s.evidence = fmt.Sprintf("a cloned image: the credentials are those of Node %q, which is another machine (machineID %s)", node.Name, node.MachineID)
	return fmt.Errorf("%w: %s", errJoin, s.evidence)
}

// refusedKubelet: 401 to the kubelet is evidence only if the same server takes
// the token all the while and our Node is gone or dead (rule 2c).
func (s *settling) refusedKubelet(ctx context.Context) error {
	s.enter(Verify)
	s.wait(Error{Reason: JoinFailed, Message: fmt.Sprintf("%s refuses the kubelet's credentials (401)", s.creds.Server), Err: s.last.Err,
		Hint: fmt.Sprintf("an API server that starts does so for seconds; the certificate is valid until %s", s.creds.NotAfter.UTC().Format(time.RFC3339))})
	if s.joining || s.Reset == ResetNever {
		return nil
	}
	var said opinion
	select {
	case said = <-s.second:
		s.second, s.pause = nil, said.pause
		s.asked = time.Now()
	default:
		if s.second == nil && time.Since(s.asked) >= max(tokenCheck, s.pause) {
			s.second = s.askSecond(ctx)
		}
		return nil
	}
	switch {
	case said.stranger:
		return otherCluster("its CA is not this cluster's")
	case !said.lost:
		s.taken = time.Time{}
	case s.taken.IsZero():
		s.taken = time.Now()
	case time.Since(s.taken) >= refusedPatience:
		s.evidence = fmt.Sprintf("the API server refused the kubelet (401) for %s while it took the token, and our Node is gone or dead", seconds(time.Since(s.taken)))
		return fmt.Errorf("%w: %s", errJoin, s.evidence)
	}
	return nil
}

// opinion is what the same server says when it is asked with the token.
type opinion struct {
	lost     bool          // it takes the token, and our Node is gone or dead
	stranger bool          // it is not the token's cluster
	pause    time.Duration // for which it asks to be left alone
}

// askSecond gets a second opinion. It takes a goroutine, since the token's
// source may be slow, and the API server's next word to the kubelet counts
// more. Without a token, or a proof of the server, there is none: the kubelet's
// credentials prove nothing for the token (rule 8).
func (s *settling) askSecond(ctx context.Context) <-chan opinion {
	answer := make(chan opinion, 1)
	s.asking.Go(func() {
		var said opinion
		defer func() { answer <- said }()
		token, err := s.w.Token(ctx)
		if err != nil || token == "" && s.DiscoveryFile == "" {
			return
		}
		proof := s.w.Probe(ctx, token, s.bearer(token))
		said.pause = proof.RetryAfter
		if len(proof.CA) == 0 {
			return
		}
		if said.stranger = !cluster.SameCA(s.creds.CA, proof.CA); said.stranger {
			return
		}
		same := &cluster.Credentials{Server: s.creds.Server, CA: proof.CA, NodeName: s.creds.NodeName}
		seen := s.w.AskWithToken(ctx, same, s.bearer(token))
		said.pause = seen.RetryAfter
		said.lost = seen.Answer == cluster.Absent || seen.Answer == cluster.Present && seen.Node.Ready == "Unknown"
	})
	return answer
}

// restartKubelet is the middle rung: at once the first time, after a back-off
// the next. A restart command that fails is never a step towards a reset
// (rule 16): it only ends the attempt.
func (s *settling) restartKubelet(ctx context.Context, why string) error {
	if _, err := s.kubelet(ctx); err != nil {
		return err
	}
	if s.due.IsZero() {
		s.due = time.Now()
		if s.report.Counts.KubeletRestarts > 0 {
			s.due = s.due.Add(s.restart.NextBackOff())
		}
	}
	if pause := time.Until(s.due); pause > 0 {
		s.wait(Error{Reason: JoinFailed, Message: why + ", again; backing off before the kubelet is restarted"})
		return nil
	}
	s.due = time.Time{}
	if err := s.act("restart the kubelet, which disturbs no pod: " + why); err != nil {
		return err
	}
	s.say(Info, "restarting the kubelet: "+why, "no pod is disturbed by that")
	restart, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	if err := s.w.RestartKubelet(restart); err != nil {
		return fmt.Errorf("restarting the kubelet: %w", err)
	}
	s.report.Counts.KubeletRestarts++
	s.restarted = time.Now()
	return nil
}
