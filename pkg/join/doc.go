// Package join gets this machine into a Kubernetes cluster with `kubeadm join`
// and makes sure that it is in, and stays in.
//
// # The story of an attempt
//
// [Run] begins by looking: if the kubelet has credentials of this cluster, the
// API server is asked for our Node with them. A Node that is ours is held, and
// that is all; it takes no token and touches nothing. One that is gone, or
// whose kubelet is silent, gets its kubelet restarted, for a kubelet registers
// once in its life and never again.
//
// Without credentials the cluster is discovered: the API server is waited for,
// proves itself by the pinned CA or the token's signature, and is shown the
// token. A certificate request of ours that is pending is waited for, and so is
// a stale Node of our name; another machine's live one ends the run. Then the
// attempt proper begins: `kubeadm reset`, if there are leftovers and the
// evidence allows it; `kubeadm join`, with its configuration in a file that
// lives in memory; and verification, from the moment the kubelet's certificate
// appears, because a Node can come and go before kubeadm returns. What kubeadm
// says is heard; what the API server says is believed.
//
// Once the Node is at the wanted [Level] it is held: watched, under one UID,
// for [Config].Hold. A deletion is counted by UID and answered by a kubelet
// restart. An attempt that failed is followed by another, after a back-off,
// until the Node has held, nothing but a person can help, or the deadline has
// passed.
//
// # Words
//
// Our Node is the one whose status carries this boot's ID and whose condition
// Ready is not Unknown. Evidence is an answer from an API server whose
// certificate chains to the CA that we trust; silence, a lone 401 or a load
// balancer's 404 are evidence of nothing.
//
// The package tells what happens by events ([Config].Observe) and prints
// nothing.
package join
