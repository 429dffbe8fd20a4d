package join

import "time"

// The seconds that the rules need stand in the judge's timing. These are of
// those who ask and who act. What a user may set is in Config.
const (
	// probeFast is the pace while a control plane is just coming up: each tick of
	// this is delay added to the join.
	probeFast = 200 * time.Millisecond
	// An API server answers a lone node within atEase, also while it starts; when
	// hundreds wait for it, it took 100 to 700 ms. probeShare times what it takes
	// longer, up to probeBusy, is left between two probes, with the jitter half of
	// that to one and a half: kubeadm asks every 5 s, but 300 nodes that wait for a
	// new control plane are in sooner if they begin within some 20 s, not at once.
	atEase     = 50 * time.Millisecond
	probeShare = 60
	probeBusy  = 15 * time.Second
	// A pause takes one part in probeLeft of the time that is left at most, so that
	// a dry run, too, looks again beside a busy server.
	probeLeft = 4

	// Within askWindow nobody is asked the same more than askMost times, whatever
	// the judge wants: two answers that make each other old must not become a
	// thousand questions a second.
	askWindow = 100 * time.Millisecond
	askMost   = 5

	// tokenEvery is the least time between two reads of the token's source
	// after a refusal: a token command may cost an API call.
	tokenEvery = 10 * time.Second

	// namePatience is for how long the machine may be without the name that it
	// is to be called by: a name server answers some seconds after the network
	// is up.
	namePatience = 30 * time.Second

	// unservedPatience is for how long a container runtime may answer and serve no
	// kubelets: whoever installs one writes its configuration and restarts it.
	unservedPatience = 30 * time.Second

	// clockPatience is how far two clocks may differ without harm: Kubernetes
	// dates the certificates that it issues back by 5 minutes.
	clockPatience = 5 * time.Minute

	// dryRunPatience is for how long a dry run looks: a person waits for it, and
	// what an API server at work has to say takes some probes only.
	dryRunPatience = 10 * time.Second

	// restartTimeout bounds one restart of the kubelet's unit: systemd itself
	// kills a unit that does not stop after 90 s.
	restartTimeout = 100 * time.Second
	// startTimeout bounds its start at the end of a run: whoever is told to stop
	// does so within 10 s.
	startTimeout = 8 * time.Second
)
