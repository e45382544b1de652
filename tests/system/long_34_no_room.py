#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 34: a drain without room is refused with the numbers; with the consent a guest gives what lies in the DIMM, and has it back."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import REFUSED, Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
BASE_MIB, DEVICE_MIB, PLUGGED_MIB = 256, 768, 640
MISSING_MIB = 180
ALLOW = "stored_xml,remote_memory"

# Present pages of each 128 MiB of the device, by the page table of QEMU: pagemap alone, and nothing of Ballast's.
PRESENT = """
import sys
pid, size, unit = int(sys.argv[1]), int(sys.argv[2]), 128 << 20
areas = []
for line in open(f"/proc/{pid}/maps"):
    words = line.split()
    start, end = (int(word, 16) for word in words[0].split("-"))
    if "memory-backend-memfd" not in line:
        continue
    if areas and areas[-1][1] == start and areas[-1][2] == words[4]:
        areas[-1][1] = end
    else:
        areas.append([start, end, words[4]])
start = next(start for start, end, _ in areas if end - start == size)
with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages:
    for at in range(start, start + size, unit):
        pages.seek(at // 4096 * 8)
        data = pages.read(unit // 4096 * 8)
        print(sum(1 for high in data[7::8] if high & 0x80) * 4096)
"""


def present(guest):
    """Bytes that the host has of each 128 MiB of the guest's memory device."""
    text = guest.host.run(["python3", "-c", PRESENT, str(guest.pid), str(DEVICE_MIB * MIB)], timeout=120).out
    return [int(line) for line in text.split()]


def tight_reserve(ballast, lacks):
    """As much stays free that the roomiest of the other nodes has room for what node 3 has of guests but for so much."""
    nodes = {node["id"]: node for node in ballast.get("/v1/nodes?fresh=true")["items"]}
    others = [node for node in nodes.values() if node["id"] != 3 and node["total_bytes"]]
    total = sum(node["total_bytes"] for node in others)
    room = nodes[3]["guest_bytes"] - lacks
    return max((node["free_bytes"] - room) * total // node["total_bytes"] for node in others)


def no_room_of(plan):
    return [blocker for blocker in plan["blockers"] if blocker["code"] == "no_room"]


@story(34, "no room: refused with the numbers, and with consent a guest gives exactly what lies in the DIMM", limit_s=420)
def no_room(tell):
    with booted_host() as host:
        guest = Guest(host, "web1", BASE_MIB, nodes="3", virtio_mem=[VirtioMem(DEVICE_MIB)])
        guest.start()
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        ballast.start()
        ballast.wait_agent("web1")
        base = set(guest.blocks())
        ballast.ctl("resize", "web1", f"{BASE_MIB + PLUGGED_MIB}MiB")
        device = sorted(set(guest.blocks()) - base)
        check_equal(len(device), PLUGGED_MIB // 128, "blocks that were plugged")
        # Some of it has pages on the host, which the guest does not need any more.
        guest.pattern_start(330, name="fill")
        guest.pattern_stop("fill")
        guest.pattern_start(24, pace_us=1000)
        dimm = next(d["id"] for d in ballast.get("/v1/dimms?fresh=true")["items"] if d["state"] == "online")
        reserve = tight_reserve(ballast, MISSING_MIB * MIB)
        ballast.stop()
        ballast.configure({"limits": {"reserve": f"{reserve // MIB}MiB"}})
        ballast.start()
        ballast.wait_agent("web1")
        there = evidence.guest_bytes_by_node(guest)
        before = dict(zip(device, present(guest)))
        tell(f"web1 has {there[3] / MIB:.0f} MiB on node 3, of its blocks {({b: n // MIB for b, n in before.items()})} MiB")

        # Without the consent: refused, and named is what would help.
        result = ballast.ctl("--json", "drain", "--dimm", dimm, "--offline", "--allow", ALLOW, "--dry-run", check=False)
        refusals = no_room_of(json.loads(result.out))
        tell(f"    {refusals[0]['object']}: {refusals[0]['detail']} ({refusals[0]['way_out']})")
        check_equal({blocker["consent"] for blocker in refusals}, {"shrink_guests"}, "consents that lift it")
        result = ballast.ctl("drain", "--dimm", dimm, "--offline", "--allow", ALLOW, check=False)
        check_equal(result.rc, REFUSED, f"a drain without the consent: {result}")

        # With it, where the guest's owner forbids it: refused with what there is, and nothing is touched.
        ballast.ctl("policy", "web1", "--minimum", f"{BASE_MIB + PLUGGED_MIB}MiB")
        result = ballast.ctl("--json", "drain", "--dimm", dimm, "--offline", "--allow", f"{ALLOW},shrink_guests", "--dry-run",
                             check=False)
        refusals = no_room_of(json.loads(result.out))
        tell(f"    {refusals[0]['object']}: {refusals[0]['detail']}")
        check_equal({blocker["consent"] for blocker in refusals}, {None}, "consents that lift it where nobody can give")
        ballast.ctl("policy", "web1", "--minimum", "0")
        check_equal(ballast.get("/v1/drains")["items"], [], "drains so far")
        check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB, "the guest's device so far")

        # With it: it shrinks, moves, and the blocks go.
        drain = ballast.ctl_json("drain", "--dimm", dimm, "--offline", "--allow", f"{ALLOW},shrink_guests", "--timeout", "240",
                                 timeout=300, check=False)
        check_equal(drain["state"], "succeeded", f"the drain: {drain['remainder']} {drain['error']}")
        kinds = [step["kind"] for step in drain["steps"]]
        tell(f"drained by {' '.join(kinds)}: {drain['result']}")
        left = set(device) - set(guest.blocks())
        shrunk = drain["result"]["shrunk_bytes"]
        check_at_least(len(left), MISSING_MIB // 128, "blocks that have left")
        check_equal(shrunk, len(left) * 128 * MIB, "bytes that have left")
        check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB - shrunk, "what libvirt says")
        tell(f"blocks {sorted(left)} have left")
        # What has left is what had most pages there.
        stayed = set(device) - left
        check_at_least(min(before[block] for block in left) + MIB, max(before[block] for block in stayed),
                       f"bytes of the least that has left, {sorted(left)}, against the most of what has not: {before}")
        check_at_least(min(before[block] for block in left), 32 * MIB, "bytes in the DIMM of each block that has left")
        check(3 not in evidence.guest_bytes_by_node(guest), "nothing of web1 is left on node 3")
        check_equal(evidence.dimm_states(host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
        check_at_most(sum(evidence.guest_bytes_by_node(guest).values()), there[3] - sum(before[b] for b in left) + 48 * MIB,
                      "bytes of web1 on the other nodes")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors in web1")

        # And back.
        ballast.ctl("undrain", ballast.get("/v1/drains")["items"][0]["id"], timeout=240)
        check_equal(guest.virtio_mem_sizes()[0]["requested"], PLUGGED_MIB * MIB, "what is asked of the device")
        check_equal(guest.virtio_mem_sizes()[0]["current"], PLUGGED_MIB * MIB, "the guest's device after the undrain")
        wait_for(lambda: guest.online_movable_bytes() == PLUGGED_MIB * MIB, 30, "the guest's blocks to be online again")
        check_equal(sorted(evidence.guest_bytes_by_node(guest)), [3], "nodes of web1 after the undrain")
        check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors in web1 after the undrain")
        tell("undrained: web1 is as large as it was, and on its node")


if __name__ == "__main__":
    main()
