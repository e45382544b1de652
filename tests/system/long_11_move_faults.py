#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 11: a move while its guest, its destination, its worker or its caller does something else."""

import contextlib
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import inside  # noqa: E402
from ballast import Ballast, FINAL, seconds  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.neighbour import Neighbour  # noqa: E402
from testbed.story import (Cases, booted_host, check, check_at_least, check_at_most, check_equal, main,  # noqa: E402
                           story, wait_for)
from testbed.virtual_host import Dimm  # noqa: E402

MIB = 1 << 20
# A move at this rate lasts long enough for something to happen in its middle.
SLOW = "30MiB"
# A guest that runs touches memory between two looks at it.
NOISE = 2 * MIB
# Those of the guest with huge pages, and some that are free.
G3_PAGES = 96 + 16

# Pauses an operation, and tells for some seconds how much of a guest is on a node, and how long after the answer that was.
PAUSE_AND_WATCH = """
identity, pid, node = sys.argv[1:]
print("ready", flush=True)
status, answered = post("/v1/operations/%s/pause" % identity)
if status not in ("200", "202"):
    sys.exit("the answer is " + status)
while time.time() < answered + 5:
    began = time.time()
    size = sum(int(word.split("=")[1]) for line in open("/proc/%s/numa_maps" % pid) if "memory-backend" in line
               for word in line.split() if word.startswith("N%s=" % node))
    print(began - answered, size * 4096)
    time.sleep(0.05)
"""

CANCEL = """
print("ready", *post("/v1/operations/%s/cancel" % sys.argv[1], '{"undo": true}'))
"""


class Scene:
    """A daemon and a guest whose moves are disturbed: from node 1 to 2, or from 2 to 1, wherever it has less."""

    def __init__(self, host, ballast, guest, neighbour, tell):
        self.host, self.ballast, self.guest, self.neighbour, self.tell = host, ballast, guest, neighbour, tell

    def placement(self):
        """What a move changes, by evidence that is not Ballast's own."""
        memory = evidence.Memory(self.guest)
        return {"nodes": sorted(memory.nodes), "policy": memory.policies, "cpusets": evidence.cpusets(self.guest)}

    def bytes_off(self, node):
        return evidence.Memory(self.guest).off(node)

    def away(self):
        where = evidence.guest_bytes_by_node(self.guest)
        return min((1, 2), key=lambda node: where.get(node, 0))

    def begin(self, node, rate=SLOW):
        """Starts a slow move and waits until it is well in its middle; returns the operation's id."""
        identity = self.ballast.ctl("move", self.guest.name, "--to", node, "--budget", rate, "--timeout", "300",
                                    "--detach").out.strip()
        wait_for(lambda: self.moved(self.going_on(identity)) >= 8 * MIB, 60, "the move to be in its middle")
        return identity

    def going_on(self, identity):
        """The operation, which must not have ended: what happens to it would else happen after it."""
        operation = self.ballast.operation(identity)
        check(operation["state"] not in FINAL, f"a slow move has not ended yet: {told(operation)}")
        return operation

    @staticmethod
    def moved(operation):
        return operation["progress"]["done_bytes"]

    def end(self, identity, states, timeout=90):
        """The operation, which must end in one of these states."""
        operation = self.ballast.wait_operation(identity, timeout)
        check(operation["state"] in states, f"ended as one of {states}: {told(operation)}")
        # What was put back wholly leaves nothing to explain.
        if operation["state"] != "succeeded" and operation["undo"] != "done":
            check(operation["remainder"], f"a reason is given: {told(operation)}")
        if operation["state"] == "succeeded":
            check_equal(operation["remainder"], [], "remainder of what succeeded")
        return operation

    def told_to_the_byte(self, operation, node):
        check_at_most(abs(sum(r["bytes"] for r in operation["remainder"]) - self.bytes_off(node)), NOISE,
                      f"difference of remainder and numa_maps: {told(operation)}, {evidence.mib_by_node(self.guest)}")

    def calm(self):
        """After a case that failed: what it left is ended, so that the next one has a guest to move."""
        for operation in self.ballast.get("/v1/operations")["items"]:
            if operation["state"] not in FINAL:
                self.ballast.ctl("cancel", operation["id"], "--undo", "no", check=False)
        if self.guest.state == "paused":
            self.host.virsh("resume", self.guest.name)


