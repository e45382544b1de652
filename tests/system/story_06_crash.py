#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 6: ballastd is killed once in a stage of a drain, each of them in turn."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import ALL_CASES, booted_host, check, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
POOL_PAGES = 32
STAGES = ("cordon", "move", "offline", "eject") if ALL_CASES else ("move", "eject")

# Reads the daemon's own event stream and kills it the moment the drain enters a stage.
KILLER = """curl -sN --unix-socket /run/ballast/ballastd.sock http://localhost/v1/events | while read -r line; do
	case $line in
	*'"stage":"@stage@"'* | *'"stage": "@stage@"'*)
		kill -9 @pid@
		exit 0
		;;
	esac
done"""


def no_orphan_acts(host, ballast):
    """A worker of the killed daemon ends with it."""
    wait_for(lambda: not ballast.workers(), 20, "the killed daemon's workers to be gone")


@story(6, "kill -9 of ballastd in each stage of a drain: the same operation ends complete or wholly undone", limit_s=600)
def crash(tell):
    with booted_host() as host:
        guest = Guest(host, "db1", 256, nodes="3")
        guest.start()
        # Slow enough that the move is seen from outside while it runs.
        ballast = Ballast(host, {"limits": {"reserve": "256MiB", "bytes_per_s": "48MiB"}})
        ballast.start()
        ballast.wait_agent("db1")
        dimm = next(d["id"] for d in ballast.get("/v1/dimms?fresh=true")["items"] if d["state"] == "online")
        guest.pattern_start(64, pace_us=1000)
        check_equal(evidence.set_hugepages(host, 3, POOL_PAGES), POOL_PAGES, "huge pages on node 3")
        before = drains.state_of_host(host, ("dimm1",), [guest])
        tell(f"db1 writes on {evidence.mib_by_node(guest)}")
        for stage in STAGES:
            finish = "eject" if stage == "eject" else "offline"
            killer = None
            if stage != "cordon":
                killer = host.spawn(KILLER.replace("@stage@", stage).replace("@pid@", str(ballast.pid)))
            drain = ballast.ctl("drain", "--dimm", dimm, "--finish", finish, "--allow", "stored_xml,remote_memory",
                                "--timeout", "180", "--detach").out.strip()
            if killer:
                killer.wait(120)
            else:
                host.run(["kill", "-9", str(ballast.pid)])
            ballast.process.wait(30)
            no_orphan_acts(host, ballast)
            tell(f"killed in stage {stage}, operation {drain}")
            ballast.start()
            operation = ballast.wait_operation(drain, 240)
            after = drains.state_of_host(host, ("dimm1",), [guest]) if stage != "eject" else None
            tell(f"after the restart: {operation['state']}, undo {operation['undo']}")
            if operation["undo"] == "done":
                check_equal(after, before, f"the host after an undone drain, killed in {stage}")
                check_equal(ballast.get("/v1/drains")["items"][0]["state"], "stopped", "state of an undone drain")
                check(stage != "eject", "a drain killed in its eject goes on")
            else:
                check_equal(operation["state"], "succeeded", f"state of the drain that was killed in {stage}")
                check(3 not in evidence.guest_bytes_by_node(guest), "nothing of db1 is left on node 3")
            check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors in db1")
            if stage == "eject":
                wait_for(lambda: not evidence.dimm_present(host, "dimm1"), 60, "the DIMM to be ejected")
                break
            if operation["undo"] != "done":
                check_equal({state for state, _ in after["blocks"].values()}, {"offline"}, "states of the DIMM's blocks")
                check_equal(after["pools"].get(3, (0, 0)), (0, 0), "huge pages (total, free) on node 3, offline")
                identity = ballast.get("/v1/drains")["items"][0]["id"]
                ballast.ctl("undrain", identity, timeout=240)
                check_equal(drains.state_of_host(host, ("dimm1",), [guest]), before, f"the host after undrain, killed in {stage}")
                check_equal(ballast.get("/v1/drains")["items"][0]["state"], "released", "state of the drain")
                tell("undrained: blocks, zones, residency, policy, cpusets and pools of huge pages are as before")
        check_equal(ballast.process.running, True, "ballastd lives")


if __name__ == "__main__":
    main()
