#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 14: what a move has done holds: for new threads, at the next start; and it is told where the kernel takes pages back."""

import os
import sys
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import SOCKET, Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, start_guests  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story, wait_for  # noqa: E402

MIB = 1 << 20
BALANCING = "/proc/sys/kernel/numa_balancing"


def moved(ballast, guest, node, *words):
    """Moves it and checks by the kernel that all of it is on the node; returns the operation."""
    operation = ballast.ctl_json("move", guest.name, *words, "--timeout", "240", check=False)
    check_equal(operation.get("state"), "succeeded", f"state of the move: {operation}")
    check_equal(sorted(evidence.Memory(guest).nodes), [node], f"nodes of {guest.name} after the move")
    return operation


def thread_lines(guest, key):
    """{thread: value} of a line of each thread's status."""
    text = guest.host.out(f"grep -hE '^(Name|{key}):' /proc/{guest.pid}/task/*/status")
    values = [line.split(":", 1)[1].strip() for line in text.splitlines()]
    return dict(zip(values[::2], values[1::2]))


def near_cpus(ballast, guest, tell):
    """virsh pins the vCPU to a CPU of node 2; the memory is asked to follow."""
    check_equal(sorted(evidence.Memory(guest).nodes), [1], "nodes before")
    guest.host.virsh("vcpupin", guest.name, "0", "2", "--live")
    moved(ballast, guest, 2, "--near-cpus")
    check_equal(evidence.guest_policies(guest), {"bind:2"}, "policy after")
    tell("--near-cpus: virsh had pinned the vCPU to node 2, and the memory followed")


def stored_memory(guest):
    """The <memory> elements of the stored numatune, as (mode, nodeset)."""
    stored = ElementTree.fromstring(guest.host.virsh("dumpxml", "--inactive", guest.name).out)
    return [(memory.get("mode"), memory.get("nodeset")) for memory in stored.iterfind("numatune/memory")]


def new_threads(ballast, guest, tell):
    """libvirt gives a new vCPU and a new I/O thread the nodes of before the move; both are put right."""
    guest.host.virsh("setvcpus", guest.name, "2", "--live")
    guest.host.virsh("iothreadadd", guest.name, "7", "--live")

    def right():
        sets = evidence.cpusets(guest)
        names = {path.rsplit("/", 1)[1] for path in sets}
        return {"vcpu1", "iothread7"} <= names and set(sets.values()) == {"2"} and sets

    sets = wait_for(right, 30, f"cpusets of new threads to be put right: {evidence.cpusets(guest)}", 1)
    allowed = evidence.thread_nodes_allowed(guest)
    check_equal({nodes for name, nodes in allowed.items() if name in ("CPU 1/KVM", "IO iothread7")}, {"2"},
                f"nodes that the new threads may use: {allowed}")
    kept = wait_for(lambda: ballast.guest(guest.name, False)["placement"]["kept"], 20, "Ballast to say what it did")
    tell(f"a vCPU and an I/O thread plugged after the move: {len(sets)} groups, all with the new node ({kept['detail']})")


def persisted(ballast, guest, tell):
    """The stored XML has the new nodes and pins, and the next start agrees with the guest as it was."""
    host = guest.host
    moved(ballast, guest, 0, "--to", "0", "--cpus", "--persist", "--allow", "remote_memory")
    check_equal([nodes for _, nodes in stored_memory(guest)], ["0"], "stored nodes")
    stored = ElementTree.fromstring(host.virsh("dumpxml", "--inactive", guest.name).out)
    pins = {pin.get("vcpu"): pin.get("cpuset") for pin in stored.iterfind("cputune/vcpupin")}
    check_equal(pins, {"0": "0", "1": "0"}, "stored pins of its vCPUs, of the one that is plugged later, too")
    guest.channel.close()
    guest.channel = None
    host.virsh("destroy", guest.name)
    host.virsh("start", guest.name)
    guest.wait_boot()
    check_equal(sorted(evidence.Memory(guest).nodes), [0], "nodes after the next start")
    check_equal(set(evidence.thread_nodes_allowed(guest).values()), {"0"}, "nodes its threads may use then")
    check_equal(thread_lines(guest, "Cpus_allowed_list").get("CPU 0/KVM"), "0", "CPU of its vCPU then")
    check_equal(ballast.guest(guest.name)["placement"]["drift"], None, "drift that Ballast sees then")
    tell("--persist: stored nodes and pins are the new ones, and after destroy and start the guest is there")


