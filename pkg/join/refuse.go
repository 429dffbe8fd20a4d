package join

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nodejoin/nodejoin/internal/cluster"
	"github.com/nodejoin/nodejoin/internal/host"
)

// sameCluster refuses credentials of another cluster (rule 4).
func (r *run) sameCluster(ca []byte) error {
	what := ""
	switch fileCA, err := r.w.DiscoveryCA(); {
	case len(r.CACertHashes) > 0 && !cluster.MatchesPins(ca, r.CACertHashes):
		what = "its CA is not the pinned one"
	case err != nil:
		return usage(fmt.Errorf("--discovery-file: %w", err))
	case fileCA != nil && !cluster.SameCA(ca, fileCA):
		what = "its CA is not the discovery file's"
	}
	if what == "" || r.Reset == ResetAlways {
		return nil
	}
	return otherCluster(what)
}

func otherCluster(what string) error {
	return &Error{
		Reason:  Refused,
		Message: "this machine has kubelet credentials of another cluster: " + what,
		Hint:    "if it shall leave that cluster, delete its Node there and run nodejoin with --reset=always",
	}
}

// refuseControlPlane is kubeadm's own test, and etcd's data: neither has an
// override (rule 4).
func (r *run) refuseControlPlane() error {
	disk, err := r.w.Inspect()
	if err != nil {
		return &Error{Reason: HostUnfit, Message: "what is on this machine cannot be read", Err: err, Hint: "nothing was touched; mend that and run nodejoin again"}
	}
	if disk.ControlPlane == "" {
		return nil
	}
	return &Error{
		Reason:  Refused,
		Message: fmt.Sprintf("this is a control-plane host: %s exists", disk.ControlPlane),
		Hint:    "nodejoin is for workers only; nothing was touched",
	}
}

// prove finds out what a join needs and proves the cluster, while kubeadm says
// its version, which takes it a tenth of a second. A kubeadm that would make
// every attempt fail ends the rest, so that nothing is waited for in vain, and
// its word counts more.
func (r *run) prove(ctx context.Context) (cluster.Probe, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	fit := make(chan error, 1)
	go func() {
		unfit := r.w.KubeadmFit(ctx)
		if isTerminal(unfit) {
			end(unfit)
		}
		fit <- unfit
	}()
	target, err := r.proveBeside(ctx)
	found := time.Now()
	unfit := <-fit
	switch {
	case isTerminal(unfit), unfit != nil && !isTerminal(err):
		return target, unfit
	case err == nil && (r.evidence != "" || time.Since(found) > probeFast): // what was found is old by now
		return r.discover(ctx)
	}
	return target, err
}

func (r *run) proveBeside(ctx context.Context) (target cluster.Probe, err error) {
	if _, err := r.kubelet(ctx); err != nil {
		return target, err
	}
	if err := r.register(ctx); err != nil {
		return target, err
	}
	r.warnExposed()
	r.fetched = time.Time{} // the token is read for every attempt
	return r.discover(ctx)
}

// refuseLosses: a reset would delete what is not kubeadm's (rule 4).
func (r *run) refuseLosses(disk host.Disk) error {
	lost := append(append([]string{}, disk.StaticPods...), disk.EtcdData...)
	if len(lost) == 0 || r.Reset == ResetAlways {
		return nil
	}
	return &Error{
		Reason:  Refused,
		Message: "a reset is needed, and kubeadm reset would delete what is this machine's own: " + strings.Join(lost, ", "),
		Hint:    "move that away, or run nodejoin with --reset=always to have it deleted",
	}
}

// kubelet returns the state of the kubelet's unit; one that a person must mend
// ends the run (rule 16).
func (r *run) kubelet(ctx context.Context) (host.Unit, error) {
	unit, err := r.w.Kubelet(ctx)
	switch {
	case errors.Is(err, host.ErrNoInitSystem):
		return unit, &Error{Reason: HostUnfit, Message: "neither systemd nor OpenRC is here to run the kubelet", Err: err}
	case err != nil:
		return unit, err
	case unit.Missing:
		return unit, &Error{Reason: HostUnfit, Message: "there is no service \"kubelet\"", Hint: "install the kubelet's package, or its unit file"}
	case unit.Masked:
		return unit, &Error{Reason: HostUnfit, Message: "the service \"kubelet\" is masked", Hint: "run `systemctl unmask kubelet`"}
	case r.startedKubelet() && r.w.SwapRefused(ctx): // it may be just at its next try
		return unit, swapRefused(nil)
	case unit.Disabled:
		r.warn("the service \"kubelet\" is disabled: this Node will not come back after a reboot (`systemctl enable kubelet`)")
	}
	return unit, nil
}

// startedKubelet: before, what its log says may be older than a person's mending.
func (r *run) startedKubelet() bool {
	_, err := r.w.Credentials()
	return err == nil && r.report.Counts.Joins+r.report.Counts.KubeletRestarts > 0
}

// swapRefused: kubeadm only warns; the kubelet refuses, on a slow host after it has got its certificate.
func swapRefused(err error) error {
	return &Error{Reason: HostUnfit, Message: "the kubelet refuses to run while swap is on", Err: err,
		Hint: "run `swapoff -a` and take swap out of /etc/fstab, or set failSwapOn: false in the cluster's KubeletConfiguration"}
}
