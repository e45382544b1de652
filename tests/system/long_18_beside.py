#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 18: guests that move beside each other, and moves for which the kernel compacts: one that comes to its end by that,
and one that is cancelled meanwhile."""

import contextlib
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
HUGE = 2 * MIB
SPLITS = ("thp_split_page", "thp_migration_split")
# Compactions of the kernel's own: for one who waits for a piece, which end with it, and those in the background.
OF_ITSELF = ("compact_stall", "compact_daemon_migrate_scanned")

# Of so many MiB of a node's memory one small page of so many is in use and the others are free: no huge page is to be had
# of it, until those in use have been brought together.
IN_PIECES = """
import mmap, time
area = mmap.mmap(-1, %d << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(area), 4096):
    area[at] = 1
for at in range(0, len(area), %d << 12):
    area.madvise(mmap.MADV_DONTNEED, at, %d << 12)
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


@contextlib.contextmanager
def in_pieces(host, node, of_pages, whole_mib):
    """All of a node's free memory but so many MiB is in pieces, one page in use of each so many."""
    mib = evidence.node_meminfo(host, node)["MemFree"] // MIB - whole_mib
    program = IN_PIECES % (mib, of_pages, of_pages - 1)
    holder = host.spawn(["numactl", "-m", str(node), "python3", "-c", program])
    try:
        wait_for(lambda: "done" in holder.out or not holder.running, 120, "memory in pieces")
        check("done" in holder.out, f"memory in pieces: {holder}")
        yield
    finally:
        holder.kill()
        holder.wait(30)


def compacted_for(ballast, guest, tell):
    """Nearly all memory is free where it goes, and most of that in pieces: the mover has it compacted, and nothing is split."""
    host, before = guest.host, evidence.Memory(guest)
    huge = evidence.transparent_huge_bytes(guest)
    check_at_least(huge, 128 * MIB, "memory in huge pages")
    with in_pieces(host, 2, 16, 96):
        check_at_least(evidence.node_meminfo(host, 2)["MemFree"], 3 * before.total_bytes, "free memory of node 2")
        whole = evidence.whole_pieces(host, 2)
        check_at_most(whole, huge // HUGE // 3, "huge pages for which node 2 has room as it is")
        # Nobody promises that a compaction will do: the caller has to take the risk.
        refused = ballast.ctl_json("move", guest.name, "--to", "2", check=False)
        check_equal([(b["code"], b["consent"]) for b in refused["blockers"]], [("would_split", "split_huge_pages")],
                    "why it is refused without the consent")
        check_equal(evidence.Memory(guest).nodes, before.nodes, "nodes after the refusal")
        counts = evidence.vmstat(host, *SPLITS, *OF_ITSELF, "compact_migrate_scanned")
        operation = ballast.ctl_json("move", guest.name, "--to", "2", "--allow", "split_huge_pages", "--timeout", "300",
                                     timeout=320)
        gained = {key: count - counts[key] for key, count in evidence.vmstat(host, *counts).items()}
        after, huge_after = evidence.Memory(guest), evidence.transparent_huge_bytes(guest)
        check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "how it ended")
        details = [step["detail"] for step in operation["steps"] if step["kind"] == "move"]
        check("compactions of free memory there: 1" in details[0], f"what the step tells: {details}")
        check("would_split" not in [warning["code"] for warning in operation["warnings"]], f"{operation['warnings']}")
        check_equal(after.off(2), 0, f"bytes off node 2: {after.nodes}")
        check_at_least(after.total_bytes, before.total_bytes, "bytes of the guest")
        check_at_least(huge_after, huge, "memory in huge pages after the move")
        check_equal([gained[key] for key in SPLITS], [0, 0], "huge pages split")
        # Of itself the kernel made no room, or for few of them.
        check_equal(gained["compact_daemon_migrate_scanned"], 0, "pages looked at by a compaction in the background")
        check_at_most(whole + gained["compact_stall"], huge // HUGE // 2,
                      f"huge pages for which there was room, or the kernel made some: {gained}")
        check_at_least(gained["compact_migrate_scanned"], 1, "pages that were compacted")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    tell(f"{huge // HUGE} huge pages came through whole to where there was room for {whole}: {details}, {gained}")


def cancelled_in_compaction(ballast, guest, tell):
    """The kernel compacts the destination for huge pages, which takes seconds: a cancel is answered at once, with the truth."""
    ballast.ctl("move", guest.name, "--to", "1", "--timeout", "240", timeout=260)
    # Room for the first of the guest's pages, and half of the memory to be gone through.
    with in_pieces(guest.host, 2, 2, 96):
        cancel_in_compaction(ballast, guest, tell)


def cancel_in_compaction(ballast, guest, tell):
    host = guest.host
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
    tell(f"cancelled while node 2 was compacted, all of it ended {seconds:.1f} s after the word: "
         f"{after.nodes}, {operation['remainder']}")


@story(18, "guests that move at once share the host's rate, and memory is compacted for huge pages", limit_s=700)
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
        # Else the kernel puts together in the background what is in pieces (mm/compaction.c kcompactd), and what was split
        # (mm/khugepaged.c).
        host.write("/proc/sys/vm/compaction_proactiveness", "0")
        host.write("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "4000000")
        huge.start()
        huge.pattern_start(160, pace_us=2000)
        ballast.start()
        cases.run(compacted_for, ballast, huge, tell)
        cases.run(cancelled_in_compaction, ballast, huge, tell)
        cases.end()


if __name__ == "__main__":
    main()
