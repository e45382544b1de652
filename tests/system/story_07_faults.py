#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 7: what stands around Ballast breaks in the middle of its work."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import booted_host, check, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
UNPLUG_ONLINE = "/sys/module/virtio_mem/parameters/unplug_online"


def codes(operation):
    return {remainder["code"] for remainder in operation["remainder"]}


def ended_with_reason(operation, what):
    check(operation["state"] in ("incomplete", "failed", "cancelled"), f"{what}: ended as {operation['state']}")
    check(operation["remainder"] or operation["error"], f"{what}: a reason is given")


def agent_dies_in_shrink(host, guest, ballast, tell):
    """Huge pages in use keep a shrink from finishing; the agent is killed while it works at it."""
    ballast.ctl("resize", "g1", "1024MiB")
    pages = guest.hugepages(260)
    guest.pattern_start(320, name="huge", hugetlb=True, pace_us=500)
    before = (int(guest.read(POOL)), guest.read(UNPLUG_ONLINE), guest.read("/sys/devices/system/memory/auto_online_blocks"))
    check(pages >= 200, f"huge pages in the guest: {pages}")
    identity = ballast.ctl("resize", "g1", "384MiB", "--timeout", "35", "--detach").out.strip()
    wait_for(lambda: len(ballast.operation(identity)["steps"]) >= 2, 60, "the shrink to be at work")
    guest.run("touch /run/no-agent; kill -9 $(cat /run/agent.pid)")
    operation = ballast.wait_operation(identity, 150)
    ended_with_reason(operation, "a shrink whose agent died")
    tell(f"agent killed: the shrink ended as {operation['state']} ({', '.join(sorted(codes(operation)))})")
    guest.run("rm /run/no-agent")
    ballast.wait_agent("g1")
    # Its next start puts everything back.
    wait_for(lambda: (guest.read(UNPLUG_ONLINE), guest.read("/sys/devices/system/memory/auto_online_blocks")) == before[1:],
             60, "the agent's changes to be undone by its next start")
    check(int(guest.read(POOL)) >= 160, "the pool in use is left alone")
    check_equal({state for state, _ in guest.blocks().values()}, {"online"}, "states of the guest's blocks")
    check_equal(guest.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
    guest.hugepages(0)
    ballast.ctl("resize", "g1", "384MiB", "--timeout", "90")
    check_equal(guest.virtio_mem_sizes()[0]["current"], 0, "the next shrink works")
    tell("its changes are undone, and the next shrink works")


def guest_reboots_in_grow(host, guest, ballast, tell):
    identity = ballast.ctl("resize", "g1", "1408MiB", "--timeout", "60", "--detach").out.strip()
    host.virsh("reset", guest.name)
    operation = ballast.wait_operation(identity, 120)
    guest.wait_boot()
    if operation["state"] != "succeeded":
        ended_with_reason(operation, "a grow whose guest rebooted")
    tell(f"guest reset: the grow ended as {operation['state']} ({', '.join(sorted(codes(operation))) or 'no remainder'})")
    ballast.wait_agent("g1")
    ballast.ctl("resize", "g1", "896MiB", "--timeout", "90")
    wait_for(lambda: guest.online_movable_bytes() == 512 * MIB, 30, "the next grow to be online in the guest")
    tell("the next grow works, with the agent of the rebooted guest")


def libvirtd_restarts(host, guest, ballast, tell):
    host.restart_libvirt(kill_signal=9)
    ballast.host.run("true")
    wait_for(ballast.is_up, 60, "ballastd to reach libvirt again")
    ballast.ctl("resize", "g1", "640MiB", "--timeout", "90")
    check_equal(guest.virtio_mem_sizes()[0]["current"], 256 * MIB, "a resize after libvirtd's restart")
    tell("libvirtd killed and restarted: reconnected, the next resize works")


def libvirtd_is_away(host, guest, ballast, tell):
    host.run("kill -9 $(pidof libvirtd)")
    wait_for(lambda: not ballast.is_up(), 30, "ballastd to notice that libvirtd is gone")
    status, body = ballast.curl("/v1/guests/g1/memory", "PATCH", {"target_bytes": 896 * MIB})
    check_equal(status, 503, f"a change without libvirt: {body}")
    check("libvirt" in body["detail"], f"the reason is given: {body}")
    check_equal(ballast.curl("/v1/nodes")[0], 200, "nodes are shown without libvirt")
    host.restart_libvirt(kill_signal=0)
    wait_for(ballast.is_up, 60, "ballastd to reach libvirt again")
    tell("without libvirt: 503 with the reason, and back by itself")


def worker_is_killed(host, guest, ballast, tell):
    guest.pattern_start(192, pace_us=500)
    identity = ballast.ctl("move", "g1", "--to", "2", "--budget", "24MiB", "--timeout", "120", "--detach").out.strip()

    def moving():
        steps = ballast.operation(identity)["steps"]
        return any(s["kind"] == "move" and s["state"] == "running" for s in steps) and ballast.workers()
    workers = wait_for(moving, 60, "the mover to be at work")
    host.run(["kill", "-9", *map(str, workers)])
    operation = ballast.wait_operation(identity, 150)
    where = evidence.guest_bytes_by_node(guest)
    tell(f"worker killed: the move ended as {operation['state']}, guest on {evidence.mib_by_node(guest)}")
    if operation["state"] == "succeeded":
        check_equal(sorted(where), [2], "nodes of a move that went on with another worker")
    else:
        ended_with_reason(operation, "a move whose worker died")
    ballast.ctl("move", "g1", "--to", "1", "--timeout", "120")
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [1], "nodes after the next move")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    tell("the next move works, and no page was lost")


@story(7, "agent, guest, libvirtd and workers die in the middle: each operation ends in time with a reason", limit_s=600)
def faults(tell):
    with booted_host() as host:
        guest = Guest(host, "g1", 384, nodes="1", virtio_mem=[VirtioMem(1024)])
        guest.start()
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        pid = ballast.pid
        ballast.wait_agent("g1")
        for fault in (agent_dies_in_shrink, guest_reboots_in_grow, libvirtd_restarts, libvirtd_is_away, worker_is_killed):
            began = time.monotonic()
            fault(host, guest, ballast, tell)
            tell(f"  ({fault.__name__}: {time.monotonic() - began:.0f} s)")
            check_equal(ballast.pid, pid, "ballastd is the same process as before")


if __name__ == "__main__":
    main()
