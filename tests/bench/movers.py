# SPDX-License-Identifier: Apache-2.0
"""Whatever can move a guest's memory to a node: Ballast and its peers, driven alike.

    moved = MigratePages(host).move(guest, 2)
    moved.seconds, moved.bytes, moved.rate

How long a peer takes is told by the shell that runs it inside the virtual host, so the way there does not count. What
it moved is told by the kernel (numa_maps), before and after: not by the tool.
"""

import json
import os
import re
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")]

from report import MIB, median  # noqa: E402
from testbed import evidence, paths  # noqa: E402

MOVE_TIMEOUT_S = 400
# How numad names what it did: "PID 123 moved to node(s) 2 in 1.23 seconds".
NUMAD_LOG = "/var/log/numad.log"


class CannotMove(Exception):
    """This tool cannot do it on this host, and why."""


@dataclass
class Moved:
    """One move. left: bytes that are not on the node afterwards. parts: what the seconds consist of, by name."""
    tool: str
    bytes: int
    seconds: float
    left: int = 0
    calls: int = 0
    longest_us: int = 0
    parts: dict = field(default_factory=dict)

    @property
    def rate(self):
        """MiB a second."""
        return self.bytes / MIB / self.seconds if self.seconds else 0.0


def timed(host, command, timeout=MOVE_TIMEOUT_S):
    """(seconds, status, output) of a shell command inside, by a clock inside."""
    text = host.run(["bash", "-c", f"began=$EPOCHREALTIME; {command}; status=$?; ended=$EPOCHREALTIME; "
                                   "echo; echo timed $began $ended $status"], timeout).out
    before, _, line = text.rpartition("timed ")
    began, ended, status = line.split()
    return float(ended) - float(began), int(status), before


def bytes_by_node(guest):
    return evidence.guest_bytes_by_node(guest)


class Mover:
    """A peer: `command(guest, source, node)` is what is run inside."""
    name = ""

    def __init__(self, host):
        self.host = host

    def command(self, guest, source, node):
        raise NotImplementedError

    def move(self, guest, node):
        before = bytes_by_node(guest)
        sources = sorted(n for n in before if n != node)
        if not sources:
            raise CannotMove(f"{guest.name} is on node {node} already")
        seconds, status, output = timed(self.host, self.command(guest, ",".join(map(str, sources)), node))
        if status != 0:
            raise CannotMove(f"{self.name} ended with status {status}: {output.strip()[-200:]}")
        after = bytes_by_node(guest)
        return Moved(self.name, after.get(node, 0) - before.get(node, 0), seconds,
                     sum(size for n, size in after.items() if n != node))


class MigratePages(Mover):
    name = "migratepages"

    def command(self, guest, source, node):
        return f"migratepages {guest.pid} {source} {node}"


class Numatune(Mover):
    """libvirt's own way, for a guest whose numatune is restrictive: the kernel moves inside the cpuset's write."""
    name = "virsh numatune"

    def command(self, guest, source, node):
        return f"virsh -q numatune {guest.name} --live --nodeset {node} 2>&1"


class BareLoop(Mover):
    """The least that can do it: one loop of move_pages(2) over addresses that were listed before its clock starts."""

    def __init__(self, host, batch, threads=1):
        super().__init__(host)
        self.batch, self.threads = batch, threads
        self.name = f"bare loop {batch}" + (f", {threads} threads" if threads > 1 else "")

    def command(self, guest, source, node):
        return " ".join([paths.built("tests/bench/bench_move_loop"), str(guest.pid), str(node), str(self.batch)] +
                        ([str(self.threads)] if self.threads > 1 else []))

    def move(self, guest, node):
        result = self.host.run(self.command(guest, "", node), MOVE_TIMEOUT_S, check=False)
        if result.rc != 0:
            raise CannotMove(f"bare loop: {result.err.strip()[-200:]}")
        done = json.loads(result.out)
        if not done["pages"]:
            raise CannotMove("the bare loop finds no pages that it knows to move")
        after = bytes_by_node(guest)
        return Moved(self.name, done["bytes"], done["us"] / 1e6, sum(size for n, size in after.items() if n != node),
                     done["calls"], done["longest_us"])


