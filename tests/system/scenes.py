# SPDX-License-Identifier: Apache-2.0
"""The main job in five scenes, each with its proof: what ./demo shows and ./check insists on.

A scene drives Ballast on a running Stage, proves what happened by evidence that is not Ballast's own, and puts what it
measured into stage.numbers beside what plain libvirt and kernel tools did in the same boot.
"""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.virtual_host import wait_for  # noqa: E402

import drains  # noqa: E402
from ballast import Ballast  # noqa: E402

MIB = 1 << 20
GIB = 1 << 30


class Stage:
    """The virtual host with two guests that have agents, and one like the first that has none."""

    def __init__(self, host, tell):
        self.host, self.tell, self.numbers = host, tell, {}
        self.web = Guest(host, "web1", 384, nodes="1", virtio_mem=[VirtioMem(1024)])
        self.db = Guest(host, "db1", 256, nodes="3")
        self.peer = Guest(host, "peer1", 384, nodes="0", virtio_mem=[VirtioMem(1024)], agent=False)
        self.ballast = Ballast(host, {"limits": {"reserve": "256MiB", "flat_ms": "10000"}})

    def start(self):
        start_guests(self.web, self.db, self.peer)
        self.tell("three guests run: web1 on node 1, its like peer1 on node 0, db1 bound strictly to node 3")
        self.ballast.start()
        self.ballast.wait_agent("web1", "db1")
        self.tell("ballastd runs; the agents in web1 and db1 are connected")

    def show(self, *words):
        """Runs ballastctl and lets the reader see it."""
        result = self.ballast.ctl(*words)
        self.tell(f"$ ballastctl {' '.join(map(str, words))}\n{result.out.rstrip()}")
        return result


def scene_1_see(stage):
    """Nodes, DIMMs and guests are shown as they truly are."""
    host, ballast = stage.host, stage.ballast
    for words in (("nodes", "--fresh"), ("dimms",), ("guests",)):
        stage.show(*words)
    nodes = {n["id"]: n for n in ballast.get("/v1/nodes?fresh=true")["items"]}
    check_equal(sorted(nodes), [0, 1, 2, 3], "nodes of the API")
    for node in range(4):
        truth = evidence.node_meminfo(host, node)["MemTotal"]
        check_equal(nodes[node]["total_bytes"], truth, f"total of node {node}")
    check_equal(nodes[0]["distances"], [int(d) for d in host.read("/sys/devices/system/node/node0/distance").split()],
                "distances of node 0")
    for guest in (stage.web, stage.db, stage.peer):
        shown = ballast.guest(guest.name)
        truth = evidence.guest_bytes_by_node(guest)
        said = {n["node"]: n["bytes"] for n in shown["placement"]["nodes"]}
        check_equal(sorted(said), sorted(truth), f"nodes of {guest.name}")
        for node, size in truth.items():
            # It runs meanwhile, and touches memory.
            check_at_most(abs(said[node] - size), 8 * MIB, f"difference for {guest.name} on node {node}")
        check_equal(shown["state"], "running", f"state of {guest.name}")
    db = ballast.guest("db1")
    check_equal([n["node"] for n in db["placement"]["nodes"]], [3], "nodes of db1")
    check_equal((db["placement"]["policy"]["mode"], db["placement"]["policy"]["nodes"]), ("bind", [3]), "policy of db1")
    check_equal(evidence.guest_policies(stage.db), {"bind:3"}, "policy of db1 by the kernel")
    check_equal(ballast.guest("peer1")["agent"]["state"], "none", "agent of peer1")
    dimms = ballast.get("/v1/dimms?fresh=true")["items"]
    present = {d["kind"]: d for d in dimms if d["state"] != "absent"}
    check_equal([d["kind"] for d in dimms if d["state"] != "absent"], ["acpi", "smbios"], "DIMMs present")
    # QEMU tells of its boot memory as one slot, and of memory devices nothing.
    slot, boot = present["smbios"], evidence.boot_memory(host)
    check_equal([(s["locator"], s["size_bytes"]) for s in slot["slots"]], [("DIMM 0", boot)], "slot of the boot memory")
    check_equal((slot["interleaved"], slot["confidence"]), ("no", "certain"), "whether the boot memory is interleaved")
    check_equal((slot["movable"] != "yes", slot["ejectable"]), (True, False), "whether the boot memory can leave")
    # QEMU's SRAT marks nothing but the window of memory devices, and this host is booted with movable_node.
    check("the firmware does not call it hot-pluggable" in slot["remainder"][0]["way_out"], f"way out: {slot['remainder']}")
    check_equal([nodes[n]["movable"] for n in (0, 1, 3)], ["no", "no", "yes"], "whether nodes can be emptied")
    dimm = present["acpi"]
    check_equal((dimm["slots"], dimm["interleaved"], dimm["confidence"]), ([], "unknown", "low"), "slots of the DIMM")
    check_equal(dimm["blocks"], host.dimm_blocks("dimm1"), "blocks of the DIMM")
    check_equal((dimm["node"], dimm["state"], dimm["movable"]), (3, "online", "yes"), "the DIMM")
    first, last = evidence.dimm_range(host, "dimm1")
    check_equal([(r["start"], r["end"]) for r in dimm["ranges"]], [(first, last + 1)], "range of the DIMM")
    check_at_least(dimm["guest_bytes"], 100 * MIB, "guest memory in the DIMM")
    inside = {d["dimm"]: d["bytes"] for d in ballast.guest("db1")["placement"]["dimms"]}
    check_equal(list(inside), [dimm["id"]], "DIMMs in which db1 lies")
    check_at_most(abs(inside[dimm["id"]] - dimm["guest_bytes"]), 8 * MIB, "difference for db1 in the DIMM")
    stage.dimm = dimm["id"]


