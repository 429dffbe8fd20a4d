package join

import "time"

// Every number of seconds that the rules need, each with its reason. Those that
// a user may set are in Config.
const (
	// probeSilent is the pace of probes while nothing answers: cheap, and soon
	// enough that a control plane is noticed within a second or so.
	probeSilent = time.Second
	// probeFast is the pace for the first fastFor after an API server begins to
	// answer: tokens are signed some 2 to 6 s after its first answer, and each
	// tick of this is delay added to the join.
	probeFast = 200 * time.Millisecond
	fastFor   = 10 * time.Second
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

	// tokenEvery is the least time between two reads of the token's source
	// after a refusal: a token command may cost an API call.
	tokenEvery = 10 * time.Second
	// tokenPatience is for how long a token may be refused after cluster-info
	// was first served: a fresh control plane answered a good token with 401
	// for 2.3 s and had it unsigned for 6 s more; ten times that is not late,
	// it is wrong.
	tokenPatience = 60 * time.Second
	// signatureAgain is when a bad signature is looked at again: cluster-info
	// may be caught between a token's re-creation and its new signature.
	signatureAgain = 5 * time.Second

	// namePatience is for how long the machine may be without the name that it
	// is to be called by: a name server answers some seconds after the network
	// is up.
	namePatience = 30 * time.Second

	// clockPatience is how far two clocks may differ without harm: Kubernetes
	// dates the certificates that it issues back by 5 minutes.
	clockPatience = 5 * time.Minute

	// gracePeriod is kube-controller-manager's --node-monitor-grace-period: a
	// Node whose kubelet has died stays Ready that long (48.6 s measured).
	gracePeriod = 50 * time.Second
	// twinPatience is for how long another machine's Node may stay Ready before
	// it is believed alive: over twice the grace period.
	twinPatience = 120 * time.Second
	// statusPatience is how long a running kubelet may take to put its own
	// bootID into a Node that has another's: 10 s after a takeover as measured,
	// longer after a reboot.
	statusPatience = 60 * time.Second

	// registerPatience is for how long a kubelet just started by kubeadm may
	// take to register before it is restarted: it did so in about a second, and
	// a refused one tries again at least every 7 s.
	registerPatience = 20 * time.Second
	// restartPatience is for how long a Node may stay away after a kubelet
	// restart that succeeded, before harsher means are thought of: it came in
	// 2.2 s as measured, and the grace period has passed by then too.
	restartPatience = 60 * time.Second
	// refusedPatience is for how long the kubelet must be refused while the
	// same server takes the token: an API server restarted with a wrong client
	// CA did that for 17 s, and nothing was wrong with the machine.
	refusedPatience = 90 * time.Second
	// tokenCheck is the pace at which the token is read and tried meanwhile.
	tokenCheck = tokenEvery

	// credentialsEvery is how often the disk is asked for the kubelet's
	// certificate while kubeadm runs: it is there 0.6 s after the start, and
	// the Node can come and go before kubeadm returns. From credentialsLate on
	// something is slow, as where hundreds join at once, and once a second does.
	credentialsEvery = 100 * time.Millisecond
	credentialsLate  = 5 * time.Second
	// crashLook lies between two looks at whether the kubelet runs: one without a
	// configuration dies within a second and is started again after ten.
	crashLook = 2 * time.Second
	// issuedPatience is how long a kubelet may take to fetch a certificate that
	// has been issued.
	issuedPatience = 15 * time.Second

	// dryRunPatience is for how long a dry run looks: a person waits for it, and
	// what an API server at work has to say takes some probes only.
	dryRunPatience = 10 * time.Second

	// restartTimeout bounds one restart of the kubelet's unit: systemd itself
	// kills a unit that does not stop after 90 s.
	restartTimeout = 100 * time.Second

	// The first repeat of a wait is said after repeatFirst, the next ones at
	// twice the distance, up to repeatMax.
	repeatFirst = 10 * time.Second
	repeatMax   = 5 * time.Minute
)