class Numad(Mover):
    """numad moves to a node of its own choice, a process that is busy and large; so only its pause can be compared."""
    name = "numad"

    def move(self, guest, node):
        """node is ignored. Returns a Moved whose `parts["node"]` says where to; seconds by its own log."""
        host = self.host
        host.run(["rm", "-f", NUMAD_LOG])
        before = bytes_by_node(guest)
        # It takes a process that it has never bound for one bound at time 0, and leaves that alone for five minutes: so
        # on a host that has just started it would do nothing. A time namespace makes the host older.
        host.run(f"unshare --time --monotonic 86400 numad -i 1:2 -S 0 -p {guest.pid} -l 7", timeout=20)
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                log = host.run(["cat", NUMAD_LOG], check=False).out
                found = re.search(rf"PID {guest.pid} moved to node\(s\) (\S+) in (\d+)\.(\d+) seconds", log)
                if found:
                    break
                time.sleep(0.5)
            else:
                raise CannotMove("it did not move the guest within 60 s; its log ends: " +
                                 " | ".join(log.strip().splitlines()[-3:]))
        finally:
            host.run("numad -i 0", check=False)
        after = bytes_by_node(guest)
        # Its hundredths are printed without their leading zero.
        seconds = int(found[2]) + int(found[3]) / 100
        arrived = sum(max(0, size - before.get(n, 0)) for n, size in after.items())
        return Moved(self.name, arrived, seconds, parts={"node": found[1]})


def step_seconds(step):
    """How long a step of an operation took that has ended."""
    def moment(text):
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment(step["ended_at"]) - moment(step["started_at"])).total_seconds()


class Ours:
    """Ballast: ballastctl, the daemon and its workers, with whatever options ballastctl move takes.

    What counts as its seconds is `part`: "step" (the steps that move pages: a worker's start, its looks and its second
    look included), "operation" (all steps, from the first to the last) or "command" (what the shell waits for).
    """

    def __init__(self, ballast, *options, part="step", name="ballast"):
        self.ballast, self.options, self.part, self.name = ballast, options, part, name

    def move(self, guest, node):
        # So that no refresh of the look that was due anyway is counted.
        self.ballast.get(f"/v1/guests/{guest.name}?fresh=true")
        words = " ".join([self.ballast.program, "move", guest.name, "--to", str(node), "--timeout", str(MOVE_TIMEOUT_S),
                          *map(str, self.options)])
        seconds, status, output = timed(self.ballast.host, f"{words} 2>&1", MOVE_TIMEOUT_S + 20)
        if status not in (0, 8):
            raise CannotMove(f"ballastctl move: status {status}: {output.strip()[-300:]}")
        return self.read(guest, node, seconds)

    def read(self, guest, node, command_seconds):
        identity = self.ballast.get("/v1/operations")["items"][0]["id"]
        operation = self.ballast.operation(identity)
        ended = [step for step in operation["steps"] if step.get("started_at") and step.get("ended_at")]
        moves = [step for step in ended if step["kind"] == "move"]
        numbers = [re.search(r"(\d+) calls, (\d+) ms in them, longest (\d+) us", step.get("detail") or "")
                   for step in moves]
        numbers = [[int(word) for word in found.groups()] for found in numbers if found]
        parts = {"command": command_seconds, "operation": operation["result"]["seconds"],
                 "step": sum(map(step_seconds, moves)), "calls": sum(n[1] for n in numbers) / 1000}
        for step in ended:
            if step["kind"] != "move":
                parts[step["kind"]] = parts.get(step["kind"], 0) + step_seconds(step)
        after = bytes_by_node(guest)
        return Moved(self.name, operation["result"]["moved_bytes"], parts[self.part],
                     sum(size for n, size in after.items() if n != node), sum(n[0] for n in numbers),
                     max((n[2] for n in numbers), default=0), parts)


def best_rate(moves):
    return max(moved.rate for moved in moves)


def median_rate(moves):
    return median([moved.rate for moved in moves])


def describe(moved):
    """One move as a line."""
    text = f"{moved.tool:<22} {moved.rate:7.1f} MiB/s  {moved.bytes / MIB:6.0f} MiB  {moved.seconds:6.2f} s"
    if moved.calls:
        text += f"  {moved.calls} calls, longest {moved.longest_us / 1000:.0f} ms"
    if "operation" in moved.parts:
        text += (f"  (in the calls {moved.parts['calls']:.2f} s, operation {moved.parts['operation']:.2f} s, "
                 f"command {moved.parts['command']:.2f} s)")
    if moved.left:
        text += f"  {moved.left // 4096} pages left"
    return text


def in_turn(report, guest, movers, rounds, nodes, say=describe):
    """Lets each mover move the guest once a round, to and fro between two nodes, each of them in both directions.

    The guest is on nodes[0] at first. Returns {name: [Moved]}.
    """
    found, at = {mover.name: [] for mover in movers}, 0
    order = list(movers)
    for _ in range(rounds):
        for mover in order:
            at = 1 - at
            moved = mover.move(guest, nodes[at])
            found[mover.name].append(moved)
            report.line(say(moved))
            report.number(f"{mover.name}: one move", moved.rate, "MiB/s", bytes=moved.bytes, seconds=moved.seconds,
                          calls=moved.calls, longest_us=moved.longest_us, left=moved.left, parts=moved.parts)
        # With an even number of movers each would always go the same way.
        if len(order) % 2 == 0:
            order.reverse()
    return found
