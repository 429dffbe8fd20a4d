#!/bin/sh
# sbom.sh ARTIFACT DOCUMENT DATE: what the artifact is made of, as SPDX. syft writes the time of day and a random number into
# the document; here they are the commit's time and the artifact's checksum, so that it is the same in every build.
set -eu
SYFT_CHECK_FOR_APP_UPDATE=false syft scan --quiet "file:$1" --output "spdx-json=$2"
sum=$(sha256sum "$1" | cut -d ' ' -f 1)
sed -i -E \
	-e 's|"created": ?"[^"]*"|"created":"'"$3"'"|' \
	-e 's|("documentNamespace": ?"[^"]*)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"|\1-'"$sum"'"|' "$2"