def later_cpus(ballast, guest, tell):
    """After --cpus a vCPU that is plugged and an I/O thread that is added run on the CPUs of the others."""
    host = guest.host
    moved(ballast, guest, 2, "--to", "2", "--cpus", "--allow", "remote_memory")
    host.virsh("setvcpus", guest.name, "2", "--live")
    check_equal(thread_lines(guest, "Cpus_allowed_list").get("CPU 1/KVM"), "2", "CPU of the new vCPU, at once")
    host.virsh("iothreadadd", guest.name, "8", "--live")
    wait_for(lambda: thread_lines(guest, "Cpus_allowed_list").get("IO iothread8") == "2", 30,
             f"the new I/O thread to be pinned: {thread_lines(guest, 'Cpus_allowed_list')}", 1)
    live = ElementTree.fromstring(host.virsh("dumpxml", guest.name).out)
    pins = {pin.get("iothread"): pin.get("cpuset") for pin in live.iterfind("cputune/iothreadpin")}
    check_equal(pins, {"8": "2"}, "pins of its I/O threads that libvirt has")
    kept = wait_for(lambda: ballast.guest(guest.name, False)["placement"]["kept"], 20, "Ballast to say what it did")
    tell(f"after --cpus: a new vCPU starts on CPU 2, a new I/O thread is pinned there ({kept['detail']})")


def pulled_back(ballast, guest, tell):
    """AutoNUMA takes anonymous, unbound memory back to the CPU that touches it: forewarned, watched and told."""
    host = guest.host
    plan = ballast.ctl_json("move", guest.name, "--to", "2", "--dry-run")
    check("autonuma_may_return" in [warning["code"] for warning in plan["warnings"]], f"the plan warns: {plan}")
    host.write(BALANCING, "0")
    moved(ballast, guest, 2, "--to", "2")
    check_equal(ballast.guest(guest.name)["placement"]["drift"], None, "drift right after the move")
    events = host.spawn(["curl", "-sN", "--unix-socket", SOCKET, "http://localhost/v1/events"])
    host.write(BALANCING, "1")
    wait_for(lambda: evidence.Memory(guest).nodes.get(1, 0) >= 8 * MIB, 90, "AutoNUMA to take 8 MiB back", 2)
    # Nobody asks it to look: it looks by itself, every few seconds here.
    drift = wait_for(lambda: next((d for d in [ballast.guest(guest.name, False)["placement"]["drift"]]
                                   if d and d["bytes"] >= 2 * MIB), None), 60, "Ballast to see 2 MiB of it", 1)
    wait_for(lambda: guest.uuid in events.out or guest.name in events.out, 30, "an event of the guest")
    events.kill()
    back = evidence.Memory(guest).nodes.get(1, 0)
    check_at_most(drift["bytes"], back + 4 * MIB, "the same, by the kernel a moment later")
    check("it was moved to 2" in drift["detail"], f"what it says: {drift}")
    tell(f"AutoNUMA took {back / MIB:.1f} MiB back; Ballast says by itself: {drift['detail']}, "
         f"{drift['bytes'] / MIB:.1f} MiB")


def first_named(ballast, guest, tell):
    """--persist for a guest whose stored XML names no nodes: the next start prefers the node, wherever its CPU is."""
    host = guest.host
    host.write(BALANCING, "0")
    check_equal(stored_memory(guest), [], "stored numatune before")
    moved(ballast, guest, 2, "--to", "2", "--persist")
    check_equal(stored_memory(guest), [("preferred", "2")], "stored numatune after")
    check_equal(guest.pattern_stop()["errors"], 0, "pattern errors")
    guest.channel.close()
    guest.channel = None
    host.virsh("destroy", guest.name)
    host.virsh("start", guest.name)
    guest.wait_boot()
    memory = evidence.Memory(guest)
    check_at_most(memory.off(2), 4 * MIB, f"of its memory off node 2: {memory.nodes}")
    check_equal(memory.policies, {"prefer:2"}, "policy of its memory")
    tell("--persist where nothing stored named nodes: the next start prefers node 2, though its CPU is on node 1")


@story(14, "what a move has done holds for new threads and at the next start, and AutoNUMA's pull is told", limit_s=500)
def kept_placement(tell):
    with booted_host(dimms=[]) as host:
        ballast = Ballast(host, {"limits": {"reserve": "128MiB"}, "daemon": {"look_interval_s": "5"}})
        # AutoNUMA looks at a guest only after seconds of run time, and then at little of it: that is made quicker here.
        host.run("mount -t debugfs debugfs /sys/kernel/debug && cd /sys/kernel/debug/sched/numa_balancing && "
                 "echo 100 >scan_delay_ms && echo 100 >scan_period_min_ms && echo 200 >scan_period_max_ms")
        host.transparent_huge_pages("never", "never")
        kept = Guest(host, "kept", 192, nodes="1", cpus="1", vcpus=2, vcpus_now=1, agent=False)
        unbound = Guest(host, "unbound", 192, backing="anonymous", cpus="1", agent=False)
        start_guests(kept, unbound)
        ballast.start()
        tell("two guests run")
        cases = Cases(tell)
        kept.pattern_start(32, pace_us=2000)
        for case in (near_cpus, new_threads, persisted, later_cpus):
            cases.run(case, ballast, kept, tell)
        kept.destroy()
        unbound.pattern_start(48, pace_us=200)
        for case in (pulled_back, first_named):
            cases.run(case, ballast, unbound, tell)
        cases.end()


if __name__ == "__main__":
    main()
