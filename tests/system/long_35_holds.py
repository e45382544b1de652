#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 35: holds of drains that overlap, that others come into, whose DIMM was pulled and plugged in again or stays out, whose
guest was put elsewhere meanwhile, and whose host lost its power.

BALLAST_CASES="name name" runs only these cases.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ballast import Ballast  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest, VirtioMem  # noqa: E402
from testbed.story import Cases, booted_host, check, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Dimm  # noqa: E402

MIB = 1 << 20
STATE = "state"


class Scene:
    """A DIMM on node 3, and db1 bound to it."""

    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.ballast = Ballast(host, {"daemon": {"state_directory": f"{host.RESULTS}/{STATE}", "look_interval_s": 5},
                                      "limits": {"reserve": "256MiB", "bytes_per_s": "48MiB"}})
        self.ballast.start()
        self.guest = None

    def clear(self):
        """What a case that failed has left would be in the next one's way."""
        for drain in self.drains():
            if drain["state"] == "draining":
                self.ballast.ctl("cancel", drain["operation"], "--undo", "yes", timeout=240, check=False)
            elif drain["state"] not in ("released", "stopped"):
                self.ballast.ctl("undrain", drain["id"], timeout=240, check=False)

    def begin(self):
        """db1 runs on node 3, which is online, and nothing is held; returns the state of the host."""
        if self.guest is None:
            self.guest = Guest(self.host, "db1", 256, nodes="3")
            self.guest.start()
            self.ballast.wait_agent("db1")
            self.guest.pattern_start(48, pace_us=1000)
        check_equal({d["state"] for d in self.drains()} - {"released", "stopped"}, set(), "drains that stand")
        return self.state()

    def state(self):
        """What a drain changes, by evidence that is not Ballast's own."""
        return {"blocks": {n: (b["state"], b["zones"]) for n, b in evidence.blocks(self.host).items()
                           if n in self.host.dimm_blocks("dimm1")},
                **self.place(self.guest)}

    def place(self, guest):
        """Where the guest is, and where it may be."""
        return {"nodes": sorted(evidence.guest_bytes_by_node(guest)), "policy": evidence.guest_policies(guest),
                "cpusets": evidence.cpusets(guest)}

    def check_given_back(self, before):
        check_equal(self.state(), before, "the host after the last undrain")
        check_equal(self.guest.pattern_rounds(1)["errors"], 0, "pattern errors in db1")

    def dimm(self):
        return next(d["id"] for d in self.ballast.get("/v1/dimms?fresh=true")["items"] if d["node"] == 3)

    def drains(self):
        return self.ballast.get("/v1/drains")["items"]

    def drain_of(self, operation):
        return next(d for d in self.drains() if d["operation"] == operation)

    def drain(self, *words):
        """Begins one; returns its operation."""
        return self.ballast.ctl("drain", *words, "--allow", "stored_xml,remote_memory", "--timeout", "180",
                                "--detach").out.strip()

    def newcomers(self, operation):
        """{object: (bytes, code)} of what has come to memory that the drain had emptied."""
        return {n["object"]: (n["bytes"], n["code"]) for n in self.drain_of(operation)["newcomers"]}

    def undrain(self, operation, state):
        identity = self.drain_of(operation)["id"]
        self.ballast.ctl("undrain", identity, "--timeout", 200, timeout=240, check=False)
        check_equal(self.ballast.get(f"/v1/drains/{identity}")["state"], state, f"state of {identity}, undrained")


def two_of_one(scene):
    """A DIMM, and then its whole node; the first of them ends first."""
    before = scene.begin()
    first = scene.drain("--dimm", scene.dimm(), "--finish", "offline")
    refused = scene.ballast.ctl("drain", "--node", "3", "--finish", "offline", "--allow", "stored_xml,remote_memory", check=False)
    check(refused.rc != 0 and first in refused.err, f"another one while the first is at work is refused by its name: {refused}")
    check_equal(scene.ballast.wait_operation(first, 240)["state"], "succeeded", "state of the first drain")
    second = scene.drain("--node", "3", "--finish", "offline")
    check_equal(scene.ballast.wait_operation(second, 60)["state"], "succeeded", "state of the second drain")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "blocks that two drains hold")
    scene.undrain(first, "deferred")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "blocks that the second drain holds")
    check(3 not in evidence.guest_bytes_by_node(scene.guest), "db1 stays away from a node without memory")
    scene.undrain(second, "released")
    check_equal(scene.drain_of(first)["state"], "released", "state of the first drain")
    scene.check_given_back(before)
    scene.tell("two drains of the same memory: it comes back with the last of them")


