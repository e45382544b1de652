#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 10: the kernel's traps for whoever moves a guest's pages, each by itself, on the real thing.

After every move the bytes that are not at the destination, as the kernel counts them, are those of the remainder.

    pages and huge pages that AutoNUMA has marked PROT_NONE        autonuma, huge_autonuma
    a guest under userfaultfd                                      userfaultfd
    pages in the memfd that QEMU has not mapped                    not_mapped
    a process number that another process has got                  number_reused
    a page that stays busy, statuses unwritten after it            held
    pages pinned by another process                                pinned
    a huge page without its first address                          balloon_holes
    a node outside the cpuset                                      outside_cpuset
    swapped pages                                                  swapped
    holes                                                          holes
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import ballast as ctl  # noqa: E402
from traps import Traps, bytes_by_code  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest, start_guests  # noqa: E402
from testbed.story import (ALL_CASES, Cases, booted_host, check, check_at_least, check_at_most, check_equal,  # noqa: E402
                           main, story, wait_for)

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
    # All that is mapped goes; the rest of the file must go with it.
    traps.move_all(node)
    check_equal(memory_peer.file_nodes(traps.guest).get(source, 0), 0, "bytes of the memfd that stayed")
    # Once more, where all that is mapped is there already: a survey knows no node of what only the file has.
    check_equal(memory_peer.fill(traps.guest, 2, source)["filled"], 2 * MIB, "bytes put into holes of the memfd")
    traps.move_all(node)
    check_equal(memory_peer.file_nodes(traps.guest).get(source, 0), 0, "bytes of the memfd that stayed")
    # And from a node on which the guest has nothing else.
    check_equal(memory_peer.fill(traps.guest, 2, 3)["filled"], 2 * MIB, "bytes put into holes of the memfd")
    traps.move_all(node)
    check_equal(memory_peer.file_nodes(traps.guest).get(3, 0), 0, "bytes of the memfd that stayed on node 3")
    traps.tell(f"{hidden / MIB:.1f} MiB that QEMU has not mapped went along, and 2 MiB each by themselves")


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


def pinned(traps):
    """io_uring buffers on the guest's memfd: known before the move, and to the byte after it."""
    node = traps.away()
    with memory_peer.Peer(traps.guest, "pin", 4096):
        plan = traps.ballast.ctl_json("move", traps.guest.name, "--to", node, "--dry-run", check=False)
        foreseen = sum(r["bytes"] for r in plan["forecast"] if r["code"] == "pinned")
        operation = traps.move(node)
        check_equal(bytes_by_code(operation), {"pinned": 4 * MIB}, "what stayed, and why")
        check_equal(foreseen, 4 * MIB, f"bytes that the plan had foreseen as pinned: {plan}")
        traps.pattern_is_whole()
    traps.move_all(node)
    traps.tell("4 MiB pinned by another process: foreseen, told to the byte, and moved when they were let go")


def swapped(traps):
    """Pages in swap are on no node: told, and on the new node when the guest touches them."""
    host, guest, node = traps.host, traps.guest, traps.away()
    host.run("modprobe zram && echo 256M >/sys/block/zram0/disksize && mkswap -q /dev/zram0 && swapon /dev/zram0")
    scope = host.out(f"sed -n 's/^0:://p' /proc/{guest.pid}/cgroup").removesuffix("/emulator")
    try:
        # QEMU's own memory goes with it. It fails where it got less than all of it.
        said = host.run(f"echo 96M >/sys/fs/cgroup{scope}/memory.reclaim", timeout=120, check=False)
        out = evidence.swapped_bytes(guest)
        check_at_least(out, 8 * MIB, f"bytes of the guest in swap: {scope} {said}")
        operation = traps.move(node)
        told = bytes_by_code(operation).get("swapped", 0)
        still = evidence.swapped_bytes(guest)
        # The guest runs, and each touch brings one back.
        check(still <= told <= out, f"told as swapped: {told}, in swap before: {out}, and after: {still}")
    finally:
        host.run("swapoff /dev/zram0", timeout=240)
    check_equal(evidence.Memory(guest).off(node), 0, "bytes off the new node when all is back from swap")
    traps.pattern_is_whole()
    traps.tell(f"{out // MIB} MiB in swap: told, and on the new node when they came back")


