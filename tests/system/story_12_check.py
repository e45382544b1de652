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
from testbed.story import MachineDied, booted_host, check, check_at_least, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
NODES = (0, 1, 2)
POOLS = "grep -s '' /sys/devices/system/node/node*/hugepages/hugepages-*/nr_hugepages"


def _groups(host):
    """Cgroups of workers, and processes of a check, that are there now."""
    return host.out("ls -d /sys/fs/cgroup/ballast.worker.* 2>/dev/null; pidof ballast-worker; true")


# By hand what the probe of the kernel has tried by itself.
SOFT_DIRTY = """
import ctypes, mmap, struct
memory = mmap.mmap(-1, 8192)
memory[0] = memory[4096] = 1
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
with open("/proc/self/clear_refs", "w") as f:
    f.write("4")
memory[0] = 2
with open("/proc/self/pagemap", "rb") as f:
    f.seek(address // 4096 * 8)
    print(*[entry >> 55 & 1 for entry in struct.unpack("QQ", f.read(16))])
"""
CPUSET_REMAP = """
cd /sys/fs/cgroup && mkdir by-hand && echo 2 >by-hand/cpuset.mems
numactl --membind=2 sh -c 'echo $$ >by-hand/cgroup.procs; exec sleep 60' &
pid=$!
until grep -q ^sleep /proc/$pid/comm; do sleep 0.1; done
grep -o -m1 bind:. /proc/$pid/numa_maps
echo 0,2 >by-hand/cpuset.mems
grep -o -m1 bind:. /proc/$pid/numa_maps
kill $pid; wait $pid 2>/dev/null; rmdir by-hand
"""


def _probed(host, features, tell):
    """What the probe says of the kernel is what the kernel does when it is asked by hand."""
    states = {name: feature["state"] for name, feature in features.items()}
    dirty = host.out(["python3", "-c", SOFT_DIRTY])
    policies = host.out(CPUSET_REMAP).split()
    balancing = host.read("/proc/sys/kernel/numa_balancing").strip()
    by_hand = {
        "soft_dirty": dirty == "1 0",
        "cpuset_remap": policies[0] != policies[1],
        "idle_tracking": host.exists("/sys/kernel/mm/page_idle/bitmap"),
        "numa_balancing": balancing != "0",
        "transparent_hugepages": host.exists("/sys/kernel/mm/transparent_hugepage/enabled"),
        "kvm": host.exists("/dev/kvm"),
    }
    check_equal({name: states[name] for name in by_hand}, {name: "yes" if is_so else "no" for name, is_so in by_hand.items()},
                "the probe, and the same by hand")
    tell(f"the probe agrees with what is seen by hand: written pages show {dirty}, policies became {policies}, {by_hand}")


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
    # What any guest does under this emulation now and then, the microVM does too, and Ballast tells it.
    for one in operation["remainder"]:
        if "does not let a guest make progress" in one["detail"]:
            raise MachineDied(f"{one['object']}: {one['detail']}")
    check_equal((operation["kind"], operation["state"]), ("check", "succeeded"), f"the operation: {operation['remainder']}")
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
    _probed(host, features, tell)
    return proofs["memfd", 4096]


def _followed(host, ballast, guest, proof, tell):
    """What the guest touches follows its CPU before any page is moved by Ballast; the rest is moved at the end."""
    # AutoNUMA looks at a guest only after seconds of run time, and then at little of it: that is made quicker here.
    host.run("mount -t debugfs debugfs /sys/kernel/debug && cd /sys/kernel/debug/sched/numa_balancing && "
             "echo 100 >scan_delay_ms && echo 100 >scan_period_min_ms && echo 200 >scan_period_max_ms")
    # With a breath between pages: who moves what is left at the end runs on the same CPU.
    guest.pattern_start(48, pace_us=2000)
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [1], "nodes of the guest before")
    identity = ballast.ctl("move", guest.name, "--to", "2", "--lazy", "--timeout", "60", "--detach").out.strip()
    wait_for(lambda: evidence.guest_bytes_by_node(guest).get(2, 0) >= 16 * MIB, 60, "16 MiB to follow the CPU")
    operation = ballast.operation(identity)
    kinds = [step["kind"] for step in operation["steps"]]
    check("lazy" in kinds and "move" not in kinds, f"no page has been moved by Ballast yet: {kinds}")
    tell(f"pages follow by themselves: {evidence.mib_by_node(guest)}, {evidence.guest_policies(guest)}")
    check(all(policy.startswith("bind=") for policy in evidence.guest_policies(guest)), "it is bound with balancing")
    ended = ballast.wait_operation(identity, 150)
    check_equal(ended["state"], "succeeded", f"state of the move: {ended['remainder']}")
    steps = {step["kind"]: step for step in ended["steps"]}
    tell(f"lazy: {steps['lazy']['detail']}; move: {steps['move']['done_bytes'] / MIB:.1f} MiB")
    check_at_least(steps["lazy"]["done_bytes"], 16 * MIB, "bytes that followed")
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [2], "nodes of the guest after")
    check_equal(evidence.guest_policies(guest), {"bind:2"}, "policies of the guest after")
    status = guest.pattern_rounds(1)
    check_equal(status["errors"], 0, "pattern errors")
    tell(f"a whole guest with memory of the same kind lost nothing either; its writer's longest pause was "
         f"{status['longest_pause_us'] / 1000:.0f} ms, the microVM's {proof['longest_pause_us'] / 1000:.0f} ms")


@story(12, "the host is proved with a microVM, and a guest's memory follows its CPUs", limit_s=900)
def proved_and_lazy(tell):
    with booted_host(nodes=[Node(2048)] * 3, dimms=[]) as host:
        ballast = Ballast(host, {"limits": {"reserve": "256MiB"}})
        ballast.start()
        tell("ballastd runs")
        # libvirt hands the cpuset controller down when it starts its first guest.
        guest = Guest(host, "g1", 192, nodes="1", cpus="2", agent=False)
        guest.start()
        proof = _checked(host, ballast, tell)
        _followed(host, ballast, guest, proof, tell)


if __name__ == "__main__":
    main()
