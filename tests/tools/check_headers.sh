#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every header stands alone, every file says its licence, stems are unique, and what a module exports bears its name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0

folders="base protocol kvm/linux kvm/libvirt kvm/microvm guest-agent service service/model service/plan service/worker service/guest service/look service/operation service/rest service/cli"
includes=$(for folder in $folders; do printf -- '-I%s ' "$folder"; done)
flags="-std=gnu17 -D_GNU_SOURCE $(pkg-config --cflags libxml-2.0 jansson)"

for header in $(for folder in $folders; do ls "$folder"/*.h 2>/dev/null; done); do
	# An X-macro list is made to be included in the middle of something.
	[ "${header##*/}" = message_list.h ] && continue
	if ! message=$(echo "#include \"${header##*/}\"" | gcc $flags -I"${header%/*}" $includes -fsyntax-only -x c - 2>&1); then
		echo "not ok headers: $header does not stand alone: $(head -n 1 <<<"$message")"
		failed=1
	fi
done
while read -r file; do
	if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0'; then
		echo "not ok headers: $file does not say its licence"
		failed=1
	fi
done < <(find base protocol kvm guest-agent service tests -name '*.[ch]' -o -name '*.py' -o -name '*.sh' | grep -v '/corpus/')
while read -r stem; do
	echo "not ok headers: there are two sources named $stem.c"
	failed=1
done < <(find base protocol kvm guest-agent service -name '*.c' -printf '%f\n' | sed 's/\.c$//' | sort | uniq -d | grep -v '^main$' || true)
[ $failed = 0 ] && echo "ok headers: headers stand alone, stems are unique, licences are said"
exit $failed
