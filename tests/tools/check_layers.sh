#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Who may include whom: a source file includes only headers of the folders that its own folder may use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

declare -A may=(
	[base]=""
	[protocol]=""
	[kvm/linux]="base"
	[kvm/libvirt]="base kvm/linux"
	[kvm/microvm]="base kvm/linux"
	[guest-agent]="base protocol kvm/linux"
	[service/model]="base"
	[service/plan]="base service/model"
	[service/worker]="base service/model service/plan kvm/linux kvm/microvm"
	[service/guest]="base service/model protocol kvm/libvirt"
	[service/look]="base service/model service/worker service/guest kvm/linux kvm/libvirt"
	[service/operation]="base service/model service/plan service/look service/worker service/guest protocol kvm/linux kvm/libvirt"
	[service/rest]="base service/model service/plan service/operation"
	[service/cli]="base"
	[service]="base service/model service/plan service/worker service/look service/operation service/rest kvm/linux kvm/libvirt"
)
declare -A folder_of
failed=0

for folder in "${!may[@]}"; do
	for header in "$folder"/*.h; do
		[ -e "$header" ] || continue
		name=${header##*/}
		if [ -n "${folder_of[$name]:-}" ]; then
			echo "not ok layers: $name is both in $folder and in ${folder_of[$name]}"
			failed=1
		fi
		folder_of[$name]=$folder
	done
done
for folder in "${!may[@]}"; do
	for file in "$folder"/*.[ch]; do
		[ -e "$file" ] || continue
		while read -r name; do
			owner=${folder_of[$name]:-}
			# A header that is generated at build time belongs to whoever generates it.
			[ -n "$owner" ] && [ "$owner" != "$folder" ] || continue
			case " ${may[$folder]} " in
			*" $owner "*) ;;
			*)
				echo "not ok layers: $file includes $name of $owner, and $folder may use only: ${may[$folder]:-nothing}"
				failed=1
				;;
			esac
		done < <(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file")
	done
done
# One library, one file that names it.
for rule in "event2/http:service/rest/http_server" "sqlite3.h:service/operation/journal_store" "curl/curl.h:service/cli/api_client"; do
	for file in $(grep -rlE "#include <${rule%%:*}" --include='*.[ch]' base protocol kvm guest-agent service || true); do
		case $file in
		"${rule##*:}"*) ;;
		*)
			echo "not ok layers: $file names ${rule%%:*}, which is ${rule##*:}'s alone"
			failed=1
			;;
		esac
	done
done
[ $failed = 0 ] && echo "ok layers: every include follows the layers"
exit $failed
