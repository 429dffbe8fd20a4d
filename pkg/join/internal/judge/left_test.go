package judge

import "testing"

func TestANodeThatWasLeftToItsOwner(t *testing.T) {
	left := basedOn(map[axis]string{byLeft: "ours", byRestart: "never", byKubelet: "runs for an hour"})
	decide(t, []decision{
		{name: "it is gone", at: left(map[axis]string{bySight: "404"}), kind: End, reason: Refusal, words: "owner's will"},
		{name: "it is gone, and what was left cannot be read", at: left(map[axis]string{bySight: "404", byLeft: "not known"}), kind: End, reason: Refusal, words: "is not known"},
		{name: "another is gone", at: left(map[axis]string{bySight: "404", byLeft: "another"}), kind: RestartKubelet},
		{name: "it is there again", at: left(map[axis]string{bySight: "ours"}), kind: End, reason: Held},
		{name: "it is there again, and its kubelet does not run", at: left(map[axis]string{bySight: "ours", byKubelet: "stopped"}), kind: RestartKubelet},
		{name: "it is there again, and its kubelet does not report", at: left(map[axis]string{bySight: "dead"}), kind: RestartKubelet},
		{name: "nobody answers", at: left(map[axis]string{bySight: "silence"}), kind: Wait, reason: NoAnswer},
		{name: "the machine has no credentials any more", at: left(map[axis]string{byCreds: "not there", byKubelet: "stopped"}), kind: End, reason: Refusal, words: "owner's will"},
		{name: "and nobody answers", at: left(map[axis]string{byCreds: "not there", byKubelet: "stopped", byCluster: "silence"}), kind: End, reason: Refusal, words: "owner's will"},
		{name: "a reset is asked for, and nobody answers", at: left(map[axis]string{byReset: "always, due", bySight: "silence", byCluster: "silence"}), kind: End, reason: Refusal, words: "owner's will"},
		{name: "a reset is asked for", at: left(map[axis]string{byReset: "always, due", bySight: "404"}), kind: End, reason: Refusal, words: "owner's will"},
	})
}
