#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 41: inventory and audit: what there is of memory, what can ever be emptied, why not, and what to change at the next
boot. The next boot is done as told, and then it can. Distances go by the firmware's latencies, and so does a drain."""

import base64
import os
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story  # noqa: E402
from testbed.virtual_host import Dimm  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30
NODES = range(4)
# Of 2 GiB each; QEMU puts what is above the first 2 GiB behind the hole below 4 GiB.
NODE_RANGES = [(0, 2 * GIB), (4 * GIB, 6 * GIB), (6 * GIB, 8 * GIB)]
DIMMS = [Dimm("dimm1", 3), Dimm("dimm2", 1, 512)]
POOL_PAGES = 8
# The kernel says that nodes 0, 1 and 2 are equally far from node 3; in nanoseconds node 0 is nearest.
SLIT = {(a, b): 20 for a in NODES for b in NODES if a != b}
LATENCY_NS = [[100, 130, 200, 140], [130, 100, 160, 260], [200, 160, 100, 200], [140, 260, 200, 100]]
DISTANCES = [[10, 13, 20, 14], [13, 10, 16, 26], [20, 16, 10, 20], [14, 26, 20, 10]]
# Of QEMU, in units of 2^20: the firmware's table and the kernel call them MB.
BANDWIDTH = [[8192, 4096, 4096, 4096], [4096, 8192, 4096, 4096], [4096, 4096, 8192, 4096], [4096, 4096, 4096, 6144]]
# Bit 32 of /proc/kpageflags (include/linux/kernel-page-flags.h).
KPF_RESERVED = 1 << 32
# What the kernel moves for its own sake, or a guest touches first, between two looks.
NOISE_BYTES = 16 * MIB


def structure(kind, handle, layout, *fields, strings=()):
    """One structure of an SMBIOS table (DSP0134): header, fields, strings."""
    area = struct.pack("<" + layout, *fields)
    texts = b"".join(text.encode() + b"\0" for text in strings) or b"\0"
    return struct.pack("<BBH", kind, len(area) + 4, handle) + area + texts + b"\0"


def slot(handle, locator, bank):
    """Type 17, of 2 GiB."""
    return structure(17, handle, "HHHHHBBBBBHHBBBBBIHHHH", 0x10, 0xfffe, 72, 64, 2048, 9, 0, 1, 2, 26, 0x80, 3200, 0, 0, 0, 3,
                     0, 0, 3200, 0, 0, 0, strings=(locator, bank, f"PART-{locator}"))


def slot_range(handle, of, span, position):
    """Type 20; position: whose turn it is at the addresses, 0 where nobody else has them."""
    return structure(20, handle, "IIHHBBBQQ", span[0] >> 10, (span[1] >> 10) - 1, of, 0x20, 1, position, bool(position), 0, 0)


