#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 39: a node that is drained leaves the cpusets of slices: whose processes get nothing there, and have it back afterwards.

The virtual host has no systemd: one of its guests has, with two nodes. BALLAST_CASES="name name" runs only these cases.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import Ballast  # noqa: E402
from testbed import evidence, systemd_guest  # noqa: E402
from testbed.guest import Cell, Guest  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_equal, main, story  # noqa: E402
from testbed.virtual_host import wait_for  # noqa: E402

MIB = 1 << 20
NODE, TOUCHED_MIB = 3, 32
CGROUP = "/sys/fs/cgroup"
# What was never said inherits; one of them says all that there is.
SLICES = {"system.slice": "", "user.slice": "0-3", "idle.slice": ""}

# A process of the slice touches memory, on a CPU of the node, and tells its number.
TOUCH = """
import mmap, os, time
memory = mmap.mmap(-1, %d, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, len(memory), 4096):
    memory[at] = 1
print("ready", os.getpid(), flush=True)
time.sleep(100000)
""" % (TOUCHED_MIB * MIB)


class Scene:
    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.guest = Guest(host, "db1", 128, nodes=str(NODE), agent=False)
        # In the last one libvirt, without systemd, has its guests.
        self.ballast = Ballast(host, {"daemon": {"slice_cpusets": " ".join(SLICES) + " machine"}, "limits": {"reserve": "128MiB"}})

    def start(self):
        self.host.write("/proc/sys/kernel/numa_balancing", "0")
        self.guest.start()
        self.guest.pattern_start(16, pace_us=1000)
        self.host.run(f"echo +cpuset >{CGROUP}/cgroup.subtree_control; cd {CGROUP} && mkdir -p {' '.join(SLICES)} "
                      "system.slice/a.service user.slice/b.scope && for d in system.slice user.slice; do "
                      "echo +cpuset >$d/cgroup.subtree_control; done && echo 0-3 >user.slice/cpuset.mems")
        for group in ("system.slice/a.service", "user.slice/b.scope"):
            self.spawn(group, "sleep", "100000")
        self.ballast.start()
        self.dimm = drains.dimm_id(self.host, self.ballast, "dimm1")

    def spawn(self, group, *words):
        command = " ".join(f"'{word}'" for word in words)
        return self.host.spawn(f"echo $$ >{CGROUP}/{group}/cgroup.procs && exec {command}")

    def touched(self, group="system.slice/a.service"):
        """Bytes by node that a process there gets which runs on a CPU of the node and touches memory for the first time."""
        process = self.spawn(group, "taskset", "-c", str(NODE), "python3", "-c", TOUCH.replace("'", '"'))
        wait_for(lambda: "ready" in process.out or not process.running, 60, "a process to touch its memory")
        nodes = {}
        for mapping in evidence.numa_maps(self.host, int(process.out.split()[1])):
            if not mapping.file:
                for node, size in mapping.bytes.items():
                    nodes[node] = nodes.get(node, 0) + size
        process.kill()
        process.wait()
        return nodes

    def mems(self, file="cpuset.mems"):
        return {name: self.host.read(f"{CGROUP}/{name}/{file}").strip() for name in SLICES}

    def guest_group_mems(self):
        """Of the group at the top in which libvirt has db1, as it is in effect."""
        top = next(iter(evidence.cpusets(self.guest))).split("/")[1]
        check_equal(top, "machine", "the group in which libvirt has its guests")
        return self.host.read(f"{CGROUP}/{top}/cpuset.mems.effective").strip()

    def drain(self, finish):
        operation = self.ballast.ctl_json("drain", "--dimm", self.dimm, "--finish", finish, "--allow", "stored_xml,remote_memory",
                                          "--timeout", "300", timeout=400)
        check_equal((operation["state"], operation["remainder"]), ("succeeded", []), f"how the drain --finish {finish} ended")
        return operation

    def newest_undrain(self):
        return next(one for one in self.ballast.get("/v1/operations")["items"] if one["kind"] == "undrain")

    def check_shut(self, operation):
        """Nobody below the slices gets anything there."""
        steps = [(step["kind"], step["state"]) for step in operation["steps"]]
        check_equal(dict(steps).get("slice_cpusets"), "done", f"what became of the step: {steps}")
        check_equal(self.mems(), dict.fromkeys(SLICES, "0-2"), "cpusets of the slices while it is held")
        check_equal(self.mems("cpuset.mems.effective"), dict.fromkeys(SLICES, "0-2"), "their sets in effect")
        check_equal(self.guest_group_mems(), "0-2", "nodes of libvirt's guests while it is held")
        for group in ("system.slice/a.service", "user.slice/b.scope"):
            got = self.touched(group)
            check_at_least(sum(got.values()), TOUCHED_MIB * MIB, f"bytes that a process in {group} got: {got}")
            check_equal(got.get(NODE, 0), 0, f"bytes of them on node {NODE}")

    def check_open(self):
        """As before: the kernel lets no set become none again with processes below, and that of all nodes says the same."""
        check_equal(self.mems(), {"system.slice": "0-3", "user.slice": "0-3", "idle.slice": ""}, "cpusets of the slices afterwards")
        check_equal(self.mems("cpuset.mems.effective"), dict.fromkeys(SLICES, "0-3"), "their sets in effect afterwards")
        check_equal(self.guest_group_mems(), "0-3", "nodes of libvirt's guests afterwards")
        check_equal(sorted(evidence.guest_bytes_by_node(self.guest)), [NODE], "nodes of db1 afterwards")
        got = self.touched()
        check_at_least(got.get(NODE, 0), TOUCHED_MIB * MIB // 2, f"bytes that a process gets on node {NODE} again: {got}")


def empty(scene):
    """Memory that stays online: nobody gets any of it, over a kill of the daemon, until the undrain."""
    check_at_least(scene.touched().get(NODE, 0), TOUCHED_MIB * MIB // 2, f"bytes that a process gets on node {NODE}, undrained")
    plan = scene.ballast.ctl_json("drain", "--dimm", scene.dimm, "--finish", "empty", "--allow", "stored_xml,remote_memory",
                                  "--dry-run")
    check_equal([step["kind"] for step in plan["steps"]], ["cordon", "move", "slice_cpusets"], "steps of the plan")
    scene.check_shut(scene.drain("empty"))
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "states of the DIMM's blocks")
    scene.ballast.kill()
    scene.ballast.start()
    check_equal(scene.mems(), dict.fromkeys(SLICES, "0-2"), "cpusets of the slices after a kill")
    check_equal(drains.give_back(scene.ballast), "released", "state of the drain after an undrain")
    scene.check_open()
    scene.tell("held empty and online, and no process of a slice got a page there")


def offline(scene):
    """Memory that somebody brings online under the hold, as a reboot or a new DIMM does."""
    scene.check_shut(scene.drain("offline"))
    scene.host.online_dimm("dimm1")
    wait_for(lambda: scene.host.read(f"{CGROUP}/cpuset.mems.effective").strip() == "0-3", 30, "the node to have memory again")
    check_equal(scene.touched().get(NODE, 0), 0, f"bytes that a process gets on node {NODE} after that")
    check_equal(drains.give_back(scene.ballast), "released", "state of the drain after an undrain")
    scene.check_open()
    scene.tell("brought online behind our back: nothing of it for slices")


def harm(scene):
    """What the kernel would rewrite is left alone, and so is what an administrator has set since."""
    interleaved = scene.spawn("user.slice/b.scope", "numactl", "--interleave=all", "sleep", "100000")
    sleeper = 0

    def policies():
        return {mapping.policy for mapping in evidence.numa_maps(scene.host, sleeper)}

    def is_there():
        nonlocal sleeper
        numbers = scene.host.read(f"{CGROUP}/user.slice/b.scope/cgroup.procs").split()
        sleeper = next((int(n) for n in numbers if "interleave" in scene.host.out(f"head -1 /proc/{n}/numa_maps")), 0)
        return sleeper

    wait_for(is_there, 30, "a process with a policy")
    operation = scene.drain("empty")
    told = [(one["object"], one["detail"]) for one in operation["warnings"] if one["code"] == "slice_cpuset"]
    check_equal(told, [("slice user.slice", f"the kernel would rewrite the policy interleave:0-3 of process {sleeper}")],
                "what is told of slices")
    check_equal(scene.mems(), {"system.slice": "0-2", "user.slice": "0-3", "idle.slice": "0-2"}, "cpusets of the slices")
    check_equal(policies(), {"interleave:0-3"}, "policies of the process")
    scene.host.write(f"{CGROUP}/idle.slice/cpuset.mems", "1")
    check_equal(drains.give_back(scene.ballast), "released", "state of the drain after an undrain")
    undrain = scene.newest_undrain()
    warnings = [one["detail"] for one in undrain["warnings"] if one["code"] == "slice_cpuset"]
    check_equal(warnings, ["somebody has set it to nodes 1 since: it is left so"], f"warnings of the undrain: {undrain['warnings']}")
    check_equal(scene.mems(), {"system.slice": "0-3", "user.slice": "0-3", "idle.slice": "1"}, "cpusets of the slices afterwards")
    check_equal(policies(), {"interleave:0-3"}, "policies of the process afterwards")
    check(interleaved.running, "the process runs")
    interleaved.kill()
    scene.tell(f"left alone: {told[0][1]}")


def later(scene):
    """What a process has there keeps its slice from being shut, until it has ended."""
    process = scene.spawn("system.slice/a.service", "taskset", "-c", str(NODE), "python3", "-c", TOUCH.replace("'", '"'))
    wait_for(lambda: "ready" in process.out or not process.running, 60, "a process to touch its memory")
    operation = scene.drain("empty")
    check_equal([one["object"] for one in operation["warnings"] if one["code"] == "slice_cpuset"], ["slice system.slice"],
                "slices that are left")
    shut = {"system.slice": "0-3", "user.slice": "0-2", "idle.slice": "0-2"}
    check_equal(scene.mems("cpuset.mems.effective"), shut, "sets of the slices in effect")

    def told():
        drain = next(one for one in scene.ballast.get("/v1/drains")["items"] if one["operation"] == operation["id"])
        return [one["detail"] for one in drain["newcomers"] if one["code"] == "slice_cpuset"]

    def steps():
        return [(step["kind"], step["state"]) for step in scene.ballast.get(f"/v1/operations/{operation['id']}")["steps"]]

    before = steps()
    wait_for(lambda: any("MiB on nodes" in one for one in told()), 150, "the drain to say that they were tried again")
    check_equal(steps(), before, "steps of the drain, while nothing could be done")
    check_equal(scene.mems("cpuset.mems.effective"), shut, "sets of the slices in effect, tried once more")
    process.kill()
    process.wait()
    wait_for(lambda: not told(), 240, "the slices to be shut")
    check_equal(steps()[len(before):], [("slice_cpusets", "done")], "what was done then")
    check_equal(scene.mems("cpuset.mems.effective"), dict.fromkeys(SLICES, "0-2"), "sets of the slices in effect afterwards")
    check_equal(scene.touched().get(NODE, 0), 0, f"bytes that a process gets on node {NODE}")
    check_equal(drains.give_back(scene.ballast), "released", "state of the drain after an undrain")
    scene.check_open()
    scene.tell("left while a process had its memory there, and shut when that had ended")


def systemd(scene):
    """In a guest of two nodes whose slices systemd owns: it is asked, and its settings are as they were afterwards."""
    # Its processor is in the first, which has room for all that it starts with.
    guest = Guest(scene.host, "unit1", cells=[Cell(576), Cell(96)], nodes="1", agent=False, image=systemd_guest.image)
    guest.start()

    def setting():
        return guest.out(["systemctl", "show", "--value", "-p", "AllowedMemoryNodes", "system.slice"]).strip()

    def mems(file="cpuset.mems.effective"):
        return guest.out(f"cat {CGROUP}/system.slice/{file} || cat {CGROUP}/cpuset.mems.effective").strip()

    def step(verb, stream=""):
        return guest.run(f"/bin/slice_peer {verb} system.slice 1 {stream}")

    for found in ("", "0-1"):
        if found:
            guest.run(["systemctl", "set-property", "--runtime", "system.slice", f"AllowedMemoryNodes={found}"])
        check_equal(setting(), found, "systemd's setting at first")
        step("before", ">/tmp/before")
        step("run")
        check_equal((setting(), mems("cpuset.mems"), mems()), ("0", "0", "0"), "systemd's setting, and the slice's set, then")
        # Whatever it writes anew it writes as it has been told.
        guest.run(["systemctl", "daemon-reload"])
        check_equal((setting(), mems()), ("0", "0"), "the same after it has read its units again")
        step("undo", "</tmp/before")
        check_equal((setting(), mems()), (found, "0-1"), "the same afterwards")
    scene.tell("the slices of systemd's lose a node and have it back through it")


def stop_writer(scene):
    check_equal(scene.guest.pattern_stop()["errors"], 0, "pattern errors in db1")


@story(39, "a node that is drained leaves the cpusets of slices once it is empty, and comes back first", limit_s=600)
def slices(tell):
    with booted_host() as host:
        scene = Scene(host, tell)
        scene.start()
        cases = Cases(tell)
        wanted = os.environ.get("BALLAST_CASES", "").split()
        for case in (empty, offline, later, harm, stop_writer, systemd):
            if not wanted or case.__name__ in wanted:
                cases.run(case, scene)
        cases.end()


if __name__ == "__main__":
    main()
