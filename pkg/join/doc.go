// Package join gets this machine into a Kubernetes cluster with `kubeadm join`
// and makes sure that it is in, and stays in.
//
// # The story of a run
//
// [Run] looks, has the judge (package judge, below this one) say the one next
// thing to do, and does it, until the run ends. Its rows are the story, in order:
//
// A control-plane host is refused. If the kubelet has credentials of this
// cluster, the API server is asked for our Node with them. A Node that is ours,
// and whose kubelet runs, is held, and that is all; it takes no token and touches
// nothing. One that was deleted while this run watched is put back as it was, and
// the kubelet that runs takes it up. One that was gone before, or whose kubelet is
// silent or stopped, gets its kubelet restarted, for a kubelet registers once in
// its life and never again. One whose credentials are gone or useless bootstraps
// again in place, where the cluster has this machine's Node, or was this machine's
// and has none of its name any more.
//
// Without credentials the disks that are mounted late are waited for, and
// somebody else's kubeadm; then the cluster is discovered: the API server is
// waited for, proves itself by the pinned CA or the token's signature, and is
// shown the token. A certificate request of ours that is pending is waited for,
// and so is a Node of our name that is stale or being deleted; another machine's
// live one ends the run. What a join that never got to a certificate has left is
// tidied away, if the journal proves it and that helps; else `kubeadm reset` comes
// next if something hinders a join and the evidence allows it, and then `kubeadm join`, with its
// configuration in a file that lives in memory. From the moment the kubelet's
// certificate appears the Node is watched, because it can come and go before
// kubeadm returns. What kubeadm says is heard; what the API server says is
// believed.
//
// Once the Node is at the wanted [Level] it is held: watched, under one UID,
// for [Config].Hold. A deletion is counted by UID and answered by putting the Node
// back, or else by a kubelet restart. An attempt that failed is followed by
// another, after a back-off, until the Node has held, nothing but a person can
// help, or the deadline has passed.
//
// # The rules
//
//  1. Success is observed: the API server's answer counts, asked for at the very
//     end, together with a kubelet that runs. Doubt is never success.
//  2. Reset needs evidence. It kills every pod here and deletes other people's
//     files. None while our certificate request is pending and its key lives,
//     while a kubelet runs and does not fail, beside somebody else's kubeadm, or
//     for what a person must mend. Only if (a) no kubelet credentials exist, which
//     is not the same as: they could not be read, or are not understood, and the
//     kubelet cannot bootstrap again, and what is left cannot be tidied away; or (b)
//     the Node stayed away for 60 s after a kubelet restart and the kubelet ran all
//     the while, once a run; or (c) the API server refused the kubelet for 90 s while
//     it took the token, the certificate has expired by its clock, the Node is gone
//     and the kubelet cannot bootstrap again; or (d) the credentials are those of another
//     machine's Node, whose heartbeat moves while our kubelet is stopped. For (b)
//     to (d) the kubelet is stopped first, all is looked at again, and it is
//     started if that says otherwise. A kubelet bootstraps again, with the files that
//     it has, where the cluster has a Node of this machine, for which nobody reports;
//     or has none of the kubelet's name, and is the one that this machine was in: by
//     the CA of its credentials or, where they do not load, the one from which the
//     kubelet takes orders, and nothing that is left of them names another. Without a
//     Node that is tried once, until a member has come of it; a denial, a silence or
//     a command that fails is no step towards a reset. Tidied away, under the same conditions as
//     (a), are single files alone that a join of this machine has written before
//     it got to a certificate: those that its journal lists, with the content that
//     it lists, and bootstrap-kubelet.conf.
//  3. A healthy member is never touched, except by --reset=always, and needs none of
//     the files that its join needed.
//  4. A host that is not ours to reset is refused: a control plane, also one under
//     repair, with no override; another cluster's member, a healthy member under
//     another name, files that a reset would delete: only --reset=always goes on.
//     Tidying deletes none of these, and is not forbidden by them.
//  5. A stale Node of our own is waited out, but for one whose kubelet was stopped
//     for a reset that was asked for: its own credentials say so.
//  6. Another machine's live Node is never taken over. A heartbeat that moves is
//     life; a Ready that merely stays True is not.
//  7. A deletion is counted by UID, gone-and-back between two looks included; more
//     than --max-deletions end the run, and who deletes is named. Put back as it
//     was is only a Node that this run's own watch has seen deleted, or that of a
//     run which was killed less than 40 s ago; never over another's, never as
//     Ready where the kubelet does not run and say that it is well, and not at all
//     where its owner had marked it as one that is to go: nor do the next runs of
//     this boot bring that one back, except by --bring-back.
//  8. A CA that does not match the pin stops everything at once. The token goes
//     only over TLS that pin, discovery file or signature has proven.
//  9. Every wait and every child has a deadline and a polite stop.
//  10. Secrets live in one 0600 file in memory, for as long as they are needed.
//  11. The token is read again for every attempt and after each refusal.
//  12. Only one nodejoin at a time.
//  13. The first and the last error are both kept, and the logs' ends with them.
//  14. The library tells, by events ([Config].Observe); the program prints.
//  15. kubeadm join and kubeadm reset are run whole.
//  16. A restart command that fails is never a step towards a reset.
//  17. What time does not cure ends soon, with the remedy; what a cloud-init that is
//     at work may yet mend does not, unless it waits for us.
//
// # Words
//
// Our Node is the one whose status carries this boot's ID, and no other machine
// ID than ours, and whose condition Ready is not Unknown. Evidence is an answer
// from an API server whose certificate chains to the CA that we trust; silence, a
// lone 401 or a load balancer's 404 are evidence of nothing. What could not be
// found out is not known, and not known is never taken for no.
package join
