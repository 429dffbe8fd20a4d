package main

import (
	"fmt"
	"math"
	"strings"

	flowcontrol "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
)

// What the largest storm measured is carried on paper to a cluster of the size that Kubernetes supports.
const (
	mostNodes = 5000 // kubernetes.io/docs/setup/best-practices/cluster-large

	// Defaults of kube-apiserver: --max-requests-inflight and --max-mutating-requests-inflight, whose sum API Priority and
	// Fairness shares out (k8s.io/apiserver/pkg/server NewConfig).
	inFlight = 400 + 200
	// Default of kube-controller-manager's --kube-api-qps (k8s.io/controller-manager/config/v1alpha1), for each of its
	// controllers; the approver of certificate requests asks for leave and approves, the signer only updates.
	controllerRate       = 20
	approverRequestsEach = 2
)

// commonLevel is the priority level of whoever nothing else is said of: of the anonymous and of bootstrap tokens.
const commonLevel = "global-default"

// seats are how many requests of the common level one API server works on at a time, and how many of one user may wait.
func seats() (at, waiting int) {
	var shares, own float64
	for _, levels := range [][]*flowcontrol.PriorityLevelConfiguration{bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations} {
		for _, level := range levels {
			limited := level.Spec.Limited
			if limited == nil {
				continue
			}
			shares += float64(*limited.NominalConcurrencyShares)
			if level.Name == commonLevel {
				own = float64(*limited.NominalConcurrencyShares)
				queuing := limited.LimitResponse.Queuing
				waiting = int(queuing.HandSize * queuing.QueueLengthLimit)
			}
		}
	}
	return int(math.Ceil(inFlight * own / shares)), waiting
}

// paper is that carrying, in Markdown; nothing before a storm was measured.
func (b *bench) paper() string {
	n := b.largest()
	mid := func(text string) float64 { return b.mid("storm", ours, fmt.Sprintf("%d: %s", n, text)) }
	own, all, probes := mid("nodejoin's requests a node"), mid("all requests a node"), mid("nodejoin's probes a node and second")
	connections, cpu := mid("connections a node"), mid("API server's CPU ms a node")
	rsa, ecdsa := b.mid("storm", apiServer, "ms a handshake, RSA 2048"), b.mid("storm", apiServer, "ms a handshake, ECDSA P-256")
	took := b.mid("storm", ours, fmt.Sprintf("%d: mean request ms", crowds[0]))
	if math.IsNaN(own + all + probes + connections + cpu + rsa + ecdsa + took) {
		return ""
	}
	at, waiting := seats()
	capacity := float64(at) * 1000 / took
	var out strings.Builder
	line := func(what, figures string) { fmt.Fprintf(&out, "| %s | %s |\n", what, figures) }
	count := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	fmt.Fprintf(&out, "What %d nodes at once would ask for, from what %d did (a node: %s requests once the token is signed, %s of them nodejoin's, and %s connections):\n\n| | |\n| --- | --- |\n",
		mostNodes, n, number(all), number(own), number(connections))
	line("probes while the API server starts", fmt.Sprintf("%s a second, %s a node", count(probes*mostNodes), number(probes)))
	line("requests to join", count(all*mostNodes))
	line("CPU of the API servers to join", fmt.Sprintf("%s s of a core, %s ms a node", count(cpu*mostNodes/1000), number(cpu)))
	line("TLS handshakes", fmt.Sprintf("%s: %s s of a core with kubeadm's RSA keys (%s a second and core), %s s with `encryptionAlgorithm: ECDSA-P256`",
		count(connections*mostNodes), count(connections*mostNodes*rsa/1000), count(1000/rsa), count(connections*mostNodes*ecdsa/1000)))
	line(fmt.Sprintf("API Priority and Fairness by default: level `%s`, %d of %d seats of an API server, %d requests of one user wait", commonLevel, at, inFlight, waiting),
		fmt.Sprintf("%s requests a second at the %s ms that one takes; all nodes are one user until they have their certificates, and whoever finds no place hears 429 and obeys Retry-After",
			count(capacity), number(took)))
	line(fmt.Sprintf("kube-controller-manager by default: %d requests a second, of which a certificate takes %d to be approved", controllerRate, approverRequestsEach),
		fmt.Sprintf("%s s until the last node has its certificate", count(mostNodes*approverRequestsEach/controllerRate)))
	slow := min(defaultCrowd, n)
	if measured := b.mid("storm", ours, crowd{nodes: slow, defaults: true}.what("s from signature to Node, 99th percentile")); !math.IsNaN(measured) {
		line(fmt.Sprintf("the same, measured with %d nodes", slow), fmt.Sprintf("%s s for 99 of 100; without that limit %s s",
			number(measured), number(b.mid("storm", ours, crowd{nodes: slow}.what("s from signature to Node, 99th percentile")))))
	}
	priority := "Nothing in API Priority and Fairness: the probes are fewer than its level lets through."
	if probes*mostNodes > capacity {
		priority = fmt.Sprintf("%.0f API servers, or more `--max-requests-inflight`: the probes are more than its level lets one through.", math.Ceil(probes*mostNodes/capacity))
	}
	minute := float64(mostNodes*approverRequestsEach) / 60
	fmt.Fprintf(&out, `
So what a fleet of that size should set, first things first:

- `+"`--kube-api-qps=%s --kube-api-burst=%s`"+` for kube-controller-manager, to sign that many certificates in a minute; else
  `+"`--attempt-timeout`"+` of nodejoin above the %s s that it takes, or attempts end while they wait for theirs.
- `+"`encryptionAlgorithm: ECDSA-P256`"+` in kubeadm's ClusterConfiguration, before the cluster is made.
- As many cores for the API servers as bring the CPU time above to what you can wait, or starts that are spread over as long.
- %s
`, count(math.Ceil(minute)), count(math.Ceil(minute*1.5)), count(mostNodes*approverRequestsEach/controllerRate), priority)
	return out.String()
}