def told(operation):
    """An operation in a line."""
    reasons = [f"{r['code']} {r['object']} {r['bytes'] / MIB:.1f} MiB ({r['detail']})" for r in operation["remainder"]]
    steps = [f"{s['kind']} {s['state']} {seconds(s['ended_at']) - seconds(s['started_at']):.1f} s" if s["ended_at"] else
             f"{s['kind']} {s['state']}" for s in operation["steps"]]
    return f"{operation['state']}, undo {operation['undo']}; {'; '.join(reasons) or 'no remainder'}; steps {', '.join(steps)}"


def codes(operation):
    return {remainder["code"] for remainder in operation["remainder"]}


def within_a_second(operation):
    """How soon a word is to be heard: one call into the kernel is not interrupted, however long it takes."""
    longest = operation["result"]["longest_call_us"] / 1e6
    return 1 if longest <= 1 else 1 + longest


def pause_resume_cancel(scene):
    """Each takes effect within a second; cancelled with undo everything is as it was."""
    node, before = scene.away(), scene.placement()
    identity = scene.begin(node)
    watch = inside.start(scene.host, PAUSE_AND_WATCH, identity, scene.guest.pid, node)
    paused_after = [(float(after), int(size)) for after, size in map(str.split, watch.wait(60).out.splitlines()[1:])]
    check_at_least(len(paused_after), 8, f"looks at a paused guest: {paused_after}")
    # By numa_maps: the last look at which something of it was still to come.
    last = max([after for after, size in paused_after if size < paused_after[-1][1] - NOISE], default=0)
    at_pause = scene.ballast.operation(identity)
    time.sleep(1)
    later = scene.ballast.operation(identity)
    check_equal(later["state"], "paused", "state of a paused move")
    check_equal(scene.moved(later) - scene.moved(at_pause), 0, "bytes that are told as moved in a pause")
    scene.ballast.ctl("resume", identity)
    wait_for(lambda: scene.moved(scene.going_on(identity)) > scene.moved(later), 30, "a resumed move to go on")
    # By the host's clock and the daemon's own time of the step's end: asking takes longer than what is asked about.
    word = inside.start(scene.host, CANCEL, identity).wait(30).out.split()
    check_equal(word[1], "202", "answer to the cancel")
    operation = scene.end(identity, ("cancelled",))
    ended = max(seconds(step["ended_at"]) for step in operation["steps"] if step["kind"] == "move")
    limit, took = within_a_second(operation), ended - float(word[2])
    check_at_most(last, limit, "seconds from the answer until not a byte moved in a pause")
    check_at_most(took, limit, "seconds from the answer until a cancelled mover had ended")
    check_equal(operation["undo"], "done", "undo of a cancelled move")
    check_equal(scene.placement(), before, "placement after a move that was cancelled with undo")
    scene.tell(f"paused: the last byte {last:.2f} s after it; resumed; ended {took:.2f} s after the cancel, all as before "
               f"(its limit: {limit:.2f} s)")


def cancel_without_undo(scene):
    node = scene.away()
    before = set(evidence.guest_bytes_by_node(scene.guest))
    identity = scene.begin(node)
    scene.ballast.ctl("cancel", identity, "--undo", "no", "--detach")
    operation = scene.end(identity, ("cancelled",), 30)
    check_equal(set(evidence.guest_bytes_by_node(scene.guest)), before | {node},
                "nodes of a move that was cancelled without undo")
    check("cancelled" in codes(operation), f"the reason is the cancel: {told(operation)}")
    scene.told_to_the_byte(operation, node)
    scene.tell(f"cancelled without undo: {evidence.mib_by_node(scene.guest)}")


