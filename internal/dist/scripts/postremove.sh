#!/bin/sh
# After removal. Only dpkg purges: it takes away what is nodejoin's, the token too. What makes this machine a member is
# kubeadm's and the kubelet's, and stays.
set -e
if [ "$1" = purge ]; then
	rm -rf /etc/nodejoin /var/lib/nodejoin
	# The lock says whether somebody runs a nodejoin of his own, which keeps its secrets there.
	if [ -d /run/nodejoin ] && ! flock -n /run/nodejoin/lock rm -rf /run/nodejoin; then
		echo "nodejoin: a nodejoin is at work; /run/nodejoin stays until the next boot" >&2
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || :
fi