def plugged_again(scene):
    """Pulled, and another put into its place."""
    before = scene.begin()
    operation = scene.drain("--dimm", scene.dimm(), "--eject")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    evidence.wait_dimm_deleted(scene.host, "dimm1")
    scene.undrain(operation, "deferred")
    check(3 not in evidence.guest_bytes_by_node(scene.guest), "db1 stays away from a node without memory")
    scene.host.plug_dimm(Dimm("dimm1", 3), online=False)
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "blocks of a new DIMM")
    scene.undrain(operation, "released")
    scene.check_given_back(before)
    scene.tell("pulled, another one plugged in, undrained: its blocks are online, and db1 is back on them")


def kept_empty(scene):
    """Others come to memory that is held empty and online."""
    before = scene.begin()
    operation = scene.drain("--dimm", scene.dimm(), "--finish", "empty")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    check(3 not in evidence.guest_bytes_by_node(scene.guest), "db1 has left node 3")
    guest = Guest(scene.host, "web1", 256, nodes="3")
    # Nobody moves it away before it has been looked at.
    scene.ballast.kill()
    guest.start()
    found = scene.place(guest)
    check_equal((found["nodes"], found["policy"]), ([3], {"bind:3"}), "nodes and policy of web1, started on node 3")
    scene.ballast.start()
    moved = wait_for(lambda: next((o for o in scene.ballast.get("/v1/operations")["items"]
                                   if o["actor"] == "ballastd" and o["state"] not in ("pending", "running")), None), 120,
                     "web1 to be moved away")
    check_equal((moved["kind"], moved["state"], moved["drain"]), ("move", "succeeded", scene.drain_of(operation)["id"]),
                "the move of a guest that started on node 3")
    check(f"guest {guest.name}" in scene.ballast.log(), "the log says that web1 has come")
    wait_for(lambda: not scene.newcomers(operation), 60, "nobody to be there any more")
    check(evidence.guest_bytes_by_node(guest).get(3, 0) <= 1 * MIB, f"web1 is off node 3: {evidence.guest_bytes_by_node(guest)}")
    check_equal(evidence.set_hugepages(scene.host, 3, 16), 16, "huge pages that somebody makes on node 3")
    wait_for(lambda: evidence.hugepages(scene.host, 3) == (0, 0), 60, "huge pages on node 3 to be given back")
    check(scene.place(guest)["policy"] != found["policy"], "web1 has another policy")
    check("node 3, pool of 2 MiB pages" in scene.ballast.log(), "the log says that a pool has grown")
    wait_for(lambda: not scene.newcomers(operation), 60, "nothing to be there any more")
    grown = Guest(scene.host, "app1", 256, virtio_mem=[VirtioMem(256)])
    grown.start()
    scene.ballast.wait_agent("app1")
    # Where its first pages came from node 3 it is being moved away.
    wait_for(lambda: scene.ballast.ctl("resize", "app1", "384MiB", check=False).rc == 0, 180, "app1 to be grown")
    check(all("prefer" in policy for policy in evidence.guest_policies(grown)), f"policy of app1, grown: {evidence.guest_policies(grown)}")
    grown.destroy()
    scene.undrain(operation, "released")
    check_equal(scene.place(guest), found, "web1 after the undrain")
    check_equal(evidence.hugepages(scene.host, 3), (16, 16), "huge pages on node 3 after the undrain")
    evidence.set_hugepages(scene.host, 3, 0)
    guest.destroy()
    scene.check_given_back(before)
    scene.tell("held empty: a guest that starts there is moved away, a pool that grows there shrinks, a growth keeps away; "
               "undrained, the guest is back and the pool as large as it was made")