def cancel_before_pages(scene):
    """At once, when hardly more than cpuset and policy can have been set."""
    before = scene.placement()
    identity = scene.ballast.ctl("move", scene.guest.name, "--to", 3, "--budget", SLOW, "--detach").out.strip()
    scene.ballast.ctl("cancel", identity, "--undo", "yes", "--detach")
    operation = scene.end(identity, ("cancelled",))
    check_equal(scene.placement(), before, "placement after a move that was cancelled at its beginning")
    scene.tell(f"cancelled at once: all as before ({told(operation)})")


def suspended(scene):
    node = scene.away()
    identity = scene.begin(node)
    scene.host.virsh("suspend", scene.guest.name)
    scene.going_on(identity)
    operation = scene.end(identity, ("succeeded",))
    check_equal(scene.guest.state, "paused", "state of the guest")
    check_equal(scene.bytes_off(node), 0, "bytes left of a guest that was paused in its move")
    scene.host.virsh("resume", scene.guest.name)
    scene.tell(f"paused by virsh: {told(operation)}")


def worker_killed(scene):
    node = scene.away()
    identity = scene.begin(node)
    scene.host.run(["kill", "-9", *map(str, scene.ballast.workers())])
    operation = scene.end(identity, ("succeeded", "incomplete"))
    if operation["state"] == "succeeded":
        check_equal(scene.bytes_off(node), 0, "bytes left of a move that went on")
    else:
        scene.told_to_the_byte(operation, node)
    check("partial" in {step["state"] for step in operation["steps"]}, f"the cut pass is told: {told(operation)}")
    scene.tell(f"worker killed: {told(operation)}")


def hotplug(scene):
    """A vCPU, memory of a device that is there and a new memory device are plugged in the middle of a move."""
    guest, node = scene.guest, scene.away()
    identity = scene.begin(node)
    scene.host.virsh("setvcpus", guest.name, "2", "--live")
    guest.resize(128, wait=False)
    guest.attach_memory(VirtioMem(128, requested_mib=64))
    scene.going_on(identity)
    operation = scene.end(identity, ("succeeded",))
    wait_for(lambda: [device["current"] for device in guest.virtio_mem_sizes()] == [128 * MIB, 64 * MIB], 60,
             "the memory to be plugged")
    guest.run("echo 1 >/sys/devices/system/cpu/cpu1/online", check=False)
    wait_for(lambda: evidence.guest_policies(guest) == {f"bind:{node}"}, 30, "the new memory to have the guest's new policy")
    had = evidence.guest_bytes_by_node(guest)
    # What it gets now is touched by both vCPUs.
    for cpu in (0, 1):
        guest.run(f"taskset -p {1 << cpu} $$ >/dev/null; pattern run new{cpu} 40")
    for cpu in (0, 1):
        wait_for(lambda cpu=cpu: guest.pattern_status(f"new{cpu}")["filled"], 60, "new memory to be filled")
    has = evidence.guest_bytes_by_node(guest)
    check_at_least(has.get(node, 0) - had.get(node, 0), 48 * MIB, f"new memory on the new node: {had}, then {has}")
    check_at_most(scene.bytes_off(node), NOISE, f"bytes off the new node of a guest that grew in its move: {has}")
    wait_for(lambda: {nodes for name, nodes in evidence.thread_nodes_allowed(guest).items() if name.startswith("CPU ")} ==
             {str(node)}, 20, f"the vCPUs' threads to be allowed node {node} alone")
    for cpu in (0, 1):
        check_equal(guest.pattern_stop(f"new{cpu}")["errors"], 0, "pattern errors in new memory")
    scene.tell(f"a vCPU, memory and a memory device plugged: {told(operation)}; {evidence.mib_by_node(guest)}")


