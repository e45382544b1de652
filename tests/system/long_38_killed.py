#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 38: ballastd is killed at each instant of its journal in a drain and in the undrain of it, and at random ones.

BALLAST_CASES="name name" runs only these cases. BALLAST_INSTANT=N begins with the N-th instant. BALLAST_KILLS=N has that many
random kills, BALLAST_SEED=N these and no others.
"""

import os
import random
import sys
import time
from collections import Counter
from threading import Thread

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import drains  # noqa: E402
from ballast import DONE, FINAL, UNREACHABLE, Ballast  # noqa: E402
from testbed import evidence, paths  # noqa: E402
from testbed.channel import ChannelError, CommandFailed  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_equal, main, story, wait_for  # noqa: E402
from testbed.virtual_host import Dimm, Node  # noqa: E402

MIB = 1 << 20
NODE, DIMM_MIB, GUEST_MIB, PATTERN_MIB, POOL_PAGES = 2, 512, 128, 24, 8
FIRST = int(os.environ.get("BALLAST_INSTANT", "1"))
KILLS = int(os.environ.get("BALLAST_KILLS", "100"))
SEED = int(os.environ.get("BALLAST_SEED", "0")) or random.randrange(1, 1 << 31)
# Whoever takes up what the killed one has left is killed as well, so likely each time, and so often at most.
AGAIN, AGAIN_MAX = 0.75, 8
# Of the guest, by the emulation's fault: in the time that this story takes it would seldom come to its end without any.
REBOOTS_MAX = 3
DIE_AT, NEVER = "/run/die-at", 10 ** 6
SIGKILLED = 128 + 9
NO_WORKER_GROUPS = "! ls -d /sys/fs/cgroup/ballast.worker.* 2>/dev/null"


class Scene:
    """A DIMM that is all the memory of node 2, with db1 and a pool of huge pages in it, and a daemon that dies as it is told."""

    def __init__(self, host, tell):
        self.host, self.tell = host, tell
        self.ballast = Ballast(host, {"limits": {"reserve": "128MiB"}}, {
            "LD_PRELOAD": paths.built("tests/testbed/die_at_sync.so"), "DIE_AT": DIE_AT,
            "ASAN_OPTIONS": "verify_asan_link_order=0"})
        self.guest = Guest(host, "db1", GUEST_MIB, nodes=str(NODE), agent=False)
        self.random = random.Random(SEED)
        self.kills, self.reboots, self.outcomes = 0, 0, Counter()
        self.seconds, self.instants = {}, {}    # of each kind that nobody killed

    def start(self):
        self.guest.start()
        self.begin_pattern()
        check_equal(evidence.set_hugepages(self.host, NODE, POOL_PAGES), POOL_PAGES, f"huge pages on node {NODE}")
        self.ballast.start()
        self.dimm = drains.dimm_id(self.host, self.ballast, "dimm1")
        self.before = self.state()

    def begin_pattern(self):
        self.guest.pattern_start(PATTERN_MIB, pace_us=1000)

    def check_pattern(self, when):
        try:
            check_equal(self.guest.pattern_status()["errors"], 0, f"pattern errors in db1 after {when}")
        except (ChannelError, CommandFailed):
            words = self.guest.died()
            if not words or self.reboots == REBOOTS_MAX:
                raise
            self.reboots += 1
            self.tell(f"    {words}: its pattern begins anew")
            self.begin_pattern()

    def state(self):
        """What a drain changes, by evidence that is not Ballast's own."""
        numatune = self.host.out("virsh -q numatune db1; virsh -q dumpxml --inactive db1")
        return drains.state_of_host(self.host, ("dimm1",), [self.guest]) | {"libvirt": numatune}

    # The daemon

    def arm(self, instant):
        self.host.write(DIE_AT, f"{instant:08d}\n")

    def passed(self, instant):
        """No kill any more; returns how many instants there were since it was armed."""
        rest = self.host.out(f"cat {DIE_AT} 2>/dev/null; rm -f {DIE_AT}")
        return instant - int(rest) if rest else instant

    def is_dead(self):
        return not self.ballast.process.running

    def kill_after(self, seconds):
        """Kills the daemon then, or as soon as it has begun."""
        self.host.run(f"sleep {seconds:.3f}; until pid=$(pidof ballastd); do sleep 0.05; done; kill -9 $pid")

    def note_death(self):
        """It has ended, and by us."""
        check_equal(self.ballast.process.wait(30).rc, SIGKILLED, "what ballastd has ended with")
        self.kills += 1

    def begin_again(self):
        self.note_death()
        self.ballast.start()

    # Operations

    def newest(self):
        return next(iter(self.ballast.get("/v1/drains")["items"]), None)

    def ask(self, words):
        """Returns the operation, or "" where the daemon died before it had answered."""
        asked = self.ballast.ctl(*words, "--detach", check=False)
        check(asked.rc in (DONE, UNREACHABLE), f"{' '.join(map(str, words))}: {asked.rc} {asked.err}")
        return asked.out.strip()

    def drain(self):
        return self.ask(("drain", "--dimm", self.dimm, "--finish", "offline", "--allow", "stored_xml,remote_memory",
                         "--timeout", 300))

    def undrain(self, drain):
        return self.ask(("undrain", drain))

    def wait_end_or_death(self, operation):
        end = time.monotonic() + 300
        while not self.is_dead():
            check(time.monotonic() < end, f"an end of operation {operation or '(not told)'}")
            try:
                if operation and self.ballast.get(f"/v1/operations/{operation}?wait=10")["state"] in FINAL:
                    return
            except CommandFailed:
                pass
            time.sleep(0.1)

    def settle(self, operation):
        """Waits until nothing is at work any more. What was accepted is not lost."""
        drain = self.newest()
        if not operation and drain and drain["state"] in ("draining", "undraining"):
            operation = drain["undrain_operation"] or drain["operation"]
        if operation:
            self.ballast.wait_operation(operation, 300)

    # What must be true

    def check_as_found(self, when):
        check_equal(self.state(), self.before, f"the host after {when}")
        self.check_pattern(when)
        # A worker that looks at something has none.
        wait_for(lambda: self.host.run(NO_WORKER_GROUPS, check=False).rc == 0, 20, "the workers' cgroups to be gone")

    def check_drained(self, drain):
        """It is complete, or nothing of it is left; returns which."""
        operation = self.ballast.operation(drain["operation"])
        if drain["state"] == "stopped":
            self.tell(f"    undone: {operation['error']}, {operation['remainder']}")
            check_equal(operation["undo"], "done", f"undo of {operation}")
            self.check_as_found("an undone drain")
            return "undone"
        check_equal((drain["state"], operation["state"]), ("held", "succeeded"), f"states of {drain} and {operation}")
        check(NODE not in evidence.guest_bytes_by_node(self.guest), f"nothing of db1 is on node {NODE}")
        check_equal(evidence.dimm_states(self.host, "dimm1"), {"offline"}, "states of the DIMM's blocks")
        check_equal(evidence.pools(self.host).get(NODE, (0, 0)), (0, 0), f"huge pages on node {NODE}, offline")
        return "complete"

    # There and back

    def drained(self, how):
        """Returns whether there is something to undrain."""
        previous = self.newest()
        how("drain", self.drain)
        drain = self.newest()
        if drain is None or (previous and drain["id"] == previous["id"]):
            self.check_as_found("a drain that was not begun")
            outcome = "not begun"
        else:
            outcome = self.check_drained(drain)
        self.outcomes[f"drains {outcome}"] += 1
        return outcome == "complete"

    def undrained(self, how):
        drain = self.newest()["id"]
        how("undrain", lambda: self.undrain(drain))
        if self.newest()["state"] == "held":
            self.outcomes["undrains not begun"] += 1
            self.settle(self.undrain(drain))
        check_equal(self.newest()["state"], "released", "state of the drain after its undrain")
        self.check_as_found("an undrain")
        self.outcomes["undrains complete"] += 1

    def at_instant(self, kind, act, instant):
        """Whether it had that many instants, and so the daemon was killed at this one."""
        began = time.monotonic()
        self.arm(instant)
        operation = act()
        self.wait_end_or_death(operation)
        passed, is_killed = self.passed(instant), self.is_dead()
        if is_killed:
            self.begin_again()
        else:
            self.instants[kind] = passed
            self.seconds[kind] = time.monotonic() - began
        self.settle(operation)
        self.tell(f"{kind}: {'killed at instant' if is_killed else 'lived for instants'} {passed}, "
                  f"{time.monotonic() - began:.1f} s")
        return is_killed

    def at_random(self, kind, act):
        """Killed somewhere between its beginning and a moment after its end; and so may be those that take it up."""
        killer = Thread(target=self.kill_after, args=(self.random.uniform(0, 1.1 * self.seconds[kind]),))
        killer.start()
        operation = act()
        killer.join()
        for _ in range(AGAIN_MAX):
            if self.random.random() >= AGAIN:
                break
            self.note_death()
            self.ballast.start(wait=False)
            self.kill_after(self.random.uniform(0, self.seconds[kind]))
        self.begin_again()
        self.settle(operation)


