#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Story 25: how gently a mover goes, and where it runs: by its guest's own word, and on whose processors."""

import os
import re
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import inside  # noqa: E402
from ballast import Ballast, seconds  # noqa: E402
from testbed import evidence  # noqa: E402
from testbed.guest import Guest  # noqa: E402
from testbed.story import Cases, booted_host, check, check_at_least, check_at_most, check_equal  # noqa: E402
from testbed.story import main, story, wait_for  # noqa: E402
from testbed.virtual_host import Node  # noqa: E402

MIB = 1 << 20
# The CPUs of node 2, the guest's own of which is the first. A mover needs four that are not the guest's.
WIDE = range(2, 8)
OWN = 2

# Holds the guest up now and then, as a busy host would, for as long as a file is there.
HOLD_UP = """
import signal
pid, file = int(sys.argv[1]), sys.argv[2]
open(file, "w").close()
print("ready", flush=True)
while os.path.exists(file):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.8)
    os.kill(pid, signal.SIGCONT)
    time.sleep(2)
"""
HELD_UP_US = 800000

# The end of what a step that moves pages says of itself.
STEP_WORDS = re.compile(r"(\d+) calls, (\d+) ms in them, .*the guest's longest pause (\d+) us, slowed down (\d+) times")


@dataclass
class Run:
    """Of a step that moved pages: share is that of its time which was spent in calls, by all its threads together."""
    seconds: float
    calls: int
    share: float
    felt_us: int
    slowed_down: int


def moved_within(ballast, guest, node, budget):
    """Moves all of a guest that is held up again and again, under that stall budget."""
    holding = inside.start(guest.host, HOLD_UP, guest.pid, "/run/holding")
    try:
        operation = ballast.ctl_json("move", guest.name, "--to", node, "--stall-budget", budget, "--timeout", "240",
                                     timeout=260)
    finally:
        guest.host.run(["rm", "/run/holding"])
        holding.wait(30)
    check_equal((operation["state"], operation["remainder"]), ("succeeded", []), f"move with a stall budget of {budget}")
    check_equal(sorted(evidence.Memory(guest).nodes), [node], "nodes after the move")
    steps = [step for step in operation["steps"] if step["kind"] == "move"]
    check_equal(len(steps), 1, f"steps that move: {operation['steps']}")
    step, felt_us = steps[0], operation["result"]["guest"]["longest_pause_us"]
    words = STEP_WORDS.search(step["detail"])
    check(words, f"the step tells of its calls and of the guest's pauses: {step}")
    calls, call_ms, pause_us, slowed_down = map(int, words.groups())
    check_at_least(pause_us, 0.9 * HELD_UP_US, f"the longest pause that the mover heard of: {step}")
    check_at_least(felt_us, pause_us, "the longest pause that the operation tells of")
    took_s = seconds(step["ended_at"]) - seconds(step["started_at"])
    return Run(took_s, calls, call_ms / 1000 / took_s, felt_us, slowed_down)


def stalls(ballast, guest, tell):
    """A guest whose pauses are beyond the budget has its mover slowed down; one whose pauses are within it has not."""
    generous = moved_within(ballast, guest, 3, "1000s")
    tight = moved_within(ballast, guest, 1, "400ms")
    for name, run in (("generous", generous), ("tight", tight)):
        tell(f"{name}: {run.seconds:.1f} s, {run.share * 100:.0f} % of it in {run.calls} calls, slowed down "
             f"{run.slowed_down} times, the guest's longest pause {run.felt_us / 1000:.0f} ms")
    check_equal(generous.slowed_down, 0, "how often it was slowed down within its budget")
    check_at_least(tight.slowed_down, 1, "how often it was slowed down beyond its budget")
    check_at_most(tight.share, 0.8 * generous.share, "share of its time that it spent in calls beyond its budget")
    for name in ("main", "cold"):
        check_equal(guest.pattern_stop(name)["errors"], 0, f"pattern errors of {name}")


def only(found):
    return found[0] if len(found) == 1 else None


def processors(ballast, guest, tell):
    """Its threads are on the destination's CPUs that are not the guest's; where those are too few, on any but the guest's."""
    others = set(range(WIDE[-1] + 1)) - {OWN}
    for node, wanted in ((2, set(WIDE) - {OWN}), (1, others)):
        identity = ballast.ctl("move", guest.name, "--to", node, "--budget", "30MiB", "--timeout", "240",
                               "--detach").out.strip()
        wait_for(lambda: ballast.operation(identity)["progress"]["done_bytes"] >= 8 * MIB, 60, "the middle of the move")
        # Now and then another one looks at a guest for a moment.
        mover = wait_for(lambda: only(ballast.workers()), 20, "the mover to be the only worker")
        allowed = evidence.thread_cpus_allowed(guest.host, mover)
        # The first one listens, and copies nothing.
        movers = [cpus for thread, cpus in allowed.items() if thread != mover]
        check_at_least(len(movers), 1, f"threads that move: {allowed}")
        check(all(cpus == wanted for cpus in movers), f"CPUs of the mover's threads: {allowed}, should be {wanted}")
        own = set.union(*(cpus for cpus in evidence.thread_cpus_allowed(guest.host, guest.pid, "CPU ").values()))
        check_equal(own, {OWN}, "CPUs of the guest's vCPU")
        operation = ballast.wait_operation(identity)
        check_equal((operation["state"], operation["remainder"]), ("succeeded", []), "how it ended")
        tell(f"to node {node}: {len(movers)} threads that move on CPUs {sorted(movers[0])}, the guest on {sorted(own)}")


@story(25, "a mover slows down where its guest suffers, and runs near the destination and off the guest's CPUs", limit_s=500)
def pacing(tell):
    nodes = [Node(2048), Node(2048), Node(2048, cpus=len(WIDE)), Node(1024, cpus=0)]
    with booted_host(nodes=nodes, dimms=[]) as host:
        host.write("/proc/sys/kernel/numa_balancing", "0")
        host.transparent_huge_pages("never", "never")
        guest = Guest(host, "g1", 832, nodes="1", cpus=str(OWN))
        guest.start()
        ballast = Ballast(host, {"limits": {"reserve": "64MiB"}})
        ballast.start()
        ballast.wait_agent(guest.name)
        # What nobody touches meanwhile, so much that a move takes as long as several of the guest's pauses are apart, and
        # what its writer touches.
        guest.pattern_start(512, name="cold", once=True)
        guest.pattern_start(48, pace_us=2000)
        tell(f"a guest with {evidence.Memory(guest).total_bytes / MIB:.0f} MiB, on CPU {OWN}")
        cases = Cases(tell)
        cases.run(processors, ballast, guest, tell)
        cases.run(stalls, ballast, guest, tell)
        cases.end()


if __name__ == "__main__":
    main()
