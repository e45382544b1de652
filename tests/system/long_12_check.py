#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 12: the host is proved fit with a guest of Ballast's own, and a guest's memory follows its CPUs."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
NODES = (0, 1, 2)
POOLS = "grep -s '' /sys/devices/system/node/node*/hugepages/hugepages-*/nr_hugepages"


def _groups(host):
    """Cgroups of workers, and processes of a check, that are there now."""
    return host.out("ls -d /sys/fs/cgroup/ballast.worker.* 2>/dev/null; pidof ballast-worker; true")


def _checked(host, ballast, tell):
    """A check whose daemon is killed in the middle: each pair of nodes and kind of memory is proved without a torn word
    all the same, and nothing is left behind."""
    evidence.set_hugepages(host, 1, 3)
    pools = host.out(POOLS)
    identity = ballast.ctl("check", "--detach").out.strip()
    wait_for(lambda: host.out(POOLS) != pools, 240, "the check to make room in a pool")
    ballast.kill()
    ballast.start()
    ballast.wait_operation(identity, 300)
    check_equal(host.out(POOLS), pools, "pools of huge pages after the check, by the kernel")
    check_equal(_groups(host), "", "workers and their groups after the check")
    tell("killed while a pool was larger, and ended under its old id:\n"
         + ballast.ctl("operation", identity).out.rstrip())
    operation = ballast.operation(identity)
    facts = operation["result"]["facts"]
    check_equal((operation["kind"], operation["state"]), ("check", "succeeded"), "the operation")
    every = sorted((a, b) for a in NODES for b in NODES if a != b)
    proofs = {(fact["backing"], fact["page_bytes"]): fact for fact in facts if "backing" in fact}
    for kind in (("memfd", 4096), ("anon", 4096), ("thp", 2 * MIB), ("hugetlb", 2 * MIB)):
        proof = proofs[kind]
        check("skipped" not in proof, f"{kind} is proved: {proof}")
        check_equal(sorted((pair["from"], pair["to"]) for pair in proof["pairs"]), every, f"pairs of {kind}")
        check_equal({pair["left_bytes"] for pair in proof["pairs"]}, {0}, f"bytes of {kind} that stayed")
        check_equal((proof["torn_words"], proof["split_bytes"]), (0, 0), f"torn words, split bytes of {kind}")
        check_at_least(min(pair["bytes_per_s"] for pair in proof["pairs"]), 1, f"rates of {kind}")
        check_at_least(proof["rounds"], len(every), f"rounds of {kind}'s guest")
    features = next(fact["features"] for fact in facts if "features" in fact)
    check_equal({name: features[name]["state"] for name in
                 ("move_between_nodes", "shared_policy", "balancing_policy", "cpuset_remap", "soft_dirty", "kvm")},
                {"move_between_nodes": "yes", "shared_policy": "yes", "balancing_policy": "yes", "cpuset_remap": "yes",
                 "soft_dirty": features["soft_dirty"]["state"], "kvm": "yes"}, "behaviours")
    check(all(feature["meaning"] for feature in features.values()), "each behaviour is explained")


def _followed(host, ballast, guest, tell):
    """What the guest touches follows its CPU before any page is moved by Ballast; the rest is moved at the end."""
    guest.pattern_start(96, pace_us=20)
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [1], "nodes of the guest before")
    identity = ballast.ctl("move", guest.name, "--to", "2", "--lazy", "--timeout", "60", "--detach").out.strip()
    wait_for(lambda: evidence.guest_bytes_by_node(guest).get(2, 0) >= 16 * MIB, 60, "16 MiB to follow the CPU")
    operation = ballast.operation(identity)
    kinds = [step["kind"] for step in operation["steps"]]
    check("lazy" in kinds and "move" not in kinds, f"no page has been moved by Ballast yet: {kinds}")
    tell(f"pages follow by themselves: {evidence.mib_by_node(guest)}, {evidence.guest_policies(guest)}")
    check(all(policy.startswith("bind=") for policy in evidence.guest_policies(guest)), "it is bound with balancing")
    ended = ballast.wait_operation(identity, 120)
    check_equal(ended["state"], "succeeded", "state of the move")
    steps = {step["kind"]: step for step in ended["steps"]}
    tell(f"lazy: {steps['lazy']['detail']}; move: {steps['move']['done_bytes'] / MIB:.1f} MiB")
    check_at_least(steps["lazy"]["done_bytes"], 16 * MIB, "bytes that followed")
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [2], "nodes of the guest after")
    check_equal(evidence.guest_policies(guest), {"bind:2"}, "policies of the guest after")
    check_equal(guest.pattern_rounds(1)["errors"], 0, "pattern errors")


@story(12, "the host is proved with a microVM, and a guest's memory follows its CPUs", limit_s=900)
def proved_and_lazy(tell):
    with booted_host(nodes=[Node(2048)] * 3, dimms=[]) as host:
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        tell("ballastd runs")
        # libvirt hands the cpuset controller down when it starts its first guest.
        guest = Guest(host, "g1", 256, nodes="1", cpus="2", agent=False)
        guest.start()
        _checked(host, ballast, tell)
        _followed(host, ballast, guest, tell)


if __name__ == "__main__":
    main()
