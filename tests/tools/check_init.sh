#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The init script starts, finds and ends the agent, and takes nobody else for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$(realpath "${BALLAST_BUILD:-build}")
folder=$(mktemp -d)
script=$build/configs/ballast-agent.init
started=
trap '[ -z "$started" ] || kill "$started" 2>/dev/null || true; rm -rf "$folder"' EXIT

fail() {
	echo "not ok init: $*"
	exit 1
}

if ! command -v start-stop-daemon >/dev/null; then
	echo "skipped init: no start-stop-daemon here"
	exit 0
fi
# The agent itself, in a guest of files: it finds no port there, and waits.
agent=$build/guest-agent/ballast-agent
log=$folder/log
mkdir -p "$folder/root/proc/sys/kernel/random" "$folder/root/proc/self"
echo 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 >"$folder/root/proc/sys/kernel/random/boot_id"
echo 0 >"$folder/root/proc/self/oom_score_adj"
cat >"$folder/run" <<EOF
#!/bin/sh
exec "$agent" --sysroot "$folder/root"
EOF
chmod +x "$folder/run"
export BALLAST_AGENT_PIDFILE=$folder/pid BALLAST_AGENT_LOG=$log

status() {
	local code=0
	BALLAST_AGENT=$agent sh "$script" status >/dev/null || code=$?
	echo "$code"
}

BALLAST_AGENT=$folder/nothing sh "$script" start 2>/dev/null && fail "starts what is not there"
[ "$(status)" = 3 ] || fail "status before the start"
sh "$script" 2>/dev/null && fail "does something without being told what"
# The script's own start, by way of the wrapper that gives the program its argument.
BALLAST_AGENT=$folder/run sh "$script" start >/dev/null
started=$(cat "$folder/pid")
for _ in $(seq 50); do
	[ "$(status)" = 0 ] && break
	sleep 0.1
done
[ "$(status)" = 0 ] || fail "status after the start"
# What it says is kept. Before it reads its signals one would end it.
for _ in $(seq 50); do
	grep -q '^SigBlk:.*3$' "/proc/$started/status" && break
	sleep 0.1
done
kill -HUP "$started"
for _ in $(seq 50); do
	grep -q 'read anew' "$log" && break
	sleep 0.1
done
grep -q 'read anew' "$log" || fail "loses what the agent says: $(cat "$log")"
[ "$(cat "$folder/root/proc/self/oom_score_adj")" = -900 ] || fail "it is not protected from the OOM killer"
BALLAST_AGENT=$agent sh "$script" start >/dev/null
[ "$(cat "$folder/pid")" = "$started" ] || fail "starts it twice"
BALLAST_AGENT=$agent sh "$script" stop
kill -0 "$started" 2>/dev/null && fail "does not stop it"
started=
[ "$(status)" = 3 ] || fail "status after the stop"
# This shell is no agent, whatever the file says.
echo $$ >"$folder/pid"
[ "$(status)" = 3 ] || fail "takes another process for the agent"
BALLAST_AGENT=$agent sh "$script" stop
echo "ok init: the script starts, finds and ends the agent"
