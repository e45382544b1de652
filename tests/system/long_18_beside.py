#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 18: guests that move beside each other, and a move that is cancelled while the kernel compacts for it."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story, wait_for  # noqa: E402

MIB = 1 << 20
RATE = 4 * MIB

# Every second small page of so many MiB of a node's memory is free, and the rest is in use: no huge page is to be had of it.
IN_PIECES = """
import mmap, time
area = mmap.mmap(-1, %d << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(area), 4096):
    area[at] = 1
for at in range(0, len(area), 8192):
    area.madvise(mmap.MADV_DONTNEED, at, 4096)
print("done", flush=True)
time.sleep(3600)
"""

# Waits for a child of a worker, says which, and cancels the operation that the file names by then. One process that reads
# files: the child may be there for half a second only, in which no program would be started twice.
CANCEL_IN_CHILD = """
import glob, os, sys, time
end = time.monotonic() + 120
program, file = sys.argv[1:]
print("ready", flush=True)
while time.monotonic() < end:
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            if not open(path).read().startswith("ballast-worker"):
                continue
            children = "".join(open(one).read() for one in glob.glob(path[:-4] + "task/*/children")).split()
        except OSError:
            continue
        if children:
            print(children[0], flush=True)
            os.execv(program, [program, "cancel", open(file).read().strip(), "--undo", "no", "--detach"])
sys.exit("no worker has had a child")
"""


def arrived(guests, node):
    """Bytes of each on that node, and when that was: between these two times."""
    began = time.monotonic()
    there = [evidence.Memory(guest).nodes.get(node, 0) for guest in guests]
    return there, began, time.monotonic()


def rate_of_the_host(ballast, guests, tell):
    """Both have the configured rate together, and each has of it."""
    total = sum(evidence.Memory(guest).total_bytes for guest in guests)
    began = time.monotonic()
    identities = [ballast.ctl("move", guest.name, "--to", "2", "--timeout", "400", "--detach").out.strip()
                  for guest in guests]
    first = wait_for(lambda: next((seen for seen in [arrived(guests, 2)] if min(seen[0]) >= 8 * MIB), None), 120,
                     "both to have begun", 0.3)
    second = wait_for(lambda: next((seen for seen in [arrived(guests, 2)] if sum(seen[0]) >= sum(first[0]) + 48 * MIB), None),
                      120, "more to have come", 0.3)
    check_equal([ballast.operation(identity)["state"] for identity in identities], ["running", "running"],
                "states of the moves meanwhile")
    gains = [after - before for before, after in zip(first[0], second[0])]
    check_at_most(sum(gains) / (second[2] - first[1]), 1.15 * RATE, f"bytes a second of both: {gains}")
    check_at_least(min(gains) / sum(gains), 0.3, f"share of the one that got less: {gains}")
    for identity in identities:
        operation = ballast.wait_operation(identity, 300)
        check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "how it ended")
    seconds = time.monotonic() - began
    check_at_most(total / seconds, 1.1 * RATE, f"bytes a second from beginning to end: {total}, {seconds:.1f} s")
    tell(f"{total / MIB:.0f} MiB of two guests in {seconds:.0f} s, {total / seconds / MIB:.2f} MiB/s of {RATE / MIB:.0f}; "
         f"meanwhile {[gain // MIB for gain in gains]} MiB")


def cancelled_in_compaction(ballast, guest, tell):
    """The kernel compacts the destination for huge pages, which takes seconds: a cancel is answered at once, with the truth."""
    host = guest.host
    # All of it but for what the first of the guest's pages take.
    pieces = evidence.node_meminfo(host, 2)["MemFree"] // MIB - 96
    holder = host.spawn("exec numactl -m 2 python3 -c '" + IN_PIECES % pieces + "' >/tmp/in-pieces 2>&1")
    wait_for(lambda: "done" in host.run(["cat", "/tmp/in-pieces"], check=False).out, 120, "memory in pieces")
    before = evidence.Memory(guest)
    # A child of a worker is about such a write.
    watcher = host.spawn(["python3", "-c", CANCEL_IN_CHILD, ballast.program, "/tmp/identity"])
    wait_for(lambda: "ready" in watcher.out, 30, "who watches for the compaction")
    identity = ballast.ctl("move", guest.name, "--to", "2", "--allow", "split_huge_pages", "--timeout", "300",
                           "--detach").out.strip()
    host.write("/tmp/identity", identity)
    watched = watcher.wait(130)
    check_equal(watched.rc, 0, f"the cancel: {watched}")
    child = watched.out.split()[1]
    began = time.monotonic()
    wait_for(lambda: not host.exists(f"/proc/{child}"), 20, "the end of the compaction", 0.02)
    operation = ballast.wait_operation(identity, 60)
    seconds = time.monotonic() - began
    after = evidence.Memory(guest)
    check_equal(operation["state"], "cancelled", f"state of the move: {operation}")
    reasons = {remainder["code"] for remainder in operation["remainder"]}
    check("cancelled" in reasons and "worker_died" not in reasons, f"what is told: {operation['remainder']}")
    check_equal(ballast.workers(), [], "workers that are left")
    left = sum(remainder["bytes"] for remainder in operation["remainder"])
    stayed = after.total_bytes - after.nodes.get(2, 0)
    # What the guest's kernel touches meanwhile is no part of it.
    check_at_most(abs(left - stayed), MIB, f"bytes told beside those that stayed, of {before.nodes}: {after.nodes}, {left}")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    holder.kill()
    tell(f"cancelled while node 2 was compacted, all of it ended {seconds:.1f} s after the word: "
         f"{after.nodes}, {operation['remainder']}")


@story(18, "guests that move at once share the host's rate, and a cancel is heard while the kernel compacts", limit_s=500)
def beside(tell):
    with booted_host(dimms=[]) as host:
        host.write("/proc/sys/kernel/numa_balancing", "0")
        host.transparent_huge_pages("never", "never")
        pair = [Guest(host, name, 160, nodes="1", agent=False) for name in ("one", "two")]
        huge = Guest(host, "huge", 384, nodes="1", agent=False, backing="anonymous")
        start_guests(*pair)
        ballast = Ballast(host, {"limits": {"reserve": "64MiB", "bytes_per_s": str(RATE)}})
        ballast.start()
        tell("two guests run")
        cases = Cases(tell)
        cases.run(rate_of_the_host, ballast, pair, tell)
        for guest in pair:
            guest.destroy()
        ballast.stop()
        ballast.configure({"limits": {"reserve": "64MiB"}})
        host.transparent_huge_pages("always", "always")
        huge.start()
        huge.pattern_start(160, pace_us=2000)
        ballast.start()
        cases.run(cancelled_in_compaction, ballast, huge, tell)
        cases.end()


if __name__ == "__main__":
    main()
