#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 40: of a DIMM a few blocks are drained, by their range or by a hint, and only the pages in these leave their places."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story  # noqa: E402

MIB = 1 << 20
HOME = 3
PATTERN_MIB = 32
LEAST_BYTES = 8 * MIB
# What guests must have in the blocks, so that it is not taken for what they touch first meanwhile.
INSIDE_BYTES = 32 * MIB
# What a guest touches first between two looks at it: some 8 MiB were seen.
TOUCHED_BYTES = 16 * MIB
# What the kernel moves for its own sake.
NOISE_BYTES = 4 * MIB


class Seen:
    """Where a guest's pages were, by evidence that is not Ballast's own."""

    def __init__(self, guest):
        self.guest = guest
        self.frames = set(evidence.guest_frames(guest))
        self.nodes = evidence.guest_bytes_by_node(guest)
        self.places = memory_peer.places(guest)
        self.policies = evidence.guest_policies(guest)
        self.cpusets = evidence.cpusets(guest)

    @property
    def away(self):
        return sum(size for node, size in self.nodes.items() if node != HOME)

    def inside(self, span):
        return {frame for frame in self.frames if span[0] <= frame * evidence.PAGE_BYTES < span[1]}

    def bytes_in(self, span):
        return len(self.inside(span)) * evidence.PAGE_BYTES


def choose(seen, blocks, size, count):
    """The run of so many blocks in which the guests have most and outside of which each has enough."""
    spans = [(number * size, (number + count) * size) for number in blocks if number + count - 1 in blocks]
    return max(spans, key=lambda span: min(sum(one.bytes_in(span) for one in seen),
                                           *(one.nodes[HOME] - one.bytes_in(span) for one in seen)))


