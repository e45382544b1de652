#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What `meson install` puts down fits together: the programs that the units start are where the units say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "${BALLAST_BUILD:-build}")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0

DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
units=$(find "$root" -name '*.service')
if [ -z "$units" ]; then
	echo "not ok install: no unit was installed"
	exit 1
fi
for unit in $units; do
	programs=$(sed -nE 's/^Exec[A-Za-z]*=[-@:+!]*([^ ]+).*/\1/p' "$unit")
	if [ -z "$programs" ]; then
		echo "not ok install: ${unit##*/} starts nothing"
		failed=1
	fi
	for program in $programs; do
		if [ ! -x "$root$program" ]; then
			echo "not ok install: ${unit##*/} starts $program, which is not installed there"
			failed=1
		fi
	done
done
for program in ballastd ballastctl ballast-agent ballast-worker; do
	if [ -z "$(find "$root" -name "$program" -type f -perm -u+x)" ]; then
		echo "not ok install: $program is not installed"
		failed=1
	fi
done
[ "$failed" = 0 ] && echo "ok install: units, programs and files fit together"
exit "$failed"
