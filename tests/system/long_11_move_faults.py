#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 11: a move while its guest, its destination, its worker or its caller does something else."""

import contextlib
import os
import sys
import time
from datetime import datetime

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast, FINAL, SOCKET  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Cell, Guest, VirtioMem, start_guests  # noqa: E402
from testbed.story import booted_host, check, check_at_least, check_at_most, check_equal, main, story, wait_for  # noqa: E402

MIB = 1 << 20
# A move at this rate lasts long enough for something to happen in its middle.
SLOW = "20MiB"
# A guest that runs touches memory between two looks at it.
NOISE = 2 * MIB


class Scene:
    """A daemon and a guest whose moves are disturbed."""

    def __init__(self, host, ballast, guest, tell):
        self.host, self.ballast, self.guest, self.tell = host, ballast, guest, tell

    def placement(self):
        """What a move changes, by evidence that is not Ballast's own."""
        return {"nodes": sorted(evidence.guest_bytes_by_node(self.guest)), "policy": evidence.guest_policies(self.guest),
                "cpusets": evidence.cpusets(self.guest)}

    def bytes_off(self, node):
        return sum(size for where, size in evidence.guest_bytes_by_node(self.guest).items() if where != node)

    def begin(self, node, *words):
        """Starts a slow move and waits until it is well in its middle; returns the operation's id."""
        identity = self.ballast.ctl("move", self.guest.name, "--to", node, "--budget", SLOW, "--timeout", "120", "--detach",
                                    *words).out.strip()

        def in_the_middle():
            operation = self.ballast.operation(identity)
            check(operation["state"] not in FINAL, f"a slow move has not ended before its middle: {operation}")
            return self.moved(operation) >= 8 * MIB
        wait_for(in_the_middle, 60, "the move to be in its middle")
        return identity

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
        return operation

    def bring_home(self, node):
        self.ballast.ctl("move", self.guest.name, "--to", node, "--timeout", "120")
        is_now = self.placement()
        check_equal((is_now["nodes"], is_now["policy"]), ([node], {f"bind:{node}"}), f"{self.guest.name} brought back")

    def emptiest(self, *nodes):
        """Of these nodes the one that has least of the guest."""
        where = evidence.guest_bytes_by_node(self.guest)
        return min(nodes, key=lambda node: where.get(node, 0))


def told(operation):
    """An operation in a line."""
    reasons = [f"{r['code']} {r['object']} {r['bytes'] / MIB:.1f} MiB ({r['detail']})" for r in operation["remainder"]]
    steps = [f"{s['kind']} {s['state']}" for s in operation["steps"]]
    return f"{operation['state']}, undo {operation['undo']}; {'; '.join(reasons) or 'no remainder'}; steps {', '.join(steps)}"


def codes(operation):
    return {remainder["code"] for remainder in operation["remainder"]}


def pause_resume_cancel(scene):
    """Each takes effect within a second; cancelled with undo everything is as it was."""
    before = scene.placement()
    identity = scene.begin(2)
    scene.ballast.ctl("pause", identity)
    time.sleep(1)
    at_pause, off = scene.ballast.operation(identity), scene.bytes_off(2)
    time.sleep(2)
    later = scene.ballast.operation(identity)
    check_equal(later["state"], "paused", "state of a paused move")
    check_equal(scene.moved(later) - scene.moved(at_pause), 0, "bytes moved from the second second of a pause on")
    check_at_most(abs(scene.bytes_off(2) - off), NOISE, "bytes that left in the pause by numa_maps")
    scene.ballast.ctl("resume", identity)
    wait_for(lambda: scene.moved(scene.ballast.operation(identity)) > scene.moved(later), 30, "a resumed move to go on")
    # By the host's clock and the daemon's own time of the step's end: asking takes longer than what is asked about.
    began = float(scene.host.out(f"date +%s.%N; curl -s --unix-socket {SOCKET} -H 'Content-Type: application/json' "
                                 f"-d '{{\"undo\": true}}' http://localhost/v1/operations/{identity}/cancel").split()[0])
    operation = scene.end(identity, ("cancelled",))
    ended = max(datetime.fromisoformat(step["ended_at"].replace("Z", "+00:00")).timestamp()
                for step in operation["steps"] if step["kind"] == "move")
    check_at_most(ended - began, 3, "seconds until a cancelled mover had ended")
    check_equal(operation["undo"], "done", "undo of a cancelled move")
    check_equal(scene.placement(), before, "placement after a move that was cancelled with undo")
    scene.tell(f"paused: not a byte in 2 s; resumed; cancelled in {ended - began:.2f} s, all as before")


