#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 16: what is free in a guest is not moved, and what is to go first goes first."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story, wait_for  # noqa: E402

MIB = 1 << 20
# So little that all of it is written while Ballast looks, although each first write is a slow fault here.
HOT_MIB = 4


# Two kinds of files by turns, and then one of them goes: what is free lies in pieces too small to be reported by itself.
IN_PIECES = """
mkdir /run/files && mount -t tmpfs -o size=75% files /run/files && i=0
while [ $i -lt 72 ]; do
	for kind in a b; do dd if=/dev/zero of=/run/files/$kind$i bs=1M count=1 2>/dev/null || exit 1; done
	i=$((i + 1))
done
rm /run/files/a*
"""


def reported(ballast, guest, tell):
    """Much of what the host has of a guest is free inside, in pieces: the agent makes the guest report it before the move."""
    guest.run(IN_PIECES, timeout=120)
    # Its kernel reports large pieces by itself, and has done so by then.
    time.sleep(6)
    full = evidence.Memory(guest).total_bytes
    identity = ballast.ctl("move", guest.name, "--to", "2", "--budget", "4MiB", "--timeout", "240",
                           "--detach").out.strip()
    operation = wait_for(lambda: next((o for o in [ballast.operation(identity)] if o["ended_at"] or
                                       any(step["kind"] == "move" for step in o["steps"])), None), 90, "pages to move")
    memory = evidence.Memory(guest)
    steps = [(step["kind"], step["detail"]) for step in operation["steps"]]
    ballast.ctl("cancel", identity, "--undo", "no", "--detach")
    ballast.wait_operation(identity)
    said = f"{full / MIB:.0f} MiB, then {memory.total_bytes / MIB:.0f} MiB on {sorted(memory.nodes)}: {steps}"
    kinds = [kind for kind, _ in steps]
    check("report_free" in kinds and kinds.index("report_free") < kinds.index("move"), f"it is reported first: {said}")
    check_at_most(memory.total_bytes, full - 32 * MIB, f"bytes that the host still has before they move: {said}")
    check_at_most(memory.nodes.get(2, 0), 48 * MIB, f"bytes that have moved by then: {said}")
    guest.run("umount /run/files")
    tell(f"free inside, and reported before a page had moved: {said}")


def unplugged(ballast, guest, tell):
    """A guest that may be shrunk for a moment: what is free in its virtio-mem is out while the rest moves, and back after."""
    guest.pattern_start(800, name="gone", once=True)
    guest.pattern_stop("gone")
    guest.pattern_start(48, pace_us=2000)
    before = evidence.Memory(guest)
    plan = ballast.ctl_json("move", guest.name, "--to", "2", "--allow", "shrink_guests", "--dry-run")
    operation = ballast.ctl_json("move", guest.name, "--to", "2", "--allow", "shrink_guests", "--budget", "40MiB",
                                 "--timeout", "300", timeout=320)
    steps = [(step["kind"], step["detail"]) for step in operation["steps"]]
    check_equal(operation["state"], "succeeded", f"state of the move: {operation['remainder']}, {steps}")
    kinds = [kind for kind, _ in steps]
    check("request" in kinds and kinds.index("request") < kinds.index("move"), f"it is unplugged first: {steps}, {plan}")
    after = evidence.Memory(guest)
    check_equal(sorted(after.nodes), [2], "nodes after the move")
    check_equal(guest.virtio_mem_sizes()[0]["current"], 1024 * MIB, "the size that it has again")
    check_equal(guest.online_movable_bytes(), 1024 * MIB, "what of it is online, as it says itself")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    check_at_most(after.total_bytes, before.total_bytes - 256 * MIB, "bytes that there was anything to move of")
    guest.pattern_start(600, name="again", once=True)
    check_equal(sorted(evidence.Memory(guest).nodes), [2], "nodes of what it writes in the memory that came back")
    check_equal(guest.pattern_stop("again")["errors"], 0, "pattern errors in the memory that came back")
    check_equal(guest.pattern_stop()["errors"], 0, "pattern errors")
    tell(f"unplugged for the move: {before.total_bytes / MIB:.0f} MiB, of which {after.total_bytes / MIB:.0f} MiB moved in "
         f"{operation['result']['seconds']:.0f} s (foreseen {plan['bytes'] / MIB:.0f} MiB): {steps}")