def scene_2_grow(stage):
    """web1 grows by 1 GiB: plugged, online, movable, as its own kernel says."""
    web, before = stage.web, stage.web.meminfo()
    began = time.monotonic()
    stage.show("resize", "web1", "1408MiB")
    stage.numbers["grow 1 GiB"] = f"{time.monotonic() - began:.1f} s"
    check_equal(web.virtio_mem_sizes()[0]["current"], GIB, "plugged, as libvirt says")
    check_equal(web.online_movable_bytes(), GIB, "online as movable, as web1 itself says")
    check_at_least(web.meminfo() - before, 1000 * MIB, "memory gained, as web1 itself says")
    check_equal({state for state, _ in web.blocks().values()}, {"online"}, "states of web1's blocks")
    # The like guest grows by plain libvirt, so that the next scene compares like with like.
    check(stage.peer.resize(1024, timeout=90), "plain libvirt grows peer1")


def scene_3_shrink(stage):
    """Free huge pages stop plain libvirt; Ballast takes the whole size out and names its rungs."""
    web, peer, host = stage.web, stage.peer, stage.host
    pages = min(web.hugepages(400), peer.hugepages(400))
    check_at_least(pages, 350, "free huge pages that both guests took")
    began = time.monotonic()
    reached = peer.resize(0, timeout=25)
    stuck = peer.virtio_mem_sizes()[0]["current"]
    stage.tell(f"plain virsh update-memory-device on peer1: {'done' if reached else 'stuck'} after "
               f"{time.monotonic() - began:.0f} s, {stuck // MIB} MiB of 1024 MiB stayed, and nothing says why")
    check(not reached and stuck > 0, "plain libvirt gets stuck")
    began = time.monotonic()
    stage.show("resize", "web1", "384MiB", "--timeout", "180")
    seconds = time.monotonic() - began
    check_equal(web.virtio_mem_sizes()[0]["current"], 0, "what libvirt says is left of web1's virtio-mem")
    check_equal(web.online_movable_bytes(), 0, "movable memory left, as web1 itself says")
    operation = next(o for o in stage.ballast.get("/v1/operations")["items"]
                     if o["kind"] == "resize" and o["target"].endswith("web1"))
    check_equal(operation["state"], "succeeded", "state of the shrink")
    climbed = {rung["rung"]: rung["gained_bytes"] for rung in operation["result"]["climbed"]}
    check("free huge pages" in climbed and climbed["free huge pages"] > 0, f"the rungs are named: {climbed}")
    stage.numbers["shrink by 1 GiB past a pool of free huge pages"] = \
        f"{seconds:.1f} s, all of it (plain libvirt: {(GIB - stuck) * 100 // GIB} %, then nothing)"
    peer.hugepages(0)
    web.hugepages(0)


