#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 27: a shrink that cannot be finished says why, to the byte, and the reason is the true one."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import (ALL_CASES, Cases, booted_host, check, check_at_least, check_at_most, check_equal,  # noqa: E402
                           main, story, wait_for)

MIB = 1 << 20
BASE_MIB, PLUGGED_MIB = 512, 512
# The ladder is at its end by then, and has waited once.
TIMEOUT_S = 40
# What a driver takes at least, and what one page holds of it.
PIECE_BYTES = 2 * MIB
FREE = evidence.BUDDY | evidence.NOPAGE | evidence.OFFLINE


class Stuck:
    """A guest that has grown, of which something does not leave."""

    def __init__(self, ballast, guest, tell):
        self.ballast, self.guest, self.tell = ballast, guest, tell

    def shrink(self, code):
        """Asks for all of it, and returns the operation: most of what stays has this reason."""
        operation = self.ballast.ctl_json("resize", self.guest.name, f"{BASE_MIB}MiB", "--timeout", TIMEOUT_S, check=False)
        stayed = self.guest.virtio_mem_sizes()[0]["current"]
        reasons = {}
        for remainder in operation["remainder"]:
            reasons[remainder["code"]] = reasons.get(remainder["code"], 0) + remainder["bytes"]
        said = ", ".join(f"{name} {size // MIB} MiB" for name, size in reasons.items())
        self.tell(f"{self.guest.name}: {stayed // MIB} MiB of {PLUGGED_MIB} stay: {said or 'no reason'}")
        for remainder in operation["remainder"]:
            self.tell(f"    {remainder['code']} {remainder['object']}: {remainder['detail']}")
        check_equal(operation["state"], "incomplete", f"a shrink of {self.guest.name}")
        check_equal(sum(reasons.values()), stayed, "bytes of the remainder, and bytes that stayed plugged")
        check_equal(max(reasons, key=reasons.get), code, f"why most of it stays: {reasons}")
        return operation

    def blocks(self):
        """What `blocks` says of each, {id: block}, beside the flags of its pages; of all kinds but what holds it that is so."""
        told = {block["id"]: block for block in self.ballast.ctl_json("blocks", self.guest.name)}
        for line in self.ballast.ctl("blocks", self.guest.name).out.splitlines():
            self.tell(f"    {line}")
        size, plugged, flags = self.guest.block_bytes(), 0, {}
        there = {block: seen for block, seen in self.guest.blocks().items() if block >= BASE_MIB * MIB // size}
        check_equal({block: (one["state"], one["zone"].capitalize()) for block, one in told.items()}, there,
                    "blocks of the device, their states and zones")
        for block, one in told.items():
            flags[block] = evidence.guest_block_flags(self.guest, block)
            free = sum(1 for page in flags[block] if page & FREE) * evidence.PAGE_BYTES
            plugged += sum(1 for page in flags[block] if not page & evidence.OFFLINE) * evidence.PAGE_BYTES
            # The guest is at work between the two looks.
            check_at_most(abs(one["free_bytes"] - free), 8 * MIB, f"what is free in block {block}, beside its flags")
        check_equal(plugged, self.guest.virtio_mem_sizes()[0]["current"], "plugged, by the flags of the pages and by libvirt")
        return told, flags


def huge_pages_in_use(stuck):
    """More of them than fit elsewhere."""
    guest = stuck.guest
    pages = guest.hugepages(320)
    check_at_least(pages, 280, "huge pages that the guest could make")
    guest.pattern_start(2 * pages - 4, name="huge", hugetlb=True)
    try:
        stuck.shrink("huge_pages_in_use")
    finally:
        killed = [line for line in guest.read("/proc/vmstat").splitlines() if line.startswith("oom_kill ")]
        stuck.tell(f"the guest's OOM killer: {killed[0]}")
    check_equal(killed, ["oom_kill 0"], "how often the guest's OOM killer was at work")
    check_equal(guest.pattern_rounds(1, name="huge")["errors"], 0, "pattern errors in the huge pages")


def pinned_pages(stuck):
    """Some in each block, as for a device; the block that would not go is named."""
    guest = stuck.guest
    guest.pattern_start(320, name="held", once=True, held=64)
    operation = stuck.shrink("pinned")
    named = {part["object"].split()[-1] for part in operation["remainder"] if part["code"] == "pinned"}
    online = {str(block) for block, (state, _) in guest.blocks().items() if state == "online"}
    check(named and named <= online, f"online blocks of the guest are named: {named}, of {online}")
    frames = [frame * evidence.PAGE_BYTES // guest.block_bytes() for frame in guest.pattern_held("held")]
    told = {block: one["pinned_bytes"] for block, one in stuck.blocks()[0].items() if one["pinned_bytes"]}
    check(named <= {str(block) for block in told}, f"what is named has pinned pages: {named}, of {told}")
    for block, size in told.items():
        check_at_most(size, frames.count(block) * PIECE_BYTES, f"pinned in block {block}, of what the application holds there")
    guest.pattern_stop("held")
    pinned = sum(block["pinned_bytes"] for block in stuck.blocks()[0].values())
    check_equal(pinned, 0, "pinned bytes when nothing is held any more")


def kernel_objects(stuck):
    """Memory that was plugged into a kernel zone, and what the kernel has put there."""
    guest = stuck.guest
    guest.run("mkdir -p /run/many && cd /run/many && for i in $(seq 1 40); do mkdir $i; "
              "for j in $(seq 1 500); do echo >$i/$j; done; done", timeout=120)
    stuck.shrink("kernel_zone")
    told, flags = stuck.blocks()
    pages = PIECE_BYTES // evidence.PAGE_BYTES
    for block, one in told.items():
        kernel = {i // pages for i, page in enumerate(flags[block]) if page & (evidence.SLAB | evidence.PAGE_TABLE)}
        check_at_most(len(kernel) * PIECE_BYTES - one["kernel_bytes"], PIECE_BYTES, f"pieces of block {block} with kernel memory")
    check_at_least(sum(one["kernel_bytes"] for one in told.values()), stuck.guest.virtio_mem_sizes()[0]["current"] // 2,
                   "what the kernel holds, of all that stayed")


@story(27, "a shrink that cannot be finished says why: pinned pages, kernel memory, huge pages, each by its own name",
       limit_s=600)
def why_it_stays(tell):
    with booted_host() as host:
        ballast, cases = Ballast(host, {"limits": {"reserve": "256MiB"}}), Cases(tell)
        played = ((pinned_pages, "online_movable"), (kernel_objects, "online_kernel"))
        # It leaves its guest with next to nothing.
        if ALL_CASES:
            played += ((huge_pages_in_use, "online_movable"),)
        guests = [Guest(host, case.__name__.split("_", maxsplit=1)[0], BASE_MIB, nodes=str(node), online=online,
                        virtio_mem=[VirtioMem(PLUGGED_MIB, requested_mib=PLUGGED_MIB)])
                  for node, (case, online) in enumerate(played)]
        start_guests(*guests)
        ballast.start()
        ballast.wait_agent(*(guest.name for guest in guests))
        for (case, _), guest in zip(played, guests):
            began = time.monotonic()
            wait_for(lambda g=guest: g.virtio_mem_sizes()[0]["current"] == PLUGGED_MIB * MIB, 60, "all of it to be plugged")
            cases.run(case, Stuck(ballast, guest, tell))
            guest.destroy()
            tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
