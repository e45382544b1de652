#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 32: of a node with two DIMMs one is drained, and its guests have on the other what they had in it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story  # noqa: E402
from testbed.virtual_host import Dimm  # noqa: E402

MIB = 1 << 20
TARGET, STAYS = "dimm1", "dimm2"
HOME, AWAY = 3, 2
LATER_MIB = 48
# What the kernel must have to go on while a node is filled up.
SLACK_MIB = 24
# What a guest touches first while the drain runs: some 8 MiB were seen.
NOISE_BYTES = 16 * MIB


def online(host, dimm, state):
    host.run(f"for n in {' '.join(map(str, host.dimm_blocks(dimm)))}; do "
             f"echo {state} >/sys/devices/system/memory/memory$n/state; done", timeout=120)


def start_guests(host):
    """One for each policy. Of the last, which has none, pages lie on another node as well."""
    strict = Guest(host, "strict", 256, nodes=str(HOME))
    preferred = Guest(host, "preferred", 256, nodes=str(HOME), mode="preferred")
    unbound = Guest(host, "unbound", 256)
    for guest in (strict, preferred, unbound):
        guest.start()
    memory_peer.scatter(unbound, HOME, AWAY)
    # What it touches from now on is its node's.
    host.virsh("vcpupin", unbound.name, "0", str(HOME), "--live")
    return strict, preferred, unbound


def fill_both(host, guests):
    """Each has pages in the target by now; with that full, what it touches next lies in the other DIMM."""
    free = evidence.node_meminfo(host, HOME)["MemFree"] // MIB - SLACK_MIB
    host.run(f"numactl --membind={HOME} dd if=/dev/zero of=/dev/shm/hog bs=1M count={free} status=none", timeout=120)
    online(host, STAYS, "online_movable")
    for guest in guests:
        guest.pattern_start(LATER_MIB, pace_us=2000)
    host.run("rm /dev/shm/hog")


def state_of(host, guest):
    """By evidence that is not Ballast's own."""
    memory = evidence.Memory(guest)
    return {"policies": memory.policies, "cpusets": evidence.cpusets(guest), "nodes": memory.nodes,
            "target": evidence.guest_bytes_in(guest, evidence.dimm_range(host, TARGET)),
            "stays": evidence.guest_bytes_in(guest, evidence.dimm_range(host, STAYS)),
            "places": memory_peer.places(guest)}


def check_home(guest, before, after):
    """Every page that was there is on its node, and nothing of it in the DIMM that is out."""
    moved = [(was, now) for was, now in zip(before["places"], after["places"]) if was not in (".", now)]
    check_equal(moved, [], f"pages of {guest.name} that are not on the node on which they were")
    check_equal(after["target"], 0, f"bytes of {guest.name} in the drained DIMM")
    for what in ("policies", "cpusets"):
        check_equal(after[what], before[what], f"{what} of {guest.name}")
    for node in (0, 1, AWAY):
        check_at_most(after["nodes"].get(node, 0) - before["nodes"].get(node, 0), NOISE_BYTES,
                      f"bytes of {guest.name} that have come to node {node}")
    check_equal(guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {guest.name}")


@story(32, "one DIMM of two on a node is drained: only what lies in it leaves, and all of it comes home", limit_s=500)
def two_dimms(tell):
    with booted_host(dimms=[Dimm(TARGET, HOME), Dimm(STAYS, HOME)]) as host:
        host.transparent_huge_pages("never", "never")
        host.write("/proc/sys/kernel/numa_balancing", "0")
        online(host, STAYS, "offline")
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}})
        guests = start_guests(host)
        fill_both(host, guests)
        before = [state_of(host, guest) for guest in guests]
        for guest, was in zip(guests, before):
            tell(f"{guest.name}: {was['target'] // MIB} MiB in {TARGET}, {was['stays'] // MIB} in {STAYS}, "
                 f"{was['nodes'].get(AWAY, 0) // MIB} on node {AWAY}; {was['policies']}")
            for dimm in ("target", "stays"):
                check_at_least(was[dimm], 8 * MIB, f"bytes of {guest.name} in either DIMM")
        check_at_least(before[2]["nodes"][AWAY], 8 * MIB, f"bytes of unbound on node {AWAY}")
        ballast.start()
        start = evidence.dimm_range(host, TARGET)[0]
        dimm = next(d["id"] for d in ballast.get("/v1/dimms?fresh=true")["items"] if d["ranges"][0]["start"] == start)
        words = ("drain", "--dimm", dimm, "--offline", "--allow", "remote_memory,stored_xml", "--timeout", "240")
        plan = ballast.ctl_json(*words, "--dry-run")
        kinds = ["cordon"] + 3 * ["move"] + ["offline"] + 3 * ["undo"]
        check_equal([step["kind"] for step in plan["steps"]], kinds, "steps of the plan")
        ballast.ctl(*words, timeout=300)
        drain = ballast.get("/v1/drains")["items"][0]
        operation = ballast.operation(drain["operation"])
        for step in operation["steps"]:
            tell(f"    {step['kind']} {step['target']}: {step['state']}, {step['done_bytes'] / MIB:.1f} MiB")
        check_equal((operation["state"], operation["warnings"]), ("succeeded", []), "how the drain ended")
        done = [step["kind"] for step in operation["steps"]]
        # What a guest touches first in between leaves by a move of its own.
        moves = done.count("move")
        check_equal(done, ["cordon"] + moves * ["move"] + ["offline"] + moves * ["undo"], "steps that were done")
        for guest, was in zip(guests, before):
            out = sum(step["done_bytes"] for step in operation["steps"]
                      if step["kind"] == "move" and step["target"].startswith(guest.name))
            check_at_most(abs(out - was["target"]), NOISE_BYTES, f"bytes of {guest.name} that were moved and lay in {TARGET}")
        check_equal(evidence.dimm_states(host, TARGET), {"offline"}, f"states of the blocks of {TARGET}")
        check_equal(evidence.dimm_states(host, STAYS), {"online"}, f"states of the blocks of {STAYS}")
        for guest, was in zip(guests, before):
            now = state_of(host, guest)
            check_home(guest, was, now)
            tell(f"{guest.name}: {now['stays'] // MIB} MiB in {STAYS}, {now['nodes'].get(AWAY, 0) // MIB} on node {AWAY}")
        ballast.ctl("undrain", drain["id"], timeout=240)
        check_equal(evidence.dimm_states(host, TARGET), {"online"}, f"states of the blocks of {TARGET}, undrained")
        check_equal(ballast.get("/v1/drains")["items"][0]["state"], "released", "state of the drain")
        for guest, was in zip(guests, before):
            check_equal(evidence.guest_policies(guest), was["policies"], f"policies of {guest.name}, undrained")
            check_equal(guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {guest.name}, undrained")
        check(ballast.process.running, "ballastd lives")


if __name__ == "__main__":
    main()
