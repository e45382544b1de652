#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every configuration key stands in the packaged file and in the manual page, in its section, and neither has a key that
# the program does not know.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
failed=0

complain() {
	echo "not ok config: $*"
	failed=1
}

# "section key" of each key of ballastd's table.
daemon_keys() {
	tr '\n\t' '  ' <service/config.c | grep -oE '(TEXT|NUMBER|BYTES|SWITCH|WORD|CONSENTS|SLICES)\("[a-z]+", *"[a-z_]+"' |
		sed -E 's/[^"]*"([a-z]+)", *"([a-z_]+)".*/\1 \2/'
}

agent_keys() {
	sed -nE 's/.*strcmp\(name, "([a-z_]+)"\).*/agent \1/p' guest-agent/agent_config.c
	sed -nE 's/^#define FLOOR_PREFIX "([a-z_]+)".*/agent \1/p' guest-agent/agent_config.c
}

# Of a configuration file, commented out or not; the size at the end of a floor's key is left out.
file_keys() {
	awk '/^\[/ {gsub(/[][]/, ""); section = $1; next}
	     /^#?[a-z_0-9A-Z]+ = ?/ {key = $1; sub(/^#/, "", key); sub(/floor_.*/, "floor_", key); print section, key}' "$1"
}

page_keys() {
	awk '/^# \[/ {gsub(/[][#]/, ""); section = $1; next}
	     /^# / {section = ""}
	     section && /^\*/ {key = $1; gsub(/\*/, "", key); sub(/floor_.*/, "floor_", key); print section, key}' "$1"
}

compare() {
	local keys=$1 where=$2 there=$3 line

	while read -r line; do
		[ -n "$line" ] && complain "${line#* } of [${line% *}] is not in $where"
	done < <(comm -23 <(sort -u <<<"$keys") <(sort -u <<<"$there"))
	while read -r line; do
		[ -n "$line" ] && complain "$where has ${line#* } in [${line% *}], which no program knows"
	done < <(comm -13 <(sort -u <<<"$keys") <(sort -u <<<"$there"))
	return 0
}

daemon=$(daemon_keys)
agent=$(agent_keys)
[ "$(wc -l <<<"$daemon")" -ge 10 ] || complain "the keys of service/config.c could not be read"
[ "$(wc -l <<<"$agent")" -ge 4 ] || complain "the keys of guest-agent/agent_config.c could not be read"
compare "$daemon" configs/ballastd.conf "$(file_keys configs/ballastd.conf)"
compare "$daemon" docs/ballastd.conf.5.scd "$(page_keys docs/ballastd.conf.5.scd)"
compare "$agent" configs/ballast-agent.conf "$(file_keys configs/ballast-agent.conf)"
compare "$agent" docs/ballast-agent.conf.5.scd "$(page_keys docs/ballast-agent.conf.5.scd)"
[ $failed = 0 ] && echo "ok config: $(wc -l <<<"$daemon") keys of ballastd and $(wc -l <<<"$agent") of the agent are documented"
exit $failed
