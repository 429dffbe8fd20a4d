package judge

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var testPolicy = Policy{Until: Registered, Hold: holdFor, MaxDeletions: 10, BootID: "boot", MachineID: "machine", SystemUUID: "uuid"}

// drawSighting of a Node that has one of four lives.
func drawSighting(t *rapid.T) Sighting {
	s := Sighting{Answer: Answer(rapid.IntRange(int(Silent), int(Present)).Draw(t, "answer"))}
	if s.Answer == Present {
		s.Node = rapid.SampledFrom([]Node{ourNode, with(ourNode, "Unknown"), with(ourNode, "False"), otherNode, earlierOwn}).Draw(t, "node")
		s.Node.UID = rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "uid")
	} else {
		s.Err = errSeen
	}
	return s
}

// TestDeletionsAreCountedByUID against a plain list of what was seen.
func TestDeletionsAreCountedByUID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, at := Memory{Exits: -1}, now
		deleted, ours := map[string]bool{}, ""
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			at = at.Add(time.Duration(rapid.IntRange(1, 30_000).Draw(t, "ms")) * time.Millisecond)
			s, before := drawSighting(t), m
			m = m.Take(testPolicy, &Facts{Credentials: Fact[Credentials]{Value: Credentials{State: Loaded}}, Node: Fact[Sighting]{Value: s, At: at}}, OwnNode)
			if s.Answer == Present && deleted[s.Node.UID] {
				if m != before {
					t.Fatalf("late news of %q was taken for news", s.Node.UID)
				}
				continue
			}
			if ours != "" && (s.Answer == Absent || s.Answer == Present && s.Node.UID != ours) {
				deleted[ours], ours = true, ""
			}
			if s.Answer == Present && testPolicy.Ours(s.Node) {
				ours = s.Node.UID
			}
			if m.Deletions != len(deleted) || m.OwnUID != ours {
				t.Fatalf("%d deletions and own Node %q, want %d and %q", m.Deletions, m.OwnUID, len(deleted), ours)
			}
			if m.Is != conditionOf(testPolicy, s) {
				t.Fatalf("the Node is %q, after %+v", m.Is, s)
			}
			if m.LevelUID != "" && m.LevelUID != m.OwnUID {
				t.Fatalf("Node %q is held, and %q is ours", m.LevelUID, m.OwnUID)
			}
		}
	})
}

// TestSilenceIsEvidenceOfNothing: with silences in between, what holds, and since
// when, is the same; only that it held throughout is not claimed.
func TestSilenceIsEvidenceOfNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		quiet, broken, at := Memory{Exits: -1}, Memory{Exits: -1}, now
		take := func(m Memory, s Sighting) Memory {
			return m.Take(testPolicy, &Facts{Credentials: Fact[Credentials]{Value: Credentials{State: Loaded}}, Node: Fact[Sighting]{Value: s, At: at}}, OwnNode)
		}
		for range rapid.IntRange(1, 20).Draw(t, "answers") {
			at = at.Add(time.Second)
			s := drawSighting(t)
			silence := s.Answer == Silent || s.Answer == Forbidden
			before := broken
			broken = take(broken, s)
			if silence {
				if broken.OwnUID != before.OwnUID || broken.Deletions != before.Deletions || broken.Since != before.Since || broken.LevelUID != before.LevelUID || broken.LevelSince != before.LevelSince {
					t.Fatalf("a silence changed %+v to %+v", before, broken)
				}
				if broken.Heartbeat.Moved || !broken.takenSince.IsZero() {
					t.Fatal("a silence proves nobody alive, and no refusal")
				}
				continue
			}
			quiet = take(quiet, s)
			if s.Answer == Present && slices.Contains(before.Deleted[:], s.Node.UID) {
				continue // late news breaks no silence
			}
			if broken.Is != quiet.Is || broken.OwnUID != quiet.OwnUID || broken.Deletions != quiet.Deletions || broken.LevelUID != quiet.LevelUID {
				t.Fatalf("with silences %+v\nwithout %+v", broken, quiet)
			}
			if before.Is == Mute && before.Before != Unheard && broken.Heard != at && broken != before {
				t.Fatalf("after a silence it is heard since %v, not %v", broken.Heard, at)
			}
		}
	})
}

