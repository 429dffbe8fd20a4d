package judge

import "time"

// Every number of seconds that the rules need, each with its reason.
const (
	// FreshFor is how old a fact may be on which an act or a success rests.
	FreshFor = 2 * time.Second
	// justNow is how old the cluster's last word may be before kubeadm is started:
	// a look takes some milliseconds, and what kubeadm does takes seconds.
	justNow = 500 * time.Millisecond
	// lookEvery is how old a fact of this machine may become during a wait.
	lookEvery = 5 * time.Second

	// ProbeSilent is the pace of questions while nothing answers: cheap, and soon
	// enough that a control plane is noticed within a second or so.
	ProbeSilent = time.Second
	// StartsFor is for how long an API server that begins to answer may be
	// starting: tokens are signed some 2 to 6 s after its first answer, and its
	// own roles are there by then.
	StartsFor = 10 * time.Second

	// TokenPatience is for how long a token may be refused after cluster-info
	// was first served: a fresh control plane answered a good token with 401
	// for 2.3 s and had it unsigned for 6 s more; ten times that is not late,
	// it is wrong.
	TokenPatience = 60 * time.Second
	// SignatureAgain is when a bad signature is looked at again: cluster-info
	// may be caught between a token's re-creation and its new signature.
	SignatureAgain = 5 * time.Second
	// TokenCheck is the pace at which the token is tried while the kubelet is
	// refused: a token's source may cost an API call.
	TokenCheck = 10 * time.Second

	// GracePeriod is kube-controller-manager's --node-monitor-grace-period: a
	// Node whose kubelet has died stays Ready that long (48.6 s measured).
	GracePeriod = 50 * time.Second
	// heartbeatPatience is for how long the kubelet stays stopped until another
	// machine's heartbeat has moved: Leases are renewed every 10 s, and a status
	// that does not change is reported every 5 minutes.
	heartbeatPatience = 6 * time.Minute
	// StatusPatience is how long a running kubelet may take to put its own
	// bootID into a Node that has another's: 10 s after a takeover as measured,
	// longer after a reboot.
	StatusPatience = 60 * time.Second

	// registerPatience is for how long a kubelet just started by kubeadm may
	// take to register before it is restarted: it did so in about a second, and
	// a refused one tries again at least every 7 s.
	registerPatience = 20 * time.Second
	// RestartPatience is for how long a Node may stay away after a kubelet
	// restart that succeeded, before harsher means are thought of: it came in
	// 2.2 s as measured, and the grace period has passed by then too.
	RestartPatience = 60 * time.Second
	// podPatience is for how long a Node may be away without harm to its pods:
	// kube-controller-manager's pod garbage collector force-deletes those of a
	// missing Node 40 to 60 s after its deletion (quarantineTime of 40 s, looked
	// at every 20 s; pkg/controller/podgc). returnPause is the longest back-off
	// before a return, for a Node may have been gone for 10 s before that is seen.
	podPatience = 40 * time.Second
	returnPause = 25 * time.Second
	// takeupPatience is for how long the running kubelet may take to take up the
	// Node that was put back, before it is restarted: it renews its Lease and
	// reports every 10 s.
	takeupPatience = 30 * time.Second
	// RefusedPatience is for how long the kubelet must be refused while the
	// same server takes the token: an API server restarted with a wrong client
	// CA did that for 17 s, and nothing was wrong with the machine.
	RefusedPatience = 90 * time.Second

	// CredentialsEvery is how often the disk is asked for the kubelet's
	// certificate while kubeadm runs: it is there 0.6 s after the start, and
	// the Node can come and go before kubeadm returns. From credentialsLate on
	// something is slow, as where hundreds join at once, and once a second does.
	CredentialsEvery = 100 * time.Millisecond
	credentialsLate  = 5 * time.Second
	// kubeletLate is after how long beside a kubeadm join the kubelet is heard: whole
	// joins take a second or two, and one that refuses to run is tried again after 10 s.
	kubeletLate = 10 * time.Second
	// issuedPatience is how long a kubelet may take to fetch a certificate that
	// has been issued.
	issuedPatience = 15 * time.Second

	// silentPatience is for how long nobody must have reported for our Node before
	// a kubelet that runs is taken to be unable to: after an outage of the API
	// server it does so within 10 s.
	silentPatience = 15 * time.Second
	// bootstrapPatience is for how long a kubelet that bootstraps again may take to
	// get a certificate: 1.1 to 3.7 s as measured.
	bootstrapPatience = 60 * time.Second

	// unclearPatience is for how long a cloud-init is waited for that may wait for
	// us: it installs packages within minutes, and longer nobody shall wait in vain.
	unclearPatience = 5 * time.Minute

	// failingWithin is the time within which two exits of the kubelet's process
	// are a crash loop: systemd starts a kubelet again after 10 s.
	failingWithin = 60 * time.Second
	// steadyFor is for how long a kubelet must be seen to run before it is
	// believed to: one without a configuration dies within a second.
	steadyFor = 2 * time.Second
)