def ordered(ballast, guest, tell):
    """Cell 1 is written all the time, cell 0 hardly: which goes first is as asked."""
    source = "soft-dirty"
    if guest.host.exists("/sys/kernel/mm/page_idle/bitmap"):
        source = "idle page tracking"
    guest.pattern_start(64, name="cold", once=True, cell=0)
    guest.pattern_stop("cold")
    guest.pattern_start(HOT_MIB, name="hot", cell=1, pace_us=500)

    def shares(node):
        """How much is on the node of cell 0, and of what is written in cell 1: the rest of that is as cold as any other."""
        cold, hot = sorted(((sum(m.bytes.values()), m.bytes.get(node, 0)) for m in evidence.Memory(guest).mappings),
                           reverse=True)[:2]
        check_at_least(cold[0] - hot[0], 32 * MIB, f"what tells the cells apart, cold {cold}, hot {hot}")
        return cold[1] / cold[0], max(0, hot[1] - (hot[0] - HOT_MIB * MIB)) / (HOT_MIB * MIB)

    seen = {}
    for order, node, first in (("cold-first", 2, 0), ("hot-first", 1, 1)):
        identity = ballast.ctl("move", guest.name, "--to", node, "--order", order, "--budget", "16MiB",
                               "--timeout", "240", "--detach").out.strip()
        # Where half of the one is there, how much is of the other?
        seen[order] = wait_for(lambda: next((s for s in [shares(node)] if s[first] >= 0.5), None), 120,
                               f"half of what goes first, {order}", 0.3)
        operation = ballast.wait_operation(identity, 240)
        check_equal(operation["state"], "succeeded", f"state of the move: {operation}")
        check("order_not_kept" not in [w["code"] for w in operation["warnings"]], f"the order was kept: {operation}")
    tell(f"by {source}: shares of the cold cell and of the hot pages that had gone: {seen}")
    # By address the one cell goes before the other, in both.
    check_at_most(seen["cold-first"][1], 0.5, "share of the hot pages that had gone when cold ones go first")
    check_at_most(seen["hot-first"][0], 0.25, "share of the cold cell that had gone when hot pages go first")
    check_equal(guest.pattern_stop("hot")["errors"], 0, "pattern errors")


@story(16, "what is free in a guest is reported or unplugged and not moved, and cold or hot pages go first as asked", limit_s=500)
def first_and_not_at_all(tell):
    with booted_host(dimms=[]) as host:
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        host.transparent_huge_pages("never", "never")
        host.write("/proc/sys/kernel/numa_balancing", "0")
        freed = Guest(host, "freed", 384, nodes="1", balloon="reporting")
        shaped = Guest(host, "shaped", cells=[Cell(256), Cell(64, vcpus=0)], nodes="1", agent=False)
        shrunk = Guest(host, "shrunk", 256, nodes="1", virtio_mem=[VirtioMem(1024, requested_mib=1024)])
        start_guests(freed, shaped)
        ballast.start()
        ballast.wait_agent("freed")
        tell("two guests run")
        cases = Cases(tell)
        cases.run(reported, ballast, freed, tell)
        freed.destroy()
        cases.run(ordered, ballast, shaped, tell)
        shaped.destroy()
        shrunk.start()
        ballast.wait_agent("shrunk")
        # Its driver plugs what was requested at its start block by block, while the agent is there already.
        wait_for(lambda: shrunk.online_movable_bytes() == 1024 * MIB, 60, "its memory to be online", 0.5)
        cases.run(unplugged, ballast, shrunk, tell)
        cases.end()


if __name__ == "__main__":
    main()
