# SPDX-License-Identifier: Apache-2.0
"""What stories and benchmarks of drains share: the host before and after one, guests in a DIMM, Ballast's name of that."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from testbed import evidence, memory_peer  # noqa: E402
from testbed.virtual_host import wait_for  # noqa: E402


def state_of_host(host, dimms, guests):
    """What a drain of these DIMMs, all present, changes, by evidence that is not Ballast's own."""
    numbers = {number for dimm in dimms for number in host.dimm_blocks(dimm)}
    memories = {guest.name: evidence.Memory(guest) for guest in guests}
    return {
        "blocks": {number: (block["state"], block["zones"]) for number, block in evidence.blocks(host).items()
                   if number in numbers},
        "nodes": {name: sorted(memory.nodes) for name, memory in memories.items()},
        "policies": {name: memory.policies for name, memory in memories.items()},
        "cpusets": {guest.name: evidence.cpusets(guest) for guest in guests},
        "pools": evidence.pools(host),
    }


def dimm_id(host, ballast, dimm):
    """Ballast's id of a DIMM that is present."""
    start = evidence.dimm_range(host, dimm)[0]
    return next(one["id"] for one in ballast.get("/v1/dimms?fresh=true")["items"]
                if one["state"] != "absent" and one["kind"] == "acpi" and one["ranges"][0]["start"] == start)


def is_home(host, guest, node):
    """Asks migratepages once for what is not on the node, and says whether all of the guest is there now."""
    others = [other for other in evidence.guest_bytes_by_node(guest) if other != node]
    if others:
        host.run(["migratepages", str(guest.pid), ",".join(map(str, others)), str(node)], timeout=120)
    return sorted(evidence.guest_bytes_by_node(guest)) == [node]


def bring_into(host, guests, node, dimm, other=None):
    """Brings all of these guests into a DIMM of the node, which has no memory but that and the other one."""
    host.online_dimm(dimm)
    span = evidence.dimm_range(host, dimm)
    if all(evidence.Memory(guest).total_bytes == memory_peer.within(guest, span) for guest in guests):
        return
    if other:
        first, last = evidence.dimm_range(host, other)
        wait_for(lambda: host.run(["chmem", "-d", f"{first:#x}-{last:#x}"], timeout=120, check=False).rc == 0, 240,
                 f"{other} to be offline")
    for guest in guests:
        # migratepages leaves pages that its moment found busy, and exits 0: so it is asked until none is left.
        wait_for(lambda g=guest: is_home(host, g, node), 240, f"{guest.name} to be on node {node}")
    if other:
        host.online_dimm(other)


def give_back(ballast):
    """Undrains the newest drain, and returns its state then."""
    identity = ballast.get("/v1/drains")["items"][0]["id"]
    ballast.ctl("undrain", identity, "--timeout", 400, timeout=420, check=False)
    return ballast.get(f"/v1/drains/{identity}")["state"]
