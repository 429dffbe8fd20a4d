package judge

import (
	"testing"
	"time"
)

func TestSinceWhenCloudInitIsDoneOrMayWaitForUs(t *testing.T) {
	at := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	m := Memory{}
	if m = m.takeCompany(CloudInitIdle, at(0)); !m.cloudInitOver.IsZero() {
		t.Error("one that never was is over")
	}
	m = m.takeCompany(CloudInitUnclear, at(1)).takeCompany(CloudInitUnclear, at(2))
	if !m.unclearSince.Equal(at(1)) {
		t.Errorf("unclear since %s", m.unclearSince)
	}
	if m = m.takeCompany(CloudInitBusy, at(3)); !m.unclearSince.IsZero() || !m.cloudInitOver.IsZero() {
		t.Errorf("at work, %+v", m)
	}
	m = m.takeCompany(CloudInitUnclear, at(4)).takeCompany(CloudInitIdle, at(5)).takeCompany(CloudInitIdle, at(6))
	if !m.unclearSince.IsZero() || !m.cloudInitOver.Equal(at(5)) {
		t.Errorf("over, %+v", m)
	}
}

func TestAnUnfitMachineBesideCloudInit(t *testing.T) {
	unfitBut := basedOn(map[axis]string{byCreds: "not there", byPrograms: "unfit"})
	decide(t, []decision{
		{name: "over", at: unfitBut(nil), kind: End, reason: HostUnfit},
		{name: "at work", at: unfitBut(map[axis]string{byFirstBoot: "goes on"}), kind: Wait, reason: JoinFailed, words: "cloud-init"},
		{name: "at work, and what else is here is not known", at: unfitBut(map[axis]string{byFirstBoot: "goes on", byDisk: "not known", byMachine: "not known"}), kind: Wait, reason: JoinFailed, words: "cloud-init"},
		{name: "it may wait for us", at: unfitBut(map[axis]string{byFirstBoot: "may wait for us for 4 min"}), kind: Wait, reason: JoinFailed, words: "cloud-init"},
		{name: "it may have waited for us long enough", at: unfitBut(map[axis]string{byFirstBoot: "may wait for us for 5 min"}), kind: End, reason: HostUnfit},
		{name: "just over", at: unfitBut(map[axis]string{byFirstBoot: "is just over"}), kind: Wait, reason: JoinFailed, words: "before cloud-init was done"},
		{name: "over before all was looked at", at: unfitBut(map[axis]string{byFirstBoot: "was over before all was looked at"}), kind: End, reason: HostUnfit},
		{name: "at work beside kubeadm's word", at: map[axis]string{byCreds: "not there", byJoin: "has failed for good", byFirstBoot: "goes on"}, kind: BackOff, reason: JoinFailed, words: "cloud-init"},
		{name: "kubeadm's word from before its end, and all else was looked at since", at: map[axis]string{byCreds: "not there", byJoin: "has failed for good", byJoined: "2 h", byFirstBoot: "was over before all was looked at"},
			kind: BackOff, reason: JoinFailed, words: "before cloud-init was done"},
		{name: "kubeadm's word from before its end", at: map[axis]string{byCreds: "not there", byJoin: "has failed for good", byFirstBoot: "is just over"}, kind: BackOff, reason: JoinFailed, words: "before cloud-init was done"},
	})
}