def put_elsewhere(scene):
    """While the drain holds their node an operator says where its guests belong: of two by virsh, of db1 by a move.

    app1 is bound nowhere and was on node 3 because its CPU is there: its move has set nothing that could be compared.
    """
    before = scene.begin()
    guest = Guest(scene.host, "web1", 256, nodes="3", mode="restrictive")
    guest.start()
    check_equal(set(evidence.cpusets(guest).values()), {"3"}, "cpusets of web1")
    free = Guest(scene.host, "app1", 192, cpus="3", agent=False, backing="anonymous")
    free.start()
    check(evidence.guest_bytes_by_node(free).get(3, 0) >= 64 * MIB, f"app1 lies on node 3: {evidence.guest_bytes_by_node(free)}")
    operation = scene.drain("--dimm", scene.dimm(), "--finish", "offline")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    put = {}
    for one in (guest, free, scene.guest):
        moved = scene.place(one)
        other = next(node for node in (1, 2) if node not in moved["nodes"])
        if one is not scene.guest:
            scene.host.virsh("numatune", one.name, "--nodeset", str(other), "--live")
        else:
            scene.ballast.ctl("move", one.name, "--to", str(other), "--allow", "stored_xml,remote_memory", timeout=240)
        put[one.name] = scene.place(one)
        check_equal(set(put[one.name]["cpusets"].values()), {str(other)}, f"cpusets of {one.name}, put elsewhere")
    scene.undrain(operation, "released")
    for one in (guest, free, scene.guest):
        check_equal(scene.place(one), put[one.name], f"{one.name}, put elsewhere, after the undrain")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "blocks after the undrain")
    undrain = scene.ballast.get(f"/v1/operations/{scene.drain_of(operation)['undrain_operation']}")
    check_equal(sorted((w["code"], w["object"]) for w in undrain["warnings"]),
                [("changed_since", f"guest {name}") for name in ("app1", "db1", "web1")], "warnings of the undrain")
    for warning in undrain["warnings"]:
        scene.tell(f"{warning['object']} stays where it was put while its node was drained: {warning['detail']}")
    guest.destroy()
    free.destroy()
    scene.ballast.ctl("move", "db1", "--to", "3", "--allow", "stored_xml,remote_memory", timeout=240)
    scene.check_given_back(before)


def power_lost_when_held(scene):
    """The kernel that comes up brings the memory online that a drain holds."""
    scene.begin()
    operation = scene.drain("--dimm", scene.dimm(), "--finish", "offline")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    check_equal(scene.drain_of(operation)["state"], "held", "state before the power was lost")
    lose_power(scene)
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "blocks after the host has booted")
    seen = wait_for(lambda: next((d for d in scene.drains() if d["state"] == "attention"), None), 60,
                    "the drain to say attention")
    check_equal((seen["operation"], seen["online_bytes"]), (operation, 1024 * MIB), "the drain, and what is online")
    guest = Guest(scene.host, "web1", 256, nodes="1")
    guest.start()
    scene.ballast.wait_agent("web1")
    refused = scene.ballast.ctl("move", "web1", "--to", "3", check=False)
    check(refused.rc != 0 and "held" in refused.out + refused.err, f"a move to a held node is refused: {refused.out}{refused.err}")
    scene.undrain(operation, "released")
    scene.ballast.ctl("move", "web1", "--to", "3")
    check_equal(sorted(evidence.guest_bytes_by_node(guest)), [3], "nodes of web1, moved when the hold was gone")
    guest.destroy()
    scene.tell("power lost under a hold: the drain says that 1 GiB is online again, holds it, and can be given back")


def power_lost_in_a_move(scene):
    scene.begin()
    operation = scene.drain("--dimm", scene.dimm(), "--finish", "offline")
    wait_for(lambda: scene.drain_of(operation)["stage"] == "move", 60, "the drain to move db1")
    lose_power(scene)
    ended = scene.ballast.wait_operation(operation, 240)
    drain = scene.drain_of(operation)
    scene.tell(f"power lost in a move: {ended['state']}, drain {drain['state']}, {ended['remainder']}")
    check(ended["state"] in ("succeeded", "failed", "incomplete", "cancelled"), f"a named end: {ended['state']}")
    states = evidence.dimm_states(scene.host, "dimm1")
    check_equal(states, {"offline"} if ended["state"] == "succeeded" else {"online"}, f"blocks of a drain that {ended['state']}")
    if drain["state"] not in ("released", "stopped"):
        scene.undrain(operation, "released")
        check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "blocks after the undrain")


