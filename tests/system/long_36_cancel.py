#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 36: a drain is cancelled in each stage, runs out of time, pauses, is announced, and meets a guest that starts.

BALLAST_CASES="name name" runs only these cases.
"""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
import inside  # noqa: E402
from ballast import DONE, FINAL, Ballast  # noqa: E402
from testbed import evidence, memory_peer  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story  # noqa: E402
from testbed.virtual_host import Dimm, wait_for  # noqa: E402

MIB = 1 << 20
NODE, DIMM_MIB, GUEST_MIB, PATTERN_MIB, PACE_US = 3, 768, 128, 16, 1000
# So that a move takes some seconds, and a time that is over in the middle of it.
RATE, TOO_SHORT_S = "16MiB", 6
# Enough to look at what is announced.
SOON_S = 15
# What a chunk that is under way may still move.
CHUNK_BYTES = 32 * MIB
ALLOW = ("--allow", "stored_xml,remote_memory")

# Follows the daemon's events, and cancels the drain's operation as soon as it enters a stage.
CANCEL_AT_STAGE = """
import json
stage, undo = sys.argv[1:]
line = socket.socket(socket.AF_UNIX)
line.connect("@socket@")
line.sendall(b"GET /v1/events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
line.settimeout(180)
print("ready", flush=True)
text = b""
while True:
    got = line.recv(65536)
    if not got:
        sys.exit("the events have ended")
    text += got
    while b"\\n" in text:
        one, _, text = text.partition(b"\\n")
        if one.startswith(b"data:") and b'"stage"' in one:
            drain = json.loads(one[5:])
            if drain["state"] == "draining" and drain["stage"] == stage:
                print(post("/v1/operations/%s/cancel" % drain["operation"], '{"undo": %s}' % undo)[0], flush=True)
                sys.exit()
""".replace("@socket@", inside.SOCKET)


class Scene:
    """db1, bound to node 3, in the first of its two DIMMs, and the daemon."""

    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.guest = Guest(host, "db1", GUEST_MIB, nodes=str(NODE), agent=False)
        self.ballast = Ballast(host, {"limits": {"reserve": "128MiB", "bytes_per_s": RATE}})
        self.span = evidence.dimm_range(host, "dimm1")

    def start(self):
        self.host.online_dimm("dimm1")
        self.guest.start()
        self.guest.pattern_start(PATTERN_MIB, pace_us=PACE_US)
        self.host.online_dimm("dimm2")
        self.ballast.start()
        self.dimm = drains.dimm_id(self.host, self.ballast, "dimm1")

    def state(self):
        """The host, with all of db1 in the DIMM: a move back brings it to the node, and to either of its DIMMs."""
        drains.bring_into(self.host, [self.guest], NODE, "dimm1", "dimm2")
        return drains.state_of_host(self.host, ("dimm1", "dimm2"), [self.guest])

    def drain(self, *words, finish="offline"):
        """Asks for a drain of the DIMM and returns its operation's id."""
        return self.ballast.ctl("drain", "--dimm", self.dimm, "--finish", finish, *ALLOW, *words, "--detach").out.strip()

    def newest(self):
        return self.ballast.get("/v1/drains")["items"][0]

    def in_stage(self, stage):
        wait_for(lambda: self.newest()["stage"] == stage and self.newest()["state"] == "draining", 120, f"stage {stage}")

    def undrain(self):
        check_equal(drains.give_back(self.ballast), "released", "state of the drain after an undrain")

    def holds(self):
        """The DIMMs that a drain holds."""
        return {one["id"] for one in self.ballast.get("/v1/dimms?fresh=true")["items"] if one["held"]}

    def reset(self):
        """What a case that failed may have left: an operation at work, and a hold."""
        for one in self.ballast.get("/v1/operations")["items"]:
            if one["state"] not in FINAL and not one["parent"]:
                self.ballast.ctl("cancel", one["id"], "--undo", "no", check=False)
                self.ballast.wait_operation(one["id"], 240)
        if self.holds():
            drains.give_back(self.ballast)

    def check_writer(self):
        check_equal(self.guest.pattern_rounds(1)["errors"], 0, "pattern errors in db1")

    def check_on_policy(self, when):
        """No byte of it is where its policy forbids it."""
        memory = evidence.Memory(self.guest)
        policy = next(iter(memory.policies)) if len(memory.policies) == 1 else ""
        if policy.startswith("bind:"):
            check_equal(memory.off(*evidence.numbers(policy.partition(":")[2])), 0,
                        f"bytes of db1 where {policy} forbids them, {when}: {memory.nodes}")


def cancelled_at(scene, stage, undo, finish="offline"):
    """Returns the operation of a drain that was cancelled as soon as it entered the stage, and the cancel's status."""
    canceller = inside.start(scene.host, CANCEL_AT_STAGE, stage, "true" if undo else "false")
    identity = scene.drain(finish=finish)
    status = canceller.wait(200).out.split()[-1]
    return scene.ballast.wait_operation(identity, 240), status


def cancel_with_undo(scene):
    """In each stage but the eject everything is as before, and nothing is held."""
    before = scene.state()
    for stage in ("cordon", "move", "offline", "bring_home"):
        operation, status = cancelled_at(scene, stage, True)
        check_equal(status, "202", f"answer to a cancel in stage {stage}")
        check_equal((operation["state"], operation["undo"]), ("cancelled", "done"), f"end of a drain cancelled in {stage}")
        check_equal((scene.newest()["state"], scene.holds()), ("stopped", set()), f"the drain and its hold, {stage}")
        check_equal(scene.state(), before, f"the host after a cancel with undo in stage {stage}")
        scene.check_writer()
        scene.tell(f"cancelled with undo in stage {scene.newest()['stage']}: {[s['kind'] for s in operation['steps']]}, "
                   "all as before")


def cancel_without_undo(scene):
    """What is done stays, the hold too, until somebody undrains."""
    before = scene.state()
    for stage in ("cordon", "move", "offline", "bring_home"):
        operation, status = cancelled_at(scene, stage, False)
        check_equal(status, "202", f"answer to a cancel in stage {stage}")
        check_equal((operation["state"], operation["undo"]), ("cancelled", "no"), f"end of a drain cancelled in {stage}")
        check_equal(scene.newest()["state"], "stopped", f"state of a drain cancelled in {stage}")
        states = evidence.dimm_states(scene.host, "dimm1")
        if stage == "bring_home":
            check_equal(states, {"offline"}, "states of the DIMM's blocks, cancelled on the way home")
        elif stage != "offline":
            check_equal(states, {"online"}, f"states of the DIMM's blocks, cancelled in {stage}")
        scene.check_writer()
        scene.tell(f"cancelled in stage {stage}: blocks {states}, db1 {evidence.mib_by_node(scene.guest)}, policy "
                   f"{evidence.guest_policies(scene.guest)}, held by {scene.holds()}")
        # Before its first step nothing is held yet, and there is nothing to be given back.
        if scene.holds():
            scene.undrain()
        check_equal((scene.state(), scene.holds()), (before, set()), f"the host after the undrain of one cancelled in {stage}")


def timeouts(scene):
    """Time that is over in the middle of a move: what is done stays, or goes back, or the rest is done all the same."""
    before = scene.state()
    for how, ends, undo in (("restore", ("failed",), "done"), ("stop", ("incomplete",), "no"),
                            ("continue", ("succeeded",), "no")):
        identity = scene.drain("--timeout", TOO_SHORT_S, "--on-timeout", how)
        operation = scene.ballast.wait_operation(identity, 240)
        told = {entry["code"] for entry in operation["remainder"]}
        scene.tell(f"{how}: {operation['state']}, {told or 'nothing left'}, blocks "
                   f"{evidence.dimm_states(scene.host, 'dimm1')}, db1 {evidence.mib_by_node(scene.guest)}, "
                   f"{[(s['kind'], s['state']) for s in operation['steps']]}")
        check_equal((operation["state"] in ends, operation["undo"], operation["deadline_exceeded"]), (True, undo, True),
                    f"end of a drain whose time is over, {how}: {operation['state']} {operation['error']}")
        scene.check_writer()
        if how == "restore":
            check_equal(scene.newest()["state"], "stopped", "state of the drain")
        if how == "stop":
            check("deadline" in told, f"that the time is over is told: {operation['remainder']}")
            check_equal(evidence.dimm_states(scene.host, "dimm1"), {"online"}, "states of the DIMM's blocks")
        if how == "continue":
            check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
            check_equal(memory_peer.within(scene.guest, scene.span), 0, "bytes of db1 in the DIMM")
            scene.check_on_policy("after the drain")
        if undo == "no":
            scene.undrain()
        check_equal(scene.state(), before, f"the host after {how} (and an undrain of what stayed)")


def paused(scene):
    """In the middle of a move: nothing goes on, for as long as it lasts."""
    before = scene.state()
    identity = scene.drain()
    scene.in_stage("move")
    scene.ballast.ctl("pause", identity)
    operation = scene.ballast.wait_operation(identity, 60, ("paused", "succeeded"))
    check_equal(operation["state"], "paused", "state after a pause")
    time.sleep(2)
    first = evidence.guest_bytes_by_node(scene.guest)
    time.sleep(8)
    then = evidence.guest_bytes_by_node(scene.guest)
    scene.tell(f"paused: db1 {evidence.mib_by_node(scene.guest)}, blocks {evidence.dimm_states(scene.host, 'dimm1')}")
    scene.check_writer()
    operation = scene.ballast.operation(identity)
    check_equal((operation["state"], evidence.dimm_states(scene.host, "dimm1")), ("paused", {"online"}), "in the pause")
    check_at_most(max(abs(first.get(n, 0) - then.get(n, 0)) for n in first | then), CHUNK_BYTES, "bytes moved in 8 s of pause")
    scene.ballast.ctl("resume", identity)
    operation = scene.ballast.wait_operation(identity, 240)
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "end of a drain that was paused")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
    check_equal(memory_peer.within(scene.guest, scene.span), 0, "bytes of db1 in the DIMM")
    scene.check_on_policy("after the drain")
    scene.check_writer()
    scene.undrain()
    check_equal(scene.state(), before, "the host after the undrain")


