#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 10: the kernel's traps for whoever moves a guest's pages, each by itself, on the real thing.

After every move the bytes that are not at the destination, as the kernel counts them, are those of the remainder.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as ctl  # noqa: E402
from traps import Traps, bytes_by_code  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest, start_guests  # noqa: E402
from testbed.story import (Cases, booted_host, check, check_at_least, check_at_most, check_equal, main,  # noqa: E402
                           story, wait_for)

MIB = 1 << 20
BALANCING = "/proc/sys/kernel/numa_balancing"


def marked_by_autonuma(traps, least_mib):
    """Waits until AutoNUMA has taken away the access to so much that move_pages(2) does not see it."""
    traps.host.write(BALANCING, "1")
    marked = wait_for(lambda: next((s["marked"] for s in [memory_peer.survey(traps.guest)]
                                    if s["marked"] >= least_mib * MIB), 0), 60, "pages marked by AutoNUMA", 1)
    # What is marked stays so, and nothing else is moved by hands other than ours.
    traps.host.write(BALANCING, "0")
    return marked


def holes(traps):
    """What the guest never touched stays a hole: the move makes no page."""
    before, node = memory_peer.survey(traps.guest), traps.away()
    file_before = sum(memory_peer.file_nodes(traps.guest).values())
    check_at_least(before["absent"], MIB, "holes in the guest's memory")
    traps.move_all(node)
    after = memory_peer.survey(traps.guest)
    grown = sum(memory_peer.file_nodes(traps.guest).values()) - file_before
    check_at_most(grown, 2 * MIB, "bytes that the memfd grew by (its guest runs)")
    traps.tell(f"holes: {before['absent'] // MIB} MiB before, {after['absent'] // MIB} MiB after")


def autonuma(traps):
    node = traps.away()
    memory_peer.balance(traps.guest, 3 - node)
    marked = marked_by_autonuma(traps, 16)
    traps.move_all(node)
    traps.pattern_is_whole()
    traps.tell(f"AutoNUMA had marked {marked // MIB} MiB, which move_pages does not see: all of it moved")


def not_mapped(traps):
    """Pages that another process put into the memfd: QEMU has no entry for them, move_pages(2) passes them by."""
    node = traps.away()
    source = 3 - node
    filled = memory_peer.fill(traps.guest, 2, source)["filled"]
    check_equal(filled, 2 * MIB, "bytes put into holes of the memfd")
    hidden = memory_peer.file_nodes(traps.guest).get(source, 0) - evidence.Memory(traps.guest).nodes.get(source, 0)
    check_at_least(hidden, filled, "bytes that are in the memfd and not in QEMU's page table")
    operation = traps.move(node)
    stayed = memory_peer.file_nodes(traps.guest).get(source, 0)
    told = bytes_by_code(operation).get("not_mapped", 0)
    check_equal(told, stayed, "bytes told as not_mapped, and bytes of the memfd that stayed")
    traps.tell(f"{hidden / MIB:.1f} MiB that QEMU has not mapped: {stayed / MIB:.1f} MiB stayed and are told")


def held(traps):
    """Pages in a pipe: nothing tells of them beforehand, and they stay busy."""
    node = traps.away()
    with memory_peer.Peer(traps.guest, "hold", 256):
        operation = traps.move(node)
        check_equal(bytes_by_code(operation), {"page_busy": 256 * 1024}, "what stayed, and why")
    traps.move_all(node)
    traps.tell("256 KiB held in a pipe: told as busy to the byte, and moved when they were let go")


