#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 19: a shrink uses its time, takes what it was told to take, and stops when it is over."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as codes  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
OBSTACLE_S = 20
PLUGGED_MIB = 384
UNPLUG_ONLINE = "/sys/module/virtio_mem/parameters/unplug_online"


def kinds(operation):
    return [step["kind"] for step in operation["steps"]]


def climbed(operation):
    return {rung["rung"]: rung["gained_bytes"] for rung in operation["result"]["climbed"]}


def hold_huge_pages(ballast, guest):
    """More huge pages in use than there is memory beside what is to leave."""
    ballast.ctl("resize", guest.name, f"{384 + PLUGGED_MIB}MiB")
    check_at_least(guest.hugepages(170), 160, "huge pages in the guest")
    guest.pattern_start(300, name="huge", hugetlb=True, pace_us=500)


def is_awaiting(operation):
    return any(step["kind"] == "await" and step["state"] == "running" for step in operation["steps"])


def obstacle_goes_away(ballast, guest, tell):
    hold_huge_pages(ballast, guest)
    plan = ballast.ctl_json("resize", guest.name, "384MiB", "--dry-run")
    check_equal([leave["asked_bytes"] for leave in plan["leaves"]], [PLUGGED_MIB * MIB], f"what is asked of the device: {plan['leaves']}")
    check_at_most(plan["leaves"][0]["leaves_bytes"], PLUGGED_MIB * MIB - 1, "what can leave beside 300 MiB of huge pages in use")
    began = time.monotonic()
    identity = ballast.ctl("resize", guest.name, "384MiB", "--timeout", "240", "--detach").out.strip()
    wait_for(lambda: is_awaiting(ballast.operation(identity)), 150, "the rungs to be used up")
    tell(f"rungs used up after {time.monotonic() - began:.1f} s: {' '.join(kinds(ballast.operation(identity)))}")
    time.sleep(max(0, OBSTACLE_S - (time.monotonic() - began)))
    check_equal(ballast.operation(identity)["state"], "running", "the operation while there is time")
    check_equal(guest.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
    released = time.monotonic()
    operation = ballast.wait_operation(identity, 60)
    took = time.monotonic() - released
    tell(f"obstacle gone after {released - began:.1f} s, done {took:.1f} s later: {' '.join(kinds(operation))}")
    check_equal(operation["state"], "succeeded", f"the shrink: {operation['remainder']}")
    check_equal(guest.virtio_mem_sizes()[0]["current"], 0, "what libvirt says")
    check_at_most(took, 20, "seconds until it is done, where the driver alone sleeps 50 and more")
    tell(f"climbed: {climbed(operation)}")
    for gained in climbed(operation).values():
        check_at_most(gained, PLUGGED_MIB * MIB, "what a rung gained")
    check("forecast_bytes" in operation["result"], f"the forecast stands in the result: {operation['result']}")
    guest.hugepages(0)


def deadline_restores(ballast, guest, tell):
    hold_huge_pages(ballast, guest)
    result = ballast.ctl("resize", guest.name, "384MiB", "--timeout", "12", "--on-timeout", "restore", check=False)
    check_equal(result.rc, codes.DEADLINE, f"restoring at the deadline: {result}")
    check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB, "the size is back")
    check_equal(guest.virtio_mem_sizes()[0]["requested"], PLUGGED_MIB * MIB, "the request is back")
    check_equal(guest.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
    guest.hugepages(0)
    tell("at the deadline everything is put back")


def deadline_continues(ballast, guest, tell):
    """What memory covers goes on being asked for, and leaves without anybody's help when the obstacle has gone."""
    hold_huge_pages(ballast, guest)
    result = ballast.ctl("resize", guest.name, "384MiB", "--timeout", "12", "--on-timeout", "continue", check=False)
    check_equal(result.rc, codes.DEADLINE, f"going on at the deadline: {result}")
    left = guest.virtio_mem_sizes()[0]
    check(left["requested"] < left["current"], f"less is asked for than there is: {left}")
    check("more leaves when the guest's driver can" in result.out, f"that is said: {result.out}")
    check_equal(guest.pattern_stop("huge")["errors"], 0, "pattern errors in the huge pages")
    guest.hugepages(0)
    began = time.monotonic()
    wait_for(lambda: guest.virtio_mem_sizes()[0]["current"] == left["requested"], 320, "the driver to have woken", 2)
    tell(f"at the deadline {left['current'] // MIB} MiB were there and {left['requested'] // MIB} asked for; what was in the way "
         f"gone, the driver got there by itself in {time.monotonic() - began:.0f} s")


def plugged(guest, before):
    """The ids of blocks that were not there before."""
    return set(guest.blocks()) - set(before)


def range_of(block, block_bytes):
    return f"{block * block_bytes:#x}-{(block + 1) * block_bytes:#x}"


def cell_pool(guest, cell, pages=None):
    """How many huge pages of 2 MiB the cell's pool has, after it was asked to have so many."""
    path = f"/sys/devices/system/node/node{cell}/hugepages/hugepages-2048kB/nr_hugepages"
    if pages is not None:
        guest.write(path, str(pages))
    return int(guest.read(path))


def two_cells(ballast, guest, tell):
    base = guest.blocks()
    ballast.ctl("resize", guest.name, "--cell", "0=896MiB")
    first = plugged(guest, base)
    ballast.ctl("resize", guest.name, "--cell", "1=768MiB")
    second = sorted(plugged(guest, set(base) | first))
    size = guest.block_bytes()
    check_equal((len(first), len(second)), (512 * MIB // size, 640 * MIB // size), "blocks of the two devices")
    tell(f"device of cell 0: blocks {sorted(first)}, of cell 1: {second}")

    named = {second[1], second[3]}
    ranges = [word for block in sorted(named) for word in ("--range", range_of(block, size))]
    operation = ballast.ctl_json("resize", guest.name, "1408MiB", *ranges)
    check_equal(operation["state"], "succeeded", f"a shrink of named ranges: {operation['remainder']}")
    check_equal(set(second) - set(guest.blocks()), named, "which blocks have left")
    check(first <= set(guest.blocks()), "the other device's blocks are there")
    tell(f"named ranges: exactly blocks {sorted(named)} have left ({' '.join(kinds(operation))})")

    # Each cell has a pool: that of the one that shrinks is in the way.
    before = [cell_pool(guest, 0, 40), cell_pool(guest, 1, 120)]
    check(before[0] == 40 and before[1] >= 100, f"huge pages in the pools of the cells: {before}")
    states = {block: state for block, state in guest.blocks().items() if block in first}
    operation = ballast.ctl_json("resize", guest.name, "--cell", "1=128MiB")
    check_equal(operation["state"], "succeeded", f"a cell to its base: {operation['remainder']}")
    check_equal(plugged(guest, base), first, "blocks that stay")
    check_equal({block: guest.blocks()[block] for block in first}, states, "the other device's blocks")
    check_equal([d["current"] for d in guest.virtio_mem_sizes()], [512 * MIB, 0], "what libvirt says")
    after = [cell_pool(guest, 0), cell_pool(guest, 1)]
    check(after[1] < before[1] and after[0] > 0, f"the pool of the cell that shrank gave first: {before}, then {after}")
    for cell in (0, 1):
        cell_pool(guest, cell, 0)
    tell(f"cell 1 is at its base, the other device's blocks are as they were ({' '.join(kinds(operation))}); huge pages in "
         f"the cells' pools {before}, then {after}")

    result = ballast.ctl("resize", guest.name, "768MiB", "--range", "0-8000000", check=False)
    check(result.rc == codes.REFUSED and "none of the guest's memory devices" in result.out + result.err,
          f"a range of boot memory: {result}")
    many = [word for i in range(17) for word in ("--range", f"{i:x}0000000-{i:x}0001000")]
    result = ballast.ctl("resize", guest.name, "768MiB", *many, check=False)
    check(result.rc == codes.FAILED and "16" in result.err, f"more ranges than can be: {result}")


# What the guest's kernel says while a shrink is at work: pages in the pools of both cells, and blocks of cell 1 that are online.
WATCH = """cd /sys/devices/system/node
while [ -e /run/watch ]; do
	for n in 0 1; do read p <node$n/hugepages/hugepages-2048kB/nr_hugepages; echo -n "$p "; done
	cat node1/memory*/state | grep -c online
	sleep 0.1
done >/run/watched
"""


def watched(guest, function):
    """What a function returns, and what was seen in the guest while it ran: (pages of cell 0, of cell 1, blocks), in order."""
    guest.run("touch /run/watch")
    watch = guest.spawn(WATCH)
    try:
        result = function()
    finally:
        guest.run("rm /run/watch")
        watch.wait(30)
    return result, [tuple(int(word) for word in line.split()) for line in guest.read("/run/watched").splitlines()]


def room_on_another_node(ballast, guest, tell):
    """Huge pages in use, more than have room on their own node: before any block leaves there is room on the other one."""
    base = guest.blocks()
    ballast.ctl("resize", guest.name, "--cell", "1=768MiB")
    pages, blocks = cell_pool(guest, 1, 120), len(plugged(guest, base))
    check(2 * pages > guest.cells[1].mib + 64 and cell_pool(guest, 0) == 0,
          f"{pages} huge pages, all of them on a node that has {guest.cells[1].mib} MiB beside its device")
    guest.pattern_start(2 * pages, name="huge", hugetlb=True, cell=1, pace_us=500)
    # The driver would move some of them itself; so all of it is left to the agent.
    guest.write(UNPLUG_ONLINE, "N")
    operation, seen = watched(guest, lambda: ballast.ctl_json("resize", guest.name, "--cell", "1=128MiB", "--timeout", 120,
                                                              check=False))
    guest.write(UNPLUG_ONLINE, "Y")
    changes = [now for before, now in zip([None] + seen, seen) if now != before]
    tell(f"huge pages of the cells, and blocks of cell 1 that were online: {changes}")
    check_equal(operation["state"], "succeeded", f"a shrink past huge pages in use: {operation['remainder']} {kinds(operation)}")
    check_equal(guest.virtio_mem_sizes()[1]["current"], 0, "what libvirt says")
    check("make room" in climbed(operation), f"room is among the rungs: {climbed(operation)}")
    before_any = [there for there, here, online in seen if (here, online) == (pages, seen[0][2])]
    check(seen[0][2] >= blocks and max(before_any) > 0, f"room on the other node before a block or a page left: {changes}")
    check_equal([cell_pool(guest, 0), cell_pool(guest, 1)], [pages, 0], "all that was in use is on the other node, and no more")
    check_equal(guest.pattern_rounds(1, "huge")["errors"], 0, "pattern errors in the huge pages")
    guest.pattern_stop("huge")
    cell_pool(guest, 0, 0)


def shares(ballast, guest, tell):
    """A wish for the whole is shared out over the devices."""
    ballast.ctl("resize", guest.name, "1664MiB")
    ballast.ctl("resize", guest.name, "1088MiB")
    now = [device["current"] for device in guest.virtio_mem_sizes()]
    check_equal(sum(now), 576 * MIB, "what is plugged")
    check(256 * MIB - 32 * MIB < now[0] < 256 * MIB + 32 * MIB, f"half of each device has left: {now}")
    tell(f"half of 1152 MiB: {', '.join(str(size // MIB) for size in now)} MiB are left of the two")


def balloon(ballast, guest, tell):
    operation = ballast.ctl_json("resize", guest.name, "320MiB")
    check_equal(operation["state"], "succeeded", f"a shrink by balloon: {operation['remainder']}")
    check_at_most(abs(actual(guest) - 320 * MIB), 2 * MIB, "how far the balloon is from it")
    check("balloon" in climbed(operation), f"the rung is named: {operation['result']}")
    ballast.ctl("resize", guest.name, "512MiB")
    check_at_most(abs(actual(guest) - 512 * MIB), 2 * MIB, "how far the balloon is from it")
    # One that stands still gives nothing; when it runs again, nothing leaves later.
    guest.host.virsh("suspend", guest.name)
    operation = ballast.ctl_json("resize", guest.name, "320MiB", "--timeout", "8", check=False)
    guest.host.virsh("resume", guest.name)
    check(operation["state"] in ("incomplete", "failed") and operation["deadline_exceeded"], f"no memory left: {operation}")
    time.sleep(5)
    check_at_most(abs(actual(guest) - 512 * MIB), 2 * MIB, "what has left after the deadline")
    tell(f"balloon: shrunk, grown, and stopped at its deadline ({' '.join(kinds(operation))})")


def actual(guest):
    for line in guest.host.virsh("dommemstat", guest.name).out.splitlines():
        if line.startswith("actual "):
            return int(line.split()[1]) * 1024
    return 0


@story(19, "an obstacle goes and the shrink finishes; named ranges, one cell alone, and a balloon leave as told", limit_s=900)
def shrink(tell):
    with booted_host() as host:
        holder = Guest(host, "g1", 384, nodes="1", virtio_mem=[VirtioMem(1024)])
        celled = Guest(host, "g2", cells=[Cell(384), Cell(128, vcpus=0)],
                       virtio_mem=[VirtioMem(512, cell=0), VirtioMem(640, cell=1)])
        simple = Guest(host, "g3", 512, nodes="2")
        start_guests(holder, celled, simple)
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        ballast.wait_agent("g1", "g2", "g3")
        cases = Cases(tell)
        for case, guest in ((obstacle_goes_away, holder), (deadline_restores, holder),
                            (deadline_continues, holder), (two_cells, celled),
                            (room_on_another_node, celled), (shares, celled), (balloon, simple)):
            if os.environ.get("BALLAST_CASE", "") not in case.__name__:
                continue
            began = time.monotonic()
            cases.run(case, ballast, guest, tell)
            tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