def scene_4_move(stage):
    """web1 goes from node 1 to node 2 under a writer, with AutoNUMA on; new memory lands there too."""
    web, peer, host, ballast = stage.web, stage.peer, stage.host, stage.ballast
    check_equal(host.read("/proc/sys/kernel/numa_balancing").strip(), "1", "AutoNUMA")
    # One writer at a time, and with a breath between two pages: else it leaves a two-core machine, which emulates every
    # CPU here, nothing to move pages with.
    peer.pattern_start(160, pace_us=50)
    peer.pattern_rounds(1)
    peer.pattern_reset_pause()
    began = time.monotonic()
    host.run(["migratepages", str(peer.pid), "0", "2"], timeout=420)
    peer_seconds = time.monotonic() - began
    peer_status = peer.pattern_rounds(1)
    peer_left = evidence.guest_bytes_by_node(peer).get(0, 0)
    stage.tell(f"migratepages on peer1: {peer_seconds:.1f} s, exit 0, {peer_left / MIB:.1f} MiB left on node 0, "
               f"its writer's longest pause {peer_status['longest_pause_us'] / 1000:.0f} ms")
    peer.pattern_stop()
    web.pattern_start(160, pace_us=50)
    web.pattern_rounds(1)
    web.pattern_reset_pause()
    stage.show("move", "web1", "--to", "2", "--dry-run")
    plan = ballast.ctl_json("move", "web1", "--to", "2", "--dry-run")
    check_equal([w["detail"] for w in plan["warnings"] if w["code"] == "stored_xml"],
                ["stored XML still says node 1 (--persist changes it)"], "the warning of the stored XML")
    began = time.monotonic()
    stage.show("move", "web1", "--to", "2", "--timeout", "240")
    seconds = time.monotonic() - began
    operation = next(o for o in ballast.get("/v1/operations")["items"] if o["kind"] == "move")
    check_at_least(operation["result"]["guest"]["longest_pause_us"], 1, "the longest pause that web1's own agent felt")
    check_equal(sorted(evidence.guest_bytes_by_node(web)), [2], "nodes of web1 after the move")
    status = web.pattern_rounds(1)
    check_equal(status["errors"], 0, "pattern errors in web1")
    check(evidence.guest_policies(web) == {"bind:2"}, f"policy of web1: {evidence.guest_policies(web)}")
    # What is plugged now lands on node 2, and stays there while AutoNUMA looks at it.
    ballast.ctl("resize", "web1", "640MiB")
    web.pattern_start(200, name="grown")
    web.pattern_rounds(1, name="grown")
    check_equal(sorted(evidence.guest_bytes_by_node(web)), [2], "nodes of web1 after it grew and wrote")
    check_equal(web.pattern_stop("grown")["errors"], 0, "pattern errors in the grown memory")
    check_equal(web.pattern_rounds(1)["errors"], 0, "pattern errors in web1 at the end")
    stage.numbers["move of a writing guest, node 1 to 2"] = \
        f"{seconds:.1f} s, 0 pages left, longest pause {status['longest_pause_us'] / 1000:.0f} ms " \
        f"(migratepages: {peer_seconds:.1f} s, {peer_left // 4096} pages left, " \
        f"{peer_status['longest_pause_us'] / 1000:.0f} ms)"