// TestAHeartbeatMovesWithinOneSight of one Node only.
func TestAHeartbeatMovesWithinOneSight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, at := Memory{Exits: -1}, now
		first, uid := time.Time{}, ""
		for range rapid.IntRange(1, 20).Draw(t, "answers") {
			at = at.Add(time.Second)
			s := drawSighting(t)
			s.Node.Heartbeat = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "beat")) * time.Second)
			m = m.takeNode(testPolicy, Fact[Sighting]{Value: s, Asked: at, At: at, News: true})
			if m.Is != Foreign {
				first, uid = time.Time{}, ""
				continue
			}
			if uid != s.Node.UID {
				if s.Answer != Present || m.Heartbeat.UID != s.Node.UID {
					continue // late news
				}
				first, uid = s.Node.Heartbeat, s.Node.UID
				if m.Heartbeat.Moved {
					t.Fatal("one sight is no movement")
				}
			}
			if s.Node.Heartbeat.After(first) && !m.Heartbeat.Moved {
				t.Fatalf("%v after %v is no movement", s.Node.Heartbeat, first)
			}
		}
	})
}

// TestTwoExitsWithinAMinuteAreAFailure, and those that this run ordered are none.
func TestTwoExitsWithinAMinuteAreAFailure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, at, pid := Memory{Exits: -1}, now, 0
		var ends []time.Time
		k := Kubelet{}
		for range rapid.IntRange(1, 30).Draw(t, "looks") {
			at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "s")) * time.Second)
			switch rapid.SampledFrom([]string{"same", "ends", "starts", "other", "ordered"}).Draw(t, "news") {
			case "ends":
				if k.Running {
					ends = append(ends, at)
				}
				k = Kubelet{}
			case "starts":
				if !k.Running {
					pid++
					k = Kubelet{Running: true, PID: pid}
				}
			case "other":
				if k.Running {
					pid++
					k.PID = pid
					ends = append(ends, at)
				}
			case "ordered":
				m = m.Did(Action{Kind: RestartKubelet}, &Facts{}, false, at)
				pid++
				k, ends = Kubelet{Running: true, PID: pid}, nil
			}
			m = m.Take(testPolicy, &Facts{Kubelet: Fact[Kubelet]{Value: k, At: at}}, Unit)
			want := len(ends) > 1 && at.Sub(ends[len(ends)-2]) < failingWithin
			if m.fails(k, at) != want {
				t.Fatalf("failing: %t, after exits at %v, now %v", !want, ends, at)
			}
			if k.Running != (m.PID != 0) || k.Running == m.ranSince.IsZero() {
				t.Fatalf("%+v is remembered as process %d since %v", k, m.PID, m.ranSince)
			}
		}
	})
}

// TestAFailedActIsNoStepTowardsAReset.
func TestAFailedActIsNoStepTowardsAReset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Memory
		for range rapid.IntRange(1, 10).Draw(t, "acts") {
			a := Action{Kind: Kind(rapid.IntRange(int(RestartKubelet), int(Join)).Draw(t, "act")), Ground: StaysAway}
			before, failed := m, rapid.Bool().Draw(t, "failed")
			m = m.Did(a, &Facts{}, failed, now)
			if m.Acts != before.Acts+1 {
				t.Fatal("an act is not counted: what was asked before it would pass for fresh")
			}
			if failed && (m.Restarted != before.Restarted || m.ForcedDone != before.ForcedDone) {
				t.Fatalf("%d failed, and yet %+v", a.Kind, m)
			}
			if failed && a.Kind == StopKubelet && m.StoppedAt != before.StoppedAt {
				t.Fatal("a kubelet that could not be stopped was not")
			}
		}
	})
}

func TestAKubeletRunsSinceItWasLastSeenSuspended(t *testing.T) {
	var m Memory
	for _, look := range []struct {
		k         Kubelet
		at, since time.Time
	}{
		{Kubelet{Running: true, PID: 7, Since: ago(time.Hour)}, ago(9 * time.Second), ago(time.Hour)},
		{Kubelet{Running: true, PID: 7, Since: ago(time.Hour), Suspended: true}, ago(8 * time.Second), ago(8 * time.Second)},
		{Kubelet{Running: true, PID: 7, Since: ago(time.Hour), Suspended: true}, ago(6 * time.Second), ago(6 * time.Second)},
		{Kubelet{Running: true, PID: 7, Since: ago(time.Hour)}, ago(2 * time.Second), ago(6 * time.Second)},
		{Kubelet{Running: true, PID: 8, Since: ago(time.Second)}, now, ago(time.Second)},
	} {
		m = m.Take(testPolicy, &Facts{Kubelet: Fact[Kubelet]{Value: look.k, At: look.at}}, Unit)
		if !m.ranSince.Equal(look.since) {
			t.Errorf("%+v: it runs since %s ago", look.k, now.Sub(m.ranSince))
		}
	}
}