def check_others_stay(before, after, span):
    """Not one page that was outside of the range has another frame now."""
    outside = before.frames - before.inside(span)
    check_at_most(len(outside - after.frames) * evidence.PAGE_BYTES, NOISE_BYTES,
                  f"bytes of {before.guest.name} beside the range that have moved")
    check_equal(after.policies, before.policies, f"policies of {before.guest.name}")
    check_equal(before.guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {before.guest.name}")


def check_home(before, after):
    """Every page that was there is on the node on which it was."""
    moved = [(was, now) for was, now in zip(before.places, after.places) if was not in (".", now)]
    check_equal(moved, [], f"pages of {before.guest.name} that are not on the node on which they were")


def check_told(seen, items, span, what):
    """What Ballast says that a guest has there."""
    for one in seen:
        told = sum(item["bytes"] for item in items if one.guest.name in item["object"])
        check_at_most(abs(told - one.bytes_in(span)), TOUCHED_BYTES, f"bytes of {one.guest.name} in the range, {what}")


def steps_of(operation, kind):
    return [{"object": step["target"], "bytes": step["done_bytes"]} for step in operation["steps"] if step["kind"] == kind]


def drained(host, ballast, guests, span, tell):
    """They leave for as long as it takes the blocks to go offline."""
    before = [Seen(guest) for guest in guests]
    words = ("drain", "--range", f"{span[0]:x}-{span[1]:x}", "--offline", "--allow", "remote_memory,stored_xml")
    holders = ballast.ctl_json("holders", "--range", f"{span[0]:x}-{span[1]:x}")["items"]
    check_told(before, [item for item in holders if item["code"] == "guest_memory"], span, "of its holders")
    plan = ballast.ctl_json(*words, "--dry-run")
    tell("    plan: " + ", ".join(f"{step['kind']} {step['bytes'] / MIB:.1f} MiB" for step in plan["steps"]))
    moves = [step for step in plan["steps"] if step["kind"] == "move"]
    check_told(before, [{"object": step["target"], "bytes": step["bytes"]} for step in moves], span, "of its plan")
    check(not [warning for warning in plan["warnings"] if warning["code"] == "not_surveyed"],
          f"the plan knows what lies there: {plan['warnings']}")
    ballast.ctl(*words, "--timeout", "240", timeout=300)
    drain = ballast.get("/v1/drains")["items"][0]
    operation = ballast.operation(drain["operation"])
    for step in operation["steps"]:
        tell(f"    {step['kind']} {step['target']}: {step['state']}, {step['done_bytes'] / MIB:.1f} MiB")
    check_equal((operation["state"], operation["warnings"]), ("succeeded", []), "how the drain ended")
    check_told(before, steps_of(operation, "move"), span, "moved")
    size = block_bytes(host)
    states = {number: block["state"] for number, block in evidence.blocks(host).items()
              if number in host.dimm_blocks("dimm1")}
    check_equal({number for number, state in states.items() if state == "offline"},
                set(range(span[0] // size, span[1] // size)), "blocks that are offline")
    for one in before:
        now = Seen(one.guest)
        check_equal(now.bytes_in(span), 0, f"bytes of {one.guest.name} in the range")
        check_home(one, now)
        check_equal(now.cpusets, one.cpusets, f"cpusets of {one.guest.name}")
        check_others_stay(one, now, span)
        tell(f"    {one.guest.name}: {one.bytes_in(span) // MIB} of {one.nodes[HOME] // MIB} MiB had to leave their frames")
    ballast.ctl("undrain", drain["id"], timeout=240)
    check_equal(evidence.dimm_states(host, "dimm1"), {"online"}, "states of the blocks, undrained")


def hinted(host, ballast, guests, size, tell):
    """What is said of one page has its block emptied, until that is taken back. The block stays online."""
    before = [Seen(guest) for guest in guests]
    span = choose(before, host.dimm_blocks("dimm1"), size, 1)
    check_at_least(sum(one.bytes_in(span) for one in before), INSIDE_BYTES, "bytes of guests in the block")
    said = ballast.ctl_json("hint", "--address", hex(span[0] + 4096), "--risk", "high")
    check_equal((said["action"], said["refusal"]), ("move_range", None), f"what the hint has done: {said}")
    operation = ballast.wait_operation(said["operation"]["id"], timeout=240)
    for item in operation["remainder"]:
        tell(f"    {item['code']} {item['object']}: {item['bytes'] / MIB:.1f} MiB, {item['detail']}")
    # A page that a guest touches first may come there again, and is told then.
    check(operation["state"] in ("succeeded", "incomplete"), f"how the drain of the hint ended: {operation['state']}")
    check_told(before, steps_of(operation, "move"), span, "moved for the hint")
    for one in before:
        now = Seen(one.guest)
        check_at_most(now.bytes_in(span), TOUCHED_BYTES, f"bytes of {one.guest.name} in the block")
        check_at_most(abs(now.away - one.away - one.bytes_in(span)), TOUCHED_BYTES,
                      f"bytes of {one.guest.name} that are away beside those that were in the block")
        check_others_stay(one, now, span)
        tell(f"    hint: {one.bytes_in(span) // MIB} of {one.nodes[HOME] // MIB} MiB of {one.guest.name} left")
    check_equal(evidence.dimm_states(host, "dimm1"), {"online"}, "states of the blocks")
    ballast.ctl("undrain", said["drain"]["id"], timeout=240)
    for one in before:
        now = Seen(one.guest)
        check_home(one, now)
        check_equal(now.cpusets, one.cpusets, f"cpusets of {one.guest.name}")


def block_bytes(host):
    return int(host.read("/sys/devices/system/memory/block_size_bytes"), 16)


@story(40, "of a DIMM a few blocks are drained, by their range or by a hint: only the pages in these leave", limit_s=500)
def a_range(tell):
    with booted_host() as host:
        host.transparent_huge_pages("never", "never")
        host.write("/proc/sys/kernel/numa_balancing", "0")
        guests = [Guest(host, "strict", 256, nodes=str(HOME)), Guest(host, "preferred", 256, nodes=str(HOME), mode="preferred")]
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.pattern_start(PATTERN_MIB, pace_us=2000)
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"},
                                 "hints": {"high": "move_range", "allow": "stored_xml remote_memory"}})
        ballast.start()
        size = block_bytes(host)
        seen = [Seen(guest) for guest in guests]
        span = choose(seen, host.dimm_blocks("dimm1"), size, 2)
        for one in seen:
            tell(f"{one.guest.name}: {one.bytes_in(span) // MIB} of {one.nodes[HOME] // MIB} MiB in blocks "
                 f"{span[0] // size} and {span[1] // size - 1}")
            check_at_least(one.nodes[HOME] - one.bytes_in(span), LEAST_BYTES, f"bytes of {one.guest.name} beside them")
        check_at_least(sum(one.bytes_in(span) for one in seen), INSIDE_BYTES, "bytes of guests in them")
        drained(host, ballast, guests, span, tell)
        hinted(host, ballast, guests, size, tell)
        check(ballast.process.running, "ballastd lives")


if __name__ == "__main__":
    main()