def _chmem_instead(stage, span):
    """What the kernel's own tool does to the same guest in the same boot; everything is put back afterwards."""
    host, db = stage.host, stage.db
    db.pattern_reset_pause()
    began = time.monotonic()
    host.run(["chmem", "-d", f"{span[0]:#x}-{span[1]:#x}"], timeout=120)
    seconds = time.monotonic() - began
    status = db.pattern_rounds(1)
    where, policies = evidence.mib_by_node(db), ", ".join(sorted(evidence.guest_policies(db)))
    stage.tell(f"chmem -d on the same DIMM: {seconds:.1f} s, no plan, db1's pages are on {where} as the kernel liked, its "
               f"policy still says {policies}, its writer's longest pause {status['longest_pause_us'] / 1000:.0f} ms")
    host.online_dimm("dimm1")
    wait_for(lambda: evidence.dimm_states(host, "dimm1") == {"online"}, 30, "the DIMM to be online again")
    # migratepages leaves pages that its moment found busy, and exits 0: so it is asked until none is left.
    wait_for(lambda: drains.is_home(host, db, 3), 120, "db1 to be back on node 3")
    return f"chmem -d alone: {seconds:.1f} s, {where}, policy {policies}, {status['longest_pause_us'] / 1000:.0f} ms"


def scene_5_drain(stage):
    """The DIMM is drained and ejected under db1, by the plan and nothing else."""
    host, db, ballast = stage.host, stage.db, stage.ballast
    span = evidence.dimm_range(host, "dimm1")
    blocks = host.dimm_blocks("dimm1")
    db.pattern_start(96, pace_us=1000)
    db.pattern_rounds(1)
    peer = _chmem_instead(stage, span)
    db.pattern_reset_pause()
    words = ("drain", "--dimm", stage.dimm, "--eject", "--allow", "stored_xml,remote_memory", "--timeout", "240")
    stage.show(*words, "--dry-run")
    plan = ballast.ctl_json(*words, "--dry-run")
    check_equal(plan["blockers"], [], "blockers")
    kinds = [step["kind"] for step in plan["steps"]]
    check_equal(kinds, ["cordon", "move", "offline", "eject"], "steps of the plan")
    destinations = [need["node"] for need in plan["needs"]]
    check_equal(evidence.dimm_states(host, "dimm1"), {"online"}, "the DIMM's blocks after a dry run")
    check_equal(sorted(evidence.guest_bytes_by_node(db)), [3], "nodes of db1 after a dry run")
    rounds = db.pattern_status()["rounds"]
    began = time.monotonic()
    stage.show(*words, "--expect-plan", plan["digest"])
    seconds = time.monotonic() - began
    evidence.wait_dimm_deleted(host, "dimm1")
    check(not evidence.dimm_present(host, "dimm1"), "the hardware has no DIMM any more")
    check(not evidence.lsmem_lists(host, span), "lsmem does not list it any more")
    where = evidence.guest_bytes_by_node(db)
    check_equal(sorted(where), sorted(destinations), "nodes of db1: those of the plan")
    check_equal(evidence.guest_policies(db), {f"bind:{destinations[0]}"}, "policy of db1")
    drain = ballast.get("/v1/drains")["items"][0]
    operation = ballast.operation(drain["operation"])
    check_equal(operation["state"], "succeeded", "state of the drain")
    check_equal([step["kind"] for step in operation["steps"]], kinds, "steps that were done")
    status = db.pattern_rounds(1)
    check_equal(status["errors"], 0, "pattern errors in db1")
    check_at_least(status["rounds"], rounds + 1, "rounds of db1's writer")
    # It never stopped: its longest pause is far below what the drain took.
    check_at_most(status["longest_pause_us"], max(seconds * 1e6 / 2, 500e3), "longest pause of db1's writer")
    stage.numbers[f"drain and eject of a DIMM ({len(blocks)} blocks)"] = \
        f"{seconds:.1f} s, longest pause {status['longest_pause_us'] / 1000:.0f} ms ({peer})"


SCENES = (scene_1_see, scene_2_grow, scene_3_shrink, scene_4_move, scene_5_drain)
