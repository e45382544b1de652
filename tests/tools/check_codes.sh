#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every code that the API can give, every kind of step and every consent stands in docs/ARCHITECTURE.md, and every code
# in its tables is one that the sources have. Of a remainder the meaning and the usual way out stand there as the API tells
# them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
document=docs/ARCHITECTURE.md
failed=0

# The names of a table with designated initialisers: [PREFIX_...] = {"name", or = "name",
names() {
	tr '\n\t' '  ' <"$1" | grep -oE "\[$2_[A-Z0-9_]+\] *= *\{? *\"[a-z0-9_]+\"" | sed 's/.*"\([^"]*\)"/\1/' | grep -vx none
}

remainders=$(names service/model/remainder.c REMAINDER)
consents=$(names service/model/remainder.c CONSENT)
problems=$(names service/rest/problem.c PROBLEM)
steps=$(names service/model/step.c STEP_KIND)
# An empty list would make every check below pass.
for list in "$remainders" "$consents" "$problems" "$steps"; do
	if [ "$(wc -w <<<"$list")" -lt 5 ]; then
		echo "not ok codes: a table of codes could not be read"
		exit 1
	fi
done
# Remainders, problems and steps have a row of their own; consents may share one.
for name in $remainders $problems $steps $consents; do
	if ! grep -qE "^\| .*\`$name\`.*\|" "$document"; then
		echo "not ok codes: $name is not in a table of $document"
		failed=1
	fi
done
count() {
	wc -w <<<"$1"
}
rows() {
	sed -n "/$1/,/^\(## \|A request\)/p" "$document" | grep -cE '^\| `'
}
# A row too many tells of something that is gone.
if [ "$(rows '^## 8\. ')" != "$(count "$remainders")" ]; then
	echo "not ok codes: $document has $(rows '^## 8\. ') rows of remainders, service/model/remainder.c $(count "$remainders")"
	failed=1
fi
if [ "$(sed -n '/^A request that is refused/,/^## /p' "$document" | grep -cE '^\| `')" != "$(count "$problems")" ]; then
	echo "not ok codes: $document has another number of refusals than service/rest/problem.c"
	failed=1
fi
# A row as the document has it, of [REMAINDER_...] = {"name", "meaning", "way out"}, whose texts may be cut in pieces.
told() {
	tr '\n\t' '  ' <service/model/remainder.c | sed -E 's/" +"//g' |
		grep -oE '\[REMAINDER_[A-Z0-9_]+\] *= *\{ *"[^"]*", *"[^"]*", *"[^"]*"' |
		sed -E 's/^[^{]*\{ *"([^"]*)", *"([^"]*)", *"([^"]*)"$/| `\1` | \2 | \3 |/; s/\|  \|$/| - |/' | grep -v '`none`'
}
if [ "$(told | wc -l)" != "$(count "$remainders")" ]; then
	echo "not ok codes: the meanings in service/model/remainder.c could not be read"
	failed=1
fi
if ! diff <(told | sort) <(sed -n '/^## 8\. /,/^\(## \|A request\)/p' "$document" | grep -E '^\| `' | sort) >&2; then
	echo "not ok codes: $document tells other meanings or ways out than service/model/remainder.c"
	failed=1
fi
[ $failed = 0 ] && echo "ok codes: $(count "$remainders") reasons, $(count "$problems") refusals, $(count "$steps") steps and $(count "$consents") consents are documented"
exit $failed
