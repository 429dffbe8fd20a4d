#!/bin/sh
# Before removal. dpkg says "remove" and rpm says 0 when the package goes, and something else when another version follows.
# Stopping the unit ends a run politely; to a machine that is a member it does nothing.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl stop nodejoin.service || :
		systemctl reset-failed nodejoin.service 2>/dev/null || : # or systemd remembers a unit that is gone
	fi
	systemctl --no-reload disable nodejoin.service || :
	;;
esac