def announced(scene):
    """Cancelled before its time it has done nothing, and holds nothing; else it does it when that has come."""
    before, ballast = scene.state(), scene.ballast
    identity = scene.drain("--not-before", "+1h")
    wait_for(scene.holds, 30, "the hold of a drain that is announced")
    operation = ballast.operation(identity)
    check_equal(operation["state"], "pending", "state of a drain that is announced")
    sooner = ballast.ctl("drain", "--dimm", scene.dimm, "--offline", *ALLOW, "--dry-run", check=False)
    check_equal(sooner.rc, DONE, f"one that is to begin sooner is in nobody's way: {sooner}")
    check_equal(scene.state(), before, "the host before the time has come")
    ballast.ctl("cancel", identity, "--undo", "yes")
    operation = ballast.wait_operation(identity, 60)
    check_equal((operation["state"], scene.newest()["state"], scene.holds()), ("cancelled", "stopped", set()),
                "an announced drain, cancelled")
    check_equal(scene.state(), before, "the host after the cancel")
    scene.tell(f"announced, {operation['state']}, no hold; steps {[s['kind'] for s in operation['steps']]}")
    identity = scene.drain("--not-before", f"+{SOON_S}s")
    wait_for(scene.holds, 30, "the hold of a drain that is announced")
    check_equal((ballast.operation(identity)["state"], scene.state()), ("pending", before), "a drain whose time comes soon")
    check_equal(ballast.wait_operation(identity, 240)["state"], "succeeded", "a drain whose time has come")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "blocks of a drain whose time has come")
    scene.undrain()
    check_equal(scene.state(), before, "the host after the undrain")
    scene.tell("announced, and done when its time came")


