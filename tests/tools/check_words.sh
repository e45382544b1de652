#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What must not stand in the sources: unfinished work, paths of somebody's machine, hosts of package registries.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0

files() {
	find . \( -name .git -o -name 'build*' -o -name __pycache__ -o -name corpus \) -prune -o -type f -print | grep -v '^./tests/tools/check_words.sh$'
}
while read -r line; do
	echo "not ok words: $line"
	failed=1
done < <(files | xargs grep -nIE '\b(TODO|FIXME|XXX|HACK)\b|not implemented|(deb\.debian|registry\.npmjs)\.|/home/[a-z]+/' || true)
while read -r file; do
	echo "not ok words: $file has the mark of a merge, or blanks at the end of a line"
	failed=1
done < <(files | grep -E '\.([ch]|py|sh|build)$' | xargs grep -lE '^(<<<<<<<|>>>>>>>)|[ 	]+$' || true)
[ $failed = 0 ] && echo "ok words: nothing unfinished, no paths of a machine"
exit $failed
