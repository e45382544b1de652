#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 9: memory of every backing moves under a writer, whole, as the huge pages it was, with its pools and policies."""

import contextlib
import os
import sys
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
PATTERN_MIB = 48
# Of the guests with two cells each: the guest's kernel keeps 70 MiB of the second one for itself.
CELL_MIB = 224
SEED = 1000000
GIGANTIC_KIB = 1 << 20
SPLITS = ("thp_split_page", "thp_migration_split")


def ballast_says(operation):
    """What matters of an operation, or of a refusal, for a person to read after a failure."""
    steps = [(step["kind"], step["state"], step["detail"]) for step in operation.get("steps", [])]
    return {key: value for key, value in operation.items() if key in ("state", "remainder", "error", "detail")} | \
        {"steps": steps}


class Move:
    """A move by ballastctl, with the guest's pattern running, and what there was before and after it."""

    def __init__(self, ballast, guest, *words):
        self.guest, self.before = guest, evidence.Memory(guest)
        self.operation = ballast.ctl_json("move", guest.name, *words, "--timeout", "240", timeout=260, check=False)
        self.after = evidence.Memory(guest)

    def check_whole(self, *nodes):
        """All is on these nodes, nothing is left without a reason, and the guest's writer found every page as it was."""
        name, operation = self.guest.name, self.operation
        check_equal(operation.get("state"), "succeeded", f"state of the move of {name}: {ballast_says(operation)}")
        check_equal(self.after.off(*nodes), 0, f"bytes of {name} off node {nodes}: {self.after.nodes}")
        check_equal(sum(r["bytes"] for r in operation["remainder"]), 0, f"remainder of {name}")
        check_at_least(self.after.total_bytes, self.before.total_bytes, f"bytes of {name} after the move")
        check_equal(self.guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {name}")


def grow(ballast, guest, mib, node, cell=None):
    """What is plugged after the move lands on the new node. Returns nothing: it checks."""
    before = evidence.Memory(guest)
    base = before.total_bytes
    ballast.ctl("resize", guest.name, f"{guest.base_mib + mib}MiB", "--timeout", "60")
    guest.pattern_start(mib * 5 // 8, name="grown", once=True, cell=cell)
    memory = evidence.Memory(guest)
    check_at_least(memory.total_bytes, base + mib // 2 * MIB, f"memory of {guest.name} after it grew")
    check_at_most(memory.off(node), before.off(node), f"bytes of {guest.name} off node {node} after it grew: {memory.nodes}")
    check_equal(guest.pattern_stop("grown")["errors"], 0, f"pattern errors in the new memory of {guest.name}")


@contextlib.contextmanager
def both_sizes(guest, huge_bytes):
    """Of its memory some is in transparent huge pages and some is not; none is split, and none is joined."""
    huge, before = huge_bytes(guest), evidence.Memory(guest).total_bytes
    check_at_least(huge, 16 * MIB, f"memory of {guest.name} in transparent huge pages")
    check_at_least(before - huge, 32 * MIB, f"memory of {guest.name} in small pages")
    split = evidence.vmstat(guest.host, *SPLITS)
    yield
    check_at_least(huge_bytes(guest), huge, f"memory of {guest.name} in huge pages after the move")
    check_equal(evidence.vmstat(guest.host, *SPLITS), split, "huge pages split")


def anonymous(ballast, guest, tell):
    with both_sizes(guest, evidence.transparent_huge_bytes):
        move = Move(ballast, guest, "--to", "2")
    move.check_whole(2)
    check_equal(move.after.policies, {"bind:2"}, "policy of strict anonymous memory")
    grow(ballast, guest, 64, 2)


def memfd(ballast, guest, tell):
    """As a vhost-user back end has it: another process reads the guest's memory all the time."""
    with memory_peer.Peer(guest, "read", SEED, 16 * 256) as peer:
        check_equal(peer.began["found"], 16 * 256, "pages that the other process finds")
        with both_sizes(guest, memory_peer.file_huge_bytes):
            Move(ballast, guest, "--to", "2").check_whole(2)
    check_equal((peer.said["lost"], peer.said["torn"]), (0, 0), "pages that the other process missed")
    check_at_least(peer.said["rounds"], 2, "rounds of the other process")
    check_equal(memory_peer.file_nodes(guest).keys(), {2}, "nodes of the whole memfd")
    check_equal(evidence.Memory(guest).policies, {"bind:2"}, "policy of the memfd")
    grow(ballast, guest, 64, 2)
    tell(f"another process read all of it {peer.said['rounds']} times meanwhile and missed nothing")
    # libvirt gives the new thread the cpuset that it knows of: that of before the move.
    guest.host.virsh("setvcpus", guest.name, "2", "--live")
    wait_for(lambda: set(evidence.cpusets(guest).values()) == {"2"}, 20,
             "the cpuset of a vCPU that was plugged after the move to be put right")
    tell("a vCPU that was plugged after the move has the new node's cpuset")


def file_backed(ballast, guest, tell):
    """With --persist and --cpus: the next start agrees, and the vCPUs go along."""
    with both_sizes(guest, memory_peer.file_huge_bytes):
        Move(ballast, guest, "--to", "2", "--persist", "--cpus").check_whole(2)
    check_equal(memory_peer.file_nodes(guest).keys(), {2}, "nodes of the whole file")
    check_equal(evidence.Memory(guest).policies, {"bind:2"}, "policy of the file")
    # What is in the file and in no page table is not passed by, here no more than in a memfd.
    check_equal(memory_peer.fill(guest, 2, 1)["filled"], 2 * MIB, "bytes put into holes of the file")
    Move(ballast, guest, "--to", "2").check_whole(2)
    check_equal(memory_peer.file_nodes(guest).keys(), {2}, "nodes of the whole file after its holes were filled")
    stored = guest.host.virsh("dumpxml", "--inactive", guest.name).out
    check("nodeset='2'" in stored and "nodeset='1'" not in stored, "the stored XML names the new node")
    pins = guest.host.virsh("vcpupin", guest.name).out
    check_equal(pins.split()[-1], "2", "the CPU of the vCPU (node 2 has CPU 2)")


def disk_file(ballast, guest, tell):
    """Nobody else can set the policy of a file on a disk: it is left to the kernel, which takes it along, and not claimed."""
    move = Move(ballast, guest, "--to", "2")
    move.check_whole(2)
    kinds = [step["kind"] for step in move.operation["steps"]]
    check("memory_policy" not in kinds, f"no policy is said to be set: {kinds}")
    check_equal(move.after.policies, {"bind:2"}, "policy of the file's mapping")


def hugetlb(ballast, guest, tell):
    """Two cells of one size, which only the names of their files tell apart: each to its own target, and grown there."""
    host, before = guest.host, evidence.pools(guest.host)
    guest.pattern_start(16, name="first", once=True, seed=SEED, cell=0)
    guest.pattern_start(24, name="second", once=True, seed=2 * SEED, cell=1)
    move = Move(ballast, guest, "--cells", "0:2,1:3")
    move.check_whole(2, 3)
    check_equal({m.page_bytes for m in move.after.mappings if m.bytes}, {2 * MIB}, "sizes of its pages")
    by_cell = {cell: m.bytes for cell in (0, 1) for m in move.after.mappings if f"ram-node{cell}" in m.file}
    check_equal(by_cell, {0: {2: CELL_MIB * MIB}, 1: {3: CELL_MIB * MIB}}, "where the files of its cells lie")
    after = evidence.pools(host)
    check_equal(sum(total for total, _ in after.values()), sum(total for total, _ in before.values()),
                f"huge pages of all nodes: {before}, {after}")
    # Of node 1 another guest has some.
    check_equal([after[node][0] - after[node][1] for node in (0, 2, 3)], [0, CELL_MIB // 2, CELL_MIB // 2],
                f"huge pages in use: {after}")
    grow(ballast, guest, 64, 3, cell=1)
    for name in ("first", "second"):
        check_equal(guest.pattern_stop(name)["errors"], 0, f"pattern errors in the {name} cell")
    tell(f"pools (total, free) by node: before {before}, after {after}, grown {evidence.pools(host)}")


def gigantic(ballast, guest, tell):
    host, before = guest.host, evidence.pools(guest.host, GIGANTIC_KIB)
    plan = ballast.ctl_json("move", guest.name, "--to", "2", "--dry-run", check=False)
    check_equal([b["consent"] for b in plan["blockers"]], ["gigantic_pages"], f"consents that it asks for: {plan}")
    refused = ballast.ctl("move", guest.name, "--to", "2", check=False)
    check_equal(refused.rc, 3, f"exit code without the consent: {refused}")
    check_equal(evidence.Memory(guest).nodes, {1: 1024 * MIB}, "nodes after the refusal")
    plan = ballast.ctl_json("move", guest.name, "--to", "2", "--allow", "gigantic_pages", "--dry-run")
    stalls = [step["stall_ms"] for step in plan["steps"] if step["kind"] == "move"]
    check(stalls and stalls[0] >= 100, f"a stall forecast of 100 ms or more: {plan['steps']}")
    move = Move(ballast, guest, "--to", "2", "--allow", "gigantic_pages")
    move.check_whole(2)
    check_equal({m.page_bytes for m in move.after.mappings if m.bytes}, {1024 * MIB}, "sizes of its pages")
    tell(f"1 GiB pages (total, free) by node: before {before}, after {evidence.pools(host, GIGANTIC_KIB)}; "
         f"forecast {stalls[0]} ms")


def small_policies(guest):
    return sorted(m.policy for m in evidence.guest_mappings(guest) if "memfd" in m.file and m.page_bytes == 4096)


def plug_later(guest, cell, policies):
    """A memory device that comes after a move by a map: libvirt's XML still has the cell's first node for it."""
    # Smaller than a block of the guest's kernel it could not grow at all.
    device = VirtioMem(256, cell=cell)
    guest.host.run(["virsh", "-q", "attach-device", guest.name, "/dev/stdin", "--live"],
                   stdin=guest.virtio_mem_xml(device), timeout=60)
    guest.virtio_mem.append(device)
    wait_for(lambda: small_policies(guest) == policies, 30, f"the policy of a device that was plugged later: {policies}")
    check(guest.resize(48, device=len(guest.virtio_mem) - 1), "a device that was plugged later grows")
    guest.pattern_start(40, name="later", once=True, cell=cell)
    check_equal(guest.pattern_stop("later")["errors"], 0, "pattern errors in a device that was plugged later")


def mixed(ballast, guest, tell):
    """Two cells of one size, and a device with huge pages on the second: each to its own target, and back crosswise."""
    guest.pattern_start(16, name="first", once=True, seed=SEED, cell=0)
    guest.pattern_start(24, name="second", once=True, seed=2 * SEED, cell=1)

    wait_for(lambda: guest.virtio_mem_sizes()[0]["current"] == 32 * MIB, 30, "the device with huge pages to be plugged")

    def check_shape(first, second):
        # The guest's own kernel moves pages within a cell, and leaves copies in what is free then.
        check_equal(memory_peer.find(guest, SEED, 16).keys(), {first}, "where what the guest wrote in cell 0 lies")
        check_equal(memory_peer.find(guest, 2 * SEED, 24).keys(), {second}, "where what it wrote in cell 1 lies")
        memory = evidence.Memory(guest)
        small = [m for m in memory.mappings if m.page_bytes == 4096 and m.bytes]
        check_equal({node for m in small for node in m.bytes}, {first, second}, "nodes of the cells")
        check(all(len(m.bytes) == 1 for m in small), f"each mapping is on one node: {small}")
        huge = {node for m in memory.mappings if m.page_bytes == 2 * MIB for node in m.bytes}
        check_equal(huge, {second}, f"nodes of the device with huge pages: {memory.mappings}")

    check_shape(0, 1)
    Move(ballast, guest, "--cells", "0:2,1:3").check_whole(2, 3)
    check_shape(2, 3)
    Move(ballast, guest, "--map", "2:1,3:0").check_whole(0, 1)
    check_shape(1, 0)
    plug_later(guest, 0, ["bind:0", "bind:1", "bind:1"])
    check_shape(1, 0)
    # The two change places: each page is looked at once.
    Move(ballast, guest, "--map", "0:1,1:0").check_whole(0, 1)
    check_shape(0, 1)
    check_equal(small_policies(guest), ["bind:0", "bind:0", "bind:1"], "policies of the small pages after the swap")
    for name in ("first", "second"):
        check_equal(guest.pattern_stop(name)["errors"], 0, f"pattern errors in the {name} cell")


def spread(ballast, guest, tell):
    """Two cells that share the nodes of the whole guest: --persist gives each its own, with which it starts again."""
    Move(ballast, guest, "--cells", "0:2,1:3", "--persist").check_whole(2, 3)
    stored = ElementTree.fromstring(guest.host.virsh("dumpxml", "--inactive", guest.name).out)
    nodes = {cell.get("cellid"): (cell.get("mode"), cell.get("nodeset")) for cell in stored.iterfind("numatune/memnode")}
    check_equal(nodes, {"0": ("strict", "2"), "1": ("strict", "3")}, "stored nodes of the cells")
    check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")
    guest.host.virsh("destroy", guest.name)
    guest.host.virsh("start", guest.name)
    guest.wait_boot()
    guest.pattern_start(16, name="first", once=True, seed=3 * SEED, cell=0)
    guest.pattern_start(16, name="second", once=True, seed=4 * SEED, cell=1)
    check_equal(memory_peer.find(guest, 3 * SEED, 16).keys(), {2}, "where cell 0 lies at the next start")
    check_equal(memory_peer.find(guest, 4 * SEED, 16).keys(), {3}, "where cell 1 lies at the next start")
    guest.pattern_start(PATTERN_MIB, pace_us=2000)
    tell("--persist: two cells without nodes of their own have them in the stored XML, and at the next start")


def prove(cases, function, ballast, guest):
    """One case: its guest writes all the time, and ends with it."""
    if cases.run(function, ballast, guest, cases.tell):
        cases.tell(f"{guest.name}: {evidence.mib_by_node(guest)}, all whole")
        check_equal(guest.pattern_stop()["errors"], 0, f"pattern errors in {guest.name}")
    else:
        cases.check_alive(guest)
    guest.destroy()


@story(9, "every backing moves under a writer: whole, huge pages as units, pools and policies right", limit_s=1200)
def backings(tell):
    nodes = [Node(2048), Node(3072), Node(3072), Node(0)]
    with booted_host(nodes=nodes, kernel_arguments="hugepagesz=1G hugepages=1:1,2:1 default_hugepagesz=2M") as host:
        ballast, cases = Ballast(host, {"limits": {"reserve": "128MiB"}}), Cases(tell)

        def small(name, backing, **more):
            return Guest(host, name, 256, backing=backing, nodes="1", agent=False, **more)

        def write(guest):
            guest.pattern_start(PATTERN_MIB, pace_us=2000)

        plain = [(anonymous, small("anon", "anonymous", virtio_mem=[VirtioMem(256)])),
                 (memfd, small("memfd", "memfd", virtio_mem=[VirtioMem(256)], vcpus=2, vcpus_now=1)),
                 (file_backed, small("file", "file"))]
        host.transparent_huge_pages("never", "never")
        # Nothing is joined later.
        host.write("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "3600000")
        start_guests(*(guest for _, guest in plain))
        # What they wrote until here is in small pages, and what they write now for the first time in huge ones.
        host.transparent_huge_pages("always", "always")
        host.run("mount -o remount,huge=always /var/lib/libvirt/qemu/ram")
        for _, guest in plain:
            write(guest)
        plain[1][1].pattern_start(16, name="shared", once=True, seed=SEED)
        host.transparent_huge_pages("never", "never")
        host.run("modprobe loop && modprobe ext4 && truncate -s 400M /run/disk && mkfs.ext4 -q /run/disk && "
                 "mount -o loop /run/disk /var/lib/libvirt/qemu/ram", timeout=60)
        plain.append((disk_file, small("disk", "file")))
        plain[-1][1].start()
        write(plain[-1][1])
        check_equal(evidence.set_hugepages(host, 0, CELL_MIB // 2), CELL_MIB // 2, "huge pages on node 0")
        check_equal(evidence.set_hugepages(host, 1, CELL_MIB // 2 + 16), CELL_MIB // 2 + 16, "huge pages on node 1")
        by_node = [Cell(CELL_MIB, host_nodes="0"), Cell(CELL_MIB, host_nodes="1")]
        special = [(hugetlb, Guest(host, "hugetlb", cells=by_node, backing="hugepages", nodes="0-1", agent=False,
                                   virtio_mem=[VirtioMem(128, cell=1)])),
                   (mixed, Guest(host, "mixed", cells=by_node, agent=False,
                                 virtio_mem=[VirtioMem(256, requested_mib=32, cell=1, page_kib=2048)])),
                   (spread, Guest(host, "spread", cells=[Cell(CELL_MIB), Cell(CELL_MIB)], nodes="0-1", agent=False)),
                   (gigantic, Guest(host, "gigantic", 1024, backing="memfd-hugepages", page_kib=GIGANTIC_KIB, nodes="1",
                                    agent=False))]
        tell("three guests write")
        # They boot while the others move.
        for _, guest in special:
            guest.start(wait=False)
        ballast.start()
        for case, guest in plain:
            prove(cases, case, ballast, guest)
        for case, guest in special:
            guest.wait_boot(240)
            write(guest)
            prove(cases, case, ballast, guest)
        cases.end()


if __name__ == "__main__":
    main()