def a_guest_starts(scene):
    """In the middle of a drain, and its memory lands in the DIMM: it is moved like the others, and whole."""
    before = scene.state()
    identity = scene.drain()
    scene.in_stage("move")
    scene.ballast.ctl("pause", identity)
    scene.ballast.wait_operation(identity, 60, ("paused",))
    late = Guest(scene.host, "late1", 128, nodes=str(NODE), agent=False)
    late.start()
    late.pattern_start(PATTERN_MIB, pace_us=PACE_US)
    there = memory_peer.within(late, scene.span)
    scene.tell(f"late1 starts in the middle: {there / MIB:.0f} MiB of it in the DIMM")
    check_at_least(there, MIB, "bytes of late1 in the DIMM, as the kernel placed it")
    scene.ballast.ctl("resume", identity)
    operation = scene.ballast.wait_operation(identity, 240)
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), f"end of the drain: {operation['steps']}")
    check_equal(evidence.dimm_states(scene.host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
    for guest in (scene.guest, late):
        memory = evidence.Memory(guest)
        check_equal(memory_peer.within(guest, scene.span), 0, f"bytes of {guest.name} in the DIMM")
        check_equal((memory.policies, memory.off(NODE)), ({f"bind:{NODE}"}, 0), f"policy and strays of {guest.name}")
        check_equal(guest.pattern_rounds(1)["errors"], 0, f"pattern errors in {guest.name}")
    scene.tell(f"both are whole on node {NODE}: {[step['kind'] for step in operation['steps']]}")
    late.destroy()
    scene.undrain()
    check_equal(scene.state(), before, "the host after the undrain")


def cancel_in_eject(scene):
    """A cancel that would undo comes in time, and all is as before; or it is refused, and the DIMM goes."""
    before = scene.state()
    operation, status = cancelled_at(scene, "eject", True, finish="eject")
    scene.tell(f"a cancel with undo in the eject: {status}, the drain {operation['state']}, undo {operation['undo']}")
    if status == "202":
        check_equal((operation["state"], operation["undo"]), ("cancelled", "done"), "end of a drain cancelled before its eject")
        check_equal(scene.state(), before, "the host after a cancel with undo before the eject")
        return
    check_equal((operation["state"], status), ("succeeded", "409"), f"end of a drain, and the cancel in its eject: {operation}")
    evidence.wait_dimm_deleted(scene.host, "dimm1")
    check(not evidence.dimm_present(scene.host, "dimm1"), "the hardware has no first DIMM any more")
    check_equal((evidence.guest_policies(scene.guest), evidence.Memory(scene.guest).off(NODE)), ({f"bind:{NODE}"}, 0),
                "policy and strays of db1")
    scene.check_writer()


CASES = (timeouts, cancel_with_undo, announced, paused, a_guest_starts, cancel_without_undo, cancel_in_eject)


@story(36, "a drain is cancelled in each stage, out of time, paused, announced, and meets a new guest: each end is a true one",
       limit_s=1200)
def cancel(tell):
    wanted = os.environ.get("BALLAST_CASES", "").split()
    with booted_host(dimms=[Dimm("dimm1", NODE, DIMM_MIB), Dimm("dimm2", NODE, DIMM_MIB)], online_dimms=False) as host:
        scene, cases = Scene(host, tell), Cases(tell)
        scene.start()
        for case in CASES:
            if case.__name__ in wanted or not wanted:
                began = time.monotonic()
                if not cases.run(case, scene):
                    cases.check_alive(scene.guest)
                    scene.reset()
                tell(f"  ({case.__name__}: {time.monotonic() - began:.0f} s)")
        cases.end()


if __name__ == "__main__":
    main()