def cancel_without_undo(scene):
    identity = scene.begin(2)
    scene.ballast.ctl("cancel", identity, "--undo", "no", "--detach")
    operation = scene.end(identity, ("cancelled",), 30)
    where = evidence.guest_bytes_by_node(scene.guest)
    check_equal(sorted(where), [1, 2], "nodes of a move that was cancelled without undo")
    check("cancelled" in codes(operation), f"the reason is the cancel: {told(operation)}")
    scene.tell(f"cancelled without undo: {evidence.mib_by_node(scene.guest)}")
    scene.bring_home(1)


def cancel_before_pages(scene):
    """At once, when hardly more than cpuset and policy can have been set."""
    before = scene.placement()
    identity = scene.ballast.ctl("move", scene.guest.name, "--to", 2, "--budget", SLOW, "--detach").out.strip()
    scene.ballast.ctl("cancel", identity, "--undo", "yes", "--detach")
    operation = scene.end(identity, ("cancelled",))
    check_equal(scene.placement(), before, "placement after a move that was cancelled at its beginning")
    scene.tell(f"cancelled at once: all as before ({told(operation)})")


def suspended(scene):
    identity = scene.begin(2)
    scene.host.virsh("suspend", scene.guest.name)
    operation = scene.end(identity, ("succeeded",))
    check_equal(scene.guest.state, "paused", "state of the guest")
    check_equal(sorted(evidence.guest_bytes_by_node(scene.guest)), [2], "nodes of a guest that was paused in its move")
    scene.host.virsh("resume", scene.guest.name)
    scene.tell(f"paused by virsh: {operation['state']}")
    scene.bring_home(1)


def worker_killed(scene):
    identity = scene.begin(2)
    scene.host.run(["kill", "-9", *map(str, scene.ballast.workers())])
    operation = scene.end(identity, ("succeeded", "incomplete", "failed"))
    if operation["state"] == "succeeded":
        check_equal(sorted(evidence.guest_bytes_by_node(scene.guest)), [2], "nodes of a move that went on")
    else:
        check_at_most(abs(sum(r["bytes"] for r in operation["remainder"]) - scene.bytes_off(2)), NOISE,
                      f"difference of remainder and numa_maps: {told(operation)}")
    scene.tell(f"worker killed: {told(operation)}")
    scene.bring_home(1)


def hotplug(scene):
    """A vCPU and memory are plugged in the middle of a move."""
    identity = scene.begin(2)
    scene.host.virsh("setvcpus", scene.guest.name, "2", "--live")
    scene.guest.resize(256, wait=False)
    operation = scene.end(identity, ("succeeded",))
    wait_for(lambda: scene.guest.virtio_mem_sizes()[0]["current"] == 256 * MIB, 60, "the memory to be plugged")
    scene.guest.run("echo 1 >/sys/devices/system/cpu/cpu1/online", check=False)
    had = evidence.guest_bytes_by_node(scene.guest)
    # What it gets now is touched by both vCPUs.
    for cpu in (0, 1):
        scene.guest.run(f"taskset -p {1 << cpu} $$ >/dev/null; pattern run new{cpu} 48")
        wait_for(lambda cpu=cpu: scene.guest.pattern_status(f"new{cpu}")["filled"], 60, "new memory to be filled")
    has = evidence.guest_bytes_by_node(scene.guest)
    check_at_least(has.get(2, 0) - had.get(2, 0), 32 * MIB, f"new memory on the new node: {had}, then {has}")
    check_equal(sorted(has), [2], "nodes of a guest that grew in the middle of its move")
    check_equal({nodes for name, nodes in evidence.thread_nodes_allowed(scene.guest).items() if name.startswith("CPU ")},
                {"2"}, "nodes that the threads of the vCPUs may use")
    for cpu in (0, 1):
        check_equal(scene.guest.pattern_stop(f"new{cpu}")["errors"], 0, "pattern errors in new memory")
    scene.tell(f"a vCPU and memory plugged: {operation['state']}, {evidence.mib_by_node(scene.guest)}")


@contextlib.contextmanager
def filled_node(host, node, spare_mib):
    """A host process' memory takes all of a node but so much."""
    free = evidence.node_meminfo(host, node)["MemFree"] // MIB - spare_mib
    host.run(f"mkdir -p /run/filler && mount -t tmpfs -o mpol=bind:{node},size={free + 1}m filler /run/filler && "
             f"dd if=/dev/zero of=/run/filler/file bs=1M count={free} status=none", timeout=120)
    try:
        yield
    finally:
        host.run("umount /run/filler")


