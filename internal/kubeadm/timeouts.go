package kubeadm

import "time"

// floor is what a phase gets at least: kubeadm asks every 5 s while it discovers, and a single answer may take that long.
const floor = 5 * time.Second

// shares divide an attempt among kubeadm's waits, so that kubeadm gives up, and says why, before it is killed. Its defaults
// add up to 19 minutes. In eighths and twelfths: discovery runs twice when the CA is pinned, so 1/8 + 1/8 + 1/4 + 1/3 + 1/8,
// which leaves 1/24 for everything else.
var shares = []struct {
	field    string // of kubeadm.k8s.io/v1beta4's timeouts
	num, den time.Duration
}{
	{"discovery", 1, 8},
	{"kubeletHealthCheck", 1, 4},
	{"tlsBootstrap", 1, 3},
	{"kubernetesAPICall", 1, 8},
}

// timeouts are the fields of `timeouts:` for an attempt; none for an attempt without limit.
func timeouts(attempt time.Duration) map[string]any {
	if attempt <= 0 {
		return nil
	}
	t := map[string]any{}
	for _, s := range shares {
		t[s.field] = max(floor, (attempt * s.num / s.den).Truncate(time.Second)).String()
	}
	return t
}
