#!/bin/sh
# After installation, of deb and rpm alike: systemd learns of the unit. Whoever installs decides whether it runs, so it is
# neither enabled nor started, and a run that goes on is left alone.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || :
fi