def destination_fills_up(scene):
    identity = scene.begin(3, "--allow", "remote_memory,stored_xml")
    # It stands still meanwhile, so that it does not take what the filler has counted on: that would be killed for it.
    scene.ballast.ctl("pause", identity)
    with filled_node(scene.host, 3, 40):
        scene.ballast.ctl("resume", identity)
        operation = scene.end(identity, ("incomplete",))
        check("no_room" in codes(operation), f"the reason is that there is no room: {told(operation)}")
        check_at_most(abs(sum(r["bytes"] for r in operation["remainder"]) - scene.bytes_off(3)), NOISE,
                      f"difference of remainder and numa_maps: {told(operation)}, {evidence.mib_by_node(scene.guest)}")
        scene.tell(f"destination full: {told(operation)}")
    check_equal(scene.guest.pattern_rounds(1)["errors"], 0, "pattern errors")
    scene.ballast.ctl("move", scene.guest.name, "--to", "2", "--timeout", "120", "--allow", "remote_memory")
    check_equal(sorted(evidence.guest_bytes_by_node(scene.guest)), [2], "nodes after the next move")


def saved(scene):
    """libvirt saves the guest: its pages are left alone."""
    identity = scene.begin(scene.emptiest(1, 2))
    scene.host.virsh("save", scene.guest.name, "/run/saved", timeout=120)
    operation = scene.end(identity, ("incomplete", "failed"), 30)
    check(codes(operation) & {"migration_job", "guest_gone"}, f"the reason is the save: {told(operation)}")
    scene.tell(f"saved by virsh: {told(operation)}")
    scene.host.virsh("restore", "/run/saved", timeout=120)
    scene.host.run(["rm", "/run/saved"])
    scene.guest.wait_boot()
    check_equal(scene.guest.pattern_rounds(1)["errors"], 0, "pattern errors of the restored guest")


def destroyed(scene):
    identity = scene.begin(scene.emptiest(1, 2))
    began = time.monotonic()
    scene.guest.channel.close()
    scene.guest.channel = None
    scene.host.virsh("destroy", scene.guest.name)
    operation = scene.end(identity, ("incomplete", "failed"), 30)
    check("guest_gone" in codes(operation), f"the reason is that the guest is gone: {told(operation)}")
    scene.tell(f"destroyed: {told(operation)} after {time.monotonic() - began:.1f} s")


def descriptors(host, pid):
    """Open descriptors, but for the watches of groups: ballastd keeps one for each guest that it has moved."""
    return int(host.out(f"ls -l /proc/{pid}/fd | grep -vc anon_inode:inotify"))


def watches(host, pid):
    return int(host.out(f"ls -l /proc/{pid}/fd | grep -c anon_inode:inotify; true"))


@story(11, "a move whose guest, destination, worker or caller gets in its way ends in time, with the truth", limit_s=1200)
def move_faults(tell):
    with booted_host() as host:
        first = Guest(host, "g1", cells=[Cell(256, 2)], vcpus_now=1, nodes="1",
                      virtio_mem=[VirtioMem(512, requested_mib=64)])
        second = Guest(host, "g2", 256)
        start_guests(first, second)
        ballast = Ballast(host, {"limits": {"reserve": "64MiB"}})
        ballast.start()
        ballast.wait_agent("g1", "g2")
        for guest in (first, second):
            guest.pattern_start(112, pace_us=500)
        pid, baseline = ballast.pid, descriptors(host, ballast.pid)
        one, two = Scene(host, ballast, first, tell), Scene(host, ballast, second, tell)
        check_equal(one.placement()["nodes"], [1], "nodes of g1 at the beginning")
        tell(f"g1 on {evidence.mib_by_node(first)}, g2 on {evidence.mib_by_node(second)}; ballastd has {baseline} descriptors")
        for scene, fault in ([(one, fault) for fault in (pause_resume_cancel, cancel_without_undo, cancel_before_pages,
                                                         suspended, worker_killed, hotplug)] +
                             [(two, fault) for fault in (destination_fills_up, saved, destroyed)]):
            began = time.monotonic()
            fault(scene)
            wait_for(lambda: not ballast.workers(), 10, "all workers to have ended")
            # A connection of the last question may be on its way to be closed.
            wait_for(lambda: descriptors(host, pid) <= baseline, 10, "no descriptor to be left open")
            check_at_most(watches(host, pid), 2, "watches of groups, for two guests")
            check_equal(first.pattern_status()["errors"], 0, "pattern errors in g1")
            tell(f"  ({fault.__name__}: {time.monotonic() - began:.0f} s)")
        check_equal(ballast.pid, pid, "ballastd is the same process as before")


if __name__ == "__main__":
    main()