def number_reused(traps):
    """The guest ends in the middle, and another process gets its number: move_pages(2) takes a number, and would go on."""
    guest, host, ballast, node = traps.guest, traps.host, traps.ballast, traps.away()
    check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")
    pid, daemon = guest.pid, ballast.pid
    identity = ballast.ctl("move", guest.name, "--to", node, "--budget", "20MiB", "--detach").out.strip()
    wait_for(lambda: ballast.operation(identity)["progress"]["done_bytes"] >= 8 * MIB, 60, "the middle of the move")
    # Stopped, neither the worker nor the daemon learns of the end before the number is another's. The daemon first: it
    # starts short-lived workers for looks, too, and what ends while it is stopped keeps its number.
    host.run(["kill", "-STOP", str(daemon)])
    workers = ""
    try:
        workers = " ".join(map(str, ballast.workers()))
        host.run(f"kill -STOP {workers}")
        host.run(f"kill -9 {pid}; while [ -e /proc/{pid} ]; do sleep 0.1; done", timeout=30)
        # libvirt itself kills whatever has the number until it knows of the end (qemu_process.c qemuProcessStop).
        wait_for(lambda: guest.state == "shut off", 30, "libvirt to see the end")
        stranger = host.spawn(
            f"for n in $(seq 200); do echo {pid - 1} >/proc/sys/kernel/ns_last_pid; numactl --membind={3 - node} python3 -c "
            "'import time; b = bytes([1]) * (64 << 20); print(\"ready\", flush=True); time.sleep(300)' & "
            f"[ $! = {pid} ] && break; kill $!; done; wait")
        wait_for(lambda: "ready" in stranger.out or not stranger.running, 60, "a process with the guest's number")
        check(host.exists(f"/proc/{pid}"), f"there is a process {pid} again: {stranger.err}")
        host.run(f"kill -CONT {workers}")
        # Nobody has waited for it yet.
        wait_for(lambda: set(host.out(f"ps -o stat= -p {workers.replace(' ', ',')}; true").split()) <= {"Z"}, 30,
                 "the worker to end")
    finally:
        host.run(f"kill -CONT {daemon} {workers}", check=False)
    operation = ballast.wait_operation(identity, 60)
    check_equal(set(bytes_by_code(operation)), {"guest_gone"}, f"the reason: {operation['state']} {operation['remainder']}")
    large = [m.bytes for m in evidence.numa_maps(host, pid) if m.total_bytes >= 64 * MIB]
    check(len(large) == 1 and large[0].keys() == {3 - node}, f"nothing of the other process has moved: {large}")
    host.run(["kill", str(pid)])
    traps.tell("another process got the guest's number in the middle of its move: nothing of it was moved")


def userfaultfd(traps):
    """QEMU takes a snapshot in the background: its memory is under a userfaultfd. Refused, and no page touched."""
    guest, host, node = traps.guest, traps.host, traps.away()

    def monitor(command):
        return host.virsh("qemu-monitor-command", guest.name, "--hmp", command).out

    check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")
    monitor("migrate_set_capability background-snapshot on")
    # It is taken by somebody who never reads it, so it does not end by itself.
    sink = host.spawn(["python3", "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 4444)); "
                       "print('ready', flush=True); c = s.accept(); time.sleep(600)"])
    wait_for(lambda: "ready" in sink.out, 30, "somebody to take the snapshot")
    monitor("migrate -d tcp:127.0.0.1:4444")
    pid = guest.pid

    def snapshot_begun():
        check(not guest.note_end("when it began a snapshot, before anything of it was to move"), guest.ended)
        # QEMU opens and closes others meanwhile.
        return "userfaultfd" in host.run(f"ls -l /proc/{pid}/fd", check=False).out

    wait_for(snapshot_begun, 30, "QEMU to have a userfaultfd")
    before, absent = evidence.Memory(guest).nodes, memory_peer.survey(guest)["absent"]
    answer = traps.ballast.ctl("move", guest.name, "--to", node, "--timeout", "30", check=False)
    check_equal(answer.rc, ctl.REFUSED, f"exit code: {answer}")
    check("userfaultfd" in answer.out + answer.err, f"the reason: {answer}")
    check_equal(evidence.Memory(guest).nodes, before, "nodes after the refusal")
    # A little of it its guest may touch itself meanwhile.
    check_at_least(memory_peer.survey(guest)["absent"], absent - 2 * MIB, "bytes that nobody has touched")
    traps.tell("under a userfaultfd it is refused, and no page is touched")
    sink.kill()


# These ./check leaves to its long runs.
FURTHER = (holes, swapped)


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
        # This ends its guest, and the userfaultfd the other.
        cases.run(number_reused, huge)
        guests[1].destroy()
        for trap in (holes, autonuma, not_mapped, held, pinned, swapped, outside_cpuset, userfaultfd):
            if ALL_CASES or trap not in FURTHER:
                cases.run(trap, traps)
        cases.end()


if __name__ == "__main__":
    main()
