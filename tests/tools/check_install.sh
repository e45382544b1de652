#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What `meson install` puts down fits together: the programs that the units start are where the units say, and each
# system call that they are known to make is one that their unit lets through.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "${BALLAST_BUILD:-build}")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failed=0

DESTDIR=$root meson install -C "$build" --no-rebuild --quiet --strip
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
		# The system's own.
		[ "$program" = /bin/kill ] && continue
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

# The agent lies in every guest: whatever the guest is, and small, also as README.md has it built, alone and for release.
agent=$(find "$root" -name ballast-agent -type f -perm -u+x -path '*bin*')
alone=$(mktemp -d)
trap 'rm -rf "$root" "$alone"' EXIT
meson setup "$alone" . --buildtype=release -Dservice=false -Dtests=false >/dev/null </dev/null
ninja -C "$alone" guest-agent/ballast-agent >/dev/null
strip "$alone/guest-agent/ballast-agent"
for program in "$agent" "$alone/guest-agent/ballast-agent"; do
	size=$(stat -c %s "$program")
	if [ "$size" -gt $((1024 * 1024)) ]; then
		echo "not ok install: ballast-agent has $size bytes, more than 1 MiB, in ${program%/*}"
		failed=1
	fi
done
if readelf -lW "$agent" | grep -q INTERP; then
	echo "not ok install: ballast-agent is not static"
	failed=1
fi

# The system calls of a set, or the one that the word is.
calls_of() {
	local word
	for word in "$@"; do
		case $word in
		@*) calls_of $(systemd-analyze syscall-filter "$word" | sed -nE 's/^ +(@?[a-z0-9_-]+)$/\1/p') ;;
		*) echo "$word" ;;
		esac
	done
}

# Those that the C library has a function of the same name for, and those that the sources make by number.
made_calls() {
	{
		find "$root" -type f \( -name ballastd -o -name ballast-worker \) -exec nm -D --undefined-only {} + |
			sed -nE 's/.* U ([a-z0-9_]+)@.*/\1/p'
		grep -rhoE 'SYS_[a-z0-9_]+' --include='*.c' base kvm service | sed 's/^SYS_//'
	} | grep -vx syscall | sort -u
}

if ! command -v systemd-analyze >/dev/null; then
	echo "not ok install: systemd-analyze, of the Debian package systemd, is not there"
	failed=1
else
	for unit in $units; do
		# What it cannot read; that the programs are where the unit says was seen above.
		said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -F "$unit:" || true)
		if [ -n "$said" ]; then
			echo "not ok install: $said"
			failed=1
		fi
	done
	unit=$(find "$root" -name ballastd.service)
	made=$(comm -12 <(made_calls) <(calls_of @known | sort -u))
	allowed=$(calls_of $(sed -n 's/^SystemCallFilter=//p' "$unit") | sort -u)
	if ! grep -qx move_pages <<<"$made"; then
		echo "not ok install: the system calls that the programs make cannot be told"
		failed=1
	fi
	refused=$(comm -23 <(echo "$made") <(echo "$allowed"))
	if [ -n "$refused" ]; then
		echo "not ok install: ${unit##*/} refuses" $refused
		failed=1
	fi
fi
[ "$failed" = 0 ] && echo "ok install: units, programs and files fit together"
exit "$failed"