def plugged_smaller(scene):
    """Pulled, and one of half its size put into its place; that one pulled in its turn, and one as large as the first put there."""
    before = scene.begin()
    blocks = len(scene.host.dimm_blocks("dimm1"))
    operation = scene.drain("--dimm", scene.dimm(), "--eject")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    evidence.wait_dimm_deleted(scene.host, "dimm1")
    scene.host.plug_dimm(Dimm("dimm1", 3, 512), online=False)
    identity = scene.drain_of(operation)["id"]
    undrained = scene.ballast.ctl("undrain", identity, "--timeout", 200, timeout=240, check=False)
    check_equal(scene.drain_of(operation)["state"], "released", f"state of the drain whose DIMM is smaller now: {undrained.out}")
    check("512 MiB" in undrained.out and "the block is lost" in undrained.out, f"what is lost is told: {undrained.out}")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "blocks of the smaller DIMM")
    check_equal(scene.place(scene.guest), {name: before[name] for name in ("nodes", "policy", "cpusets")},
                "where db1 is and may be, on a smaller DIMM")

    operation = scene.drain("--dimm", scene.dimm(), "--eject")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain of the smaller DIMM")
    evidence.wait_dimm_deleted(scene.host, "dimm1")
    scene.host.plug_dimm(Dimm("dimm1", 3), online=False)
    scene.undrain(operation, "released")
    every = evidence.blocks(scene.host)
    check_equal(sorted(every[number]["state"] for number in scene.host.dimm_blocks("dimm1")),
                ["offline"] * (blocks // 2) + ["online"] * (blocks // 2), "blocks of the larger DIMM: those that were")
    scene.host.online_dimm("dimm1")
    scene.check_given_back(before)
    scene.tell("a smaller DIMM in its place: what is there comes back with db1, and what is lost is told; of a larger one as much "
               "as there was")


def out_for_good(scene):
    """Pulled, and never plugged in again: the drain is given up, and db1 stays where it is."""
    before = scene.begin()
    operation = scene.drain("--dimm", scene.dimm(), "--eject")
    check_equal(scene.ballast.wait_operation(operation, 240)["state"], "succeeded", "state of the drain")
    evidence.wait_dimm_deleted(scene.host, "dimm1")
    identity = scene.drain_of(operation)["id"]
    scene.undrain(operation, "deferred")
    away, bytes_by_node = scene.place(scene.guest), evidence.guest_bytes_by_node(scene.guest)
    check(3 not in bytes_by_node, f"db1 is not on a node without memory: {bytes_by_node}")
    again = scene.ballast.ctl("undrain", identity, timeout=240, check=False)
    check(again.rc != 0 and "plug the DIMM in again" in again.out and "keep" in again.out,
          f"an undrain says what it waits for, and how to give it up: {again}")
    plan = scene.ballast.ctl("undrain", identity, "--keep", "--dry-run")
    check("uncordon" in plan.out and "guest db1: stays on node" in plan.out and "0 consents" in plan.out,
          f"the plan shows what stays: {plan.out}")
    check_equal(scene.drain_of(operation)["state"], "deferred", "state of the drain after a dry run")
    given_up = scene.ballast.ctl("undrain", identity, "--keep", timeout=240)
    check("succeeded" in given_up.out and "guest db1: stays on node" in given_up.out and "blocks are not there" in given_up.out,
          f"it says what stays: {given_up.out}")
    for when in ("after it", "after a restart"):
        check_equal(scene.drain_of(operation)["state"], "released", f"state of the drain, {when}")
        check_equal(scene.place(scene.guest), away, f"where db1 is and may be, {when}")
        done = scene.ballast.ctl("undrain", identity)
        check("nothing of it is left to be put back" in done.out, f"another undrain, {when}: {done.out}")
        if when == "after it":
            scene.ballast.kill()
            scene.ballast.start()
    scene.host.plug_dimm(Dimm("dimm1", 3), online=False)
    scene.ballast.ctl("undrain", identity, "--keep")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "blocks of a new DIMM")
    check_equal(scene.place(scene.guest), away, "where db1 is and may be, with a new DIMM")
    check_equal(scene.guest.pattern_rounds(1)["errors"], 0, "pattern errors in db1")
    check(before["nodes"] != away["nodes"], f"db1 has moved: {before['nodes']}, {away['nodes']}")
    scene.tell("pulled for good: the drain is given up, db1 stays where it is, and a new DIMM is nobody's")


def lose_power(scene):
    scene.host.lose_power(STATE)
    scene.guest = None
    scene.ballast.start_anew()


CASES = (two_of_one, plugged_again, kept_empty, put_elsewhere, power_lost_when_held, power_lost_in_a_move, plugged_smaller,
         out_for_good)


@story(35, "holds of drains that overlap, of a DIMM that is plugged in again, of guests put elsewhere, and over a loss of power",
       limit_s=1000)
def holds(tell):
    chosen = os.environ.get("BALLAST_CASES", "").split()
    with booted_host() as host:
        scene, cases = Scene(host, tell), Cases(tell)
        for case in CASES:
            if not chosen or case.__name__ in chosen:
                if not cases.run(case, scene):
                    scene.clear()
        cases.end()


if __name__ == "__main__":
    main()
