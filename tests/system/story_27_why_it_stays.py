#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 27: a shrink that cannot be finished says why, to the byte, and the reason is the true one.

BALLAST_CASES="name name" runs only these cases.
"""

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
# One page of 1 GiB, and room beside it for what the guest's kernel puts there.
GIB, GIGANTIC_MIB = 1 << 30, 2048
# The ladder is at its end by then, and has waited once.
TIMEOUT_S = 40
# What a driver takes at least, and what one page holds of it.
PIECE_BYTES = 2 * MIB
GIGANTIC_POOL = "/sys/kernel/mm/hugepages/hugepages-1048576kB"
FREE = evidence.BUDDY | evidence.NOPAGE | evidence.OFFLINE


def by_code(remainders):
    """{code: bytes} of what stays."""
    found = {}
    for remainder in remainders:
        found[remainder["code"]] = found.get(remainder["code"], 0) + remainder["bytes"]
    return found


def in_words(reasons):
    return ", ".join(f"{name} {size // MIB} MiB" for name, size in reasons.items()) or "no reason"


class Stuck:
    """A guest that has grown, of which something does not leave."""

    def __init__(self, ballast, guest, tell):
        self.ballast, self.guest, self.tell = ballast, guest, tell

    def plugged(self):
        return self.guest.virtio_mem_sizes()[0]["current"]

    def foreseen(self):
        """What a dry run of the same says: (bytes that leave, what stays and why). Together that is all of it."""
        plan = self.ballast.ctl_json("resize", self.guest.name, f"{BASE_MIB}MiB", "--dry-run", check=False)
        reasons, plugged = by_code(plan["forecast"]), self.plugged()
        leaves = sum(part["leaves_bytes"] for part in plan["leaves"])
        self.tell(f"{self.guest.name}: foreseen of {plugged // MIB} MiB: {leaves // MIB} MiB leave; {in_words(reasons)}")
        check_equal(leaves + sum(reasons.values()), plugged, f"bytes that leave and bytes that stay: {plan['forecast']}")
        return leaves, plan["forecast"]

    def resized(self):
        """Asks for all of it, and returns the operation."""
        operation = self.ballast.ctl_json("resize", self.guest.name, f"{BASE_MIB}MiB", "--timeout", TIMEOUT_S, check=False)
        said = in_words(by_code(operation["remainder"]))
        self.tell(f"{self.guest.name}: {self.plugged() // MIB} MiB of {self.guest.virtio_mem[0].mib} stay: {said}")
        for remainder in operation["remainder"]:
            self.tell(f"    {remainder['code']} {remainder['object']}: {remainder['detail']}")
        return operation

    def shrink(self, code):
        """The same, where most of what stays has this reason."""
        operation = self.resized()
        stayed, reasons = self.plugged(), by_code(operation["remainder"])
        check_equal(operation["state"], "incomplete" if stayed < self.guest.virtio_mem[0].mib * MIB else "failed",
                    f"a shrink of {self.guest.name}")
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
        check_equal(plugged, self.plugged(), "plugged, by the flags of the pages and by libvirt")
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
    check_at_least(sum(one["kernel_bytes"] for one in told.values()), stuck.plugged() // 2,
                   "what the kernel holds, of all that stayed")


def gigantic_page(stuck):
    """One of 1 GiB that the guest works with: foreseen and told to the byte. Free, it is given up.

    Linux puts none into a movable zone (include/linux/hugetlb.h, hugepage_movable_supported), so the device's is the kernel's.
    """
    guest = stuck.guest
    # A processor without such pages (pdpe1gb) has no pool of them.
    if guest.run(f"test -d {GIGANTIC_POOL}", check=False).rc != 0:
        stuck.tell("gigantic_page SKIPPED: the guest's processor has no pages of 1 GiB")
        return
    if guest.hugepages(1, size_kib=GIB >> 10) != 1:
        stuck.tell("gigantic_page SKIPPED: the guest's kernel has no 1 GiB in one piece that is free or can be moved")
        return
    device = [block for block in guest.blocks() if block >= BASE_MIB * MIB // guest.block_bytes()]
    inside = sum(1 for block in device for page in evidence.guest_block_flags(guest, block) if page & evidence.HUGE)
    check_equal(inside * evidence.PAGE_BYTES, GIB, "bytes of the device in huge pages, by their flags")
    guest.pattern_start(1024, name="huge", gigantic=True, still=True, timeout=240)
    # The page itself, and what the driver leaves behind at it: it works downwards, and the page may lie at the top.
    leaves, forecast = stuck.foreseen()
    check_equal([r["bytes"] for r in forecast if r["code"] == "gigantic_pages"][0], GIB, "what is foreseen of the page")
    before = stuck.plugged()
    operation = stuck.shrink("gigantic_pages")
    check_equal([r["bytes"] for r in operation["remainder"] if r["code"] == "gigantic_pages"][0], GIB, "what is told of the page")
    check_at_least(before - stuck.plugged(), leaves, "bytes that have left, of those foreseen")
    check_equal(guest.pattern_verify("huge")["errors"], 0, "pattern errors in the page")
    guest.pattern_stop("huge")
    check_equal(guest.read(f"{GIGANTIC_POOL}/free_hugepages").strip(), "1", "free pages of 1 GiB")
    leaves, forecast = stuck.foreseen()
    check("gigantic_pages" not in by_code(forecast), "a page of 1 GiB that is free does not stay")
    before = stuck.plugged()
    operation = stuck.resized()
    reasons, climbed = by_code(operation["remainder"]), [rung["rung"] for rung in operation["result"]["climbed"]]
    check_at_least(before - stuck.plugged(), leaves, "bytes that have left, of those foreseen")
    check_equal((set(reasons) - {"kernel_zone"}, sum(reasons.values())), (set(), stuck.plugged()), "what stays, and why")
    check("free huge pages" in climbed and guest.read(f"{GIGANTIC_POOL}/nr_hugepages").strip() == "0",
          f"the page was given up: {climbed}")


@story(27, "a shrink that cannot be finished says why: pinned pages, kernel memory, huge pages, each by its own name",
       limit_s=900)
def why_it_stays(tell):
    with booted_host() as host:
        ballast, cases = Ballast(host, {"limits": {"reserve": "256MiB"}}), Cases(tell)
        # Each with its device's zone and size, and the host's node it is on.
        played = [(pinned_pages, "online_movable", PLUGGED_MIB, 0), (kernel_objects, "online_kernel", PLUGGED_MIB, 1)]
        # Of these one leaves its guest with next to nothing, and one takes the place of a guest that has ended.
        if ALL_CASES:
            played += [(huge_pages_in_use, "online_movable", PLUGGED_MIB, 2), (gigantic_page, "online_kernel", GIGANTIC_MIB, 1)]
        wanted = os.environ.get("BALLAST_CASES", "").split()
        played = [one for one in played if not wanted or one[0].__name__ in wanted]
        guests = [Guest(host, case.__name__.split("_", maxsplit=1)[0], BASE_MIB, nodes=str(node), online=online,
                        virtio_mem=[VirtioMem(mib, requested_mib=mib)])
                  for case, online, mib, node in played]
        start_guests(*guests)
        ballast.start()
        ballast.wait_agent(*(guest.name for guest in guests))
        for (case, _, mib, _), guest in zip(played, guests):
            began = time.monotonic()
            wait_for(lambda g=guest, m=mib: g.virtio_mem_sizes()[0]["current"] == m * MIB, 60, "all of it to be plugged")
            cases.run(case, Stuck(ballast, guest, tell))
            guest.destroy()
            tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