def outside_cpuset(traps):
    """The slice above the guest does not allow the destination: nobody can widen the guest's cpuset to it."""
    node, path = traps.away(), "/sys/fs/cgroup/machine/cpuset.mems"
    before = traps.host.read(path).strip()
    nodes, cpusets = evidence.Memory(traps.guest).nodes, evidence.cpusets(traps.guest)
    traps.host.write(path, f"0,{3 - node},3")
    try:
        for words in (("--dry-run",), ()):
            answer = traps.ballast.ctl("move", traps.guest.name, "--to", node, *words, check=False)
            check_equal(answer.rc, ctl.REFUSED, f"exit code of move {' '.join(words)}: {answer}")
            check("cpuset_cannot_change" in answer.out + answer.err, f"the reason: {answer}")
            check("AllowedMemoryNodes" in answer.out + answer.err, f"the way out: {answer}")
        check_equal(evidence.Memory(traps.guest).nodes.keys(), nodes.keys(), "nodes after the refusal")
        check_equal(evidence.cpusets(traps.guest), cpusets, "cpusets of the guest after the refusal")
    finally:
        # A cpuset cannot be set back to empty: all nodes is the same.
        traps.host.write(path, before or "0-3")
    traps.move_all(node)
    traps.tell("a destination outside the slice's cpuset: nothing moved, and the reason is told")


def balloon_holes(traps):
    """Huge pages of which the balloon took small pieces: their first address may be gone, and they are huge all the same."""
    guest, node = traps.guest, traps.away()
    guest.pattern_start(64, name="before", once=True)
    guest.pattern_stop("before")
    before = evidence.vmstat(traps.host, "thp_deferred_split_page")["thp_deferred_split_page"]
    guest.host.virsh("setmem", guest.name, "184MiB", "--live")
    wait_for(lambda: evidence.vmstat(traps.host, "thp_deferred_split_page")["thp_deferred_split_page"] > before, 30,
             "huge pages with holes")
    guest.host.virsh("setmem", guest.name, "256MiB", "--live")
    traps.move_all(node)
    traps.pattern_is_whole()
    traps.tell("huge pages with holes moved whole")


def huge_autonuma(traps):
    marked, node = marked_by_autonuma(traps, 16), traps.away()
    split = evidence.vmstat(traps.host, "thp_split_page", "thp_migration_split")
    traps.move_all(node)
    # While it is marked a huge page is not counted as one.
    check_at_least(evidence.transparent_huge_bytes(traps.guest), 32 * MIB, "anonymous memory in huge pages afterwards")
    check_equal(evidence.vmstat(traps.host, *split), split, "huge pages split")
    traps.pattern_is_whole()
    traps.tell(f"AutoNUMA had marked {marked // MIB} MiB, huge pages among them: all of it moved")


@story(10, "the kernel's traps: what is moved, and what stays is told to the byte", limit_s=900)
def trapped(tell):
    with booted_host() as host:
        ballast = ctl.Ballast(host, {"limits": {"reserve": "128MiB"}})
        # AutoNUMA looks at a guest only after seconds of run time, and then at little of it: that is made quicker here.
        host.run("mount -t debugfs debugfs /sys/kernel/debug && cd /sys/kernel/debug/sched/numa_balancing && "
                 "echo 100 >scan_delay_ms && echo 100 >scan_period_min_ms && echo 200 >scan_period_max_ms")
        host.transparent_huge_pages("always", "never")
        # Unbound: only such anonymous memory AutoNUMA marks. Their CPU is that of node 1.
        guests = [Guest(host, name, 256, backing=backing, cpus="1", agent=False)
                  for name, backing in (("memfd", "memfd"), ("anon", "anonymous"))]
        start_guests(*guests)
        host.transparent_huge_pages("never", "never")
        ballast.start()
        for guest in guests:
            guest.pattern_start(48, pace_us=2000)
        cases = Cases(tell)
        traps = Traps(ballast, guests[0], tell)
        host.write(BALANCING, "0")
        huge = Traps(ballast, guests[1], tell)
        for trap in (huge_autonuma, balloon_holes):
            cases.run(trap, huge)
        guests[1].destroy()
        for trap in (holes, autonuma, not_mapped, held, outside_cpuset):
            cases.run(trap, traps)
        check_equal(guests[0].pattern_stop()["errors"], 0, "pattern errors at the end")
        cases.end()


if __name__ == "__main__":
    main()