def at_each_instant(scene):
    """One of the drain and one of the undrain in each round, until there are no more of either."""
    instants = {"drain": FIRST, "undrain": FIRST}

    def next_one(kind, act):
        if not scene.at_instant(kind, act, instants[kind]):
            instants[kind] = NEVER
        elif instants[kind] < NEVER:
            instants[kind] += 1

    while min(instants.values()) < NEVER:
        if scene.drained(next_one):
            scene.undrained(next_one)


def at_random_instants(scene):
    scene.tell(f"seed {SEED}")
    until = scene.kills + KILLS
    while scene.kills < until:
        if scene.drained(scene.at_random):
            scene.undrained(scene.at_random)


CASES = (at_each_instant, at_random_instants)


@story(38, "ballastd is killed at each instant of its journal in a drain and an undrain, and at random ones", limit_s=7200)
def killed(tell):
    chosen = os.environ.get("BALLAST_CASES", "").split()
    with booted_host(nodes=[Node(2048), Node(1024), Node(0)], dimms=[Dimm("dimm1", NODE, DIMM_MIB)]) as host:
        scene, cases = Scene(host, tell), Cases(tell)
        scene.start()
        # How long they take, and how many instants there are.
        check(scene.drained(lambda kind, act: scene.at_instant(kind, act, NEVER)), "a drain that nobody disturbs")
        scene.undrained(lambda kind, act: scene.at_instant(kind, act, NEVER))
        check_at_least(min(scene.instants.values()), 10, f"instants of the journal in each of {list(scene.instants)}")
        for case in CASES:
            if not chosen or case.__name__ in chosen:
                is_held = cases.run(case, scene)
                tell(f"{case.__name__}: killed {scene.kills} times so far, {dict(scene.outcomes)}, instants {scene.instants}")
                if not is_held:
                    break
        if not cases.failures:
            check_equal(scene.guest.pattern_rounds(1)["errors"], 0, "pattern errors in db1")
            check_equal(scene.guest.boot_id(), scene.guest.booted_as, "boot id of db1")
        cases.end()


if __name__ == "__main__":
    main()