def board():
    """A board of which A1 and B1 answer in turn to the memory of nodes 0 and 1, and C1 alone is that of node 2."""
    tables = [structure(16, 0x10, "BBBIHHQ", 3, 3, 6, 1 << 24, 0xfffe, 3, 0), slot(0x11, "A1", "BANK 0"),
              slot(0x12, "B1", "BANK 0"), slot(0x13, "C1", "BANK 1"),
              structure(19, 0x20, "IIHBQQ", 0, (2 * GIB >> 10) - 1, 0x10, 2, 0, 0),
              structure(19, 0x21, "IIHBQQ", 4 * GIB >> 10, (8 * GIB >> 10) - 1, 0x10, 2, 0, 0)]
    tables += [slot_range(0x30 + i, 0x11 + i % 2, NODE_RANGES[i // 2], 1 + i % 2) for i in range(4)]
    return tables + [slot_range(0x34, 0x13, NODE_RANGES[2], 0)]


def qemu_arguments(directory, tables):
    """QEMU's, for a firmware with these SMBIOS structures, and with latencies and bandwidths (HMAT)."""
    words = []
    for number, table in enumerate(tables):
        path = os.path.join(directory, str(number))
        with open(path, "wb") as f:
            f.write(table)
        words += ["-smbios", f"file={path}"]
    words += ["-machine", "hmat=on"]
    for a in NODES:
        for b in NODES:
            pair = f"hmat-lb,initiator={a},target={b},hierarchy=memory"
            words += ["-numa", f"{pair},data-type=access-latency,latency={LATENCY_NS[a][b]}",
                      "-numa", f"{pair},data-type=read-bandwidth,bandwidth={BANDWIDTH[a][b]}M"]
    return words


def firmware(host, path):
    return base64.b64decode(host.out(f"base64 -w0 /sys/firmware/{path}"))


def marked_ranges(host):
    """[(start, end)] of what the firmware calls hot-pluggable: memory affinity structures of the SRAT, enabled and so marked."""
    table, found, at = firmware(host, "acpi/tables/SRAT"), [], 48
    while at < len(table):
        if table[at] == 1:
            start, size = struct.unpack_from("<QQ", table, at + 8)
            if size and struct.unpack_from("<I", table, at + 28)[0] & 3 == 3:
                found.append((start, start + size))
        at += table[at + 1]
    return found


def blocks_in(host, spans):
    """{number: zone} of the online blocks in these ranges, as the kernel says."""
    size = int(host.read("/sys/devices/system/memory/block_size_bytes"), 16)
    return size, {number: block["zones"] for number, block in evidence.blocks(host).items()
                  if block["state"] == "online" and any(start <= number * size < end for start, end in spans)}


def check_movability(host, thing, spans, what):
    """The answer and its bytes, against the zones of the blocks. Returns the reason, None where all of it is movable."""
    size, blocks = blocks_in(host, spans)
    fixed = [number for number, zone in blocks.items() if zone != "Movable"]
    answer = "yes" if not fixed else "no" if len(fixed) == len(blocks) else "partly"
    check_equal(thing["movable"], answer, f"whether {what} can ever be emptied: {len(fixed)} of {len(blocks)} blocks are fixed")
    reasons = [item for item in thing["remainder"] if item["code"] == "kernel_memory"]
    check_equal([item["bytes"] for item in reasons], [len(fixed) * size] if fixed else [], f"bytes of {what} that cannot leave")
    return reasons[0] if reasons else None


def slots_are_told(host, dimms, tables, tell):
    """The set that answers in turn is one unit, the slot that does not is another; the memory devices are units of their own."""
    dmi = firmware(host, "dmi/tables/DMI")
    for table in tables:
        check(table in dmi, f"the firmware passes this structure on: {table}")
    sets = {tuple(s["locator"] for s in dimm["slots"]): dimm for dimm in dimms if dimm["kind"] == "smbios"}
    check_equal(sorted(sets), [("A1", "B1"), ("C1",)], "units of the board")
    for names, spans, interleaved in (("A1", "B1"), NODE_RANGES[:2], "yes"), (("C1",), NODE_RANGES[2:], "no"):
        dimm = sets[names]
        check_equal((dimm["interleaved"], dimm["confidence"]), (interleaved, "certain"), f"whether {names} is interleaved")
        check_equal([(s["size_bytes"], s["part"]) for s in dimm["slots"]], [(2 * GIB, f"PART-{name}") for name in names],
                    f"what is in {names}")
        check_equal(dimm["blocks"], sorted(blocks_in(host, spans)[1]), f"blocks of {names}")
        check_equal(dimm["ejectable"], False, f"whether {names} can be ejected")
        reason = check_movability(host, dimm, spans, " and ".join(names))
        tell(f"{dimm['id']}: movable {dimm['movable']}, interleaved {dimm['interleaved']}: {reason['way_out']}")
    for dimm in DIMMS:
        first, last = evidence.dimm_range(host, dimm.name)
        shown = next(one for one in dimms if one["kind"] == "acpi" and one["ranges"] == [{"start": first, "end": last + 1}])
        check_equal((shown["node"], shown["state"], shown["ejectable"], shown["movable"]), (dimm.node, "online", True, "yes"),
                    dimm.name)
        check_equal(shown["blocks"], host.dimm_blocks(dimm.name), f"blocks of {dimm.name}")
        check_equal(shown["slots"], [], f"slots of {dimm.name}, of which the board tells nothing")
    return sets


def errors_are_not_invented(host, ballast, dimms):
    """This kernel has no EDAC: no count is told as none, and it is said why."""
    check_equal(host.run("ls -d /sys/devices/system/edac/mc/mc*", check=False).out, "", "memory controllers of EDAC")
    check_equal({(d["corrected_errors"], d["uncorrected_errors"]) for d in dimms}, {(None, None)}, "error counts")
    probes = ballast.get("/v1/host")["probes"]
    check_equal((probes["error_counts"]["state"], probes["memory_latency"]["state"]), ("no", "yes"), "probes")


def nodes_are_told(host, ballast, tell):
    """What each node has, whether it can be emptied, pools; and distances by what the firmware says in nanoseconds."""
    evidence.set_hugepages(host, 1, POOL_PAGES)
    check_equal(evidence.hugepages(host, 2, GIB >> 10), (1, 1), "pages of 1 GiB on node 2")
    nodes = ballast.get("/v1/nodes?fresh=true")["items"]
    spans = {node: [NODE_RANGES[node]] if node < 3 else [] for node in NODES}
    for dimm in DIMMS:
        first, last = evidence.dimm_range(host, dimm.name)
        spans[dimm.node].append((first, last + 1))
    for node in nodes:
        reason = check_movability(host, node, spans[node["id"]], f"node {node['id']}")
        check_equal(node["total_bytes"], evidence.node_meminfo(host, node["id"])["MemTotal"], f"bytes of node {node['id']}")
        tell(f"node {node['id']}: movable {node['movable']}" + (f": {reason['detail']}: {reason['way_out']}" if reason else ""))
        for pool in node["hugepages"]:
            check_equal((pool["total"], pool["free"]), evidence.hugepages(host, node["id"], pool["size_bytes"] >> 10),
                        f"pages of {pool['size_bytes']} bytes on node {node['id']}")
    check_equal([node["movable"] for node in nodes], ["no", "partly", "no", "yes"], "whether nodes can be emptied")
    gigantic = [[item["bytes"] for item in node["remainder"] if item["code"] == "gigantic_pages"] for node in nodes]
    check_equal(gigantic, [[], [], [GIB], []], "what pages of 1 GiB keep")

    slit = [[int(word) for word in host.read(f"/sys/devices/system/node/node{node}/distance").split()] for node in NODES]
    check_equal({slit[3][node] for node in range(3)}, {20}, "distances of node 3, by the kernel")
    check_equal([node["distances"] for node in nodes], DISTANCES, "distances")
    check_equal({node["distances_by"] for node in nodes}, {"hmat"}, "by which table they are")
    for node in NODES:
        # The kernel has a reader of its own for the table.
        known = f"/sys/devices/system/node/node{node}/access0/initiators"
        latency, bandwidth = (int(host.read(f"{known}/read_{what}")) for what in ("latency", "bandwidth"))
        check_equal((latency, bandwidth), (LATENCY_NS[node][node], BANDWIDTH[node][node]), f"what the kernel says of node {node}")
        check_equal((nodes[node]["read_latency_ns"], nodes[node]["read_bytes_per_s"]), (latency, bandwidth * 10**6),
                    f"latency and bandwidth of node {node}")


def refused_as_told(ballast, sets):
    """What cannot be emptied is refused with the same reason and way out as the audit has, before anything is touched."""
    for words, thing in (("--dimm", sets["A1", "B1"]["id"]), sets["A1", "B1"]), (("--node", "2"), ballast.get("/v1/nodes/2")):
        reason = next(item for item in thing["remainder"] if item["code"] == "kernel_memory")
        said = ballast.ctl("drain", *words, "--offline", "--dry-run", check=False)
        check_equal(said.rc != 0, True, f"{words} is refused")
        check(reason["way_out"] in said.out + said.err, f"the way out of {words} is told: {said.out}{said.err}")


def goes_by_latency(host, ballast, guest, tell):
    """A guest of node 3 goes to node 0, which has least room of those that the kernel calls equally far."""
    free = {node: evidence.node_meminfo(host, node)["MemFree"] for node in range(3)}
    check_equal(min(free, key=free.get), 0, f"the node with least free memory: {free}")
    before = evidence.guest_bytes_by_node(guest)
    check_at_least(before.get(3, 0), 64 * MIB, f"bytes of the guest on node 3: {before}")
    dimm = drains.dimm_id(host, ballast, "dimm1")
    drain = ballast.ctl_json("drain", "--dimm", dimm, "--finish", "empty", "--allow", "stored_xml,remote_memory", "--timeout", "120",
                             timeout=180)
    check_equal(drain["state"], "succeeded", f"the drain: {drain['remainder']}")
    after = evidence.guest_bytes_by_node(guest)
    tell(f"the guest: {before} before, {after} after")
    check_at_least(after.get(0, 0), before[3] - NOISE_BYTES, "bytes of the guest on node 0")
    check_at_most(sum(after.get(node, 0) - before.get(node, 0) for node in (1, 2)), NOISE_BYTES, "bytes that went elsewhere")
    check_equal(drains.give_back(ballast), "released", "state of the drain, given back")


def has_reserved(host, number, size):
    """Whether pages of a block are the kernel's since boot, by their flags: those never leave, whatever zone they are in."""
    pages = size // evidence.PAGE_BYTES
    flags = base64.b64decode(host.out(f"dd if=/proc/kpageflags bs={8 * pages} skip={number} count=1 status=none | base64 -w0"))
    check_equal(len(flags), 8 * pages, f"bytes of flags of block {number}")
    return any(flag & KPF_RESERVED for (flag,) in struct.iter_unpack("<Q", flags))


def as_told(host, tell):
    """The advice was followed: most of node 2 is movable now, and goes offline. What the kernel took of it at boot does not."""
    check("movable_node" not in host.read("/proc/cmdline").split(), "booted without movable_node")
    ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
    ballast.start()
    node = ballast.get("/v1/nodes/2?fresh=true")
    reason = check_movability(host, node, [NODE_RANGES[2]], "node 2")
    check_equal(node["movable"], "partly", "whether node 2 can be emptied")
    size, blocks = blocks_in(host, [NODE_RANGES[2]])
    movable = [number for number, zone in blocks.items() if zone == "Movable"]
    reserved = {number for number in movable if has_reserved(host, number, size)}
    free = [number for number in movable if number not in reserved]
    tell(f"node 2, booted with kernelcore=: {node['movable']}: {reason['detail']}; of blocks {min(movable)}-{max(movable)} the "
         f"kernel has pages in {sorted(reserved)}")
    check_at_least(len(free), 4, "movable blocks in which nothing is the kernel's")
    span = f"{free[0] * size:x}-{(free[0] + 2) * size:x}"
    ballast.ctl("drain", "--range", span, "--offline", "--timeout", "60")
    check_equal([evidence.blocks(host)[number]["state"] for number in (free[0], free[0] + 1)], 2 * ["offline"], "states")
    check_equal(drains.give_back(ballast), "released", "state of the drain, given back")
    for number in (free[0], free[0] + 1):
        check_equal(evidence.blocks(host)[number], {"state": "online", "zones": "Movable", "node": 2}, f"block {number}")
    for number in sorted(reserved)[:1]:
        said = ballast.ctl_json("drain", "--range", f"{number * size:x}-{(number + 1) * size:x}", "--offline", "--timeout", "60",
                                check=False)
        tell(f"block {number}: {said['state']}: {[item['detail'] for item in said['remainder']]}")
        check_equal([item["code"] for item in said["remainder"]], ["kernel_memory"], f"why block {number} stays")
        check_equal(evidence.blocks(host)[number]["state"], "online", f"state of block {number}")


@story(41, "inventory and audit: units, what can ever be emptied, why not, what to change at the next boot; latencies", limit_s=400)
def inventory(tell):
    tables = board()
    with tempfile.TemporaryDirectory(prefix="ballast-smbios.") as directory:
        with booted_host(dimms=DIMMS, distances=SLIT, qemu_arguments=qemu_arguments(directory, tables),
                         kernel_arguments="hugepagesz=1G hugepages=2:1") as host:
            guest = Guest(host, "db1", 128, nodes="3")
            guest.start()
            ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
            ballast.start()
            marked = marked_ranges(host)
            check(not any(start < span[1] and span[0] < end for start, end in marked for span in NODE_RANGES),
                  f"the firmware marks no boot memory: {marked}")
            for words in (("nodes", "--fresh"), ("dimms",)):
                tell(f"$ ballastctl {' '.join(words)}\n{ballast.ctl(*words).out}")
            dimms = [one for one in ballast.get("/v1/dimms?fresh=true")["items"] if one["state"] != "absent"]
            sets = slots_are_told(host, dimms, tables, tell)
            errors_are_not_invented(host, ballast, dimms)
            for dimm in sets.values():
                check("boot with kernelcore= instead (part of each node is movable)" in dimm["remainder"][0]["way_out"], f"way out: {dimm['remainder']}")
            nodes_are_told(host, ballast, tell)
            refused_as_told(ballast, sets)
            # The pages of 1 GiB would leave node 2 less room than node 0 has.
            evidence.set_hugepages(host, 2, 0, GIB >> 10)
            goes_by_latency(host, ballast, guest, tell)
            check(ballast.process.running, "ballastd lives")
    with booted_host(movable_node=False, kernel_arguments="kernelcore=3G") as host:
        as_told(host, tell)


if __name__ == "__main__":
    main()