def exited(scene):
    """The guest powers itself off."""
    identity = scene.begin(scene.away())
    began = time.monotonic()
    scene.guest.spawn("poweroff -f")
    wait_for(lambda: scene.guest.channel.lost, 60, "the guest to be gone")
    scene.guest.channel.close()
    scene.guest.channel = None
    operation = scene.end(identity, ("incomplete", "failed"), 60)
    check("guest_gone" in codes(operation), f"the reason is that the guest is gone: {told(operation)}")
    scene.tell(f"powered off: {told(operation)} after {time.monotonic() - began:.1f} s")


@contextlib.contextmanager
def filled_node(host, node, spare_mib):
    """A pool of huge pages has all of a node but so much."""
    had = evidence.hugepages(host, node)[0]
    free = evidence.node_meminfo(host, node)["MemFree"] // MIB - spare_mib
    evidence.set_hugepages(host, node, had + free // 2)
    try:
        check_at_most(evidence.node_meminfo(host, node)["MemFree"], 2 * spare_mib * MIB, f"bytes free of node {node}")
        yield
    finally:
        evidence.set_hugepages(host, node, had)


def destination_fills_up(scene):
    """What the guest touches meanwhile finds a page elsewhere, although the guest is strict; what has not moved is told."""
    guest, host = scene.guest, scene.host
    source, spare = 3 - scene.away(), 24
    guest.resize(64)
    identity = scene.begin(3)
    scene.ballast.ctl("pause", identity)
    with filled_node(host, 3, spare):
        check_equal(evidence.guest_policies(guest), {"prefer=static:3"}, "policies while pages move")
        guest.pattern_start(48, name="new")
        has = evidence.guest_bytes_by_node(guest)
        check_equal(evidence.kernel_log(host, "oom-kill"), [], "processes killed for want of memory")
        scene.ballast.ctl("resume", identity)
        operation = scene.end(identity, ("incomplete",), 240)
        check("no_room" in codes(operation), f"the reason is that there is no room: {told(operation)}")
        scene.told_to_the_byte(operation, 3)
        # Where nothing is free it is not bound, and may go where it came from.
        check("no_room" in {warning["code"] for warning in operation["warnings"]}, f"that it is told: {operation['warnings']}")
        check_equal(evidence.guest_policies(guest), {"prefer=static:3"}, "policies of a guest that does not fit")
        check_equal(scene.ballast.guest(guest.name)["placement"]["policy"], {"mode": "bind", "nodes": [3], "loose": True},
                    "the policy that is told")
        check({source, 3} <= {node for mems in evidence.cpusets(guest).values() for node in evidence.numbers(mems)},
              f"it may use its old node: {evidence.cpusets(guest)}")
        scene.tell(f"destination full: {told(operation)}; with new memory it was on {has}, then {evidence.mib_by_node(guest)}")
    # What is left goes when there is room again.
    scene.ballast.ctl("move", guest.name, "--to", 3, "--timeout", "120")
    check_equal(scene.bytes_off(3), 0, "bytes left by the next move")
    check_equal(evidence.guest_policies(guest), {"bind:3"}, "policies after the next move")
    check_equal(guest.pattern_stop("new")["errors"], 0, "pattern errors in new memory")
    guest.resize(0)


def not_a_page(scene):
    """None of what is to move can: it has failed, and what was changed for it is put back."""
    guest, node = scene.guest, scene.away()
    source = 3 - node
    with memory_peer.Peer(guest, "hold", 256):
        identity = scene.ballast.ctl("move", guest.name, "--to", node, "--detach").out.strip()
        operation = scene.end(identity, ("incomplete",))
        check_equal(codes(operation), {"page_busy"}, "why pages stayed")
        before, pins = scene.placement(), scene.host.virsh("vcpupin", guest.name).out
        identity = scene.ballast.ctl("move", guest.name, "--map", f"{source}:3", "--cpus", "--detach").out.strip()
        operation = scene.end(identity, ("failed",))
        steps = {step["kind"] for step in operation["steps"]}
        check({"cpuset", "memory_policy", "cpus", "move"} <= steps, f"there was something to put back: {steps}")
        check_equal([(r["code"], r["bytes"]) for r in operation["remainder"]], [("page_busy", 256 * 1024)],
                    "what stayed, and why")
        check_equal(scene.placement(), before, "placement after a move of which not one page came")
        check_equal(scene.host.virsh("vcpupin", guest.name).out, pins, "pins of the vCPUs")
    scene.tell(f"not one page came: {told(operation)}")


def pool_totals(host):
    return {node: total for node, (total, _) in evidence.pools(host).items()}


def hugetlb_cancelled(scene):
    """Of huge pages: the pools are what they were, node by node."""
    before, pools = scene.placement(), evidence.pools(scene.host)
    identity = scene.begin(scene.away())
    check(evidence.pools(scene.host) != pools, f"the pools are in use: {pools}")
    scene.ballast.ctl("cancel", identity, "--undo", "yes", "--detach")
    operation = scene.end(identity, ("cancelled",))
    check_equal(operation["undo"], "done", f"undo of a cancelled move: {told(operation)}")
    check_equal(scene.placement(), before, "placement after a move that was cancelled with undo")
    check_equal(evidence.pools(scene.host), pools, "pools (total, free) after it")
    scene.tell(f"huge pages, cancelled with undo: pools (total, free) as before, {pools}")


def hugetlb_worker_killed(scene):
    node, before = scene.away(), pool_totals(scene.host)
    identity = scene.begin(node)
    scene.host.run(["kill", "-9", *map(str, scene.ballast.workers())])
    operation = scene.end(identity, ("succeeded",))
    check("partial" in {step["state"] for step in operation["steps"]}, f"the cut pass is told: {told(operation)}")
    check_equal(scene.bytes_off(node), 0, "bytes left of a move that went on")
    after = pool_totals(scene.host)
    check_equal(sum(after.values()), sum(before.values()), f"huge pages of all nodes: {before}, {after}")
    scene.tell(f"huge pages, worker killed: pools {before}, then {after}; {told(operation)}")


def hugetlb_exited(scene):
    before = pool_totals(scene.host)
    identity = scene.begin(scene.away())
    scene.host.virsh("destroy", scene.guest.name)
    scene.guest.channel.close()
    scene.guest.channel = None
    operation = scene.end(identity, ("incomplete", "failed"), 60)
    check("guest_gone" in codes(operation), f"the reason is that the guest is gone: {told(operation)}")
    check_equal(pool_totals(scene.host), before, "pools' totals after the guest has ended in its move")
    scene.tell(f"huge pages, guest ended: pools as before, {evidence.pools(scene.host)}; {told(operation)}")


def lazy_worker_killed(scene):
    """The one that watches pages follow their CPUs: its leave for AutoNUMA is taken back, and the rest is moved."""
    guest, node = scene.guest, scene.away()
    identity = scene.ballast.ctl("move", guest.name, "--to", node, "--lazy", "--timeout", "120", "--detach").out.strip()
    wait_for(lambda: any(policy.startswith("bind=") for policy in evidence.guest_policies(guest)), 30,
             "pages to be left to touch")
    scene.going_on(identity)
    scene.host.run(["kill", "-9", *map(str, scene.ballast.workers())])
    operation = scene.end(identity, ("succeeded",))
    check_equal([step["state"] for step in operation["steps"] if step["kind"] == "lazy"], ["partial"],
                f"what became of the step: {told(operation)}")
    check_equal(scene.bytes_off(node), 0, "bytes left")
    check_equal(evidence.guest_policies(guest), {f"bind:{node}"}, "policies after a lazy move whose worker was killed")
    scene.tell(f"lazy worker killed: {told(operation)}")


def saved(scene):
    """libvirt saves the guest: its pages are left alone."""
    identity = scene.begin(scene.away())
    scene.host.virsh("save", scene.guest.name, "/run/saved", timeout=120)
    operation = scene.end(identity, ("incomplete", "failed"), 30)
    check(codes(operation) & {"migration_job", "guest_gone"}, f"the reason is the save: {told(operation)}")
    scene.tell(f"saved by virsh: {told(operation)}")
    scene.host.virsh("restore", "/run/saved", timeout=120)
    scene.host.run(["rm", "/run/saved"])
    scene.guest.wait_boot()


def migrated(scene):
    """It live-migrates to another host."""
    guest, neighbour = scene.guest, scene.neighbour
    neighbour.ready()
    # libvirt takes seconds to start the guest's other half.
    identity = scene.begin(scene.away(), "5MiB")
    migration = neighbour.migration(guest)
    operation = scene.end(identity, ("incomplete", "failed"), 60)
    check(codes(operation) & {"migration_job", "guest_gone"}, f"the reason is the migration: {told(operation)}")
    check_equal(migration.wait(120).rc, 0, f"virsh migrate: {migration.err}")
    neighbour.take_over(guest)
    scene.tell(f"live-migrated: {told(operation)}")


def descriptors(host, pid):
    """(open descriptors but for the watches of groups, those: ballastd keeps one for each guest that it has moved)."""
    names = host.out(f"ls -l /proc/{pid}/fd").splitlines()
    watches = sum("anon_inode:inotify" in name for name in names)
    return len(names) - watches, watches


def nothing_leaked(scene, pid, baseline):
    wait_for(lambda: not scene.ballast.workers(), 10, "all workers to have ended")
    # A connection of the last question may be on its way to be closed.
    wait_for(lambda: descriptors(scene.host, pid)[0] <= baseline, 10, "no descriptor to be left open")
    check_at_most(descriptors(scene.host, pid)[1], len(scene.host.guests), "watches of groups, one for each guest")
    if scene.guest.channel and not scene.guest.channel.lost:
        check_equal(scene.guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {scene.guest.name}")


# What happens to which guest, in this order. The one that leaves this host goes last: nothing stands on it.
FAULTS = [(1, saved)] + \
    [(0, fault) for fault in (destination_fills_up, pause_resume_cancel, cancel_without_undo, cancel_before_pages, suspended,
                              worker_killed, lazy_worker_killed, not_a_page, hotplug, exited)] + \
    [(2, fault) for fault in (hugetlb_cancelled, hugetlb_worker_killed, hugetlb_exited)] + [(1, migrated)]


@story(11, "a move whose guest, destination, worker or caller gets in its way ends in time, with the truth", limit_s=900)
def move_faults(tell):
    with booted_host(dimms=[Dimm("dimm1", 3, 512)]) as host:
        guests = [Guest(host, "g1", cells=[Cell(192, 2)], vcpus_now=1, nodes="1", virtio_mem=[VirtioMem(128)]),
                  Guest(host, "g2", 192, nodes="1"),
                  Guest(host, "g3", 192, nodes="1", backing="hugepages", agent=False)]
        check_equal(evidence.set_hugepages(host, 1, G3_PAGES), G3_PAGES, "huge pages on node 1")
        start_guests(*guests)
        ballast = Ballast(host, {"limits": {"reserve": "64MiB"}})
        ballast.start()
        neighbour = Neighbour(host)
        ballast.wait_agent("g1", "g2")
        for guest in guests:
            guest.pattern_start(24, pace_us=500)
        pid = ballast.pid
        baseline = descriptors(host, pid)[0]
        scenes = [Scene(host, ballast, guest, neighbour, tell) for guest in guests]
        check_equal(scenes[0].placement()["nodes"], [1], "nodes of g1 at the beginning")
        tell(f"g1 on {evidence.mib_by_node(guests[0])}, g2 on {evidence.mib_by_node(guests[1])}; "
             f"ballastd has {baseline} descriptors")
        cases = Cases(tell)
        for which, fault in FAULTS:
            began, scene = time.monotonic(), scenes[which]
            if not cases.run(fault, scene):
                scene.calm()
            cases.run(nothing_leaked, scene, pid, baseline)
            tell(f"  ({fault.__name__}: {time.monotonic() - began:.0f} s)")
        check_equal(ballast.pid, pid, "ballastd is the same process as before")
        cases.end()


if __name__ == "__main__":
    main()
